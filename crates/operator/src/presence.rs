//! What is there, without asking the API server each time: targets and namespaces by the watches of their kinds, and
//! Secrets, of which nobody tells the operator, by what was found last.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::workload::WorkloadKey;

/// How long a Secret that was found is believed to be there. Before a session it is asked for all the same.
const BELIEVED: Duration = Duration::from_hours(1);

type Lookup = Box<dyn Fn(&WorkloadKey) -> bool + Send + Sync>;

/// The copies of what may be a target, by kind.
#[derive(Default)]
pub struct Targets {
    kinds: Mutex<HashMap<String, Lookup>>,
}

impl fmt::Debug for Targets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Targets").finish_non_exhaustive()
    }
}

impl Targets {
    /// From now on objects of a kind are looked up so.
    pub fn know(&self, kind: &str, lookup: impl Fn(&WorkloadKey) -> bool + Send + Sync + 'static) {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.insert(kind.to_owned(), Box::new(lookup));
    }

    /// Whether a copy says that it is there and stays. One that says no may be behind.
    pub fn are_there(&self, key: &WorkloadKey) -> bool {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.get(&key.kind).is_some_and(|lookup| lookup(key))
    }
}

/// The labels of namespaces.
#[derive(Debug, Default)]
pub struct Namespaces {
    labels: Mutex<HashMap<String, BTreeMap<String, String>>>,
}

impl Namespaces {
    /// Notes the labels of a namespace, or that it is gone.
    pub fn note(&self, name: &str, labels: Option<&BTreeMap<String, String>>) {
        let mut all = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        match labels {
            Some(labels) => all.insert(name.to_owned(), labels.clone()),
            None => all.remove(name),
        };
    }

    /// The labels of a namespace, if it is known. They may be behind.
    pub fn labels(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let all = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).cloned()
    }
}

/// Secrets that were found, and until when they are believed to be there.
#[derive(Debug, Default)]
pub struct Secrets {
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    until: HashMap<(String, String), Instant>,
    /// When more than so many are known, those go that nobody asked for any more.
    limit: usize,
}

impl Secrets {
    /// Whether a Secret was found not long ago.
    pub fn are_there(&self, namespace: &str, name: &str) -> bool {
        self.found().is_there(namespace, name, Instant::now())
    }

    /// Notes what was found.
    pub fn note(&self, namespace: &str, name: &str, is_there: bool) {
        // After a start everything is asked for at once, and should not be so ever after.
        let first = rand::rng().random_range(Duration::ZERO..=BELIEVED);
        self.found()
            .note((namespace, name), is_there, first, Instant::now());
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn is_there(&self, namespace: &str, name: &str, now: Instant) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.until.get(&key).is_some_and(|until| now < *until)
    }

    fn note(
        &mut self,
        (namespace, name): (&str, &str),
        is_there: bool,
        first: Duration,
        now: Instant,
    ) {
        let key = (namespace.to_owned(), name.to_owned());
        if !is_there {
            self.until.remove(&key);
            return;
        }
        let until = match self.until.get(&key) {
            // Asked before its time, by several that use it or for a session: when it is asked next stays.
            Some(until) if now < *until => return,
            Some(_) => now + BELIEVED,
            None => now + first,
        };
        if self.until.len() >= self.limit {
            self.until.retain(|_, until| now < *until + BELIEVED);
            self.limit = 1000.max(self.until.len() * 2);
        }
        self.until.insert(key, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_secret_is_believed_to_be_there_for_a_while_after_it_was_found() {
        let start = Instant::now();
        let mut found = Found::default();
        assert!(!found.is_there("shop", "keys", start));
        found.note(("shop", "keys"), true, second(60), start);
        assert!(found.is_there("shop", "keys", start + second(59)));
        assert!(!found.is_there("safe", "keys", start));
        assert!(!found.is_there("shop", "keys", start + second(60)));
        found.note(("shop", "keys"), true, second(1), start + second(61));
        assert!(found.is_there("shop", "keys", start + BELIEVED));
        found.note(("shop", "keys"), false, second(1), start + second(62));
        assert!(!found.is_there("shop", "keys", start + second(62)));
    }

    #[test]
    fn secrets_that_nobody_asks_for_are_forgotten() {
        let start = Instant::now();
        let mut found = Found::default();
        for number in 0..1000 {
            found.note(("shop", &number.to_string()), true, second(60), start);
        }
        let late = start + BELIEVED + second(61);
        found.note(("shop", "new"), true, second(60), late);
        assert_eq!(found.until.len(), 1);
        assert!(found.is_there("shop", "new", late));
    }

    #[test]
    fn a_target_is_there_when_the_copy_of_its_kind_has_it() {
        let targets = Targets::default();
        let key = |kind: &str, name: &str| WorkloadKey {
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        assert!(!targets.are_there(&key("Deployment", "web")));
        targets.know("Deployment", |key| key.name == "web");
        assert!(targets.are_there(&key("Deployment", "web")));
        assert!(!targets.are_there(&key("Deployment", "db")));
        assert!(!targets.are_there(&key("StatefulSet", "web")));
    }
}
