use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};

use super::fault::is_like;
use super::{Answer, Effect, Fault, FaultProxy};
use crate::Calls;
use crate::certificates::Authority;
use crate::stub::{StubServer, reply};

/// Answers every request with `0123456789`, or with what was sent.
async fn digits(request: Request<Bytes>) -> Response<Bytes> {
    if request.body().is_empty() {
        reply(200, "text/plain", "0123456789")
    } else {
        reply(201, "text/plain", request.into_body())
    }
}

fn setup() -> (StubServer, FaultProxy) {
    let server = StubServer::start(digits);
    let proxy = FaultProxy::start(&server.url());
    (server, proxy)
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends one request and reads until the connection ends: what came, and how it ended.
fn ask(proxy: &FaultProxy, request: &str) -> (String, Option<ErrorKind>) {
    let mut stream = connect(proxy);
    let sent = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let end = sent.and_then(|()| stream.read_to_end(&mut bytes));
    (
        String::from_utf8(bytes).unwrap(),
        end.err().map(|error| error.kind()),
    )
}

const GET: &str = "GET /data/a?x=1 HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n";
const PUT: &str =
    "PUT /data/b HTTP/1.1\r\nHost: me\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

/// What comes back for a GET with this effect.
fn get_with(effect: Effect) -> (String, Option<ErrorKind>, usize) {
    let (server, proxy) = setup();
    let injected = proxy.inject(Fault::new(effect));
    let (text, end) = ask(&proxy, GET);
    assert_eq!(injected.hits(), 1);
    (text, end, server.requests().len())
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn without_faults_everything_goes_through_on_one_connection_and_is_logged() {
    let (server, proxy) = setup();
    let mut stream = connect(&proxy);
    stream
        .write_all(b"POST /x HTTP/1.1\r\nHost: signed.example\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    stream
        .write_all(b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n"),
        "{text}"
    );
    assert!(text.contains("\r\n\r\nabcdeHTTP/1.1 200 OK\r\n"), "{text}");
    assert_eq!(server.requests()[0].headers()["host"], "signed.example");
    assert_eq!(server.requests()[0].body(), "abcde");
    let log = proxy.log();
    assert_eq!((log[0].method.as_str(), log[0].body_bytes), ("POST", 5));
    assert_eq!(
        (log[0].server_status, log[0].status),
        (Some(201), Some(201))
    );
    assert_eq!(
        (log[1].path.as_str(), log[1].query.as_str()),
        ("/data/a", "x=1")
    );
    assert_eq!(proxy.count("GET", "*/data/*x=1"), 1);
    assert_eq!(proxy.count("PUT", "*"), 0);
}

#[test]
fn a_closed_a_reset_and_an_invented_answer_never_reach_the_server() {
    assert_eq!(get_with(Effect::Close), (String::new(), None, 0));
    let reset = get_with(Effect::Reset);
    assert_eq!(reset, (String::new(), Some(ErrorKind::ConnectionReset), 0));
    let (text, end, asked) = get_with(Effect::Answer(Answer::too_many_requests(7)));
    assert!(text.starts_with("HTTP/1.1 429 "), "{text}");
    assert!(text.contains("Retry-After: 7\r\n"), "{text}");
    assert_eq!((end, asked), (None, 0));
    let (text, ..) = get_with(Effect::Answer(Answer::captive_portal()));
    assert!(body(&text).ends_with("</html>"), "{text}");
}

#[test]
fn a_lost_acknowledgement_is_lost_only_for_the_client() {
    let (server, proxy) = setup();
    proxy.inject(Fault::new(Effect::LoseAcknowledgement));
    assert_eq!(ask(&proxy, PUT), (String::new(), None));
    assert_eq!(server.requests()[0].body(), "hello");
    let log = proxy.log();
    assert_eq!((log[0].server_status, log[0].status), (Some(201), None));
}

#[test]
fn a_cut_upload_is_broken_for_the_server_and_for_the_client() {
    // Shows what came before the end, which a server that hands out whole requests would hide.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = std::thread::spawn(move || {
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        text
    });
    let proxy = FaultProxy::start(&format!("http://{address}"));
    proxy.inject(Fault::new(Effect::CutRequest(2)));
    let (text, end) = ask(&proxy, PUT);
    assert_eq!(text, "");
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    let seen = seen.join().unwrap();
    assert!(seen.contains("Content-Length: 5\r\n"), "{seen}");
    assert_eq!(body(&seen), "he");
}

#[test]
fn answers_break_off_where_they_are_told_to() {
    let (text, end, asked) = get_with(Effect::CutHead(12));
    assert_eq!((text.as_str(), end, asked), ("HTTP/1.1 200", None, 1));
    let (text, ..) = get_with(Effect::CutBody(4));
    assert!(text.contains("content-length: 10\r\n"), "{text}");
    assert_eq!(body(&text), "0123");
    let (text, ..) = get_with(Effect::CutBody(400));
    assert_eq!(body(&text), "012345678");
}

#[test]
fn lengths_lie_in_both_directions() {
    for (effect, promised, sent) in [
        (Effect::PromiseMore(5), 15, "0123456789"),
        (Effect::PromiseLess(3), 7, "0123456789"),
        (Effect::Shorten(3), 7, "0123456"),
        (Effect::Lengthen(2), 12, "0123456789++"),
    ] {
        let (text, end, _) = get_with(effect.clone());
        let header = format!("content-length: {promised}\r\n");
        assert!(text.contains(&header), "{effect:?}: {text}");
        assert_eq!((body(&text), end), (sent, None), "{effect:?}");
    }
}

#[test]
fn a_flipped_byte_and_another_date_are_all_that_changes() {
    let (server, proxy) = setup();
    let (right, _) = ask(&proxy, GET);
    proxy.inject(Fault::new(Effect::FlipByte(13)).at(Calls::Nth(1)));
    let mut stream = connect(&proxy);
    stream.write_all(GET.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(&bytes[bytes.len() - 10..], b"012\xcc456789");
    proxy.heal();
    proxy.inject(Fault::new(Effect::ShiftDate(3600)));
    let (shifted, _) = ask(&proxy, GET);
    let date = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("date: "))
            .unwrap();
        let parsed = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(line.trim_start_matches("date: "))
            .unwrap();
        assert!(line.ends_with(" GMT"), "{line}");
        parsed.as_second()
    };
    let difference = date(&shifted) - date(&right);
    assert!((3600..3660).contains(&difference), "{difference}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_hangs_ends_with_the_proxy_and_what_stalls_sent_its_part() {
    let (server, proxy) = setup();
    proxy.inject(Fault::new(Effect::Hang).at(Calls::Nth(1)));
    proxy.inject(Fault::new(Effect::StallBody(3)).at(Calls::From(2)));
    let mut hanging = connect(&proxy);
    hanging.write_all(GET.as_bytes()).unwrap();
    hanging
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let error = hanging.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let mut stalling = connect(&proxy);
    stalling.write_all(GET.as_bytes()).unwrap();
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n012") {
        let mut byte = [0];
        assert_eq!(stalling.read(&mut byte).unwrap(), 1, "{text}");
        text.push(char::from(byte[0]));
    }
    assert_eq!(server.requests().len(), 1);
    drop(proxy);
    assert_eq!(stalling.read(&mut [0]).unwrap(), 0);
    assert_eq!(hanging.read(&mut [0]).unwrap(), 0);
}

#[test]
fn delays_and_drips_take_their_time_and_lose_nothing() {
    let (_server, proxy) = setup();
    let start = Instant::now();
    let delayed = proxy.inject(Fault::new(Effect::Delay(Duration::from_millis(60))));
    proxy.inject(Fault::new(Effect::Drip(Duration::from_micros(200))));
    let (text, end) = ask(&proxy, GET);
    assert_eq!((body(&text), end), ("0123456789", None));
    assert_eq!(delayed.hits(), 1);
    let least =
        Duration::from_millis(60) + Duration::from_micros(200) * u32::try_from(text.len()).unwrap();
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
}

#[test]
fn a_refused_connection_is_refused_by_the_system_until_it_heals() {
    let (_server, proxy) = setup();
    let mut open = connect(&proxy);
    proxy.refuse();
    // Whether it was accepted already decides how it ends.
    let end = open.read(&mut [0]);
    assert!(
        matches!(&end, Ok(0))
            || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "{end:?}"
    );
    let error = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    proxy.heal();
    assert_eq!(body(&ask(&proxy, GET).0), "0123456789");
}

#[test]
fn requests_are_picked_by_method_path_number_and_seed() {
    let (_server, proxy) = setup();
    let on_path = proxy.inject(
        Fault::new(Effect::Answer(Answer::new(503)))
            .method("GET")
            .path("/data/*")
            .at(Calls::First(2)),
    );
    let statuses = |requests: &[&str]| -> Vec<u16> {
        let answer = |request: &&str| ask(&proxy, request).0[9..12].parse().unwrap();
        requests.iter().map(answer).collect()
    };
    let other = GET.replace("/data/", "/keys/");
    assert_eq!(
        statuses(&[PUT, GET, &other, GET, GET]),
        [201, 503, 200, 503, 200]
    );
    assert_eq!(on_path.hits(), 2);
    let drawn = |seed| {
        proxy.heal();
        proxy.inject(Fault::new(Effect::Answer(Answer::new(500))).probability(0.5, seed));
        statuses(&[GET; 24])
    };
    let first = drawn(1);
    assert_eq!(first, drawn(1));
    assert_ne!(first, drawn(2));
    let failures = first.iter().filter(|status| **status == 500).count();
    assert!((4..=20).contains(&failures), "{first:?}");
}

#[test]
fn stars_stand_for_any_text() {
    for (pattern, text, is_match) in [
        ("/a", "/a", true),
        ("/a", "/ab", false),
        ("*", "", true),
        ("/a*", "/abc", true),
        ("*c", "/abc", true),
        ("*b*", "/abc", true),
        ("/a*c*e", "/abcde", true),
        ("/a*x*e", "/abcde", false),
        ("/ab*bc", "/abc", false),
    ] {
        assert_eq!(is_like(pattern, text), is_match, "{pattern} {text}");
    }
}

#[tokio::test]
async fn it_speaks_tls_on_both_sides_and_names_itself_where_the_server_names_itself() {
    use backend::{Backend, Handle, HttpOptions, RestBackend, RestOptions, Variables};
    let authority = Authority::new();
    let certificate = authority.loopback();
    let own = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let server = StubServer::start_tls(certificate.server_config(), {
        let own = own.clone();
        move |_| {
            let text = format!("go to {}/x", own.get().unwrap());
            async { reply(200, "text/plain", text) }
        }
    });
    own.set(server.url()).unwrap();
    let proxy = FaultProxy::before(&server.url())
        .trust(&authority.pem())
        .tls(&certificate)
        .rewriting()
        .start();
    let http = HttpOptions {
        ca_certificates: Some(authority.pem()),
        use_proxies: false,
        ..HttpOptions::default()
    };
    let options = RestOptions::parse(&proxy.url(), &Variables::new()).unwrap();
    let backend = RestBackend::new(options, &http).unwrap();
    let text = backend.read(&Handle::config()).await.unwrap();
    assert_eq!(text, format!("go to {}/x", proxy.url()));
}

#[test]
fn a_proxy_on_another_address_is_refused_and_accepted_there_too() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        return crate::skip("this machine has no IPv6");
    }
    let server = StubServer::start(digits);
    let proxy = FaultProxy::before(&server.url())
        .on(std::net::Ipv6Addr::LOCALHOST.into())
        .start();
    assert!(proxy.url().starts_with("http://[::1]:"), "{}", proxy.url());
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(ask(&proxy, request).0.ends_with("0123456789"));
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.accept();
    assert!(ask(&proxy, request).0.ends_with("0123456789"));
}
