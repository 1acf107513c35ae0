//! Which hosts a session waits for: those that its target had when it began, whoever comes and goes meanwhile.

use api::v1beta1::{BackupTargetStatus, RestoreSessionStatus};

/// The hosts that a session began with. Of some only the number is known: a Pod of a DaemonSet that was not there yet,
/// or all of them in a status that an earlier version wrote.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    names: &'a [String],
    total: i32,
}

impl<'a> Expected<'a> {
    /// Those of a target; `None` before it has begun.
    pub fn of_target(status: &'a BackupTargetStatus) -> Option<Self> {
        Some(Self {
            names: &status.hosts,
            total: status.total_hosts?,
        })
    }

    /// Those of a restore; `None` before it has begun.
    pub fn of_restore(status: &'a RestoreSessionStatus) -> Option<Self> {
        Some(Self {
            names: &status.hosts,
            total: status.total_hosts?,
        })
    }

    /// The names, as far as they are known.
    pub const fn names(&self) -> &'a [String] {
        self.names
    }

    /// Whether the session waits for this host. One that came later is the next session's.
    pub fn includes(&self, host: &str) -> bool {
        let is_any_open = i64::try_from(self.names.len()).unwrap_or(i64::MAX) < self.total.into();
        is_any_open || self.names.iter().any(|name| name == host)
    }

    /// Whether every one of them is among the hosts that have reported. No other host stands in for one of them.
    pub fn has_all<'r>(&self, reported: impl Iterator<Item = &'r str> + Clone) -> bool {
        self.missing(reported) == 0
    }

    /// How many have not reported.
    pub fn missing<'r>(&self, reported: impl Iterator<Item = &'r str> + Clone) -> usize {
        let named = self.names.iter();
        let named = named.filter(|name| !reported.clone().any(|it| it == *name));
        let named = named.count();
        let others = reported.filter(|host| !self.names.iter().any(|name| name == host));
        let total = usize::try_from(self.total).unwrap_or(0);
        let open = total.saturating_sub(self.names.len());
        named + open.saturating_sub(others.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn no_host_that_came_later_stands_in_for_one_that_was_there() {
        let names = names(&["host-0", "host-1"]);
        let expected = Expected {
            names: &names,
            total: 2,
        };
        assert!(expected.includes("host-1") && !expected.includes("host-2"));
        assert!(!expected.has_all(["host-0", "host-2"].into_iter()));
        assert_eq!(expected.missing(["host-2"].into_iter()), 2);
        assert!(expected.has_all(["host-1", "host-2", "host-0"].into_iter()));
    }

    #[test]
    fn hosts_without_a_known_name_are_counted() {
        let names = names(&["node-a"]);
        let expected = Expected {
            names: &names,
            total: 2,
        };
        assert!(expected.includes("node-b"));
        assert!(!expected.has_all(["node-a"].into_iter()));
        assert!(!expected.has_all(["node-b", "node-c"].into_iter()));
        assert!(expected.has_all(["node-a", "node-c"].into_iter()));
        let counted = Expected {
            names: &[],
            total: 1,
        };
        assert!(counted.includes("host-0") && counted.has_all(["host-0"].into_iter()));
    }
}
