//! Many objects at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use backend::{Backend, FileKind, Handle};
use futures::{StreamExt, TryStreamExt};

use super::subject::Object;
use super::{Subject, Verdict};

/// Writes objects of 0, 1, 2 ... bytes, several at once.
async fn write_many(backend: &dyn Backend, kind: FileKind, count: usize) -> Vec<Object> {
    let objects: Vec<Object> = (0..count)
        .map(|number| Object::new(kind, 1000 + number as u64, number))
        .collect();
    futures::stream::iter(objects.clone())
        .map(|object| async move { backend.write(&object.handle, object.data).await })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();
    objects
}

async fn sizes(backend: &dyn Backend, kind: FileKind) -> BTreeMap<String, u64> {
    let infos = backend.list(kind).await.unwrap();
    let count = infos.len();
    let sizes: BTreeMap<String, u64> = infos
        .into_iter()
        .map(|info| (info.name, info.size_bytes))
        .collect();
    assert_eq!(sizes.len(), count, "a name is listed twice");
    sizes
}

pub async fn many_objects_are_listed_with_their_sizes(subject: Arc<Subject>) -> Verdict {
    let backend = subject.fresh().await;
    // More than a page of any service.
    let objects = write_many(&*backend, FileKind::Pack, 1100).await;
    let expected: BTreeMap<String, u64> = objects
        .iter()
        .map(|object| (object.handle.name().to_owned(), object.data.len() as u64))
        .collect();
    let listed = sizes(&*backend, FileKind::Pack).await;
    assert_eq!(listed.len(), expected.len());
    assert!(listed == expected, "names or sizes differ");
    assert!(sizes(&*backend, FileKind::Index).await.is_empty());
    let handles: Vec<Handle> = objects.into_iter().map(|object| object.handle).collect();
    let failures = backend.remove_many(&handles).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(sizes(&*backend, FileKind::Pack).await.is_empty());
    Verdict::Passed
}

pub async fn foreign_files_are_not_listed(subject: Arc<Subject>) -> Verdict {
    let place = subject.place();
    let backend = subject.ready(&place).await;
    let own = write_many(&*backend, FileKind::Snapshot, 3).await;
    let mut planted = 0;
    let (upper, long) = ("A".repeat(64), "0".repeat(65));
    for name in ["README", "0123", ".hidden", &upper, &long] {
        planted += usize::from(match &subject.folder {
            Some(folder) => {
                let folder = folder.join(&place.prefix).join("snapshots");
                std::fs::write(folder.join(name), "foreign").is_ok()
            }
            None => {
                let handle = Handle::new(FileKind::Snapshot, name);
                backend.write(&handle, "foreign".into()).await.is_ok()
            }
        });
    }
    if planted == 0 {
        return Verdict::Skipped("the server takes no foreign names");
    }
    let listed = sizes(&*backend, FileKind::Snapshot).await;
    let names: Vec<&String> = listed.keys().collect();
    assert_eq!(listed.len(), own.len(), "{names:?}");
    assert!(own.iter().all(|own| listed.contains_key(own.handle.name())));
    Verdict::Passed
}

pub async fn many_are_removed_and_missing_ones_do_not_matter(subject: Arc<Subject>) -> Verdict {
    let backend = subject.fresh().await;
    let stays = Object::new(FileKind::Pack, 5, 50);
    backend
        .write(&stays.handle, stays.data.clone())
        .await
        .unwrap();
    let written = write_many(&*backend, FileKind::Pack, 40).await;
    let missing = (0..20).map(|seed| Object::new(FileKind::Pack, seed, 77));
    let handles: Vec<Handle> = missing.chain(written).map(|object| object.handle).collect();
    let failures = backend.remove_many(&handles).await;
    assert!(failures.is_empty(), "{failures:?}");
    let failures = backend.remove_many(&[]).await;
    assert!(failures.is_empty(), "{failures:?}");
    let left = sizes(&*backend, FileKind::Pack).await;
    let left: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(left, [stays.handle.name()]);
    Verdict::Passed
}
