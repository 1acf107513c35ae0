use super::*;
use crate::MemoryBackend;

fn lock(name: &str) -> Handle {
    Handle::new(FileKind::Lock, name)
}

#[tokio::test]
async fn only_the_chosen_call_fails_and_the_order_is_recorded() {
    let backend = FaultBackend::new(MemoryBackend::new());
    backend.inject(
        Fault::new(Effect::Fail(ErrorKind::Temporary))
            .on(Operation::Write)
            .of(FileKind::Lock)
            .at(Calls::Nth(2)),
    );
    backend.write(&lock("1"), Bytes::new()).await.unwrap();
    backend
        .write(&Handle::config(), Bytes::new())
        .await
        .unwrap();
    assert!(
        backend
            .write(&lock("2"), Bytes::new())
            .await
            .unwrap_err()
            .is_temporary()
    );
    backend.write(&lock("2"), Bytes::new()).await.unwrap();
    assert_eq!(backend.count(Operation::Write, FileKind::Lock), 3);
    let names: Vec<_> = backend
        .calls()
        .into_iter()
        .filter_map(|call| call.name)
        .collect();
    assert_eq!(names, ["1", "config", "2", "2"]);
}

#[tokio::test]
async fn after_a_crash_nothing_changes_and_nothing_answers() {
    let memory = MemoryBackend::new();
    let backend = FaultBackend::new(memory.clone());
    backend.crash_after_changes(1);
    backend.write(&lock("1"), Bytes::new()).await.unwrap();
    assert!(backend.list(FileKind::Lock).await.is_ok());
    assert!(backend.write(&lock("2"), Bytes::new()).await.is_err());
    assert!(backend.list(FileKind::Lock).await.is_err());
    assert!(backend.is_crashed());
    assert_eq!(memory.handles(), [lock("1")]);
    backend.heal();
    assert!(backend.list(FileKind::Lock).await.is_ok());
}

#[tokio::test]
async fn a_lost_acknowledgement_has_done_its_work_and_damage_is_in_what_is_read() {
    let memory = MemoryBackend::new();
    let backend = FaultBackend::new(memory.clone());
    backend
        .inject(Fault::new(Effect::LoseAcknowledgement(ErrorKind::Temporary)).on(Operation::Write));
    backend.inject(
        Fault::new(Effect::FlipBit)
            .on(Operation::Read)
            .at(Calls::First(1)),
    );
    assert!(
        backend
            .write(&lock("1"), Bytes::from_static(b"abc"))
            .await
            .is_err()
    );
    assert_ne!(backend.read(&lock("1")).await.unwrap(), "abc");
    assert_eq!(backend.read(&lock("1")).await.unwrap(), "abc");
}
