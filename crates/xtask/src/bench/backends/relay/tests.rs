use super::*;

const ONE_WAY: Duration = Duration::from_millis(15);

/// Sends back what it gets, on every connection.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            thread::spawn(move || {
                let _ = io::copy(&mut &client, &mut &client);
                let _ = client.shutdown(Shutdown::Write);
            });
        }
    });
    address
}

fn ask(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    stream.write_all(b"question").unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    begun.elapsed()
}

#[test]
fn every_question_waits_for_both_ways_and_the_first_for_opening_too() {
    let relay = Relay::start(echo(), ONE_WAY, Manner::Server).unwrap();
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    assert!(ask(&mut stream) >= 4 * ONE_WAY);
    assert!(ask(&mut stream) >= 2 * ONE_WAY);
    assert_eq!((relay.sent_bytes(), relay.received_bytes()), (16, 16));
}

#[test]
fn what_is_under_way_does_not_hold_up_what_follows() {
    const BYTES: usize = 64 << 20;
    let relay = Relay::start(echo(), Duration::from_millis(100), Manner::Server).unwrap();
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    let mut reading = stream.try_clone().unwrap();
    let begun = Instant::now();
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        reading.read_to_end(&mut received).unwrap();
        received
    });
    let sent: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(reader.join().unwrap() == sent, "the bytes differ");
    // One chunk after the other would take 1024 × 200 ms.
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_proxy_leads_every_name_to_its_server() {
    let relay = Relay::start(echo(), ONE_WAY, Manner::Proxy).unwrap();
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    stream
        .write_all(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
        .unwrap();
    let mut granted = [0; 19];
    stream.read_exact(&mut granted).unwrap();
    assert_eq!(&granted, b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(ask(&mut stream) >= 2 * ONE_WAY);
}

#[test]
fn the_time_of_a_request_holds_the_distance() {
    let server = echo();
    for manner in [Manner::Server, Manner::Proxy] {
        let relay = Relay::start(server, ONE_WAY, manner).unwrap();
        let far = round_trip(relay.address(), manner).unwrap();
        assert!(far >= 2 * ONE_WAY, "{far:?}");
    }
}

#[test]
fn dropping_it_ends_its_connections() {
    let relay = Relay::start(echo(), ONE_WAY, Manner::Server).unwrap();
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    ask(&mut stream);
    let address = relay.address();
    drop(relay);
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).is_err());
}
