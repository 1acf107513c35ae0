//! Requests to the servers of a run, by `curl`: probes of readiness and first set-up.

use std::path::Path;
use std::process::Command;

use crate::failure::Failure;

/// A request; GET unless it has a body or another method.
pub struct Curl {
    address: String,
    command: Command,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    headers: String,
    pub body: String,
}

impl Curl {
    pub(super) fn new(address: String, ca: &Path) -> Self {
        let mut command = Command::new("curl");
        command
            .args(["-q", "-sS", "-i", "--noproxy", "*", "--max-time", "30"])
            .args(["-H", "Expect:", "--cacert"])
            .arg(ca);
        Self { address, command }
    }

    /// Any further option of curl.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.command.args(options);
        self
    }

    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.options(&["-X", method])
    }

    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.options(&["-H", &format!("{name}: {value}")])
    }

    /// Sends a body; POST unless `method` says otherwise.
    #[must_use]
    pub fn body(self, content_type: &str, body: &str) -> Self {
        self.header("Content-Type", content_type)
            .options(&["--data-binary", body])
    }

    /// The answer, whatever its status.
    pub fn send(mut self) -> Result<Answer, Failure> {
        let output = self
            .command
            .arg(&self.address)
            .output()
            .map_err(|source| Failure::Start {
                program: "curl".to_owned(),
                source,
            })?;
        if !output.status.success() {
            return Err(Failure::Refused(format!(
                "asking {}: {}",
                self.address,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Answer::parse(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| Failure::Refused(format!("{} does not speak HTTP", self.address)))
    }

    /// The answer, which must be a success.
    pub fn succeed(self) -> Result<Answer, Failure> {
        let address = self.address.clone();
        let answer = self.send()?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(Failure::Refused(format!(
                "{address} answered {}: {}",
                answer.status,
                answer.body.trim()
            )))
        }
    }

    /// Whether there is any answer below 500: enough for servers without a page about their health.
    pub fn answers(self) -> bool {
        self.send().is_ok_and(|answer| answer.status < 500)
    }
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (headers, body) = text.split_once("\r\n\r\n")?;
        Some(Self {
            status: headers.split_whitespace().nth(1)?.parse().ok()?,
            headers: headers.to_owned(),
            body: body.to_owned(),
        })
    }

    /// A header by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_status_headers_and_body() {
        let answer =
            Answer::parse("HTTP/1.1 201 Created\r\nX-Token: a b\r\n\r\nx\r\n\r\ny").unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("x-token"), Some("a b"));
        assert_eq!(answer.body, "x\r\n\r\ny");
    }
}
