//! Which sessions of an invoker are kept (reference 3.5).

use api::v1beta1::BackupSessionPhase;
use jiff::Timestamp;

use crate::phase::is_final_backup;

/// Sessions kept when the configuration does not say.
pub const DEFAULT_LIMIT: i32 = 1;

/// A session as the history sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the session.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its phase.
    pub phase: BackupSessionPhase,
}

/// Names of the sessions to remove: all but the newest `limit` that are over, the last Succeeded and the last
/// Failed one (unless the limit is 0), and all that are not over.
pub fn to_remove(entries: &[Entry], limit: Option<i32>) -> Vec<String> {
    let limit = usize::try_from(limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(0);
    let mut over: Vec<&Entry> = entries
        .iter()
        .filter(|entry| is_final_backup(entry.phase))
        .collect();
    over.sort_by(|left, right| {
        right
            .created
            .cmp(&left.created)
            .then_with(|| right.name.cmp(&left.name))
    });
    let last = |phase| {
        over.iter()
            .find(|entry| entry.phase == phase)
            .map(|entry| entry.name.as_str())
    };
    let protected = if limit == 0 {
        [None, None]
    } else {
        [
            last(BackupSessionPhase::Succeeded),
            last(BackupSessionPhase::Failed),
        ]
    };
    over.iter()
        .skip(limit)
        .filter(|entry| !protected.contains(&Some(entry.name.as_str())))
        .map(|entry| entry.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: i64, phase: BackupSessionPhase) -> Entry {
        Entry {
            name: format!("s-{second}"),
            created: Timestamp::from_second(second).unwrap(),
            phase,
        }
    }

    #[test]
    fn the_last_good_and_the_last_bad_session_survive_any_positive_limit() {
        use BackupSessionPhase::{Failed, Running, Skipped, Succeeded};
        let entries = [
            entry(1, Succeeded),
            entry(2, Succeeded),
            entry(3, Failed),
            entry(4, Failed),
            entry(5, Skipped),
            entry(6, Running),
        ];
        assert_eq!(to_remove(&entries, None), ["s-3", "s-1"]);
        assert_eq!(to_remove(&entries, Some(3)), ["s-1"]);
        assert_eq!(
            to_remove(&entries, Some(0)),
            ["s-5", "s-4", "s-3", "s-2", "s-1"]
        );
        assert_eq!(to_remove(&entries, Some(10)), Vec::<String>::new());
    }
}
