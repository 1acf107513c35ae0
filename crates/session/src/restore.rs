//! Which snapshots a host restores (reference 1.8, 4; decision 9).

use api::v1beta1::{RestorePhase, Rule};

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

/// Which of several RestoreSessions has a workload: the one that runs, then one that waits, then one that failed, and
/// what is done comes last. Lower comes first; of equals the newest.
pub const fn precedence(phase: Option<RestorePhase>) -> u8 {
    match phase {
        Some(RestorePhase::Running) => 0,
        None | Some(RestorePhase::Pending) => 1,
        Some(RestorePhase::Failed | RestorePhase::Unknown) => 2,
        Some(RestorePhase::Succeeded | RestorePhase::Invalid) => 3,
    }
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
    use super::*;

    fn rule(hosts: &[&str], source: &str, paths: &[&str]) -> Rule {
        Rule {
            target_hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            source_host: (!source.is_empty()).then(|| source.to_owned()),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_restore_that_runs_keeps_its_workload() {
        let mut phases = [
            Some(RestorePhase::Succeeded),
            Some(RestorePhase::Failed),
            None,
            Some(RestorePhase::Running),
        ];
        phases.sort_by_key(|phase| precedence(*phase));
        assert_eq!(
            phases,
            [
                Some(RestorePhase::Running),
                None,
                Some(RestorePhase::Failed),
                Some(RestorePhase::Succeeded)
            ]
        );
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
