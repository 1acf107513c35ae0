//! Permissions that are missing by a real store's own rules: told as such at once, with the operation, and named by
//! the doctor; never taken for an absent object, never tried again.

use std::sync::Arc;
use std::time::Duration;

use backend::doctor::{DoctorOptions, Finding, Severity, examine};
use backend::{
    Backend, BackendError, ErrorKind, FileKind, Handle, HttpOptions, Meter, Operation, Retry,
    RetryOptions, Variables,
};
use bytes::Bytes;
use serde_json::json;
use testkit::servers::{Server, offered};

use super::raw::{self, Raw};
use super::{backend, fresh, keys_of, plain, variables};

const ALL: [(&str, Operation); 4] = [
    ("s3:ListBucket", Operation::List),
    ("s3:GetObject", Operation::Read),
    ("s3:PutObject", Operation::Write),
    ("s3:DeleteObject", Operation::Remove),
];

fn statement(bucket: &str, effect: &str, actions: &[&str]) -> serde_json::Value {
    json!({
        "Effect": effect,
        "Action": actions,
        "Resource": [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")],
    })
}

/// Gives a bucket a policy that allows or denies everybody some actions.
pub async fn set(server: &Server, bucket: &str, effect: &str, actions: &[&str]) {
    let mut statement = statement(bucket, effect, actions);
    statement["Principal"] = json!({"AWS": ["*"]});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]});
    let raw = Raw {
        service: "s3",
        method: "PUT",
        path: &format!("/{bucket}"),
        query: &[("policy", "")],
        body: &policy.to_string(),
    };
    raw::succeed(server, &raw).await;
}

/// Keys of a session that may do all but one thing in this bucket, from the server's own token service.
fn session_without(server: &Server, bucket: &str, missing: &str) -> Variables {
    let actions: Vec<&str> = ALL
        .iter()
        .map(|(action, _)| *action)
        .filter(|action| *action != missing)
        .collect();
    let statement = statement(bucket, "Allow", &actions);
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    variables(&[
        ("AWS_ACCESS_KEY_ID", server.value("access_key_id")),
        ("AWS_SECRET_ACCESS_KEY", server.value("secret_access_key")),
        (
            "RESTIC_AWS_ASSUME_ROLE_ARN",
            "arn:aws:iam::123456789012:role/backup",
        ),
        ("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT", server.http()),
        ("RESTIC_AWS_ASSUME_ROLE_POLICY", &policy),
    ])
}

fn handle(number: usize) -> Handle {
    Handle::new(FileKind::Pack, format!("{number:064x}"))
}

/// A bucket with a config and two packs.
async fn filled(server: &Server) -> String {
    let bucket = fresh();
    let own = backend(&at(server, &bucket), &keys_of(server), &plain());
    own.create().await.unwrap();
    let data = Bytes::from_static(b"0123456789");
    for handle in [Handle::config(), handle(1), handle(2)] {
        own.write(&handle, data.clone()).await.unwrap();
    }
    bucket
}

fn at(server: &Server, bucket: &str) -> String {
    format!("{}/{bucket}/r", server.http())
}

/// Everything that is done in a repository, each with the operation that a failure must name.
async fn try_all(backend: &dyn Backend) -> Vec<(Operation, Result<(), BackendError>)> {
    let data = Bytes::from_static(b"new");
    let mut done = vec![
        (Operation::Read, backend.read(&handle(1)).await.map(drop)),
        (
            Operation::Read,
            backend.read_range(&handle(1), 2, 3).await.map(drop),
        ),
        (
            Operation::Stat,
            backend.stat(&Handle::config()).await.map(drop),
        ),
        (
            Operation::List,
            backend.list(FileKind::Pack).await.map(drop),
        ),
        (Operation::Write, backend.write(&handle(3), data).await),
        (Operation::Remove, backend.remove(&handle(3)).await),
    ];
    let many = backend.remove_many(&[handle(1), handle(2)]).await;
    let many = many
        .into_iter()
        .next()
        .map_or(Ok(()), |(_, error)| Err(error));
    done.push((Operation::Remove, many));
    done
}

/// Exactly what the missing action takes away is refused, each with one request and no retry.
async fn assert_refused(server: &Server, bucket: &str, keys: &Variables, missing: &str) {
    let meter = Arc::new(Meter::default());
    let http = HttpOptions {
        meter: meter.clone(),
        ..plain()
    };
    let direct = Arc::new(backend(&at(server, bucket), keys, &http));
    let patient = Retry::new(direct.clone(), RetryOptions::default());
    let (_, of_missing) = ALL.iter().find(|(action, _)| *action == missing).unwrap();
    for (operation, outcome) in try_all(&patient).await {
        let is_meant = operation == *of_missing
            || operation == Operation::Stat && *of_missing == Operation::Read;
        let what = format!("{} without {missing}: {operation:?}", server.name());
        match outcome {
            Ok(()) => assert!(!is_meant, "{what} was allowed"),
            Err(error) => {
                assert!(is_meant, "{what} {error:?}");
                assert_eq!(error.kind, ErrorKind::PermissionDenied, "{what} {error:?}");
                assert_eq!(error.operation, operation, "{what} {error:?}");
            }
        }
    }
    let asked = meter.total();
    assert!(asked.requests <= 10, "{missing}: tried again: {asked:?}");
    // Not even one who may not read takes the repository for absent.
    let config = direct.stat(&Handle::config()).await;
    let is_absent = config.is_err_and(|error| error.is_not_found());
    assert!(!is_absent, "{missing}");
}

async fn findings(backend: &dyn Backend) -> Vec<Finding> {
    let options = DoctorOptions {
        folder: None,
        http: plain(),
        speed_bytes: 0,
        can_write: true,
    };
    let mut found = Vec::new();
    let worst = examine(backend, &options, &mut |finding| {
        found.push(finding.clone());
    })
    .await;
    assert_eq!(worst, Severity::Failed, "{found:?}");
    found
}

/// The doctor names the permission in the remedy of what failed.
async fn assert_named(server: &Server, bucket: &str, keys: &Variables, missing: &str) {
    let found = findings(&backend(&at(server, bucket), keys, &plain())).await;
    let is_named = found.iter().any(|finding| {
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        finding.severity == Severity::Failed
            && remedy.contains(missing)
            && finding.message.contains("permission denied")
    });
    assert!(is_named, "{} {missing}: {found:?}", server.name());
}

/// Nothing of this waits.
async fn soon(work: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("refusals end at once");
}

#[tokio::test]
async fn a_session_policy_that_lacks_a_permission_is_told_and_named() {
    let Some(server) = offered("minio") else {
        return;
    };
    for (missing, _) in ALL {
        let bucket = filled(&server).await;
        let keys = session_without(&server, &bucket, missing);
        soon(async {
            assert_named(&server, &bucket, &keys, missing).await;
            assert_refused(&server, &bucket, &keys, missing).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_bucket_policy_that_denies_a_permission_is_told_and_named() {
    let Some(server) = offered("rgw") else { return };
    for (missing, _) in ALL {
        let bucket = filled(&server).await;
        set(&server, &bucket, "Deny", &[missing]).await;
        let keys = keys_of(&server);
        soon(async {
            assert_named(&server, &bucket, &keys, missing).await;
            assert_refused(&server, &bucket, &keys, missing).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_missing_bucket_is_not_made_by_keys_that_may_not() {
    let Some(server) = offered("minio") else {
        return;
    };
    let missing = fresh();
    let keys = session_without(&server, &missing, "nothing");
    let limited = backend(&at(&server, &missing), &keys, &plain());
    let error = limited.stat(&Handle::config()).await.unwrap_err();
    assert!(!error.is_temporary(), "{error:?}");
    let error = limited.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
    let words = error.source.as_ref().unwrap().to_string();
    assert!(words.contains("s3:CreateBucket"), "{words}");
    let own = backend(&at(&server, &missing), &keys_of(&server), &plain());
    let error = own.list(FileKind::Key).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{error:?}");
}
