//! The exclude rules against restic's on the same tree: equal selections are equal tree ids.

use std::fs;
use std::path::Path;

use archive::filter::{ExcludeOptions, Excludes};
use archive::parent::ParentChoice;
use archive::save::BackupOptions;
use testkit::Random;

use crate::save::{node_at, options, save};
use crate::scene::Scene;

/// A tree whose names meet the patterns below in many ways.
fn build(root: &Path, random: &mut Random) {
    let names = [
        "a", "b", "ab", "foo", "Foo", "foo.txt", "bar", "x y", "ä", "[a]", "a*b", "keep",
    ];
    let mut folders = vec![root.to_owned()];
    for _ in 0..60 {
        let folder = random.pick(&folders).clone();
        let path = folder.join(random.pick(&names));
        if path.exists() {
            continue;
        }
        if random.is_chance(45) {
            fs::create_dir(&path).unwrap();
            folders.push(path);
        } else {
            let length = random.index(3000);
            fs::write(path, random.bytes(length)).unwrap();
        }
    }
}

fn pattern(root: &Path, random: &mut Random) -> String {
    let parts = [
        "a", "?", "*", "**", "foo*", "[a-b]", "[^a]*", "\\[a]", "a\\*b", "*.txt", "ä", "FOO",
        "x y", ".",
    ];
    let count = 1 + random.index(3);
    let parts: Vec<_> = (0..count).map(|_| *random.pick(&parts)).collect();
    let pattern = parts.join("/");
    let anchored = if random.is_chance(40) {
        format!("{}/{pattern}", root.display())
    } else {
        pattern
    };
    if random.is_chance(15) {
        format!("!{anchored}")
    } else {
        anchored
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn excludes_select_what_restic_selects() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    let mut random = Random::from_environment();
    build(&source, &mut random);
    for _ in 0..12 {
        let mut arguments = vec!["backup".to_owned(), "--force".to_owned(), "-q".to_owned()];
        let mut excludes = ExcludeOptions::default();
        for _ in 0..=random.index(4) {
            let pattern = pattern(&source, &mut random);
            if random.is_chance(70) {
                arguments.extend(["--exclude".to_owned(), pattern.clone()]);
                excludes.patterns.push(pattern.into());
            } else {
                arguments.extend(["--iexclude".to_owned(), pattern.clone()]);
                excludes.insensitive_patterns.push(pattern.into());
            }
        }
        arguments.push(source.display().to_string());
        assert_same_selection(&scene, &arguments, &excludes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_rules_leave_out_what_restic_leaves_out() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    for folder in [
        "cache",
        "cache/deep",
        "fake",
        "tagged",
        "tagged/deep",
        "both",
    ] {
        fs::create_dir_all(source.join(folder)).unwrap();
        fs::write(source.join(folder).join("file"), folder).unwrap();
    }
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    for (path, content) in [
        ("cache/CACHEDIR.TAG", tag),
        ("fake/CACHEDIR.TAG", "Signature: of nobody"),
        ("tagged/.nobackup", ""),
        ("both/.nobackup", ""),
        ("both/CACHEDIR.TAG", tag),
        ("large", &"x".repeat(2049)),
        ("small", &"x".repeat(2048)),
        ("lines", "# comment\n\n  fi$E  \n"),
    ] {
        fs::write(source.join(path), content).unwrap();
    }
    let lines = source.join("lines");
    let place = source.display().to_string();
    let cases: [(&[&str], ExcludeOptions); 5] = [
        (
            &["--exclude-caches"],
            ExcludeOptions {
                caches: true,
                ..ExcludeOptions::default()
            },
        ),
        (
            &["--exclude-if-present", ".nobackup", "--exclude-caches"],
            ExcludeOptions {
                caches: true,
                if_present: vec![".nobackup".into()],
                ..ExcludeOptions::default()
            },
        ),
        (
            &["--exclude-if-present", "CACHEDIR.TAG:Signature: of"],
            ExcludeOptions {
                if_present: vec!["CACHEDIR.TAG:Signature: of".into()],
                ..ExcludeOptions::default()
            },
        ),
        (
            &["--exclude-larger-than", "2k"],
            ExcludeOptions {
                larger_than: Some(2048),
                ..ExcludeOptions::default()
            },
        ),
        (
            &["--exclude-file", lines.to_str().unwrap()],
            ExcludeOptions {
                pattern_files: vec![lines.clone()],
                ..ExcludeOptions::default()
            },
        ),
    ];
    for (more, excludes) in cases {
        let mut arguments = vec!["backup".to_owned(), "--force".to_owned(), "-q".to_owned()];
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        arguments.push(place.clone());
        assert_same_selection(&scene, &arguments, &excludes).await;
    }
}

/// Fails unless both make the same tree of the source, or both none at all.
async fn assert_same_selection(scene: &Scene, arguments: &[String], excludes: &ExcludeOptions) {
    let source = scene.source();
    let compiled = Excludes::compile(excludes, &|_| None).unwrap();
    let options = BackupOptions {
        parent: ParentChoice::None,
        excludes: compiled,
        ..options(&[&source])
    };
    let ours = save(&scene.open().await, &options).await;
    let ours = match ours {
        Ok(summary) => Some(summary.snapshot_id.unwrap().to_hex()),
        Err(_) => None,
    };
    let theirs = scene.restic.run(arguments);
    assert_eq!(theirs.code == 0, ours.is_some(), "{arguments:?}: {theirs}");
    let Some(ours) = ours else { return };
    let (ours, theirs) = (scene.snapshot(&ours).await, scene.snapshot("latest").await);
    let repository = scene.open().await;
    let ours_node = node_at(&repository, &ours, &source).await;
    let theirs_node = node_at(&repository, &theirs, &source).await;
    if ours_node != theirs_node {
        let list = |tree: String| scene.restic.run(["ls", &tree]).stdout_text();
        let ids = scene.restic.run(["snapshots", "--json"]).json();
        let ids = ids.as_array().unwrap();
        let newest: Vec<_> = ids
            .iter()
            .rev()
            .take(2)
            .map(|id| list(id["id"].as_str().unwrap().to_owned()))
            .collect();
        panic!(
            "{arguments:?}\n--- restic\n{}\n--- ours\n{}",
            newest[0], newest[1]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staying_on_one_file_system_keeps_mount_points_empty_as_restic_does() {
    let Some(scene) = Scene::new() else { return };
    let is_mount = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &str| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        device(path) != device("/dev")
    };
    if !["/dev/shm", "/dev/pts"].into_iter().any(is_mount) {
        return testkit::skip("nothing is mounted below /dev");
    }
    let options = BackupOptions {
        one_file_system: true,
        ..options(&[Path::new("/dev")])
    };
    save(&scene.open().await, &options).await.unwrap();
    let list = || {
        let mut lines: Vec<_> = scene
            .restic
            .run(["ls", "latest"])
            .stdout_text()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.retain(|line| line.starts_with('/'));
        lines
    };
    let ours = list();
    scene
        .restic
        .run(["backup", "-q", "--one-file-system", "/dev"])
        .assert_success();
    assert_eq!(ours, list());
}
