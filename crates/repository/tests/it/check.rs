//! Check and the damage it has to find: whatever the bytes say, there is an error and never a panic.

use backend::{FileKind, Handle, LocalBackend};
use repository::check::{self, CheckOptions, CheckReport, CheckSubject, ReadData};
use repository::{OpenError, OpenOptions, Repository};
use secrecy::SecretString;
use std::sync::Arc;
use testkit::{MemoryBackend, Random, Restic, Scratch};

use crate::sample;

async fn sample_repository() -> MemoryBackend {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    sample::save_snapshot(&sample::open(memory.clone()).await, sample::contents(1, 30))
        .await
        .unwrap();
    memory
}

async fn try_open(memory: &MemoryBackend) -> Result<Repository, OpenError> {
    Repository::open(
        Arc::new(memory.clone()),
        &sample::password(),
        &OpenOptions::default(),
    )
    .await
}

async fn run(memory: &MemoryBackend, read_data: ReadData) -> CheckReport {
    let repository = try_open(memory).await.unwrap();
    check::check(&repository, &CheckOptions { read_data }, &|_| ())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_repository_has_no_errors() {
    let memory = sample_repository().await;
    let report = run(&memory, ReadData::All).await;
    assert!(report.is_clean() && report.notes.is_empty(), "{report:?}");
    assert_eq!(
        (report.snapshots, report.trees, report.packs),
        (1, 2, report.packs_read)
    );
    assert!(report.bytes_read > 1_000_000);
    assert_eq!(run(&memory, ReadData::Bytes(1)).await.packs_read, 1);
    assert_eq!(run(&memory, ReadData::None).await.packs_read, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_writes_is_whole_for_us() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    testkit::build_plain_tree(&scratch.folder("source"), 3, 300);
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    restic.init();
    for _ in 0..2 {
        restic
            .run(["backup", scratch.join("source").to_str().unwrap()])
            .assert_success();
    }
    let repository = sample::open(LocalBackend::new(scratch.join("repository"))).await;
    let options = CheckOptions {
        read_data: ReadData::All,
    };
    let report = check::check(&repository, &options, &|_| ()).await.unwrap();
    assert!(report.is_clean() && report.notes.is_empty(), "{report:?}");
    assert!(report.trees > 2 && report.snapshots == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_file_is_found() {
    let original = sample_repository().await;
    let mut random = Random::from_environment();
    for handle in original.handles() {
        for _ in 0..5 {
            let memory = original.copy();
            let length = memory.get(&handle).unwrap().len();
            let (byte, bit) = (random.index(length), random.below(8));
            memory.damage(&handle, |data| data[byte] ^= 1 << bit);
            assert_found(
                &memory,
                &handle,
                &format!("bit {bit} of byte {byte} of {length} flipped in {handle}"),
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_emptied_or_replaced_file_is_found() {
    let original = sample_repository().await;
    let mut random = Random::from_environment();
    for handle in original.handles() {
        let length = original.get(&handle).unwrap().len();
        for kept in [0, 1, 31, 32, length / 2, length - 1, random.index(length)] {
            let memory = original.copy();
            memory.damage(&handle, |data| data.truncate(kept));
            assert_found(
                &memory,
                &handle,
                &format!("{handle} of {length} bytes cut to {kept}"),
            )
            .await;
        }
        let memory = original.copy();
        memory.damage(&handle, |data| *data = vec![b'{'; 1000]);
        assert_found(&memory, &handle, &format!("{handle} replaced by nonsense")).await;
        if handle.kind() != FileKind::Config && handle.kind() != FileKind::Key {
            memory.take(&handle);
            let is_snapshot = handle.kind() == FileKind::Snapshot;
            assert_eq!(
                run(&memory, ReadData::All).await.is_clean(),
                is_snapshot,
                "{handle} removed"
            );
        }
    }
}

/// Opening fails as damage, or check finds errors about this kind of file.
async fn assert_found(memory: &MemoryBackend, handle: &Handle, what: &str) {
    match (handle.kind(), try_open(memory).await) {
        (FileKind::Config, Err(OpenError::DamagedConfig { .. }))
        // The people's fields of a key are not authenticated.
        | (FileKind::Key, Ok(_) | Err(OpenError::DamagedKey { .. })) => {}
        (FileKind::Config | FileKind::Key, result) => panic!("{what}: {result:?}"),
        (kind, result) => {
            result.unwrap();
            let report = run(memory, ReadData::All).await;
            let subject = |kind| match kind {
                FileKind::Index => CheckSubject::Index,
                FileKind::Snapshot => CheckSubject::Snapshot,
                _ => CheckSubject::Data,
            };
            let is_about_it = |subject| report.errors.iter().any(|error| error.subject == subject);
            let is_found = is_about_it(subject(kind))
                || kind == FileKind::Pack && is_about_it(CheckSubject::Pack);
            assert!(is_found && !report.hints.is_empty(), "{what}: {report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_swapped_are_found() {
    let original = sample_repository().await;
    let other = sample_repository().await;
    for kind in [
        FileKind::Config,
        FileKind::Key,
        FileKind::Index,
        FileKind::Snapshot,
        FileKind::Pack,
    ] {
        let memory = original.copy();
        for (mine, theirs) in original.handles_of(kind).iter().zip(other.handles_of(kind)) {
            memory.put(mine, other.get(&theirs).unwrap());
        }
        match (kind, try_open(&memory).await) {
            (FileKind::Config | FileKind::Key, result) => {
                assert!(
                    matches!(result, Err(OpenError::DamagedConfig { .. })),
                    "{kind}: {result:?}"
                );
            }
            (_, result) => {
                result.unwrap();
                assert!(!run(&memory, ReadData::All).await.is_clean(), "{kind}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_does_not_hide_a_good_one_and_a_wrong_password_is_no_damage() {
    let memory = sample_repository().await;
    let wrong = SecretString::from("wrong");
    let result = Repository::open(Arc::new(memory.clone()), &wrong, &OpenOptions::default()).await;
    assert!(
        matches!(result, Err(OpenError::WrongPassword { .. })),
        "{result:?}"
    );
    for (name, content) in [
        ("0", ""),
        ("f", "{"),
        (
            "8",
            "{\"kdf\":\"scrypt\",\"N\":1099511627776,\"r\":8,\"p\":1,\"salt\":\"\",\"data\":\"\"}",
        ),
    ] {
        memory.put(&Handle::new(FileKind::Key, name.repeat(64)), content);
    }
    memory.put(&Handle::new(FileKind::Key, "README"), "no key");
    try_open(&memory).await.unwrap();
    let result = Repository::open(Arc::new(memory.clone()), &wrong, &OpenOptions::default()).await;
    assert!(
        matches!(result, Err(OpenError::DamagedKey { .. })),
        "{result:?}"
    );
    let hinted = OpenOptions {
        key_hint: Some("8888".to_owned()),
        ..OpenOptions::default()
    };
    Repository::open(Arc::new(memory), &sample::password(), &hinted)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_where_something_is() {
    let memory = sample_repository().await;
    let before: Vec<_> = memory.handles();
    let create = |memory: &MemoryBackend| {
        let backend = Arc::new(memory.clone());
        async move {
            Repository::create(
                backend,
                &sample::password(),
                &repository::CreateOptions::default(),
            )
            .await
        }
    };
    assert!(matches!(
        create(&memory).await,
        Err(OpenError::Exists { .. })
    ));
    // Also when only the keys are left: the config may come back from a backup of the repository.
    memory.take(&Handle::config());
    assert!(matches!(
        try_open(&memory).await,
        Err(OpenError::NoRepository { .. })
    ));
    assert!(matches!(
        create(&memory).await,
        Err(OpenError::Exists { .. })
    ));
    assert_eq!(memory.handles().len(), before.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_noted_and_a_missing_index_is_an_error() {
    let memory = sample_repository().await;
    memory.put(&Handle::new(FileKind::Pack, "ab".repeat(32)), vec![0; 100]);
    let report = run(&memory, ReadData::All).await;
    assert!(
        report.is_clean() && report.suggests_prune && report.notes.len() == 1,
        "{report:?}"
    );
    memory.take(&sample::only(&memory, FileKind::Index));
    let report = run(&memory, ReadData::All).await;
    assert!(!report.is_clean(), "{report:?}");
    assert!(
        report
            .errors
            .iter()
            .any(|error| error.subject == CheckSubject::Tree)
    );
}
