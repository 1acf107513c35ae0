use crate::{
    CompareOptions, Restic, Scratch, assert_same_tree, build_everything_tree, build_varied_tree,
    compare_trees,
};

#[test]
fn one_seed_gives_one_tree_and_differences_are_found() {
    let scratch = Scratch::new();
    let (first, second) = (scratch.folder("first"), scratch.folder("second"));
    build_everything_tree(&first, 1);
    build_everything_tree(&second, 1);
    assert_same_tree(&first, &second, &CompareOptions::default());

    std::fs::write(second.join("many/file-0007"), "changed").unwrap();
    std::fs::remove_file(second.join("links/hard-1")).unwrap();
    std::fs::create_dir(second.join("new")).unwrap();
    let differences = compare_trees(
        &first,
        &second,
        &CompareOptions {
            mtimes: false,
            ..Default::default()
        },
    );
    assert!(
        differences
            .iter()
            .any(|line| line.starts_with("many/file-0007: kind is")),
        "{differences:?}"
    );
    assert!(
        differences
            .iter()
            .any(|line| line.starts_with("links/hard-1: missing"))
    );
    assert!(
        differences
            .iter()
            .any(|line| line.starts_with("links/hard-2: hard link group"))
    );
    assert!(
        differences
            .iter()
            .any(|line| line.starts_with("new: not expected"))
    );
}

/// What restic cannot keep would be no fair expectation of others either.
#[test]
fn one_seed_gives_one_varied_tree() {
    let scratch = Scratch::new();
    let [first, second, other] = ["first", "second", "other"].map(|name| scratch.folder(name));
    build_varied_tree(&first, 1);
    build_varied_tree(&second, 1);
    build_varied_tree(&other, 2);
    let everything = CompareOptions {
        root: true,
        ..CompareOptions::default()
    };
    assert_same_tree(&first, &second, &everything);
    assert!(compare_trees(&first, &other, &everything).len() > 200);
}

#[test]
fn restic_brings_everything_in_the_tree_back() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    build_everything_tree(&source, 2);
    let repository = restic.repository(scratch.join("repository"), "password");
    repository.init();
    let mut backup = repository.command(["backup", "--quiet", "."]);
    let output = backup.current_dir(&source).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let target = scratch.join("target");
    repository
        .run([
            "restore".as_ref(),
            "latest".as_ref(),
            "--target".as_ref(),
            target.as_os_str(),
        ])
        .assert_success();
    assert_same_tree(&source, &target, &CompareOptions::restored_by_restic());
}
