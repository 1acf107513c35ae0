//! Trees against those of the real restic.

use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use backend::LocalBackend;
use repository::tree::Tree;
use repository::{BlobKind, IndexedRepository};
use testkit::{Restic, Scratch};

use crate::sample;

/// Reads every tree of a repository and fails unless it is written back byte for byte.
async fn assert_trees_are_written_back(repository: &IndexedRepository) -> usize {
    let handles: Vec<_> = repository
        .index()
        .iter()
        .map(|(handle, _)| handle)
        .collect();
    let mut nodes = 0;
    for handle in handles
        .into_iter()
        .filter(|handle| handle.kind == BlobKind::Tree)
    {
        let json = repository.load_blob(&handle).await.unwrap();
        let tree = Tree::from_json(&json).unwrap();
        assert_eq!(tree.problems(), []);
        let written = tree.to_json();
        let difference = written
            .iter()
            .zip(&json)
            .position(|(ours, theirs)| ours != theirs);
        let context = difference.map(|place| {
            let from = place.saturating_sub(120);
            let shown = |bytes: &[u8]| {
                bytes[from..bytes.len().min(place + 60)]
                    .escape_ascii()
                    .to_string()
            };
            format!("ours\n{}\nrestic's\n{}", shown(&written), shown(&json))
        });
        assert!(written == json, "{handle}: {context:?}");
        nodes += tree.nodes.len();
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_of_restic_are_written_back_byte_for_byte() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    testkit::build_everything_tree(&scratch.folder("source"), 3);
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    restic.init();
    for zone in ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"] {
        let mut command = restic.command(["backup", "--with-atime", "."]);
        let output = command
            .env("TZ", zone)
            .current_dir(scratch.join("source"))
            .output()
            .unwrap();
        // 3: what this user may not read is left out.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    }
    let repository = sample::open(LocalBackend::new(scratch.join("repository"))).await;
    let nodes = assert_trees_are_written_back(&repository).await;
    assert!(nodes > 100, "{nodes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_every_character_are_quoted_as_restic_quotes_them() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let files = write_every_character(&scratch.folder("source"));
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    restic.init();
    let mut command = restic.command(["backup", "."]);
    let output = command
        .current_dir(scratch.join("source"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let repository = sample::open(LocalBackend::new(scratch.join("repository"))).await;
    assert_eq!(assert_trees_are_written_back(&repository).await, files);
}

/// Empty files whose names hold the characters of the planes in use, and every byte that is no character.
fn write_every_character(folder: &Path) -> usize {
    let characters = (1..0x32000)
        .chain(0xe0000..0xe0200)
        .filter_map(char::from_u32)
        .filter(|&one| one != '/');
    let mut names: Vec<Vec<u8>> = Vec::new();
    for character in characters {
        let mut bytes = [0; 4];
        let encoded = character.encode_utf8(&mut bytes).as_bytes();
        match names.last_mut() {
            Some(name) if name.len() + encoded.len() <= 240 => name.extend_from_slice(encoded),
            _ => names.push([format!("{:06}-", names.len()).as_bytes(), encoded].concat()),
        }
    }
    names.extend((0x80..=0xff).map(|byte| vec![b'z', byte, b'-']));
    for name in &names {
        std::fs::write(folder.join(std::ffi::OsString::from_vec(name.clone())), b"").unwrap();
    }
    names.len()
}
