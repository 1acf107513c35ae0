//! Managing keys, with restic as the judge of what we write.

use backend::{ErrorKind, FileKind, Handle, LocalBackend, Operation};
use jiff::Timestamp;
use repository::key::ScryptParams;
use repository::keys::{self, KeyOptions, KeysError};
use repository::{OpenOptions, Repository};
use secrecy::SecretString;
use std::sync::Arc;
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend, Restic, Scratch};

use crate::sample;

fn options() -> KeyOptions {
    KeyOptions {
        username: "keeper".to_owned(),
        hostname: "vault".to_owned(),
        scrypt: Some(ScryptParams::FAST_FOR_TESTS),
    }
}

async fn opens(backend: impl backend::Backend + 'static, password: &str) -> bool {
    Repository::open(
        Arc::new(backend),
        &SecretString::from(password),
        &OpenOptions::default(),
    )
    .await
    .is_ok()
}

#[tokio::test]
async fn a_key_that_was_added_opens_the_repository_beside_the_old_one() {
    let backend = MemoryBackend::new();
    let repository = sample::create(backend.clone(), 2).await;
    let id = keys::add(
        &repository,
        &SecretString::from("second"),
        &options(),
        Timestamp::now(),
    )
    .await
    .unwrap();
    assert!(
        opens(backend.clone(), "second").await && opens(backend.clone(), sample::PASSWORD).await
    );
    let listed = keys::list(&repository).await.unwrap();
    assert_eq!(listed.len(), 2);
    let added = listed.iter().find(|key| key.id == id).unwrap();
    assert!(!added.is_current && listed.iter().any(|key| key.is_current));
    assert_eq!(added.file.as_ref().unwrap().username, "keeper");
    assert_eq!(keys::remove(&repository, &id.short()).await.unwrap(), id);
    assert!(!opens(backend.clone(), "second").await && opens(backend, sample::PASSWORD).await);
}

#[tokio::test]
async fn the_key_in_use_and_unknown_keys_are_not_removed() {
    let backend = MemoryBackend::new();
    let repository = sample::create(backend.clone(), 2).await;
    let error = keys::remove(&repository, &repository.key_id().short())
        .await
        .unwrap_err();
    assert!(matches!(error, KeysError::InUse { .. }), "{error}");
    assert!(matches!(
        keys::remove(&repository, "zz").await,
        Err(KeysError::NoMatch { .. })
    ));
    keys::add(
        &repository,
        &SecretString::from("second"),
        &options(),
        Timestamp::now(),
    )
    .await
    .unwrap();
    assert!(matches!(
        keys::remove(&repository, "").await,
        Err(KeysError::Ambiguous { count: 2, .. })
    ));
    assert_eq!(backend.handles_of(FileKind::Key).len(), 2);
}

#[tokio::test]
async fn a_changed_password_replaces_the_old_one() {
    let backend = MemoryBackend::new();
    let repository = sample::create(backend.clone(), 2).await;
    keys::change_password(
        &repository,
        &SecretString::from("new"),
        &options(),
        Timestamp::now(),
    )
    .await
    .unwrap();
    assert!(opens(backend.clone(), "new").await && !opens(backend, sample::PASSWORD).await);
}

#[tokio::test]
async fn the_old_password_stays_when_the_new_key_cannot_be_stored_or_read() {
    for operation in [Operation::Write, Operation::Read] {
        let memory = MemoryBackend::new();
        let faulty = FaultBackend::new(memory.clone());
        let repository = sample::create(faulty.clone(), 2).await;
        let broken = Fault::new(Effect::Fail(ErrorKind::Permanent))
            .on(operation)
            .of(FileKind::Key);
        faulty.inject(broken.at(Calls::All));
        let changed = keys::change_password(
            &repository,
            &SecretString::from("new"),
            &options(),
            Timestamp::now(),
        )
        .await;
        assert!(changed.is_err());
        assert!(opens(memory.clone(), sample::PASSWORD).await && !opens(memory, "new").await);
    }
}

#[tokio::test]
async fn a_new_key_that_comes_back_damaged_is_removed_again() {
    let memory = MemoryBackend::new();
    let faulty = FaultBackend::new(memory.clone());
    let repository = sample::create(faulty.clone(), 2).await;
    faulty.inject(
        Fault::new(Effect::CutByte)
            .on(Operation::Read)
            .of(FileKind::Key),
    );
    let error = keys::add(
        &repository,
        &SecretString::from("new"),
        &options(),
        Timestamp::now(),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, KeysError::Unusable { .. }), "{error}");
    assert_eq!(memory.handles_of(FileKind::Key).len(), 1);
}

#[tokio::test]
async fn a_damaged_key_is_listed_with_its_error() {
    let backend = MemoryBackend::new();
    let repository = sample::create(backend.clone(), 2).await;
    let id = keys::add(
        &repository,
        &SecretString::from("second"),
        &options(),
        Timestamp::now(),
    )
    .await
    .unwrap();
    backend.damage(&Handle::new(FileKind::Key, id.to_hex()), |bytes| {
        bytes.truncate(10);
    });
    let listed = keys::list(&repository).await.unwrap();
    assert_eq!(listed.iter().filter(|key| key.file.is_err()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_opens_with_our_keys_and_we_with_those_of_restic() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let root = scratch.join("repository");
    let repository = sample::create(LocalBackend::new(&root), 2).await;
    keys::change_password(
        &repository,
        &SecretString::from("n\u{fc}w"),
        &options(),
        Timestamp::now(),
    )
    .await
    .unwrap();
    restic
        .repository(&root, sample::PASSWORD)
        .run(["snapshots"])
        .assert_code(12);
    let restic = restic.repository(&root, "n\u{fc}w");
    let listed = restic.run(["key", "list", "--json"]);
    listed.assert_success();
    let listed = listed.json();
    assert_eq!(
        (&listed[0]["userName"], &listed[0]["hostName"]),
        (&"keeper".into(), &"vault".into())
    );
    std::fs::write(scratch.join("password"), "theirs\n").unwrap();
    restic
        .run([
            "key",
            "add",
            "--new-password-file",
            scratch.join("password").to_str().unwrap(),
        ])
        .assert_success();
    assert!(opens(LocalBackend::new(&root), "theirs").await);
}
