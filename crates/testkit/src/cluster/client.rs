//! Somebody who talks to the API server with nothing but a token.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Cluster, Namespace, wait_until};
use crate::Scratch;

/// Requests of a ServiceAccount, sent with a token of its own by `kubectl proxy`, as they are and without retries.
#[derive(Debug)]
pub struct Client {
    proxy: Child,
    folder: Scratch,
}

/// What the API server said.
#[derive(Debug)]
pub struct Answer {
    /// The code of HTTP.
    pub code: u16,
    /// The object, or null where it is none.
    pub body: Value,
}

impl Namespace {
    /// A client with a new token of a ServiceAccount.
    pub fn client_of(&self, account: &str) -> Client {
        let token = self.kubectl(&["create", "token", account]);
        Client::new(self.cluster(), &json!({ "token": token.trim() }))
    }
}

impl Cluster {
    /// A client with the rights of this cluster's kubeconfig.
    pub fn client(&self) -> Client {
        Client::new(self, &self.user())
    }

    /// The kubeconfig without other clusters and users.
    fn configuration(&self) -> Value {
        let arguments = "config view --raw --minify --flatten --output json";
        let text = self.kubectl(&arguments.split(' ').collect::<Vec<_>>());
        serde_json::from_str(&text).unwrap()
    }

    fn user(&self) -> Value {
        self.configuration()["users"][0]["user"].clone()
    }
}

impl Client {
    fn new(cluster: &Cluster, user: &Value) -> Self {
        let folder = Scratch::new();
        // A certificate that is there would be who asks, whatever the token says.
        let mut configuration = cluster.configuration();
        configuration["users"][0]["user"] = user.clone();
        let file = folder.join("config");
        fs::write(&file, configuration.to_string()).unwrap();
        let proxy = cluster
            .command(&cluster.kubectl)
            .arg("--kubeconfig")
            .arg(&file)
            .args(["proxy", "--disable-filter", "--unix-socket"])
            .arg(folder.join("socket"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = Self { proxy, folder };
        wait_until("the proxy listens", Duration::from_mins(1), || {
            UnixStream::connect(client.folder.join("socket")).is_ok()
        });
        client
    }

    /// Makes a request; `headers` are lines without their ends.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &Value) -> Answer {
        let mut stream = UnixStream::connect(self.folder.join("socket")).unwrap();
        let content = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        // HTTP 1.0: the answer ends with the connection and comes in one piece.
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
        for header in headers {
            request += &format!("{header}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n{content}", content.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&String::from_utf8_lossy(&answer))
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], &Value::Null)
    }

    /// Creates, or asks one of the questions that are created.
    pub fn post(&self, path: &str, object: &Value) -> Answer {
        self.request("POST", path, &["Content-Type: application/json"], object)
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            code: code.unwrap_or_else(|| panic!("no answer of HTTP: {text}")),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_code_and_perhaps_an_object() {
        let answer =
            Answer::parse("HTTP/1.0 403 Forbidden\r\nA: b\r\n\r\n{\"reason\":\"Forbidden\"}");
        assert_eq!(
            (answer.code, &answer.body["reason"]),
            (403, &json!("Forbidden"))
        );
        let answer = Answer::parse("HTTP/1.1 200 OK\r\n\r\nok");
        assert_eq!((answer.code, answer.body), (200, Value::Null));
    }
}
