//! The manifests of `examples/backends`, each against a real server: first session, second session, restore,
//! retention with prune, check, and the same repository in the hands of stock restic.

mod place;
mod places;
mod refused;

use std::fs;
use std::path::Path;

use testkit::{CompareOptions, Random, Restic, assert_same_tree, build_plain_tree};

use place::{Place, Scene};

/// What an example goes through.
fn cycle(place: Place) {
    let scene = Scene::new(place);
    build_plain_tree(&scene.path("source"), 4, 60);
    fs::write(
        scene.path("source/large.bin"),
        Random::new(3).bytes(3 << 20),
    )
    .unwrap();

    scene.stash(["validate", "manifests"]);
    scene.stash(["run", "--once", "manifests"]);
    assert_eq!(scene.snapshots(), 1);
    fs::write(
        scene.path("source/second.txt"),
        "written for the second session",
    )
    .unwrap();
    scene.stash(["run", "--once", "manifests"]);
    assert_eq!(scene.snapshots(), 2);

    scene.restore("restored");
    same(&scene.path("source"), &scene.path("restored"), &scene);

    scene.edit("backupconfiguration.yaml", "keepLast: 5", "keepLast: 1");
    scene.edit("backupconfiguration.yaml", "    keepDaily: 7\n", "");
    fs::remove_file(scene.path("source/large.bin")).unwrap();
    scene.stash(["run", "--once", "manifests"]);
    assert_eq!(scene.snapshots(), 1);
    scene.on_repository(["check", "--read-data"]);
    scene.passed("cycle");

    restic_goes_on(&scene);
    scene.assert_no_secret_was_shown();
}

/// Stock restic checks, restores, adds and prunes what we wrote, and we go on after it.
fn restic_goes_on(scene: &Scene) {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let Some(restic) = scene.restic(&restic) else {
        return;
    };
    restic.run(["check", "--read-data"]).assert_success();
    let target = scene.path("restored-by-restic");
    restic
        .run([
            "restore".as_ref(),
            "latest".as_ref(),
            "--target".as_ref(),
            target.as_os_str(),
        ])
        .assert_success();
    same(
        &scene.path("source"),
        &below(&target, &scene.path("source")),
        scene,
    );
    fs::write(scene.path("source/third.txt"), "written for restic").unwrap();
    restic
        .run(["backup".as_ref(), scene.path("source").as_os_str()])
        .assert_success();
    restic
        .run([
            "forget",
            "--keep-last",
            "1",
            "--group-by",
            "",
            "--prune",
            "--max-unused",
            "0",
        ])
        .assert_success();
    assert_eq!(scene.snapshots(), 1);
    scene.on_repository(["check", "--read-data"]);
    scene.passed("restic");
}

fn same(source: &Path, copy: &Path, scene: &Scene) {
    assert!(copy.is_dir(), "nothing was restored: {}", scene.told());
    assert_same_tree(source, copy, &CompareOptions::default());
}

/// Where a restore into `target` puts an absolute path.
fn below(target: &Path, path: &Path) -> std::path::PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}
