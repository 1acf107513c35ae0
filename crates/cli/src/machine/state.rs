//! Status, sessions and history of one machine, in an SQLite database in the state directory.
//!
//! Objects are kept as the JSON that Kubernetes would hold. Secrets are never stored. One process, `stash run`,
//! owns the directory by a file lock; any number of others read it and ask for sessions. Every change is one
//! transaction, so a kill at any moment leaves the state before or after it.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::Value;

mod events;
mod requests;
mod schema;

pub use events::EventKind;

/// The file whose lock tells who owns the directory.
const OWNER_FILE: &str = "owner.lock";

/// The state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be made or opened.
    #[error("cannot use the state directory {}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing has run here yet.
    #[error("there is no state in {}", .directory.display())]
    Absent {
        /// The directory.
        directory: PathBuf,
    },
    /// Another `stash run` owns the directory.
    #[error("another `stash run` works with the state directory {}", .directory.display())]
    Owned {
        /// The directory.
        directory: PathBuf,
    },
    /// The database was made by a newer version.
    #[error("the state in {} has version {found}, this program knows {known}", .directory.display())]
    Newer {
        /// The directory.
        directory: PathBuf,
        /// Version found.
        found: i64,
        /// Newest version known.
        known: i64,
    },
    /// The database failed.
    #[error("cannot {action} in the state database of {}", .directory.display())]
    Database {
        /// What was being done.
        action: &'static str,
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored object is not JSON.
    #[error("the state of {object} in {} is damaged", .directory.display())]
    Damaged {
        /// Which object.
        object: String,
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Kind, as `Repository`.
    pub kind: String,
    /// Namespace; on one machine `default` unless the manifest names one.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key of its parts.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The key of an object from its own `kind` and `metadata`.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let namespace = text("/metadata/namespace");
        let namespace = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        Self::new(text("/kind"), namespace, text("/metadata/name"))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What applying a manifest did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The object is new.
    Created,
    /// Its spec differs from what was stored.
    Changed,
    /// Nothing differs.
    Unchanged,
}

/// The state directory, opened.
#[derive(Debug)]
pub struct StateStore {
    directory: PathBuf,
    connection: Mutex<Connection>,
    /// Held while this process owns the directory.
    _owner: Option<Flock<File>>,
}

impl StateStore {
    /// Opens the directory as its only owner, making it when absent (mode 0700).
    pub fn open_owned(directory: &Path) -> Result<Self, StateError> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let failed = |source| StateError::Directory {
            directory: directory.to_owned(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(directory.join(OWNER_FILE))
            .map_err(failed)?;
        let owner =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(
                |(_, errno)| match errno {
                    nix::errno::Errno::EWOULDBLOCK => StateError::Owned {
                        directory: directory.to_owned(),
                    },
                    errno => failed(errno.into()),
                },
            )?;
        Self::connect(directory, Some(owner))
    }

    /// Opens the directory beside its owner, to read and to leave requests.
    pub fn open_shared(directory: &Path) -> Result<Self, StateError> {
        if !directory.join(schema::FILE).exists() {
            return Err(StateError::Absent {
                directory: directory.to_owned(),
            });
        }
        Self::connect(directory, None)
    }

    /// Whether a `stash run` owns the directory at this moment.
    pub fn is_owned(directory: &Path) -> bool {
        let Ok(file) = File::options().write(true).open(directory.join(OWNER_FILE)) else {
            return false;
        };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }

    fn connect(directory: &Path, owner: Option<Flock<File>>) -> Result<Self, StateError> {
        let connection = schema::connect(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            connection: Mutex::new(connection),
            _owner: owner,
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Stores the desired state of an object. Identity, creation time and status of a known object stay;
    /// `metadata.generation` grows when the spec differs.
    pub fn apply(&self, desired: &Value, now: &str, new_uid: &str) -> Result<Applied, StateError> {
        let key = Key::of(desired);
        self.change("apply an object", |transaction| {
            let Some(stored) = read(transaction, &key)? else {
                let mut object = desired.clone();
                object["metadata"]["namespace"] = key.namespace.clone().into();
                object["metadata"]["uid"] = new_uid.into();
                object["metadata"]["creationTimestamp"] = now.into();
                object["metadata"]["generation"] = 1.into();
                write(transaction, &key, &object)?;
                return Ok(Applied::Created);
            };
            let stored: Value = serde_json::from_str(&stored).unwrap_or_default();
            let is_same_spec = stored["spec"] == desired["spec"];
            let mut object = desired.clone();
            object["metadata"]["namespace"] = key.namespace.clone().into();
            for field in ["uid", "creationTimestamp", "generation"] {
                object["metadata"][field] = stored["metadata"][field].clone();
            }
            if let Some(status) = stored.get("status") {
                object["status"] = status.clone();
            }
            if is_same_spec && object == stored {
                return Ok(Applied::Unchanged);
            }
            if !is_same_spec {
                let generation = stored["metadata"]["generation"].as_i64().unwrap_or(1);
                object["metadata"]["generation"] = (generation + 1).into();
            }
            write(transaction, &key, &object)?;
            Ok(if is_same_spec {
                Applied::Unchanged
            } else {
                Applied::Changed
            })
        })
    }

    /// Stores an object as it is, new or not.
    pub fn put(&self, object: &Value) -> Result<(), StateError> {
        self.change("store an object", |transaction| {
            write(transaction, &Key::of(object), object)
        })
    }

    /// Replaces the status of an object; an object that is gone stays gone.
    pub fn put_status(&self, key: &Key, status: &Value) -> Result<(), StateError> {
        self.change("store a status", |transaction| {
            let Some(text) = read(transaction, key)? else {
                return Ok(());
            };
            let mut object: Value = serde_json::from_str(&text).unwrap_or_default();
            object["status"] = status.clone();
            write(transaction, key, &object)
        })
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Result<Option<Value>, StateError> {
        let text = self.query("read an object", |connection| read(connection, key))?;
        text.map(|text| self.parse(&key.to_string(), &text))
            .transpose()
    }

    /// All objects of a kind, by namespace and name; of one namespace if given.
    pub fn list(&self, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>, StateError> {
        let texts: Vec<String> = self.query("list objects", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT object FROM objects WHERE kind = ?1 AND (?2 IS NULL OR namespace = ?2) ORDER BY namespace, name",
            )?;
            let rows = statement.query_map(params![kind, namespace], |row| row.get(0))?;
            rows.collect()
        })?;
        texts.iter().map(|text| self.parse(kind, text)).collect()
    }

    /// Forgets an object and its events.
    pub fn delete(&self, key: &Key) -> Result<(), StateError> {
        self.change("delete an object", |transaction| {
            for table in ["objects", "events"] {
                transaction.execute(
                    &format!(
                        "DELETE FROM {table} WHERE kind = ?1 AND namespace = ?2 AND name = ?3"
                    ),
                    params![key.kind, key.namespace, key.name],
                )?;
            }
            Ok(())
        })
    }

    /// Replaces everything of a kind that belongs to one owner by these objects, at once.
    /// The owner is the text at `pointer` in each object.
    pub fn replace_owned(
        &self,
        kind: &str,
        namespace: &str,
        pointer: &str,
        owner: &str,
        objects: &[Value],
    ) -> Result<(), StateError> {
        self.change("replace objects", |transaction| {
            let stored: Vec<(String, String)> = {
                let mut statement = transaction.prepare_cached(
                    "SELECT name, object FROM objects WHERE kind = ?1 AND namespace = ?2",
                )?;
                let rows = statement.query_map(params![kind, namespace], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
                rows.collect::<Result<_, _>>()?
            };
            for (name, text) in stored {
                let object: Value = serde_json::from_str(&text).unwrap_or_default();
                if object.pointer(pointer).and_then(Value::as_str) == Some(owner) {
                    transaction.execute(
                        "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
                        params![kind, namespace, name],
                    )?;
                }
            }
            for object in objects {
                write(transaction, &Key::of(object), object)?;
            }
            Ok(())
        })
    }

    /// A number that grows with every change by anybody.
    pub fn version(&self) -> Result<i64, StateError> {
        self.query("read the version", |connection| {
            connection.query_row(
                "SELECT value FROM counters WHERE name = 'version'",
                [],
                |row| row.get(0),
            )
        })
    }

    fn change<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let mut connection = self.connection.lock();
        let run = || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.execute(
                "UPDATE counters SET value = value + 1 WHERE name = 'version'",
                [],
            )?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|source| self.failed(action, source))
    }

    fn query<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        work(&self.connection.lock()).map_err(|source| self.failed(action, source))
    }

    fn failed(&self, action: &'static str, source: rusqlite::Error) -> StateError {
        StateError::Database {
            action,
            directory: self.directory.clone(),
            source,
        }
    }

    fn parse(&self, object: &str, text: &str) -> Result<Value, StateError> {
        serde_json::from_str(text).map_err(|source| StateError::Damaged {
            object: object.to_owned(),
            directory: self.directory.clone(),
            source,
        })
    }
}

fn read(connection: &Connection, key: &Key) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT object FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
        )?
        .query_row(params![key.kind, key.namespace, key.name], |row| row.get(0))
        .optional()
}

fn write(transaction: &Transaction<'_>, key: &Key, object: &Value) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO objects (kind, namespace, name, object) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key.kind, key.namespace, key.name, object.to_string()])?;
    Ok(())
}

#[cfg(test)]
mod tests;
