//! Names that are written more than once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backend::{ErrorKind, FileKind};
use futures::future::join_all;

use super::subject::{Extent, Object};
use super::{Subject, Verdict};

pub async fn a_second_write_of_a_name_never_mixes(subject: Arc<Subject>) -> Verdict {
    let backend = subject.fresh().await;
    for (kind, size) in [(FileKind::Config, 155), (FileKind::Pack, 3 << 20)] {
        let first = Object::new(kind, 10, size);
        let other = Object::new(kind, 11, size / 2);
        backend
            .write(&first.handle, first.data.clone())
            .await
            .unwrap();
        let second = backend.write(&first.handle, first.data.clone()).await;
        let third = backend.write(&first.handle, other.data.clone()).await;
        if subject.traits.is_exclusive {
            assert_eq!(second.unwrap_err().kind, ErrorKind::AlreadyExists);
            // A server that compares names with contents may find that first.
            let kind = third.unwrap_err().kind;
            assert!(
                matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Permanent),
                "{kind:?}"
            );
            assert!(backend.read(&first.handle).await.unwrap() == first.data);
        } else {
            let read = backend.read(&first.handle).await.unwrap();
            assert!(
                read == first.data || (third.is_ok() && read == other.data),
                "{} bytes are neither the first nor the second object",
                read.len()
            );
        }
    }
    Verdict::Passed
}

pub async fn concurrent_writers_of_one_name_leave_one_whole_object(
    subject: Arc<Subject>,
) -> Verdict {
    let backend = subject.fresh().await;
    // Nobody compares the name of a config with its content.
    let contents: Vec<Object> = (0..8)
        .map(|seed| Object::new(FileKind::Config, 20 + seed, 200_000))
        .collect();
    let results = join_all(
        contents
            .iter()
            .map(|object| backend.write(&object.handle, object.data.clone())),
    )
    .await;
    let winners = results.iter().filter(|result| result.is_ok()).count();
    assert!(winners >= 1, "{results:?}");
    // Swift looks for the object before it takes another, and lets two pass that come at once.
    if subject.traits.is_exclusive && subject.backend != "swift" {
        assert_eq!(winners, 1, "{results:?}");
    }
    for (object, result) in contents.iter().zip(&results) {
        if let Err(error) = result {
            // Stores that answer a conflict ask to come again.
            assert!(
                matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::Temporary),
                "{error:?}"
            );
        } else if winners == 1 {
            assert!(backend.read(&object.handle).await.unwrap() == object.data);
        }
    }
    let read = backend.read(&contents[0].handle).await.unwrap();
    assert!(contents.iter().any(|object| object.data == read));
    Verdict::Passed
}

pub async fn a_reader_beside_the_writer_sees_all_or_nothing(subject: Arc<Subject>) -> Verdict {
    let backend = subject.fresh().await;
    for seed in 0..4 {
        let Object { handle, data } = Object::new(FileKind::Pack, 30 + seed, 4 << 20);
        let is_written = AtomicBool::new(false);
        let read = async {
            let mut attempts = 0;
            while !is_written.load(Ordering::SeqCst) || attempts == 0 {
                attempts += 1;
                match backend.read(&handle).await {
                    Ok(read) => assert!(read == data, "{} bytes were seen", read.len()),
                    Err(error) => assert!(error.is_not_found(), "{error:?}"),
                }
                match backend.stat(&handle).await {
                    Ok(info) => assert_eq!(info.size_bytes, data.len() as u64),
                    Err(error) => assert!(error.is_not_found(), "{error:?}"),
                }
            }
        };
        let write = async {
            backend.write(&handle, data.clone()).await.unwrap();
            is_written.store(true, Ordering::SeqCst);
        };
        tokio::join!(write, read);
        assert!(backend.read(&handle).await.unwrap() == data);
    }
    Verdict::Passed
}

pub async fn locks_go_and_all_else_stays_where_nothing_may_be_removed(
    subject: Arc<Subject>,
) -> Verdict {
    if subject.extent != Extent::AppendOnly {
        return Verdict::Skipped("everything may be removed");
    }
    let backend = subject.fresh().await;
    for Object { handle, data } in FileKind::ALL.map(|kind| Object::new(kind, 40, 100)) {
        backend.write(&handle, data.clone()).await.unwrap();
        let removed = backend.remove(&handle).await;
        let many = backend.remove_many(std::slice::from_ref(&handle)).await;
        if handle.kind() == FileKind::Lock {
            removed.unwrap();
            assert!(many.is_empty(), "{many:?}");
            assert!(backend.list(FileKind::Lock).await.unwrap().is_empty());
        } else {
            assert_eq!(removed.unwrap_err().kind, ErrorKind::PermissionDenied);
            assert_eq!(many.len(), 1, "{many:?}");
            assert_eq!(many[0].1.kind, ErrorKind::PermissionDenied, "{many:?}");
            assert!(backend.read(&handle).await.unwrap() == data);
        }
    }
    Verdict::Passed
}
