use api::arguments::BackupArguments;
use archive::save::NoProgress;
use backend::{FileKind, HttpOptions, Meter};
use repository::key::ScryptParams;
use secrecy::SecretString;
use testkit::{MemoryBackend, Scratch};
use tokio_util::sync::CancellationToken;

use super::*;

fn identity() -> Identity {
    Identity {
        session: "session".to_owned(),
        namespace: "namespace".to_owned(),
        invoker_kind: "BackupConfiguration".to_owned(),
        invoker_name: "invoker".to_owned(),
        machine: "machine".to_owned(),
        judge: None,
        username: "user".to_owned(),
        cache: CachePlace::None,
        created: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// A repository in memory that is read through a cache in this folder.
async fn cached(memory: &MemoryBackend, scratch: &Scratch) -> Engine {
    let password = SecretString::from("password");
    let backend: Arc<dyn backend::Backend> = Arc::new(memory.clone());
    let create = CreateOptions {
        scrypt: Some(ScryptParams::FAST_FOR_TESTS),
        ..CreateOptions::default()
    };
    Repository::create(Arc::clone(&backend), &password, &create)
        .await
        .unwrap();
    let cache = Some(CacheOptions {
        folder: scratch.folder("cache"),
        warn: Some(Arc::new(|text| panic!("{text}"))),
    });
    let options = OpenOptions {
        cache: cache.clone(),
        ..OpenOptions::default()
    };
    let repository = Repository::open(Arc::clone(&backend), &password, &options)
        .await
        .unwrap();
    let storage = Storage {
        backend,
        meter: Arc::new(Meter::default()),
        http: HttpOptions::default(),
        folder: None,
        cache,
    };
    Engine::new(repository, storage, &identity())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_sees_damage_that_the_cache_hides() {
    let (memory, scratch) = (MemoryBackend::new(), Scratch::new());
    let engine = cached(&memory, &scratch).await;
    let stop = Stop::new(&CancellationToken::new(), None);
    let source = scratch.folder("source");
    std::fs::write(source.join("file"), "content").unwrap();
    let request = SaveRequest {
        path: source,
        host: "host",
        username: "user",
        tag: "tag".to_owned(),
        excludes: &[],
        arguments: &BackupArguments::default(),
    };
    engine
        .save(&request, Arc::new(NoProgress), &stop)
        .await
        .unwrap();
    engine.census(&stop).await.unwrap();
    assert_eq!(engine.check(&stop).await.unwrap(), Vec::<String>::new());
    for kind in [FileKind::Index, FileKind::Snapshot] {
        for handle in memory.handles_of(kind) {
            memory.damage(&handle, |data| data[40] ^= 1);
        }
    }
    engine.census(&stop).await.expect("what is cached is whole");
    assert!(!engine.check(&stop).await.unwrap().is_empty());
}
