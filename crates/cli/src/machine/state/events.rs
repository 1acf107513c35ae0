//! Events: what happened to an object, kept like Kubernetes keeps them.

use rusqlite::params;

use super::{Key, StateError, StateStore};

/// How much of an object's story is kept.
const KEPT_PER_OBJECT: i64 = 200;

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// As expected.
    Normal,
    /// Somebody should look.
    Warning,
}

impl EventKind {
    /// Kubernetes' word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One event; the same event again raises `count` and `last_seen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventKind,
    /// CamelCase reason.
    pub reason: String,
    /// The story in a sentence.
    pub message: String,
    /// RFC 3339.
    pub first_seen: String,
    /// RFC 3339.
    pub last_seen: String,
    /// How often.
    pub count: i64,
}

impl StateStore {
    /// Records an event of an object.
    pub fn record_event(
        &self,
        key: &Key,
        kind: EventKind,
        reason: &str,
        message: &str,
        now: &str,
    ) -> Result<(), StateError> {
        self.change("record an event", |transaction| {
            let repeated = transaction.execute(
                "UPDATE events SET count = count + 1, last_seen = ?6
                 WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND reason = ?4 AND message = ?5",
                params![key.kind, key.namespace, key.name, reason, message, now],
            )?;
            if repeated == 0 {
                transaction.execute(
                    "INSERT INTO events (kind, namespace, name, first_seen, last_seen, count, type, reason, message)
                     VALUES (?1, ?2, ?3, ?4, ?4, 1, ?5, ?6, ?7)",
                    params![key.kind, key.namespace, key.name, now, kind.word(), reason, message],
                )?;
                transaction.execute(
                    "DELETE FROM events WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND id NOT IN
                     (SELECT id FROM events WHERE kind = ?1 AND namespace = ?2 AND name = ?3
                      ORDER BY id DESC LIMIT ?4)",
                    params![key.kind, key.namespace, key.name, KEPT_PER_OBJECT],
                )?;
            }
            Ok(())
        })
    }

    /// The events of an object, oldest first.
    pub fn events(&self, key: &Key) -> Result<Vec<Event>, StateError> {
        self.query("read events", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT type, reason, message, first_seen, last_seen, count FROM events
                 WHERE kind = ?1 AND namespace = ?2 AND name = ?3 ORDER BY id",
            )?;
            let rows = statement.query_map(params![key.kind, key.namespace, key.name], |row| {
                let word: String = row.get(0)?;
                Ok(Event {
                    kind: if word == "Warning" {
                        EventKind::Warning
                    } else {
                        EventKind::Normal
                    },
                    reason: row.get(1)?,
                    message: row.get(2)?,
                    first_seen: row.get(3)?,
                    last_seen: row.get(4)?,
                    count: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }
}
