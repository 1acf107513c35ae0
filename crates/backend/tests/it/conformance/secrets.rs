//! Credentials, signatures and query strings appear nowhere.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use backend::{BackendError, ErrorKind, FileKind, HttpOptions};
use testkit::proxy::{Answer, Effect, Fault};

use super::subject::{Object, Place, SOON, WRONG_KEY, Weather};
use super::{Subject, Verdict};

pub async fn no_credential_is_ever_shown(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return Verdict::Skipped("it is not reached over TCP");
    };
    let Weather { backend, proxy, .. } = subject.behind_proxy(network).await;
    let mut texts = vec![
        format!("{backend:?}"),
        backend.location(),
        format!("{:?}", backend.endpoint()),
        format!("{:?}", HttpOptions::default()),
    ];
    for effect in effects(&subject.secrets) {
        proxy.inject(Fault::new(effect));
        texts.extend(failures(&*backend).await.iter().flat_map(words));
        proxy.heal();
    }
    proxy.refuse();
    texts.extend(failures(&*backend).await.iter().flat_map(words));
    let queries: Vec<String> = proxy
        .log()
        .into_iter()
        .map(|seen| seen.query)
        // Shorter ones are words that stand anywhere.
        .filter(|query| query.len() >= 12)
        .collect();
    assert!(texts.len() > 20, "too few messages were seen");
    for text in &texts {
        // The secret itself is not repeated here either.
        for (number, secret) in subject.secrets.iter().enumerate() {
            let shown = text.replace(secret.as_str(), "<SECRET>");
            assert!(shown == *text, "secret {number} is shown: {shown}");
        }
        for query in &queries {
            assert!(!text.contains(query.as_str()), "a query is shown: {text}");
        }
    }
    Verdict::Passed
}

pub async fn a_wrong_key_is_refused_within_seconds_and_not_shown(subject: Arc<Subject>) -> Verdict {
    if !subject.knows_keys {
        return Verdict::Skipped("the server takes any key, or none");
    }
    // The bucket is there, so that only the key can be what is wrong.
    subject.fresh().await;
    let backend = (subject.make)(&Place {
        has_wrong_key: true,
        ..subject.place()
    });
    let start = Instant::now();
    let errors = failures(&*backend).await;
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(errors.len(), OPERATIONS, "a wrong key served: {errors:?}");
    let mut texts = vec![format!("{backend:?}"), backend.location()];
    for error in &errors {
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
        texts.extend(words(error));
    }
    for text in texts {
        assert!(!text.contains(WRONG_KEY), "the key is shown: {text}");
    }
    Verdict::Passed
}

/// Answers that name the credentials, and others.
fn effects(secrets: &[String]) -> Vec<Effect> {
    let words = format!("refused: {}", secrets.join(", "));
    let xml = format!(
        "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>{words}</Message></Error>"
    );
    let json = serde_json::json!({
        "code": "denied",
        "status": 403,
        "message": words,
        "error": {"code": 403, "message": words, "errors": [{"reason": words}]},
    });
    let mut effects = vec![Effect::Close, Effect::CutBody(0)];
    for status in [400, 401, 403, 409, 500] {
        for (kind, body) in [
            ("text/plain", words.clone()),
            ("application/xml", xml.clone()),
            ("application/json", json.to_string()),
        ] {
            effects.push(Effect::Answer(Answer::new(status).body(kind, body)));
        }
    }
    effects
}

/// How many [`failures`] tries.
const OPERATIONS: usize = 7;

/// What every operation says when it fails.
async fn failures(backend: &dyn backend::Backend) -> Vec<BackendError> {
    let Object { handle, data } = Object::new(FileKind::Lock, 60, 200);
    [
        backend.create().await.err(),
        backend.stat(&handle).await.err(),
        backend.list(FileKind::Lock).await.err(),
        backend.read(&handle).await.err(),
        backend.read_range(&handle, 5, 10).await.err(),
        backend.write(&handle, data).await.err(),
        backend.remove(&handle).await.err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn words(error: &BackendError) -> [String; 2] {
    [chain(error), format!("{error:?}")]
}

fn chain(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}
