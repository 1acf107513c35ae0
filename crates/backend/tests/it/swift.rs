//! The Swift service against the real Swift, with users of its own and behind the real Keystone,
//! and against answers that it does not give on demand.

mod answers;
mod forms;
mod interop;
mod large;
mod objects;
pub mod server;
mod tokens;

use backend::{Backend, BackendError, FileKind, Handle};
use bytes::Bytes;

use server::{Place, name_of};

/// Everything that a repository needs of its store, once.
async fn assert_works(place: &Place) {
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Pack, name_of(1));
    let data = Bytes::from_static(b"0123456789");
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(backend.read(&handle).await.unwrap(), data);
    assert_eq!(backend.read_range(&handle, 3, 4).await.unwrap(), "3456");
    assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 1);
    backend.remove(&handle).await.unwrap();
    assert!(backend.stat(&handle).await.unwrap_err().is_not_found());
}

/// How the first request of a fresh backend fails.
async fn failure(place: &Place) -> BackendError {
    let error = place.backend().list(FileKind::Pack).await.unwrap_err();
    place.assert_hidden(&error);
    error
}
