//! Many tasks on one backend.

use std::sync::Arc;

use backend::{Backend, ErrorKind, FileKind};
use futures::future::join_all;

use super::subject::Object;
use super::{Subject, Verdict};

pub async fn thirty_two_tasks_do_not_disturb_each_other(subject: Arc<Subject>) -> Verdict {
    let backend = subject.fresh().await;
    let tasks = (0..32).map(|number| tokio::spawn(work(backend.clone(), number)));
    for result in join_all(tasks).await {
        result.unwrap();
    }
    let left = backend.list(FileKind::Pack).await.unwrap();
    assert_eq!(left.len(), 32);
    Verdict::Passed
}

/// Writes two objects, reads them in parts and whole, and removes one.
async fn work(backend: Arc<dyn Backend>, number: u64) {
    let stays = Object::new(FileKind::Pack, 100 + number, 300_000);
    let goes = Object::new(FileKind::Pack, 200 + number, 1000);
    for object in [&stays, &goes] {
        backend
            .write(&object.handle, object.data.clone())
            .await
            .unwrap();
    }
    for offset in [0_usize, 70_000, 290_000] {
        let part = backend.read_range(&stays.handle, offset as u64, 10_000);
        assert!(part.await.unwrap() == stays.data.slice(offset..offset + 10_000));
    }
    assert!(backend.read(&goes.handle).await.unwrap() == goes.data);
    backend.remove(&goes.handle).await.unwrap();
    let error = backend.stat(&goes.handle).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    assert!(backend.read(&stays.handle).await.unwrap() == stays.data);
}
