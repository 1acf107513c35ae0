//! Repositories with known content, in memory and on disk.

use std::path::Path;
use std::sync::Arc;

use backend::{Backend, FileKind, Handle};
use repository::compression::Compression;
use repository::key::ScryptParams;
use repository::lock::{Lock, LockKind, LockOptions};
use repository::tree::{Node, NodeKind, Tree};
use repository::{
    BlobHandle, BlobId, BlobKind, CreateOptions, IndexedRepository, OpenOptions, Repository,
    SaveError, SnapshotId,
};
use secrecy::SecretString;
use testkit::{MemoryBackend, Random};

pub const PASSWORD: &str = "correct horse";

pub fn password() -> SecretString {
    SecretString::from(PASSWORD)
}

pub async fn create(backend: impl Backend + 'static, version: u32) -> Repository {
    let options = CreateOptions {
        scrypt: Some(ScryptParams::FAST_FOR_TESTS),
        version: Some(version),
        compression: Compression::Auto,
        ..CreateOptions::default()
    };
    Repository::create(Arc::new(backend), &password(), &options)
        .await
        .unwrap()
}

/// With small packs, so that few blobs fill several.
pub async fn open(backend: impl Backend + 'static) -> IndexedRepository {
    open_with(backend, Some(4 << 20)).await
}

pub async fn open_with(
    backend: impl Backend + 'static,
    pack_size_bytes: Option<u32>,
) -> IndexedRepository {
    let options = OpenOptions {
        pack_size_bytes,
        ..OpenOptions::default()
    };
    let repository = Repository::open(Arc::new(backend), &password(), &options)
        .await
        .unwrap();
    repository.load_index().await.unwrap()
}

/// Files of one or two blobs, every second compressible; the seed decides the content.
pub fn contents(seed: u64, files: usize) -> Vec<Vec<Vec<u8>>> {
    let mut random = Random::new(seed);
    let mut blob = |number: usize| {
        let length = 10_000 + random.index(90_000);
        if number.is_multiple_of(2) {
            random.bytes(length)
        } else {
            random.text(length)
        }
    };
    (0..files)
        .map(|number| (0..=number % 2).map(|_| blob(number)).collect())
        .collect()
}

/// Saves a snapshot of a folder that holds these files.
pub async fn save_snapshot(
    repository: &IndexedRepository,
    files: Vec<Vec<Vec<u8>>>,
) -> Result<SnapshotId, SaveError> {
    let writer = repository.writer();
    let saver = writer.clone();
    let tree = tokio::task::spawn_blocking(move || -> Result<BlobId, SaveError> {
        let mut nodes = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let mut node = Node::new(format!("file{number:06}"), NodeKind::File);
            node.mode = 0o644;
            node.size = file.iter().map(|blob| blob.len() as u64).sum();
            let ids = file
                .iter()
                .map(|blob| Ok(saver.save(BlobKind::Data, blob)?.id));
            node.content = Some(ids.collect::<Result<_, SaveError>>()?);
            nodes.push(node);
        }
        let folder = saver.save(BlobKind::Tree, &Tree { nodes }.to_json())?.id;
        let mut node = Node::new("folder", NodeKind::Dir);
        node.mode = 0o755;
        node.subtree = Some(folder);
        Ok(saver
            .save(BlobKind::Tree, &Tree { nodes: vec![node] }.to_json())?
            .id)
    })
    .await
    .unwrap()?;
    writer.finish().await?;
    let json = format!(
        r#"{{"time":"2026-01-02T03:04:05.678Z","tree":"{tree}","paths":["/folder"],"hostname":"host","username":"user","uid":1,"gid":1}}"#
    );
    Ok(SnapshotId(
        repository
            .save_unpacked(FileKind::Snapshot, json.as_bytes())
            .await?,
    ))
}

/// Fails the test unless every blob that the snapshots name can be loaded.
pub async fn assert_whole(repository: &IndexedRepository) -> usize {
    let mut snapshots = 0;
    for (id, _) in repository.list(FileKind::Snapshot).await.unwrap() {
        let json = repository
            .load_unpacked(FileKind::Snapshot, &id)
            .await
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let mut trees = vec![json["tree"].as_str().unwrap().parse::<BlobId>().unwrap()];
        while let Some(tree) = trees.pop() {
            for node in repository.load_tree(&tree).await.unwrap().nodes {
                trees.extend(node.subtree);
                for id in node.content.unwrap_or_default() {
                    let handle = BlobHandle {
                        kind: BlobKind::Data,
                        id,
                    };
                    repository.load_blob(&handle).await.unwrap();
                }
            }
        }
        snapshots += 1;
    }
    snapshots
}

/// Writes the objects to a folder, where restic can look at them.
pub fn export(backend: &MemoryBackend, root: &Path) {
    for kind in FileKind::ALL {
        std::fs::create_dir_all(root.join(kind.folder())).unwrap();
    }
    for handle in backend.handles() {
        let path = root.join(handle.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, backend.get(&handle).unwrap()).unwrap();
    }
}

/// The only object of a kind.
pub fn only(backend: &MemoryBackend, kind: FileKind) -> Handle {
    let handles = backend.handles_of(kind);
    assert_eq!(handles.len(), 1, "objects of kind {kind}");
    handles[0].clone()
}

/// Takes the exclusive lock.
pub async fn lock(repository: &Repository, kind: LockKind) -> Lock {
    let options = LockOptions {
        retry_for: std::time::Duration::ZERO,
        hostname: "host".to_owned(),
        username: "user".to_owned(),
        judge: None,
    };
    Lock::acquire(repository, kind, &options).await.unwrap()
}
