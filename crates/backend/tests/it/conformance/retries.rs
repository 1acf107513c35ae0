//! Bad weather that passes, and weather that does not, with the retry decorator on top.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{Backend, BackendError, ErrorKind, FileKind, Retry, RetryOptions};
use futures::future::join_all;
use testkit::proxy::{Answer, Effect, Fault, Injected};
use testkit::{Calls, Random};

use super::subject::{Object, SOON, STALL_TIMEOUT, Weather};
use super::{Subject, Verdict};

const NO_NETWORK: Verdict = Verdict::Skipped("it is not reached over TCP");
const SIZE: usize = 100_000;
/// Longer than anything that passes lasts.
const PATIENCE: Duration = Duration::from_mins(2);

fn patient(backend: &Arc<dyn Backend>, limit: Duration) -> Arc<dyn Backend> {
    Arc::new(Retry::new(
        backend.clone(),
        RetryOptions {
            limit,
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(200),
            seed: Some(1),
            notify: None,
        },
    ))
}

/// What passes after two requests.
fn passing() -> Vec<Effect> {
    vec![
        Effect::Close,
        Effect::Reset,
        Effect::Answer(Answer::too_many_requests(0)),
        Effect::Answer(Answer::new(500)),
        Effect::Answer(Answer::new(503)),
        Effect::LoseAcknowledgement,
        Effect::CutHead(40),
        Effect::CutBody(0),
    ]
}

impl Weather {
    /// The next two requests go wrong.
    fn two(&self, effect: &Effect) -> Injected {
        self.proxy.heal();
        self.proxy
            .inject(Fault::new(effect.clone()).at(Calls::First(2)))
    }
}

pub async fn weather_that_passes_is_waited_out(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    let backend = patient(&weather.backend, PATIENCE);
    let Object { handle, data } = Object::new(FileKind::Pack, 70, SIZE);
    let (method, path) = subject.traits.upload;
    let during_upload = [
        Effect::CutRequest(SIZE / 2),
        Effect::CutRequest(usize::MAX),
        Effect::StallRequest(SIZE / 2),
    ];
    for effect in passing().into_iter().chain(during_upload) {
        weather.proxy.heal();
        let fault = Fault::new(effect.clone()).method(method).path(path);
        let fault = weather.proxy.inject(fault.at(Calls::First(2)));
        let result = backend.write(&handle, data.clone()).await;
        assert!(result.is_ok(), "write with {effect:?}: {result:?}");
        // The second attempt of a write that was only unacknowledged may find its object.
        assert!(fault.hits() >= 1, "write with {effect:?}");
        assert!(weather.direct.read(&handle).await.unwrap() == data);
        weather.direct.remove(&handle).await.unwrap();
    }
    weather.direct.write(&handle, data.clone()).await.unwrap();
    let during_download = [Effect::CutBody(700), Effect::PromiseMore(10)];
    for effect in passing().into_iter().chain(during_download) {
        let what = format!("{effect:?}");
        let fault = weather.two(&effect);
        assert!(backend.read(&handle).await.unwrap() == data, "{what}");
        assert_eq!(fault.hits(), 2, "read with {what}");
        weather.two(&effect);
        let part = backend.read_range(&handle, 1000, 5000).await.unwrap();
        assert!(part == data.slice(1000..6000), "{what}");
        weather.two(&effect);
        let listed = backend.list(FileKind::Pack).await.unwrap();
        assert_eq!(listed.len(), 1, "{what}");
    }
    for effect in passing() {
        let what = format!("{effect:?}");
        weather.two(&effect);
        let size_bytes = backend.stat(&handle).await.unwrap().size_bytes;
        assert_eq!(size_bytes, SIZE as u64, "{what}");
        weather.two(&effect);
        backend.remove(&handle).await.unwrap();
        let error = weather.direct.stat(&handle).await.unwrap_err();
        assert!(error.is_not_found(), "{what}: {error:?}");
        weather.direct.write(&handle, data.clone()).await.unwrap();
        weather.two(&effect);
        let failures = backend.remove_many(std::slice::from_ref(&handle)).await;
        assert!(failures.is_empty(), "{what}: {failures:?}");
        weather.direct.write(&handle, data.clone()).await.unwrap();
    }
    Verdict::Passed
}

pub async fn a_lost_acknowledgement_is_found_out_in_a_storm_too(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    let backend = patient(&weather.backend, PATIENCE);
    let Object { handle, data } = Object::new(FileKind::Pack, 73, SIZE);
    let (method, path) = subject.traits.upload;
    let lost = Fault::new(Effect::LoseAcknowledgement).method(method);
    let lost = weather.proxy.inject(lost.path(path).at(Calls::Nth(1)));
    // Whoever looks what became of it is disturbed as well.
    for method in ["HEAD", "GET"] {
        let busy = Fault::new(Effect::Answer(Answer::new(503))).method(method);
        weather.proxy.inject(busy.at(Calls::First(2)));
    }
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(lost.hits(), 1);
    assert!(weather.direct.read(&handle).await.unwrap() == data);
    Verdict::Passed
}

pub async fn what_does_not_pass_is_not_tried_again(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    let backend = patient(&weather.backend, PATIENCE);
    let Object { handle, data } = Object::new(FileKind::Index, 71, 500);
    let start = Instant::now();
    let error = backend.stat(&handle).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    for status in [400, 401, 403] {
        let refused = |error: Option<BackendError>, fault: &Injected, what: &str| {
            let error = error.unwrap_or_else(|| panic!("{what} with {status}: it counts as done"));
            assert_ne!(error.kind, ErrorKind::Temporary, "{what}: {error:?}");
            assert_ne!(error.kind, ErrorKind::NotFound, "{what}: {error:?}");
            // Some services look once more, with a new token, or at what is in the way.
            assert!(fault.hits() <= 3, "{what}: {} requests", fault.hits());
        };
        let inject = || {
            weather.proxy.heal();
            weather
                .proxy
                .inject(Fault::new(Effect::Answer(Answer::new(status))))
        };
        let fault = inject();
        let result = backend.write(&handle, data.clone()).await;
        refused(result.err(), &fault, "write");
        let fault = inject();
        refused(backend.read(&handle).await.err(), &fault, "read");
        let fault = inject();
        refused(backend.stat(&handle).await.err(), &fault, "stat");
        let fault = inject();
        refused(backend.list(FileKind::Index).await.err(), &fault, "list");
        let fault = inject();
        refused(backend.remove(&handle).await.err(), &fault, "remove");
    }
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    Verdict::Passed
}

pub async fn weather_that_stays_ends_at_the_deadline(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    // Long enough for a second attempt after one that hung.
    let backend = patient(&weather.backend, 2 * STALL_TIMEOUT);
    let Object { handle, data } = Object::new(FileKind::Pack, 72, SIZE);
    for effect in [
        Effect::Answer(Answer::new(503)),
        Effect::Close,
        Effect::Hang,
    ] {
        let fault = weather.proxy.inject(Fault::new(effect.clone()));
        let start = Instant::now();
        let (written, read) =
            tokio::join!(backend.write(&handle, data.clone()), backend.read(&handle));
        for error in [written.unwrap_err(), read.unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Temporary, "{effect:?}: {error:?}");
        }
        let time = start.elapsed();
        assert!(time < SOON, "{effect:?}: {time:?}");
        assert!(fault.hits() >= 4, "{effect:?}: {} requests", fault.hits());
        weather.proxy.heal();
    }
    let error = weather.direct.stat(&handle).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    Verdict::Passed
}

pub async fn many_tasks_in_changing_weather_lose_and_mix_nothing(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    let seed = Random::from_environment().next_u64();
    for (number, effect) in [
        Effect::Answer(Answer::new(503)),
        Effect::Answer(Answer::new(500)),
        Effect::LoseAcknowledgement,
        Effect::CutBody(100),
        Effect::CutRequest(1000),
        Effect::Reset,
    ]
    .into_iter()
    .enumerate()
    {
        let seed = seed.wrapping_add(number as u64 * 1_000_003);
        weather
            .proxy
            .inject(Fault::new(effect).probability(0.04, seed));
    }
    let backend = patient(&weather.backend, PATIENCE);
    let tasks = (0..16).map(|number| tokio::spawn(work(backend.clone(), number)));
    let mut stay = Vec::new();
    for result in join_all(tasks).await {
        stay.extend(result.unwrap());
    }
    weather.proxy.heal();
    let listed = weather.direct.list(FileKind::Pack).await.unwrap();
    assert_eq!(listed.len(), stay.len());
    for Object { handle, data } in stay {
        assert!(weather.direct.read(&handle).await.unwrap() == data);
    }
    Verdict::Passed
}

/// Writes some objects, reads them, and removes every other one; returns those that stay.
async fn work(backend: Arc<dyn Backend>, number: u64) -> Vec<Object> {
    let mut stay = Vec::new();
    for step in 0..6_u64 {
        let object = Object::new(FileKind::Pack, 1000 + number * 10 + step, 20_000);
        let Object { handle, data } = &object;
        backend.write(handle, data.clone()).await.unwrap();
        assert!(backend.read(handle).await.unwrap() == *data);
        let part = backend.read_range(handle, 500, 1000).await.unwrap();
        assert!(part == data.slice(500..1500));
        let size_bytes = backend.stat(handle).await.unwrap().size_bytes;
        assert_eq!(size_bytes, data.len() as u64);
        if step % 2 == 0 {
            backend.remove(handle).await.unwrap();
        } else {
            stay.push(object);
        }
    }
    stay
}
