//! What a probe finds out, and that it leaves nothing.

use std::sync::Arc;

use backend::probe::{Capabilities, capabilities};
use backend::{Backend, ErrorKind, FileKind, LocalBackend, Operation, ReadOnly, ReadOnlyExcept};
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend};

const EVERYTHING: Capabilities = Capabilities {
    can_write: true,
    can_remove: true,
    has_create_if_absent: Some(true),
    has_read_after_write: Some(true),
    has_range_reads: Some(true),
    has_list_after_write: Some(true),
};

#[tokio::test]
async fn a_folder_can_do_everything_and_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let backend = LocalBackend::new(folder.path().join("repository"));
    backend.create().await.unwrap();
    assert_eq!(capabilities(&backend).await.unwrap(), EVERYTHING);
    for kind in FileKind::ALL {
        assert!(backend.list(kind).await.unwrap().is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn where_packs_cannot_be_removed_an_empty_lock_is_written_and_removed() {
    let memory = MemoryBackend::new();
    let faults = FaultBackend::new(memory.clone());
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        let denied = Effect::Fail(ErrorKind::PermissionDenied);
        faults.inject(Fault::new(denied).on(Operation::Remove).of(kind));
    }
    let found = capabilities(&faults).await.unwrap();
    let expected = Capabilities {
        can_remove: false,
        has_range_reads: None,
        ..EVERYTHING
    };
    assert_eq!(found, expected);
    assert_eq!(faults.count(Operation::Write, FileKind::Pack), 0);
    assert!(memory.handles().is_empty());
}

#[tokio::test]
async fn what_may_only_be_read_is_found_so() {
    let backend = ReadOnly::new(Arc::new(MemoryBackend::new()), ReadOnlyExcept::Nothing);
    assert_eq!(
        capabilities(&backend).await.unwrap(),
        Capabilities::default()
    );
}

#[tokio::test]
async fn a_store_that_lies_is_found_out_and_left_clean() {
    let memory = MemoryBackend::new();
    let faults = FaultBackend::new(memory.clone());
    faults.inject(Fault::new(Effect::FlipBit).on(Operation::Read));
    let found = capabilities(&faults).await.unwrap();
    assert_eq!(found.has_read_after_write, Some(false));
    assert_eq!(found.has_range_reads, Some(false));
    assert!(memory.handles().is_empty());
}

#[tokio::test]
async fn trouble_in_the_middle_is_told_and_leaves_nothing() {
    for operation in [Operation::Read, Operation::List] {
        let memory = MemoryBackend::new();
        let faults = FaultBackend::new(memory.clone());
        let broken = Effect::Fail(ErrorKind::Temporary);
        faults.inject(Fault::new(broken).on(operation).at(Calls::First(1)));
        let error = capabilities(&faults).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Temporary);
        assert!(memory.handles().is_empty());
    }
}
