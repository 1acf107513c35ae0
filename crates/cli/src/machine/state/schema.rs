//! Tables of the state database and how they grow from version to version.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::StateError;

/// The database's file name in the state directory.
pub const FILE: &str = "state.sqlite";

/// Each step brings the tables from one version to the next; `PRAGMA user_version` counts the steps done.
const STEPS: [&str; 1] = ["
    CREATE TABLE objects (
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        object TEXT NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, count INTEGER NOT NULL,
        type TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL
    );
    CREATE INDEX events_by_object ON events (kind, namespace, name, id);
    CREATE TABLE requests (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        session TEXT NOT NULL, requested TEXT NOT NULL
    );
    CREATE TABLE ticks (
        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        schedule TEXT NOT NULL, last_tick TEXT NOT NULL,
        PRIMARY KEY (kind, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counters VALUES ('version', 0);
"];

/// Opens the database, durable at every commit, and brings its tables up to date.
pub fn connect(directory: &Path) -> Result<Connection, StateError> {
    let failed = |source| StateError::Database {
        action: "open",
        directory: directory.to_owned(),
        source,
    };
    let file = directory.join(FILE);
    // SQLite gives its other files the mode of the database.
    std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&file)
        .map_err(|source| StateError::Directory {
            directory: directory.to_owned(),
            source,
        })?;
    let mut connection = Connection::open(file).map_err(failed)?;
    connection
        .busy_timeout(Duration::from_secs(10))
        .map_err(failed)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found: i64 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed)?;
    if found > known {
        return Err(StateError::Newer {
            directory: directory.to_owned(),
            found,
            known,
        });
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(connection)
}
