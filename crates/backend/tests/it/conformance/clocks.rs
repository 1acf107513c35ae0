//! Clocks that disagree.

use std::sync::Arc;

use backend::{ErrorKind, FileKind};
use testkit::proxy::{Effect, Fault};

use super::subject::{Object, Weather};
use super::{Subject, Verdict};

const NO_NETWORK: Verdict = Verdict::Skipped("it is not reached over TCP");
const HOUR: i64 = 3600;

/// Only the server can say that it minds; what it says the time is may come from anybody in between.
pub async fn the_date_of_an_answer_does_not_matter(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Weather { backend, proxy, .. } = subject.behind_proxy(network).await;
    for seconds in [HOUR, -HOUR] {
        let fault = proxy.inject(Fault::new(Effect::ShiftDate(seconds)));
        backend.create().await.unwrap();
        let Object { handle, data } = Object::new(FileKind::Index, 80, 700);
        backend.write(&handle, data.clone()).await.unwrap();
        assert!(backend.read(&handle).await.unwrap() == data);
        assert_eq!(backend.stat(&handle).await.unwrap().size_bytes, 700);
        assert_eq!(backend.list(FileKind::Index).await.unwrap().len(), 1);
        backend.remove(&handle).await.unwrap();
        let error = backend.stat(&handle).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
        assert!(fault.hits() >= 6, "{} answers were changed", fault.hits());
        proxy.heal();
    }
    Verdict::Passed
}

pub async fn a_clock_that_the_server_minds_is_said_to_be_wrong(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Some(refusal) = &subject.skew else {
        return Verdict::Skipped("the service has no word for clocks that differ");
    };
    let Weather { backend, proxy, .. } = subject.behind_proxy(network).await;
    let Object { handle, data } = Object::new(FileKind::Index, 81, 700);
    proxy.inject(Fault::new(Effect::Answer(refusal.clone())));
    for (what, error) in [
        ("write", backend.write(&handle, data).await.err()),
        ("stat", backend.stat(&handle).await.err()),
        ("read", backend.read(&handle).await.err()),
        ("range", backend.read_range(&handle, 1, 2).await.err()),
        ("list", backend.list(FileKind::Index).await.err()),
        ("remove", backend.remove(&handle).await.err()),
        ("create", backend.create().await.err()),
    ] {
        let error = error.unwrap_or_else(|| panic!("{what}: it counts as done"));
        assert_eq!(error.kind, ErrorKind::ClockSkew, "{what}: {error:?}");
    }
    Verdict::Passed
}
