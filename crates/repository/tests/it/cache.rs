//! The cache as a repository uses it, shared with restic.

use std::path::Path;
use std::sync::Arc;

use backend::{Backend, CacheOptions, FileKind, LocalBackend, Operation};
use repository::tree::Tree;
use repository::{BlobId, BlobKind, IndexedRepository, OpenOptions, Repository};
use testkit::{FaultBackend, Restic, Scratch};

use crate::sample;

async fn open(backend: impl Backend + 'static, cache: &Path) -> IndexedRepository {
    let options = OpenOptions {
        cache: Some(CacheOptions {
            folder: cache.to_owned(),
            warn: Some(Arc::new(|text| panic!("{text}"))),
        }),
        ..OpenOptions::default()
    };
    let repository = Repository::open(Arc::new(backend), &sample::password(), &options)
        .await
        .unwrap();
    repository.load_index().await.unwrap()
}

async fn load_every_tree(repository: &IndexedRepository) -> usize {
    let trees: Vec<BlobId> = repository
        .index()
        .iter()
        .filter(|(handle, _)| handle.kind == BlobKind::Tree)
        .map(|(handle, _)| handle.id)
        .collect();
    for tree in &trees {
        let _: Tree = repository.load_tree(tree).await.unwrap();
    }
    trees.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_cached_is_not_fetched_again() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    testkit::build_plain_tree(&scratch.folder("source"), 3, 30);
    let (root, cache) = (scratch.join("repository"), scratch.join("cache"));
    let restic = restic.repository(&root, sample::PASSWORD);
    restic.init();
    let folder = cache.to_str().unwrap();
    let source = scratch.join("source");
    restic
        .run(["--cache-dir", folder, "backup", source.to_str().unwrap()])
        .assert_success();
    let faults = FaultBackend::new(LocalBackend::new(&root));
    let repository = open(faults.clone(), &cache).await;
    assert!(load_every_tree(&repository).await > 1);
    for kind in [FileKind::Index, FileKind::Pack] {
        assert_eq!(faults.count(Operation::Read, kind), 0, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_reads_what_we_cached() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let (root, cache) = (scratch.join("repository"), scratch.join("cache"));
    sample::create(LocalBackend::new(&root), 2).await;
    let repository = open(LocalBackend::new(&root), &cache).await;
    sample::save_snapshot(&repository, sample::contents(1, 20))
        .await
        .unwrap();
    let repository = open(LocalBackend::new(&root), &cache).await;
    let trees: Vec<_> = repository
        .index()
        .iter()
        .filter(|(handle, _)| handle.kind == BlobKind::Tree)
        .map(|(_, location)| location.pack.to_hex())
        .collect();
    assert!(!trees.is_empty());
    for pack in trees {
        // Only the cache has the trees now: they were kept when they were written.
        let path = root.join("data").join(&pack[..2]).join(&pack);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let restic = restic.repository(&root, sample::PASSWORD);
    let folder = cache.to_str().unwrap();
    let listed = restic
        .run(["--cache-dir", folder, "ls", "latest"])
        .assert_success()
        .stdout_text();
    assert!(listed.contains("/folder/file000001"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_goes_bad_in_the_cache_while_in_use_is_fetched_anew() {
    let scratch = Scratch::new();
    let (root, cache) = (scratch.join("repository"), scratch.join("cache"));
    sample::create(LocalBackend::new(&root), 2).await;
    let repository = sample::open(LocalBackend::new(&root)).await;
    sample::save_snapshot(&repository, sample::contents(1, 20))
        .await
        .unwrap();
    let faults = FaultBackend::new(LocalBackend::new(&root));
    let repository = open(faults.clone(), &cache).await;
    load_every_tree(&repository).await;
    let fetched = faults.count(Operation::Read, FileKind::Pack);
    let packs = cache.join(repository.config().id().to_hex()).join("data");
    let mut damaged = 0;
    for folder in std::fs::read_dir(packs).unwrap() {
        for entry in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            let length = std::fs::metadata(&path).unwrap().len();
            std::fs::write(path, vec![0; usize::try_from(length).unwrap()]).unwrap();
            damaged += 1;
        }
    }
    load_every_tree(&repository).await;
    let again = faults.count(Operation::Read, FileKind::Pack);
    assert_eq!((fetched, again), (damaged, 2 * damaged));
}
