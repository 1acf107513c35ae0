//! Proxies of the environment. It belongs to the whole process, so a process of its own asks: this same program with
//! the tests of one backend, which then do nothing else.

use std::env;
use std::process::{Command, Output};
use std::sync::Arc;

use backend::{FileKind, HttpOptions};

use super::forward::ForwardProxy;
use super::subject::{Object, Place};
use super::{Subject, Verdict};

/// Names the one subject that is to be reached as the environment says.
const VARIABLE: &str = "STASH_TEST_THROUGH_PROXY";
const PASSWORD: &str = "password-of-the-proxy";

/// Whether this process is one that only asks through a proxy; then it has done so.
pub async fn is_the_asking_process(subject: &Subject) -> bool {
    let Some(wanted) = env::var_os(VARIABLE) else {
        return false;
    };
    if wanted == *name_of(subject) {
        ask(subject).await;
    }
    true
}

fn name_of(subject: &Subject) -> String {
    let network = subject.network.as_ref();
    let origin = network.map_or("", |network| network.origin.as_str());
    format!("{} {origin}", subject.server)
}

async fn ask(subject: &Subject) {
    let place = subject.place();
    let place = Place {
        http: HttpOptions {
            use_proxies: true,
            ..place.http.clone()
        },
        ..place
    };
    let backend = subject.ready(&place).await;
    let Object { handle, data } = Object::new(FileKind::Lock, 95, 3000);
    backend.write(&handle, data.clone()).await.unwrap();
    assert!(backend.read(&handle).await.unwrap() == data);
    assert_eq!(backend.list(FileKind::Lock).await.unwrap().len(), 1);
    backend.remove(&handle).await.unwrap();
    let shown = format!("{backend:?} {:?}", place.http);
    assert!(!shown.contains(PASSWORD), "{shown}");
}

/// Runs the tests of this backend with these variables.
async fn in_a_process(subject: &Subject, variables: &[(&str, String)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .arg(format!("conformance::subjects::{}::", subject.backend))
        .args(["--test-threads", "1"])
        .env(VARIABLE, name_of(subject))
        .env("RUST_BACKTRACE", "0");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let waiting = tokio::task::spawn_blocking(move || command.output());
    waiting.await.unwrap().unwrap()
}

pub async fn proxies_of_the_environment_are_obeyed(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return Verdict::Skipped("it is not reached over TCP");
    };
    let proxy = ForwardProxy::start("user", PASSWORD).await;
    let url = format!("http://user:{PASSWORD}@{}", proxy.address());
    let other = "http://127.0.0.1:9".to_owned();
    let (name, unused) = if network.origin.starts_with("https:") {
        ("HTTPS_PROXY", "HTTP_PROXY")
    } else {
        ("HTTP_PROXY", "HTTPS_PROXY")
    };
    let variables = [(name, url), (unused, other)];
    let output = in_a_process(&subject, &variables).await;
    assert!(output.status.success(), "{}", text_of(&output));
    let seen = proxy.seen();
    let (_, authority) = network.origin.split_once("://").unwrap();
    assert!(!seen.is_empty(), "nothing came through the proxy");
    for line in &seen {
        assert!(line.contains(authority), "{line}");
        let is_tunnel = line.starts_with("CONNECT ");
        assert_eq!(is_tunnel, network.origin.starts_with("https:"), "{line}");
    }
    let [used, unused] = variables;
    let variables = [used, unused, ("NO_PROXY", "127.0.0.1,localhost".to_owned())];
    let output = in_a_process(&subject, &variables).await;
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(proxy.seen().len(), seen.len(), "NO_PROXY was not obeyed");
    Verdict::Passed
}

fn text_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).replace(PASSWORD, "***");
    // The end of it says what failed.
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(12)..].join(" | ")
}
