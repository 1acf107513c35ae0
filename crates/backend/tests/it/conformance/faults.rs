//! Bad weather between backend and server, one attempt at a time: what fails, as what, and what is left.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{BackendError, ErrorKind, FileKind};
use testkit::proxy::{Answer, Effect, Fault};

use super::subject::{Object, SOON, Weather};
use super::{Subject, Verdict};

const NO_NETWORK: Verdict = Verdict::Skipped("it is not reached over TCP");
const SIZE: usize = 300_000;

/// What can go wrong with any request.
fn anywhere() -> Vec<Effect> {
    vec![
        Effect::Close,
        Effect::Reset,
        Effect::Answer(Answer::too_many_requests(1)),
        Effect::Answer(Answer::new(500)),
        Effect::Answer(Answer::new(502)),
        Effect::Answer(Answer::new(503)),
        Effect::Answer(Answer::new(504)),
        Effect::LoseAcknowledgement,
        Effect::CutHead(5),
        Effect::CutHead(40),
        Effect::CutBody(0),
    ]
}

/// The failure of an attempt that must fail, as something that may pass, and soon.
async fn temporary<T: Debug>(
    what: &str,
    attempt: impl Future<Output = Result<T, BackendError>>,
) -> BackendError {
    let start = Instant::now();
    // An object on the terminal helps nobody.
    let Err(error) = attempt.await else {
        panic!("{what}: it counts as done")
    };
    assert_eq!(error.kind, ErrorKind::Temporary, "{what}: {error:?}");
    let time = start.elapsed();
    assert!(time < SOON, "{what}: it took {time:?}");
    error
}

impl Weather {
    /// The object is there as a whole or not at all; then it is written, read and removed in good weather.
    async fn assert_unbroken(&self, what: &str, object: &Object) {
        self.proxy.heal();
        match self.direct.read(&object.handle).await {
            Ok(data) => assert!(data == object.data, "{what}: a broken object is there"),
            Err(error) => assert_eq!(error.kind, ErrorKind::NotFound, "{what}: {error:?}"),
        }
        match self
            .backend
            .write(&object.handle, object.data.clone())
            .await
        {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind, ErrorKind::AlreadyExists, "{what}: {error:?}"),
        }
        let listed = self.direct.list(object.handle.kind()).await.unwrap();
        assert_eq!(listed.len(), 1, "{what}: {listed:?}");
        assert_eq!(listed[0].size_bytes, object.data.len() as u64, "{what}");
        let read = self.backend.read(&object.handle).await.unwrap();
        assert!(read == object.data, "{what}: another object is there");
        self.backend.remove(&object.handle).await.unwrap();
    }
}

pub async fn a_write_in_bad_weather_fails_and_leaves_nothing_broken(
    subject: Arc<Subject>,
) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    let object = Object::new(FileKind::Pack, 50, SIZE);
    let (method, path) = subject.traits.upload;
    let during_upload = [
        Effect::CutRequest(0),
        Effect::CutRequest(SIZE / 2),
        Effect::CutRequest(usize::MAX),
        Effect::StallRequest(SIZE / 2),
    ];
    for effect in anywhere().into_iter().chain(during_upload) {
        let what = format!("write with {effect:?}");
        let fault = weather
            .proxy
            .inject(Fault::new(effect).method(method).path(path));
        let attempt = weather.backend.write(&object.handle, object.data.clone());
        temporary(&what, attempt).await;
        assert!(fault.hits() >= 1, "{what}: nothing was sent");
        weather.assert_unbroken(&what, &object).await;
    }
    Verdict::Passed
}

pub async fn a_read_in_bad_weather_fails_and_gives_nothing_wrong(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Weather {
        backend,
        direct,
        proxy,
    } = subject.behind_proxy(network).await;
    let Object { handle, data } = Object::new(FileKind::Pack, 51, SIZE);
    direct.write(&handle, data.clone()).await.unwrap();
    let during_download = [
        Effect::CutBody(1),
        Effect::CutBody(700),
        Effect::CutBody(usize::MAX),
        Effect::StallBody(700),
        Effect::PromiseMore(10),
    ];
    // Of a whole object nobody but its reader knows how long it must be.
    let only_of_a_part = [
        Effect::Shorten(10),
        Effect::Lengthen(10),
        Effect::PromiseLess(10),
    ];
    for effect in anywhere().into_iter().chain(during_download.clone()) {
        let what = format!("read with {effect:?}");
        proxy.inject(Fault::new(effect));
        temporary(&what, backend.read(&handle)).await;
        proxy.heal();
        assert!(backend.read(&handle).await.unwrap() == data, "{what}");
    }
    for effect in anywhere()
        .into_iter()
        .chain(during_download)
        .chain(only_of_a_part)
    {
        let what = format!("read of a part with {effect:?}");
        proxy.inject(Fault::new(effect));
        temporary(&what, backend.read_range(&handle, 1000, 5000)).await;
        proxy.heal();
        let part = backend.read_range(&handle, 1000, 5000).await.unwrap();
        assert!(part == data.slice(1000..6000), "{what}");
    }
    Verdict::Passed
}

pub async fn a_stat_a_listing_and_a_removal_in_bad_weather_fail(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Weather {
        backend,
        direct,
        proxy,
    } = subject.behind_proxy(network).await;
    let Object { handle, data } = Object::new(FileKind::Snapshot, 52, 333);
    let in_listing = [
        Effect::CutBody(20),
        Effect::CutBody(usize::MAX),
        Effect::PromiseMore(10),
    ];
    direct.write(&handle, data.clone()).await.unwrap();
    for effect in anywhere() {
        let what = format!("stat with {effect:?}");
        proxy.inject(Fault::new(effect));
        temporary(&what, backend.stat(&handle)).await;
        proxy.heal();
        assert_eq!(backend.stat(&handle).await.unwrap().size_bytes, 333);
    }
    for effect in anywhere().into_iter().chain(in_listing) {
        let what = format!("list with {effect:?}");
        proxy.inject(Fault::new(effect));
        temporary(&what, backend.list(FileKind::Snapshot)).await;
        proxy.heal();
        let listed = backend.list(FileKind::Snapshot).await.unwrap();
        assert_eq!(listed.len(), 1, "{what}");
    }
    // Whoever shortens a listing and its promised length damages it; nothing says that it would pass.
    proxy.inject(Fault::new(Effect::Shorten(10)));
    let error = backend.list(FileKind::Snapshot).await.unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::Permanent | ErrorKind::Temporary),
        "{error:?}"
    );
    proxy.heal();
    for effect in anywhere() {
        let what = format!("remove with {effect:?}");
        proxy.inject(Fault::new(effect.clone()));
        temporary(&what, backend.remove(&handle)).await;
        let failures = backend.remove_many(std::slice::from_ref(&handle)).await;
        assert_eq!(failures.len(), 1, "{what}: {failures:?}");
        assert_eq!(failures[0].1.kind, ErrorKind::Temporary, "{failures:?}");
        proxy.heal();
        backend.remove(&handle).await.unwrap();
        assert!(direct.stat(&handle).await.unwrap_err().is_not_found());
        direct.write(&handle, data.clone()).await.unwrap();
    }
    Verdict::Passed
}

pub async fn a_lost_acknowledgement_is_made_good_by_trying_again(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    let object = Object::new(FileKind::Pack, 53, SIZE);
    let (method, path) = subject.traits.upload;
    let lost = Fault::new(Effect::LoseAcknowledgement);
    weather.proxy.inject(lost.clone().method(method).path(path));
    let attempt = weather.backend.write(&object.handle, object.data.clone());
    temporary("write", attempt).await;
    let stored = weather.direct.stat(&object.handle).await.unwrap();
    assert_eq!(stored.size_bytes, SIZE as u64);
    weather.assert_unbroken("write", &object).await;
    weather
        .direct
        .write(&object.handle, object.data.clone())
        .await
        .unwrap();
    weather.proxy.inject(lost);
    temporary("remove", weather.backend.remove(&object.handle)).await;
    weather.proxy.heal();
    weather.backend.remove(&object.handle).await.unwrap();
    assert!(
        weather
            .direct
            .list(FileKind::Pack)
            .await
            .unwrap()
            .is_empty()
    );
    Verdict::Passed
}

pub async fn the_wait_that_a_store_asks_for_is_handed_on(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Weather { backend, proxy, .. } = subject.behind_proxy(network).await;
    let Object { handle, data } = Object::new(FileKind::Index, 54, 500);
    for status in [429, 503] {
        let answer = Answer::new(status).header("Retry-After", "7");
        proxy.inject(Fault::new(Effect::Answer(answer)));
        let what = format!("with {status}");
        for error in [
            temporary(&what, backend.write(&handle, data.clone())).await,
            temporary(&what, backend.stat(&handle)).await,
            temporary(&what, backend.read(&handle)).await,
            temporary(&what, backend.list(FileKind::Index)).await,
            temporary(&what, backend.remove(&handle)).await,
        ] {
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "{error:?}");
        }
        proxy.heal();
    }
    Verdict::Passed
}

pub async fn a_page_of_html_is_no_answer(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Weather { backend, proxy, .. } = subject.behind_proxy(network).await;
    let Object { handle, data } = Object::new(FileKind::Key, 55, 500);
    proxy.inject(Fault::new(Effect::Answer(Answer::captive_portal())));
    for (what, error) in [
        ("write", backend.write(&handle, data.clone()).await.err()),
        ("stat", backend.stat(&handle).await.err()),
        ("read", backend.read(&handle).await.err()),
        (
            "read of a part",
            backend.read_range(&handle, 10, 20).await.err(),
        ),
        ("list", backend.list(FileKind::Key).await.err()),
        ("remove", backend.remove(&handle).await.err()),
    ] {
        let error = error.unwrap_or_else(|| panic!("{what}: the page was believed"));
        assert!(
            matches!(error.kind, ErrorKind::Permanent | ErrorKind::Temporary),
            "{what}: {error:?}"
        );
    }
    Verdict::Passed
}

pub async fn a_hanging_server_is_given_up(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let Weather {
        backend,
        direct,
        proxy,
    } = subject.behind_proxy(network).await;
    let Object { handle, data } = Object::new(FileKind::Pack, 56, SIZE);
    direct.write(&handle, data.clone()).await.unwrap();
    for effect in [Effect::Hang, Effect::Drip(Duration::from_millis(5))] {
        proxy.inject(Fault::new(effect.clone()));
        let what = format!("{effect:?}");
        if effect == Effect::Hang {
            // Together, as each of them takes as long as the limit.
            tokio::join!(
                temporary(&what, backend.read(&handle)),
                temporary(&what, backend.stat(&handle)),
                temporary(&what, backend.list(FileKind::Pack)),
                temporary(&what, backend.write(&handle, data.clone())),
                temporary(&what, backend.remove(&handle)),
            );
        } else {
            temporary(&what, backend.read(&handle)).await;
        }
        proxy.heal();
    }
    assert!(backend.read(&handle).await.unwrap() == data);
    Verdict::Passed
}
