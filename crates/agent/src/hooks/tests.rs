use std::io::{Read, Write};
use std::net::TcpListener;

use api::k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, HTTPHeader, TCPSocketAction};
use api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use api::v1beta1::{FormEntry, HttpPostAction};

use super::*;

async fn run(handler: &Handler, data: &HookData, deadline: Duration) -> Result<(), HookError> {
    super::run(
        &HookPlace::Here,
        handler,
        data,
        deadline,
        &CancellationToken::new(),
    )
    .await
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_hook_has_the_time_of_its_session_and_ten_minutes_at_least() {
    let of = |text: &str| deadline(Some(text.parse().unwrap()));
    assert_eq!(deadline(None), Duration::from_mins(10));
    assert_eq!(of("30s"), Duration::from_mins(10));
    assert_eq!(of("2h"), Duration::from_hours(2));
}

fn exec(words: &[&str]) -> Handler {
    let command = words.iter().map(|&word| word.to_owned()).collect();
    Handler {
        exec: Some(ExecAction {
            command: Some(command),
        }),
        ..Default::default()
    }
}

fn data() -> HookData {
    HookData {
        name: "home-1".into(),
        phase: "Failed".into(),
        ..Default::default()
    }
}

/// Answers one request with this status and returns what was asked.
fn server(status: &'static str) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).unwrap();
            asked.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&asked);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("content-length: ")
                            .map(str::to_owned)
                    })
                    .map_or(0, |length| length.trim().parse().unwrap());
                if body.len() >= length {
                    break;
                }
            }
        }
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"
        )
        .unwrap();
        String::from_utf8(asked).unwrap()
    });
    (port, thread)
}

#[tokio::test]
async fn a_command_sees_rendered_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let script = format!("printf %s \"$1\" > {}", file.display());
    run(
        &exec(&[
            "sh",
            "-c",
            &script,
            "hook",
            "{{ .Name }} {{ .Status.Phase }}",
        ]),
        &data(),
        SOON,
    )
    .await
    .unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "home-1 Failed");
}

#[tokio::test]
async fn a_failed_command_tells_its_status_and_output() {
    let error = run(
        &exec(&["sh", "-c", "echo no database >&2; exit 7"]),
        &data(),
        SOON,
    )
    .await
    .unwrap_err();
    let text = error.to_string();
    assert!(text.contains('7') && text.contains("no database"), "{text}");
}

#[tokio::test]
async fn a_hanging_command_is_stopped_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; wait", file.display());
    let error = run(
        &exec(&["sh", "-c", &script]),
        &data(),
        Duration::from_millis(800),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, HookError::Deadline { .. }), "{error}");
    let pid: i32 = std::fs::read_to_string(file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let is_gone = || {
        // A killed process whose parent has gone may stay a zombie where nobody collects it.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    };
    for _ in 0..200 {
        if is_gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} survived its hook");
}

#[tokio::test]
async fn a_command_that_cannot_start_is_named() {
    let error = run(&exec(&["/absent/program"]), &data(), SOON)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/absent/program"));
}

#[tokio::test]
async fn a_bad_template_runs_nothing() {
    let error = run(&exec(&["touch", "{{ nonsense }}"]), &data(), SOON)
        .await
        .unwrap_err();
    assert!(matches!(error, HookError::Template { .. }));
}

#[tokio::test]
async fn a_get_succeeds_below_400_and_fails_from_there_on() {
    for (status, is_good) in [
        ("204 No Content", true),
        ("302 Found", true),
        ("404 Not Found", false),
        ("500 Bad", false),
    ] {
        let (port, thread) = server(status);
        let get = HTTPGetAction {
            path: Some("healthz".into()),
            port: IntOrString::Int(i32::from(port)),
            host: Some("127.0.0.1".into()),
            http_headers: Some(vec![HTTPHeader {
                name: "X-Who".into(),
                value: "stash".into(),
            }]),
            ..Default::default()
        };
        let result = run(
            &Handler {
                http_get: Some(get),
                ..Default::default()
            },
            &data(),
            SOON,
        )
        .await;
        assert_eq!(result.is_ok(), is_good, "{status}: {result:?}");
        let asked = thread.join().unwrap().to_lowercase();
        assert!(
            asked.starts_with("get /healthz ") && asked.contains("x-who: stash"),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn a_post_sends_its_rendered_body_or_its_form() {
    let (port, thread) = server("200 OK");
    let mut post = HttpPostAction {
        path: Some("/notify".into()),
        port: IntOrString::String(port.to_string()),
        host: Some("127.0.0.1".into()),
        scheme: None,
        http_headers: Vec::new(),
        body: Some("{\"phase\": {{ .Status.Phase | quote }}}".into()),
        form: Vec::new(),
    };
    run(
        &Handler {
            http_post: Some(post.clone()),
            ..Default::default()
        },
        &data(),
        SOON,
    )
    .await
    .unwrap();
    assert!(thread.join().unwrap().ends_with("{\"phase\": \"Failed\"}"));

    let (port, thread) = server("200 OK");
    post.port = IntOrString::Int(i32::from(port));
    post.body = None;
    post.form = vec![FormEntry {
        key: "a b".into(),
        values: vec!["1&2".into(), "3".into()],
    }];
    run(
        &Handler {
            http_post: Some(post),
            ..Default::default()
        },
        &data(),
        SOON,
    )
    .await
    .unwrap();
    assert!(thread.join().unwrap().ends_with("a+b=1%262&a+b=3"));
}

#[tokio::test]
async fn a_server_that_never_answers_meets_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i32::from(listener.local_addr().unwrap().port());
    let get = HTTPGetAction {
        port: IntOrString::Int(port),
        host: Some("127.0.0.1".into()),
        ..Default::default()
    };
    let handler = Handler {
        http_get: Some(get),
        ..Default::default()
    };
    let error = run(&handler, &data(), Duration::from_millis(500))
        .await
        .unwrap_err();
    assert!(matches!(error, HookError::Deadline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_socket_that_listens_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = |port: u16| Handler {
        tcp_socket: Some(TCPSocketAction {
            host: Some("127.0.0.1".into()),
            port: IntOrString::Int(i32::from(port)),
        }),
        ..Default::default()
    };
    run(&socket(port), &data(), SOON).await.unwrap();
    drop(listener);
    assert!(run(&socket(port), &data(), SOON).await.is_err());
}

#[tokio::test]
async fn a_stopped_session_stops_its_hook() {
    let cancel = CancellationToken::new();
    let handler = exec(&["sleep", "300"]);
    let data = data();
    let hook = super::run(
        &HookPlace::Here,
        &handler,
        &data,
        Duration::from_mins(5),
        &cancel,
    );
    let (result, ()) = tokio::join!(hook, async { cancel.cancel() });
    assert!(matches!(result, Err(HookError::Stopped)));
}
