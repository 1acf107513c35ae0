//! The name under which a Pod takes locks, so that others can find out whether it still exists.
//!
//! restic writes a host name into each lock. A Pod writes where it lives and which one it is; another Pod of the
//! same namespace can then ask the API server. The namespace's uid keeps clusters apart that share a repository.

use std::fmt;

/// Who holds a lock, when it is a Pod of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodOwner {
    /// Name of the Pod.
    pub pod: String,
    /// Uid of the Pod.
    pub pod_uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Uid of the namespace: no two clusters share one.
    pub namespace_uid: String,
    /// Which start of the container it is: a container that starts again is another owner.
    pub start: String,
}

const PREFIX: &str = "stash-pod";

impl fmt::Display for PodOwner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pod,
            pod_uid,
            namespace,
            namespace_uid,
            start,
        } = self;
        write!(
            formatter,
            "{PREFIX}/{namespace}/{pod}/{namespace_uid}/{pod_uid}/{start}"
        )
    }
}

/// What can be said of the holder of a lock without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An earlier start of this very container: it is gone.
    Gone,
    /// This process itself.
    Me,
    /// A Pod of the same namespace: gone if no Pod with this name and uid exists there, or if it has ended.
    Ask(PodOwner),
    /// Nothing: another cluster or namespace, a machine, a stock restic. Only the lock's age counts.
    Unknown,
}

impl PodOwner {
    /// Reads the name of a lock's host; `None` when no Pod of ours wrote it.
    pub fn parse(hostname: &str) -> Option<Self> {
        let parts: Vec<&str> = hostname.split('/').collect();
        let [PREFIX, namespace, pod, namespace_uid, pod_uid, start] = parts[..] else {
            return None;
        };
        let text = str::to_owned;
        Some(Self {
            pod: text(pod),
            pod_uid: text(pod_uid),
            namespace: text(namespace),
            namespace_uid: text(namespace_uid),
            start: text(start),
        })
    }

    /// What this Pod can say of the holder named `hostname`. The containers of one Pod that take locks are told
    /// apart by `start`, and only one of them runs at a time.
    pub fn judge(&self, hostname: &str) -> Verdict {
        let Some(other) = Self::parse(hostname) else {
            return Verdict::Unknown;
        };
        if other == *self {
            Verdict::Me
        } else if other.pod_uid == self.pod_uid {
            Verdict::Gone
        } else if other.namespace == self.namespace && other.namespace_uid == self.namespace_uid {
            Verdict::Ask(other)
        } else {
            Verdict::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(pod: &str, namespace_uid: &str, start: &str) -> PodOwner {
        PodOwner {
            pod: pod.to_owned(),
            pod_uid: format!("uid-of-{pod}"),
            namespace: "shop".to_owned(),
            namespace_uid: namespace_uid.to_owned(),
            start: start.to_owned(),
        }
    }

    #[test]
    fn a_pod_knows_its_own_locks_and_whom_to_ask_about_others() {
        let me = owner("web-1", "n", "2");
        let say = |other: &PodOwner| me.judge(&other.to_string());
        assert_eq!(say(&me), Verdict::Me);
        assert_eq!(say(&owner("web-1", "n", "1")), Verdict::Gone);
        let other = owner("web-2", "n", "1");
        assert_eq!(say(&other), Verdict::Ask(other));
        assert_eq!(say(&owner("web-2", "other-cluster", "1")), Verdict::Unknown);
        assert_eq!(me.judge("laptop"), Verdict::Unknown);
        assert_eq!(me.judge("stash-pod/a/b"), Verdict::Unknown);
    }
}
