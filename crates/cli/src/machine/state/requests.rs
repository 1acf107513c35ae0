//! Sessions that somebody asked for, and the last tick of each schedule.

use rusqlite::{OptionalExtension, params};

use super::{Key, StateError, StateStore};

/// A session that `stash trigger` asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The configuration.
    pub invoker: Key,
    /// Name of the session to create.
    pub session: String,
}

impl StateStore {
    /// Asks the owner for a session of this name.
    pub fn request(&self, invoker: &Key, session: &str, now: &str) -> Result<(), StateError> {
        self.change("request a session", |transaction| {
            transaction.execute(
                "INSERT INTO requests (kind, namespace, name, session, requested) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![invoker.kind, invoker.namespace, invoker.name, session, now],
            )?;
            Ok(())
        })
    }

    /// The requests that wait, oldest first.
    pub fn requests(&self) -> Result<Vec<Request>, StateError> {
        self.query("read requests", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT kind, namespace, name, session FROM requests ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Request {
                    invoker: Key {
                        kind: row.get(0)?,
                        namespace: row.get(1)?,
                        name: row.get(2)?,
                    },
                    session: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Drops a request once its session object exists.
    pub fn drop_request(&self, session: &str) -> Result<(), StateError> {
        self.change("drop a request", |transaction| {
            transaction.execute("DELETE FROM requests WHERE session = ?1", params![session])?;
            Ok(())
        })
    }

    /// When the schedule of this object last fired; `None` when it never did under this expression.
    pub fn last_tick(&self, key: &Key, schedule: &str) -> Result<Option<String>, StateError> {
        self.query("read a tick", |connection| {
            connection
                .query_row(
                    "SELECT last_tick FROM ticks
                     WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND schedule = ?4",
                    params![key.kind, key.namespace, key.name, schedule],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    /// Records that the schedule fired, or was first seen.
    pub fn set_last_tick(&self, key: &Key, schedule: &str, tick: &str) -> Result<(), StateError> {
        self.change("store a tick", |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO ticks (kind, namespace, name, schedule, last_tick)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![key.kind, key.namespace, key.name, schedule, tick],
            )?;
            Ok(())
        })
    }
}
