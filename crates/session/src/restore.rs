//! Which snapshots a host restores (reference 1.8, 4; decision 9).

use api::conditions::{condition_type as types, find_condition, reason};
use api::v1beta1::{HostRestorePhase, RestorePhase, RestoreSessionStatus, Rule};

use crate::expected::Expected;

/// What one host restores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The host whose snapshots are meant.
    pub source_host: String,
    /// The tag of the target that is restored into, whose own snapshots come before those of others.
    pub target: Option<String>,
    /// Which of them.
    pub choice: Choice,
    /// Only these patterns; everything when empty.
    pub include: Vec<String>,
    /// Not these patterns.
    pub exclude: Vec<String>,
}

/// Which snapshots of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// These, by id or `latest` (of the source host, the latest one of each of its paths).
    Snapshots(Vec<String>),
    /// The latest one of each of these paths.
    LatestOfPaths(Vec<String>),
    /// The latest one of every path that the host was ever backed up with.
    LatestOfEachPath,
}

/// Which of several RestoreSessions has a workload: the one that runs, then one that waits, then one that failed and is
/// tried again, and what is done comes last. Lower comes first; of equals the newest.
pub fn precedence(status: &RestoreSessionStatus) -> u8 {
    match status.phase {
        Some(RestorePhase::Running) => 0,
        None | Some(RestorePhase::Pending) => 1,
        Some(RestorePhase::Failed | RestorePhase::Unknown) if is_owed(status) => 2,
        Some(_) => 3,
    }
}

/// Whether a restore by init container that failed still has to be made good, so that the workload must not start
/// without it (decision 10): it had begun, a host lacks its data, and no other restore has had the workload since.
pub fn is_owed(status: &RestoreSessionStatus) -> bool {
    let has_failed = matches!(
        status.phase,
        Some(RestorePhase::Failed | RestorePhase::Unknown)
    );
    let good = status.stats.iter();
    let good = good.filter(|stats| stats.phase == Some(HostRestorePhase::Succeeded));
    let good = good.map(|stats| stats.hostname.as_str());
    let lacks_data = Expected::of_restore(status).is_some_and(|it| !it.has_all(good));
    has_failed && lacks_data && !is_superseded(status)
}

/// Whether another restore has had the workload since this one failed. It must not write over what that one brought.
pub fn is_superseded(status: &RestoreSessionStatus) -> bool {
    find_condition(&status.conditions, types::STASH_INIT_CONTAINER_INJECTED)
        .is_some_and(|it| it.reason.as_deref() == Some(reason::RESTORE_SUPERSEDED))
}

/// What a host restores. The first rule that names it wins, then the rule for all hosts; a host without a rule
/// restores the latest of its own.
pub fn select(rules: &[Rule], host: &str) -> Selection {
    let named = rules
        .iter()
        .find(|rule| rule.target_hosts.iter().any(|target| target == host));
    let rule = named.or_else(|| rules.iter().find(|rule| rule.target_hosts.is_empty()));
    let Some(rule) = rule else {
        return Selection {
            source_host: host.to_owned(),
            target: None,
            choice: Choice::LatestOfEachPath,
            include: Vec::new(),
            exclude: Vec::new(),
        };
    };
    let choice = match (rule.snapshots.is_empty(), rule.paths.is_empty()) {
        (false, _) => Choice::Snapshots(rule.snapshots.clone()),
        (true, false) => Choice::LatestOfPaths(rule.paths.clone()),
        (true, true) => Choice::LatestOfEachPath,
    };
    Selection {
        source_host: rule
            .source_host
            .clone()
            .filter(|host| !host.is_empty())
            .unwrap_or_else(|| host.to_owned()),
        target: None,
        choice,
        include: rule.include.clone(),
        exclude: rule.exclude.clone(),
    }
}

#[cfg(test)]
mod tests {
    use api::conditions::{Condition, ConditionStatus};
    use api::v1beta1::HostRestoreStats;

    use super::*;

    fn rule(hosts: &[&str], source: &str, paths: &[&str]) -> Rule {
        Rule {
            target_hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            source_host: (!source.is_empty()).then(|| source.to_owned()),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            ..Default::default()
        }
    }

    fn failed(hosts: &[(&str, HostRestorePhase)]) -> RestoreSessionStatus {
        let stats = hosts.iter().map(|(host, phase)| HostRestoreStats {
            hostname: (*host).to_owned(),
            phase: Some(*phase),
            duration: None,
            error: None,
        });
        RestoreSessionStatus {
            phase: Some(RestorePhase::Failed),
            total_hosts: i32::try_from(hosts.len()).ok(),
            stats: stats.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_restore_that_runs_keeps_its_workload() {
        let of = |phase: Option<RestorePhase>| RestoreSessionStatus {
            phase,
            ..failed(&[("host-0", HostRestorePhase::Failed)])
        };
        let order = [
            of(Some(RestorePhase::Running)),
            of(None),
            of(Some(RestorePhase::Failed)),
            of(Some(RestorePhase::Succeeded)),
        ];
        let order: Vec<u8> = order.iter().map(precedence).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }

    #[test]
    fn a_failed_restore_is_owed_until_every_host_has_its_data_or_another_had_the_workload() {
        let (good, bad) = (HostRestorePhase::Succeeded, HostRestorePhase::Failed);
        let mut half = failed(&[("host-0", good), ("host-1", bad)]);
        assert!(is_owed(&half));
        let only_its_hook = failed(&[("host-0", good), ("host-1", good)]);
        assert!(!is_owed(&only_its_hook));
        let never_begun = RestoreSessionStatus {
            total_hosts: None,
            ..failed(&[])
        };
        assert!(!is_owed(&never_begun));
        half.conditions.push(Condition::new(
            types::STASH_INIT_CONTAINER_INJECTED,
            ConditionStatus::False,
            reason::RESTORE_SUPERSEDED,
            "",
        ));
        assert!(is_superseded(&half) && !is_owed(&half));
        assert_eq!(precedence(&half), 3);
    }

    #[test]
    fn a_rule_that_names_the_host_beats_the_rule_for_all() {
        let rules = [
            rule(&[], "", &["/all"]),
            rule(&["host-1"], "host-0", &["/one"]),
        ];
        let selection = select(&rules, "host-1");
        assert_eq!(selection.source_host, "host-0");
        assert_eq!(selection.choice, Choice::LatestOfPaths(vec!["/one".into()]));
        assert_eq!(
            select(&rules, "host-2").choice,
            Choice::LatestOfPaths(vec!["/all".into()])
        );
    }

    #[test]
    fn a_host_without_a_rule_restores_the_latest_of_its_own() {
        let selection = select(&[rule(&["other"], "", &["/x"])], "host-0");
        assert_eq!(
            (selection.source_host.as_str(), selection.choice),
            ("host-0", Choice::LatestOfEachPath)
        );
    }

    #[test]
    fn a_rule_with_neither_snapshots_nor_paths_still_restores_something() {
        assert_eq!(
            select(&[rule(&[], "db", &[])], "host-0").choice,
            Choice::LatestOfEachPath
        );
    }

    #[test]
    fn snapshots_are_taken_as_named() {
        let rules = [Rule {
            snapshots: vec!["latest".into()],
            ..Default::default()
        }];
        assert_eq!(
            select(&rules, "host-0").choice,
            Choice::Snapshots(vec!["latest".into()])
        );
    }
}
