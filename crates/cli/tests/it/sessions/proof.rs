//! Trees that are written, backed up, lost and brought back: what stock restic restores and what we restore, over what
//! was there and into new claims, has to be what was written.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::cluster::Files;
use testkit::{CompareOptions, Scratch, assert_same_tree, build_plain_tree, build_varied_tree};

use super::scene::{PASSWORD, Scene, claim};

/// A tree as it was written, kept where no test can lose it.
pub struct Tree {
    kept: Scratch,
    options: CompareOptions,
}

impl Tree {
    /// Many small files and a large one, folders within folders and empty ones, links, modes, owners, attributes,
    /// names and times that programs get wrong; another tree for each seed.
    pub fn new(seed: u64) -> Self {
        let kept = Scratch::new();
        build_varied_tree(kept.path(), seed);
        let options = CompareOptions {
            root: true,
            ..CompareOptions::restored_by_restic()
        };
        Self { kept, options }
    }

    /// Files of a user that nobody else may read, such as that user can bring back: folders and links too.
    pub fn of_user(seed: u64, user: u32) -> Self {
        let kept = Scratch::new();
        build_plain_tree(kept.path(), seed, 40);
        fs::write(kept.join("private"), "dear reader").unwrap();
        fs::create_dir(kept.join("empty")).unwrap();
        symlink("private", kept.join("link")).unwrap();
        fs::hard_link(kept.join("private"), kept.join("twin")).unwrap();
        own(kept.path(), user);
        let options = CompareOptions {
            root: true,
            ..CompareOptions::default()
        };
        Self { kept, options }
    }

    /// Writes such a tree into a claim; where a Pod has to carry it, one of what it can carry.
    pub fn in_claim(files: &Files<'_>, seed: u64) -> Self {
        let tree = if files.is_by_pod() {
            let kept = Scratch::new();
            build_plain_tree(kept.path(), seed, 40);
            let options = CompareOptions {
                modes: true,
                ..CompareOptions::content_only()
            };
            Self { kept, options }
        } else {
            Self::new(seed)
        };
        files.edit(|folder| tree.write(folder));
        tree
    }

    /// Writes it in place of what a folder holds.
    pub fn write(&self, folder: &Path) {
        empty(folder);
        copy(self.kept.path(), folder);
        self.assert_in(folder);
    }

    /// Fails the test unless a folder holds it and nothing else, with everything that a file has.
    pub fn assert_in(&self, folder: &Path) {
        assert_same_tree(self.kept.path(), folder, &self.options);
    }

    /// The same of a claim.
    pub fn assert_in_claim(&self, scene: &Scene, claim: &str) {
        scene.files(claim).look(|folder| self.assert_in(folder));
    }

    /// Takes a file of the workload into the tree: its text has to be this, its times are those of `folder`.
    pub fn add(&self, folder: &Path, name: &str, text: &str) {
        fs::write(self.kept.join(name), text).unwrap();
        for path in [name, ""] {
            let time = fs::metadata(folder.join(path)).unwrap().modified();
            let kept = File::open(self.kept.join(path)).unwrap();
            kept.set_modified(time.unwrap()).unwrap();
        }
    }

    /// What is in it under these names, or under all others; without what belongs to the folder itself.
    pub fn part(&self, names: &[&str], is_kept: bool) -> Self {
        let kept = Scratch::new();
        copy(self.kept.path(), kept.path());
        for entry in fs::read_dir(kept.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if names.contains(&name) != is_kept {
                remove(&path);
            }
        }
        let options = CompareOptions {
            root: false,
            ..self.options
        };
        Self { kept, options }
    }

    /// Fails the test unless restic, run by `run`, makes it from the newest snapshot of a path of a host.
    pub fn assert_by_restic(&self, host: &str, path: &str, run: impl FnOnce(&[&str])) {
        let scratch = Scratch::new();
        let target = scratch.path().to_str().unwrap();
        run(&[
            "restore", "latest", "--host", host, "--path", path, "--target", target,
        ]);
        self.assert_in(&scratch.join(path.trim_start_matches('/')));
    }
}

/// Fails the test unless stock restic finds a repository whole, and makes from the newest snapshot of each host what
/// was written there.
pub fn assert_repository(scene: &Scene, folder: &Path, path: &str, hosts: &[(&str, &Tree)]) {
    let repository = scene.restic.repository(folder, PASSWORD);
    repository.assert_check_is_clean();
    for (host, tree) in hosts {
        tree.assert_by_restic(host, path, |arguments| {
            repository.run(arguments).assert_success();
        });
    }
}

/// Restores the newest snapshot of a path of a host into a claim that was made for it, by a Job. `more` goes into the
/// specification.
pub fn assert_in_new_claim(scene: &Scene, host: &str, path: &str, tree: &Tree, more: &Value) {
    let name = format!("new-{host}");
    scene.stage.apply(&claim(&name));
    let mut spec = json!({ "target": {
        "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name },
        "volumeMounts": [{ "name": "data", "mountPath": path }],
        "rules": [{ "sourceHost": host, "paths": [path] }],
    } });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    scene.bring_back(&name, &spec);
    tree.assert_in_claim(scene, &name);
}

/// A restore into claims `<name>-0`, `<name>-1` and so on, which it makes itself.
pub fn into_templates(name: &str, path: &str, replicas: usize, rules: &Value) -> Value {
    json!({ "target": {
        "replicas": replicas,
        "volumeMounts": [{ "name": name, "mountPath": path }],
        "volumeClaimTemplates": [{
            "metadata": { "name": format!("{name}-${{POD_ORDINAL}}") },
            "spec": claim("any")["spec"],
        }],
        "rules": rules,
    } })
}

/// Restores each host's newest snapshot into a new claim of its own.
pub fn assert_in_templates(scene: &Scene, name: &str, path: &str, trees: &[&Tree]) {
    let rules = json!([{ "paths": [path] }]);
    scene.bring_back(name, &into_templates(name, path, trees.len(), &rules));
    for (number, tree) in trees.iter().enumerate() {
        tree.assert_in_claim(scene, &format!("{name}-{number}"));
    }
}

/// Removes all that a folder holds.
pub fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        remove(&entry.unwrap().path());
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

fn remove(path: &Path) {
    if path.symlink_metadata().unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// Gives a tree to a user: folders that all may enter, files that nobody else may read.
fn own(path: &Path, user: u32) {
    let kind = path.symlink_metadata().unwrap().file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path(), user);
        }
    }
    lchown(path, Some(user), Some(user)).unwrap();
    if !kind.is_symlink() {
        let mode = if kind.is_dir() { 0o755 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Copies what a folder holds into another, with everything that a file has.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("--archive")
        .arg(from.join("."))
        .arg(to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&copied.stderr);
    assert!(copied.status.success(), "{said}");
}
