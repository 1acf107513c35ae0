use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::DelayRelay;

/// Sends everything back on one connection, until it ends.
fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut reading, _) = listener.accept().unwrap();
        let mut writing = reading.try_clone().unwrap();
        std::io::copy(&mut reading, &mut writing).unwrap();
    });
    (address, thread)
}

/// Sends so many bytes and reads them back; how long that took.
fn round_trip(stream: &mut TcpStream, length: usize) -> Duration {
    let sent: Vec<u8> = (0..=250).cycle().take(length).collect();
    let mut writing = stream.try_clone().unwrap();
    let start = Instant::now();
    let received = std::thread::scope(|scope| {
        scope.spawn(|| writing.write_all(&sent).unwrap());
        let mut received = vec![0; length];
        stream.read_exact(&mut received).unwrap();
        received
    });
    assert!(received == sent, "the bytes differ");
    start.elapsed()
}

#[test]
fn a_byte_takes_the_latency_each_way_and_a_connection_a_round_trip() {
    let (address, server) = echo();
    let relay = DelayRelay::start(address, Duration::from_millis(40));
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    let first = round_trip(&mut stream, 1);
    assert!(first >= Duration::from_millis(155), "{first:?}");
    let second = round_trip(&mut stream, 1);
    assert!(second >= Duration::from_millis(80), "{second:?}");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    server.join().unwrap();
}

#[test]
fn much_is_under_way_at_once() {
    let (address, server) = echo();
    let relay = DelayRelay::start(address, Duration::from_millis(100));
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    // 32 MiB are 512 pieces of 64 KiB: a relay that waits for each would take minutes.
    let time = round_trip(&mut stream, 32 << 20);
    assert!(time >= Duration::from_millis(200), "{time:?}");
    assert!(time < Duration::from_secs(20), "{time:?}");
    drop(stream);
    server.join().unwrap();
}

#[test]
fn a_limited_relay_lets_through_no_more_than_its_rate() {
    let (address, server) = echo();
    let relay = DelayRelay::start_limited(address, Duration::ZERO, 4 << 20);
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    let time = round_trip(&mut stream, 2 << 20);
    assert!(time >= Duration::from_millis(480), "{time:?}");
    drop(stream);
    server.join().unwrap();
}

#[test]
fn a_server_that_is_gone_shows_as_a_closed_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let relay = DelayRelay::start(address, Duration::from_millis(1));
    let mut stream = TcpStream::connect(relay.address()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
