//! Whose data a snapshot holds, by its tags: so that a restore never mixes what several workloads stored as one host.

use std::collections::BTreeSet;

use api::v1beta1::TargetRef;

/// What begins the tag that names the invoker.
pub(crate) const INVOKER: &str = "stash-invoker=";
/// What begins the tag that names the target.
const TARGET: &str = "stash-target=";

/// The tag that names the target of a snapshot.
pub fn target_tag(target: &TargetRef, own_namespace: &str) -> String {
    let namespace = target.namespace.as_deref().filter(|it| !it.is_empty());
    format!(
        "{TARGET}{}/{}/{}",
        target.kind.to_lowercase(),
        namespace.unwrap_or(own_namespace),
        target.name
    )
}

/// Which of several snapshots of one host a restore may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Those for which this says true, in the order that they were given.
    Take(Vec<bool>),
    /// They are of several sources, and nothing says which is meant: their names, sorted.
    Ambiguous(Vec<String>),
}

/// Judges snapshots by their tags. Those of the restore's own target come first; else all have to be of one source.
/// What others made has neither tag and stands in nobody's way.
pub fn judge(snapshots: &[&[String]], wanted: Option<&str>) -> Verdict {
    let is_wanted = |tags: &[String]| {
        let target = value(tags, TARGET);
        target.is_some() && target == wanted.and_then(|tag| tag.strip_prefix(TARGET))
    };
    let mine: BTreeSet<&str> = snapshots
        .iter()
        .filter(|tags| is_wanted(tags))
        .filter_map(|tags| value(tags, INVOKER))
        .collect();
    if snapshots.iter().any(|tags| is_wanted(tags)) {
        // Before targets were named, the same invoker named only itself.
        let is_older = |tags: &[String]| {
            value(tags, TARGET).is_none()
                && value(tags, INVOKER).is_some_and(|invoker| mine.contains(invoker))
        };
        let take = snapshots.iter();
        return Verdict::Take(take.map(|tags| is_wanted(tags) || is_older(tags)).collect());
    }
    let sources = sources(snapshots);
    if sources.len() > 1 {
        return Verdict::Ambiguous(sources.into_iter().collect());
    }
    Verdict::Take(vec![true; snapshots.len()])
}

/// The targets, and the invokers of which no target is known.
fn sources(snapshots: &[&[String]]) -> BTreeSet<String> {
    let with_target: BTreeSet<&str> = snapshots
        .iter()
        .filter(|tags| value(tags, TARGET).is_some())
        .filter_map(|tags| value(tags, INVOKER))
        .collect();
    let source = |tags: &&[String]| match (value(tags, INVOKER), value(tags, TARGET)) {
        (Some(invoker), None) if with_target.contains(invoker) => None,
        (Some(invoker), None) => Some(invoker.to_owned()),
        (_, Some(target)) => Some(target.to_owned()),
        (None, None) => None,
    };
    snapshots.iter().filter_map(source).collect()
}

fn value<'a>(tags: &'a [String], prefix: &str) -> Option<&'a str> {
    tags.iter().find_map(|tag| tag.strip_prefix(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(invoker: &str, target: &str) -> Vec<String> {
        let invoker = (!invoker.is_empty())
            .then(|| crate::retention::invoker_tag("BackupConfiguration", "shop", invoker));
        let target = (!target.is_empty()).then(|| tag(target));
        invoker.into_iter().chain(target).collect()
    }

    fn tag(name: &str) -> String {
        let reference = TargetRef {
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
            ..TargetRef::default()
        };
        target_tag(&reference, "shop")
    }

    fn judged(snapshots: &[Vec<String>], wanted: Option<&str>) -> Verdict {
        let all: Vec<&[String]> = snapshots.iter().map(Vec::as_slice).collect();
        judge(&all, wanted.map(tag).as_deref())
    }

    #[test]
    fn a_target_is_named_with_its_kind_and_namespace() {
        assert_eq!(tag("web"), "stash-target=deployment/shop/web");
        let elsewhere = TargetRef {
            kind: "StatefulSet".to_owned(),
            name: "db".to_owned(),
            namespace: Some("data".to_owned()),
            ..TargetRef::default()
        };
        let tag = target_tag(&elsewhere, "shop");
        assert_eq!(tag, "stash-target=statefulset/data/db");
    }

    #[test]
    fn the_own_target_comes_before_all_others() {
        let all = [
            tags("a", ""),
            tags("a", "web"),
            tags("b", "db"),
            tags("", ""),
        ];
        assert_eq!(
            judged(&all, Some("web")),
            Verdict::Take(vec![true, true, false, false])
        );
    }

    #[test]
    fn several_sources_are_never_mixed_and_none_is_picked() {
        let all = [tags("a", "web"), tags("b", "db"), tags("c", "")];
        for wanted in [None, Some("other")] {
            let Verdict::Ambiguous(names) = judged(&all, wanted) else {
                panic!("{wanted:?}");
            };
            assert_eq!(
                names,
                [
                    "backupconfiguration/shop/c",
                    "deployment/shop/db",
                    "deployment/shop/web"
                ]
            );
        }
    }

    #[test]
    fn one_source_is_taken_also_for_another_target_and_with_what_others_made() {
        let all = [
            tags("", ""),
            tags("a", ""),
            tags("a", "web"),
            tags("b", "web"),
        ];
        assert_eq!(judged(&all, Some("new")), Verdict::Take(vec![true; 4]));
        assert_eq!(judged(&all[..1], Some("web")), Verdict::Take(vec![true]));
        assert_eq!(judged(&[], None), Verdict::Take(Vec::new()));
    }
}
