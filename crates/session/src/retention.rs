//! Whose snapshots a retention policy may look at (decision 8).
//!
//! Every snapshot of a session carries a tag that names its invoker. The policy of an invoker sees only the
//! snapshots with its own tag, so that two invokers can share a repository, a host name and even a path, and
//! snapshots made by hand or by other tools are never touched.

use crate::source::INVOKER;

/// The tag of an invoker's snapshots.
pub fn invoker_tag(kind: &str, namespace: &str, name: &str) -> String {
    // A comma would end the tag in restic's filters; no Kubernetes name holds one.
    format!("{INVOKER}{}/{namespace}/{name}", kind.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invokers_of_one_name_in_two_namespaces_have_two_tags() {
        let tag = |namespace| invoker_tag("BackupConfiguration", namespace, "home");
        assert_eq!(tag("demo"), "stash-invoker=backupconfiguration/demo/home");
        assert_ne!(tag("demo"), tag("prod"));
    }
}
