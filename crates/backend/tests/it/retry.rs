//! What is tried again, for how long, and what a lost answer means.

use std::sync::Arc;
use std::time::Duration;

use backend::{
    Backend, BackendError, ErrorKind, FileKind, Handle, Operation, Retry, RetryNotice, RetryOptions,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend};
use tokio::time::Instant;

struct Setup {
    memory: MemoryBackend,
    faults: FaultBackend,
    retry: Retry,
}

fn setup(options: RetryOptions) -> Setup {
    let memory = MemoryBackend::new();
    let faults = FaultBackend::new(memory.clone());
    let options = RetryOptions {
        seed: Some(7),
        ..options
    };
    Setup {
        retry: Retry::new(Arc::new(faults.clone()), options),
        memory,
        faults,
    }
}

fn pack(content: &'static [u8]) -> (Handle, Bytes) {
    let name = hex::encode(Sha256::digest(content));
    (
        Handle::new(FileKind::Pack, name),
        Bytes::from_static(content),
    )
}

fn temporary() -> Effect {
    Effect::Fail(ErrorKind::Temporary)
}

fn chain(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_of_every_call_are_tried_again() {
    let Setup {
        memory,
        faults,
        retry,
    } = setup(RetryOptions::default());
    let (handle, data) = pack(b"the content of a pack");
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Stat,
        Operation::List,
        Operation::Read,
        Operation::Remove,
    ] {
        faults.inject(Fault::new(temporary()).on(operation).at(Calls::First(3)));
    }
    retry.create().await.unwrap();
    retry.write(&handle, data.clone()).await.unwrap();
    assert_eq!(
        retry.stat(&handle).await.unwrap().size_bytes,
        data.len() as u64
    );
    assert_eq!(retry.list(FileKind::Pack).await.unwrap().len(), 1);
    assert_eq!(retry.read(&handle).await.unwrap(), data);
    assert_eq!(
        retry.read_range(&handle, 4, 7).await.unwrap(),
        data.slice(4..11)
    );
    retry.remove(&handle).await.unwrap();
    assert!(memory.handles().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_trying_again_cannot_help_fails_at_once() {
    for kind in [
        ErrorKind::NotFound,
        ErrorKind::PlaceNotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::TooShort,
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::Untrusted,
        ErrorKind::ClockSkew,
        ErrorKind::ReadOnly,
        ErrorKind::NoSpace,
        ErrorKind::Permanent,
    ] {
        let setup = setup(RetryOptions::default());
        setup.faults.inject(Fault::new(Effect::Fail(kind)));
        let (handle, data) = pack(b"pack");
        let start = Instant::now();
        assert_eq!(setup.retry.read(&handle).await.unwrap_err().kind, kind);
        assert_eq!(
            setup.retry.write(&handle, data).await.unwrap_err().kind,
            kind
        );
        assert_eq!(start.elapsed(), Duration::ZERO, "{kind:?}");
        // A name that is taken is looked at.
        let calls = if kind == ErrorKind::AlreadyExists {
            3
        } else {
            2
        };
        assert_eq!(setup.faults.calls().len(), calls, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_given_up_when_time_is_over() {
    let limit = Duration::from_mins(15);
    let Setup { faults, retry, .. } = setup(RetryOptions {
        limit,
        ..RetryOptions::default()
    });
    faults.inject(Fault::new(temporary()));
    let start = Instant::now();
    let error = retry.read(&pack(b"pack").0).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary);
    // The last pause is cut so that the last attempt comes when time is over.
    assert_eq!(start.elapsed(), limit);
    let text = chain(&error);
    assert!(text.contains("given up after"), "{text}");
    assert!(
        text.ends_with("within 900 seconds: injected by the test"),
        "{text}"
    );
    // The pauses grow: a minute at most, thirty seconds on average.
    let calls = faults.calls().len();
    assert!((20..60).contains(&calls), "{calls} attempts");
}

#[tokio::test(start_paused = true)]
async fn no_time_means_one_attempt() {
    let Setup { faults, retry, .. } = setup(RetryOptions {
        limit: Duration::ZERO,
        ..RetryOptions::default()
    });
    faults.inject(Fault::new(temporary()));
    let error = retry.read(&pack(b"pack").0).await.unwrap_err();
    assert!(!chain(&error).contains("given up"), "{}", chain(&error));
    assert_eq!(faults.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_store_asks_for_is_kept() {
    let Setup { faults, retry, .. } = setup(RetryOptions::default());
    let asked = Duration::from_secs(200);
    faults.inject(Fault::new(Effect::Busy(asked)).at(Calls::First(1)));
    let start = Instant::now();
    retry.list(FileKind::Pack).await.unwrap();
    assert!(start.elapsed() >= asked && start.elapsed() <= asked * 5 / 4);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_for_no_wait_is_not_stormed() {
    let Setup { faults, retry, .. } = setup(RetryOptions::default());
    faults.inject(Fault::new(Effect::Busy(Duration::ZERO)));
    let start = Instant::now();
    retry.list(FileKind::Pack).await.unwrap_err();
    assert_eq!(start.elapsed(), RetryOptions::default().limit);
    let calls = faults.calls().len();
    assert!((20..60).contains(&calls), "{calls} attempts");
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_limit_is_not_begun() {
    let Setup { faults, retry, .. } = setup(RetryOptions {
        limit: Duration::from_mins(1),
        ..RetryOptions::default()
    });
    faults.inject(Fault::new(Effect::Busy(Duration::from_mins(5))));
    let start = Instant::now();
    retry.list(FileKind::Pack).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_together_come_back_apart() {
    let pauses = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = Arc::clone(&pauses);
    let Setup { faults, retry, .. } = setup(RetryOptions {
        notify: Some(Arc::new(move |notice| {
            if let RetryNotice::Waiting { pause, .. } = notice {
                seen.lock().push(*pause);
            }
        })),
        ..RetryOptions::default()
    });
    faults.inject(Fault::new(temporary()).at(Calls::First(8)));
    let (handle, _) = pack(b"pack");
    futures::future::join_all((0..8).map(|_| retry.stat(&handle))).await;
    let mut pauses = std::mem::take(&mut *pauses.lock());
    pauses.sort();
    pauses.dedup();
    assert_eq!(pauses.len(), 8);
    assert!(
        pauses
            .iter()
            .all(|pause| *pause <= RetryOptions::default().first_pause)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_makes_no_further_attempt() {
    let Setup { faults, retry, .. } = setup(RetryOptions::default());
    faults.inject(Fault::new(temporary()));
    let (handle, _) = pack(b"pack");
    let call = tokio::time::timeout(Duration::from_millis(1), retry.read(&handle));
    assert!(call.await.is_err());
    let calls = faults.calls().len();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(faults.calls().len(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_a_success_once_the_object_was_read_back() {
    let Setup { faults, retry, .. } = setup(RetryOptions::default());
    let (handle, data) = pack(b"the content of a pack");
    let lost = Effect::LoseAcknowledgement(ErrorKind::Temporary);
    faults.inject(Fault::new(lost).on(Operation::Write).at(Calls::First(1)));
    faults.inject(
        Fault::new(temporary())
            .on(Operation::Read)
            .at(Calls::First(2)),
    );
    retry.write(&handle, data.clone()).await.unwrap();
    assert_eq!(faults.count(Operation::Write, FileKind::Pack), 2);
    // Two that failed, then the content and whether it goes on.
    assert_eq!(faults.count(Operation::Read, FileKind::Pack), 4);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_same_name_with_other_content_is_never_taken_for_ours() {
    let name = Handle::new(FileKind::Key, "ab".repeat(32));
    let content = Bytes::from_static(b"a key that is longer than thirty-two bytes");
    for other in [
        &b"something else that is as long as ours is!"[..],
        b"",
        b"a key that is",
        b"a key that is longer than thirty-two bytes and goes on",
    ] {
        let Setup {
            memory,
            faults,
            retry,
        } = setup(RetryOptions::default());
        faults.inject(
            Fault::new(temporary())
                .on(Operation::Write)
                .at(Calls::First(1)),
        );
        memory.put(&name, Bytes::copy_from_slice(other));
        let error = retry.write(&name, content.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists);
        assert_eq!(memory.get(&name).unwrap(), other);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_taken_before_the_first_attempt_is_ours_only_with_the_same_bytes() {
    let name = Handle::config();
    let content = Bytes::from_static(b"a config that is longer than thirty-two bytes");
    for (stored, is_ours) in [
        (content.clone(), true),
        (content.slice(..40), false),
        (
            Bytes::from_static(b"a config that is as long as the one above is."),
            false,
        ),
    ] {
        let Setup { memory, retry, .. } = setup(RetryOptions::default());
        memory.put(&name, stored.clone());
        let result = retry.write(&name, content.clone()).await;
        assert_eq!(result.is_ok(), is_ours);
        if let Err(error) = result {
            assert_eq!(error.kind, ErrorKind::AlreadyExists);
        }
        assert_eq!(memory.get(&name).unwrap(), stored);
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_object_under_the_hash_of_ours_is_replaced_even_where_its_size_fits() {
    let content = Bytes::from(vec![7; 9 << 20]);
    let handle = Handle::new(FileKind::Pack, hex::encode(Sha256::digest(&content)));
    let mut flipped = content.to_vec();
    flipped[8 << 20] ^= 1;
    let longer = [&content[..], b"x"].concat();
    for damaged in [flipped, longer, content[..5 << 20].to_vec(), Vec::new()] {
        for is_uncertain in [false, true] {
            let Setup {
                memory,
                faults,
                retry,
            } = setup(RetryOptions::default());
            if is_uncertain {
                let fault = Fault::new(temporary()).on(Operation::Write);
                faults.inject(fault.at(Calls::First(1)));
            }
            memory.put(&handle, damaged.clone());
            retry.write(&handle, content.clone()).await.unwrap();
            assert_eq!(memory.get(&handle).unwrap(), content);
            assert_eq!(faults.count(Operation::Remove, FileKind::Pack), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_object_that_cannot_be_removed_or_comes_back_is_told_as_damage() {
    let (handle, data) = pack(b"the content of a pack");
    let refused = setup(RetryOptions::default());
    refused.memory.put(&handle, &b"the content of a pick"[..]);
    let fault = Fault::new(Effect::Fail(ErrorKind::PermissionDenied));
    refused.faults.inject(fault.on(Operation::Remove));
    let error = refused
        .retry
        .write(&handle, data.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(chain(&error).contains("does not fit"), "{}", chain(&error));

    let stays = setup(RetryOptions::default());
    stays.memory.put(&handle, &b"the content of a pick"[..]);
    let fault = Fault::new(Effect::Fail(ErrorKind::NotFound));
    stays.faults.inject(fault.on(Operation::Remove));
    let error = stays.retry.write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert!(chain(&error).contains("does not fit"), "{}", chain(&error));
    assert_eq!(stays.faults.count(Operation::Write, FileKind::Pack), 2);
}

#[tokio::test(start_paused = true)]
async fn the_part_that_a_broken_upload_left_is_replaced_by_the_whole() {
    let (handle, data) = pack(b"the content of a pack");
    for part in [0, 1, data.len() - 1] {
        let memory = MemoryBackend::new();
        let faults = FaultBackend::new(memory.clone());
        faults.inject(
            Fault::new(temporary())
                .on(Operation::Write)
                .at(Calls::First(1)),
        );
        let (place, name, rest) = (memory.clone(), handle.clone(), data.slice(..part));
        let options = RetryOptions {
            // What a store without atomic writes keeps of the first attempt.
            notify: Some(Arc::new(move |notice| {
                if let RetryNotice::Waiting { attempt: 1, .. } = notice {
                    place.put(&name, rest.clone());
                }
            })),
            ..RetryOptions::default()
        };
        let retry = Retry::new(Arc::new(faults), options);
        retry.write(&handle, data.clone()).await.unwrap();
        assert_eq!(memory.get(&handle).unwrap(), data);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_looks_once_whether_it_was_stored() {
    let (handle, data) = pack(b"the content of a pack");
    let lost = Effect::LoseAcknowledgement(ErrorKind::Temporary);
    let short = RetryOptions {
        limit: Duration::ZERO,
        ..RetryOptions::default()
    };
    let stored = setup(short.clone());
    stored.faults.inject(Fault::new(lost).on(Operation::Write));
    stored.retry.write(&handle, data.clone()).await.unwrap();

    let part = setup(short.clone());
    part.faults
        .inject(Fault::new(temporary()).on(Operation::Write));
    part.memory.put(&handle, data.slice(..5));
    let error = part.retry.write(&handle, data.clone()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary);
    assert!(part.memory.handles().is_empty());

    let nothing = setup(short);
    nothing
        .faults
        .inject(Fault::new(temporary()).on(Operation::Write));
    let error = nothing.retry.write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_the_wrong_length_is_read_again() {
    let Setup {
        memory,
        faults,
        retry,
    } = setup(RetryOptions::default());
    let (handle, data) = pack(b"the content of a pack");
    memory.put(&handle, data.clone());
    faults.inject(
        Fault::new(Effect::CutByte)
            .on(Operation::Read)
            .at(Calls::First(2)),
    );
    assert_eq!(
        retry.read_range(&handle, 0, 5).await.unwrap(),
        data.slice(..5)
    );
    assert_eq!(faults.count(Operation::Read, FileKind::Pack), 3);
}

#[tokio::test(start_paused = true)]
async fn removal_of_many_repeats_only_what_failed_for_the_moment() {
    let Setup {
        memory,
        faults,
        retry,
    } = setup(RetryOptions::default());
    let handles: Vec<Handle> = (0..10)
        .map(|number| Handle::new(FileKind::Pack, format!("{number:064x}")))
        .collect();
    for handle in &handles {
        memory.put(handle, Bytes::from_static(b"pack"));
    }
    faults.inject(
        Fault::new(temporary())
            .on(Operation::Remove)
            .at(Calls::First(3)),
    );
    faults.inject(
        Fault::new(Effect::Fail(ErrorKind::PermissionDenied))
            .on(Operation::Remove)
            .at(Calls::Nth(5)),
    );
    let failures = retry.remove_many(&handles).await;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].1.kind, ErrorKind::PermissionDenied);
    assert_eq!(memory.handles(), [failures[0].0.clone()]);
    assert_eq!(faults.count(Operation::Remove, FileKind::Pack), 13);
}

#[tokio::test(start_paused = true)]
async fn removal_of_many_goes_on_for_as_long_as_it_gets_on() {
    let Setup {
        memory,
        faults,
        retry,
    } = setup(RetryOptions {
        limit: Duration::from_secs(5),
        first_pause: Duration::from_secs(4),
        longest_pause: Duration::from_secs(4),
        ..RetryOptions::default()
    });
    let handles: Vec<Handle> = (0..10)
        .map(|number| Handle::new(FileKind::Pack, format!("{number:064x}")))
        .collect();
    for handle in &handles {
        memory.put(handle, Bytes::from_static(b"pack"));
    }
    // Of each round only the last removal gets through.
    let mut number = 0;
    for left in (1..=10).rev() {
        for _ in 1..left {
            number += 1;
            faults.inject(
                Fault::new(temporary())
                    .on(Operation::Remove)
                    .at(Calls::Nth(number)),
            );
        }
        number += 1;
    }
    let start = Instant::now();
    let failures = retry.remove_many(&handles).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(start.elapsed() > Duration::from_secs(5));
    assert_eq!(faults.count(Operation::Remove, FileKind::Pack), number);

    // Where nothing gets through, it ends in time.
    for handle in &handles {
        memory.put(handle, Bytes::from_static(b"pack"));
    }
    faults.inject(Fault::new(temporary()).on(Operation::Remove));
    let start = Instant::now();
    assert_eq!(retry.remove_many(&handles).await.len(), 10);
    assert!(start.elapsed() <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn the_user_learns_that_it_waits_and_that_it_goes_on() {
    let news = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = Arc::clone(&news);
    let Setup { faults, retry, .. } = setup(RetryOptions {
        notify: Some(Arc::new(move |notice| {
            seen.lock().push(match notice {
                RetryNotice::Waiting { attempt, .. } => format!("waiting {attempt}"),
                RetryNotice::Healed { failures, .. } => format!("healed {failures}"),
                RetryNotice::GivenUp { failures, .. } => format!("given up {failures}"),
            });
        })),
        ..RetryOptions::default()
    });
    faults.inject(Fault::new(temporary()).at(Calls::First(2)));
    retry.list(FileKind::Snapshot).await.unwrap();
    retry.list(FileKind::Snapshot).await.unwrap();
    assert_eq!(*news.lock(), ["waiting 1", "waiting 2", "healed 2"]);
}
