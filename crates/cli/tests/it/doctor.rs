//! `stash doctor` on real servers: what works, what does not, and that nothing is left behind.

use std::process::{Command, Output};

use serde_json::Value;
use testkit::Scratch;
use testkit::servers::{Server, offered};

struct Doctor<'a> {
    server: &'a Server,
    repository: String,
    home: Scratch,
    variables: Vec<(&'static str, String)>,
}

impl Doctor<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stash"));
        command
            .args(["--no-cache", "-r", &self.repository, "--cacert"])
            .arg(self.server.ca())
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("RESTIC_PASSWORD", "the-password-of-the-repository")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Exit code and findings.
    fn examine(&self) -> (Option<i32>, Vec<Value>) {
        let output = self
            .command(&["--json", "doctor", "--speed-size", "1"])
            .output()
            .unwrap();
        (output.status.code(), self.findings(&output))
    }

    fn findings(&self, output: &Output) -> Vec<Value> {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        for (_, value) in &self.variables {
            let is_secret = value.len() > 12 && !text.contains(&format!("//{value}"));
            assert!(
                !is_secret || !text.contains(value.as_str()),
                "{value} is shown:\n{text}"
            );
        }
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

fn severity<'a>(findings: &'a [Value], step: &str) -> Option<&'a str> {
    let finding = findings
        .iter()
        .rev()
        .find(|finding| finding["step"] == step)?;
    finding["severity"].as_str()
}

fn minio(server: &Server) -> Doctor<'_> {
    Doctor {
        server,
        repository: format!(
            "s3:{}/doctor-{:012x}/x",
            server.https(),
            rand::random::<u64>() >> 16
        ),
        home: Scratch::new(),
        variables: vec![
            (
                "AWS_ACCESS_KEY_ID",
                server.value("access_key_id").to_owned(),
            ),
            (
                "AWS_SECRET_ACCESS_KEY",
                server.value("secret_access_key").to_owned(),
            ),
        ],
    }
}

#[test]
fn a_healthy_store_passes_every_step_and_is_left_as_it_was() {
    let Some(server) = offered("minio") else {
        return;
    };
    let doctor = minio(&server);
    let (code, findings) = doctor.examine();
    assert_eq!(
        code,
        Some(3),
        "a bucket that does not exist is worth a warning: {findings:?}"
    );
    assert_eq!(severity(&findings, "repository"), Some("warning"));
    assert_eq!(severity(&findings, "write"), Some("skipped"));

    doctor.ok(&["init"]);
    let (code, findings) = doctor.examine();
    assert_eq!(code, Some(0), "{findings:?}");
    for step in [
        "name",
        "connection",
        "certificate",
        "clock",
        "credentials",
        "repository",
        "list",
        "write",
        "read",
        "range",
        "names",
        "fresh list",
        "remove",
        "latency",
        "upload",
        "download",
    ] {
        assert_eq!(
            severity(&findings, step),
            Some("ok"),
            "{step}: {findings:?}"
        );
    }
    assert_eq!(doctor.ok(&["list", "packs"]), "");
    assert_eq!(doctor.ok(&["list", "locks", "--no-lock"]), "");
    let read_only = doctor
        .command(&["--json", "doctor", "--read-only"])
        .output()
        .unwrap();
    assert_eq!(
        severity(&doctor.findings(&read_only), "write"),
        Some("skipped")
    );
}

#[test]
fn what_fails_is_told_with_its_remedy_and_ends_the_examination() {
    let Some(server) = offered("minio") else {
        return;
    };
    let mut doctor = minio(&server);
    doctor.variables[1].1 = "not-the-secret-access-key".to_owned();
    let (code, findings) = doctor.examine();
    assert_eq!(code, Some(1));
    assert_eq!(
        severity(&findings, "credentials"),
        Some("failed"),
        "{findings:?}"
    );
    let last = &findings[findings.len() - 2];
    assert!(
        last["remedy"]
            .as_str()
            .is_some_and(|text| text.contains("keys")),
        "{last}"
    );
    assert_eq!(findings.last().unwrap()["severity"], "failed");

    let output = Command::new(env!("CARGO_BIN_EXE_stash"))
        .args(["-r", &doctor.repository, "--json", "doctor"])
        .env_clear()
        .envs(doctor.variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        severity(&doctor.findings(&output), "certificate"),
        Some("failed")
    );
}

#[test]
fn an_append_only_server_is_recognised_and_nothing_is_left_there() {
    let Some(server) = offered("rest-server-append-only") else {
        return;
    };
    let doctor = Doctor {
        server: &server,
        repository: format!(
            "rest:{}/doctor-{:012x}/",
            server.https(),
            rand::random::<u64>() >> 16
        ),
        home: Scratch::new(),
        variables: vec![
            ("RESTIC_REST_USERNAME", server.value("username").to_owned()),
            ("RESTIC_REST_PASSWORD", server.value("password").to_owned()),
        ],
    };
    doctor.ok(&["init"]);
    let (code, findings) = doctor.examine();
    assert_eq!(code, Some(3), "{findings:?}");
    assert_eq!(severity(&findings, "removal"), Some("warning"));
    for step in ["write", "read", "remove"] {
        assert_eq!(
            severity(&findings, step),
            Some("ok"),
            "{step}: {findings:?}"
        );
    }
    assert_eq!(
        severity(&findings, "upload"),
        None,
        "nothing is written that cannot be removed"
    );
    assert_eq!(doctor.ok(&["list", "packs", "--no-lock"]), "");
    assert_eq!(doctor.ok(&["list", "locks", "--no-lock"]), "");
}
