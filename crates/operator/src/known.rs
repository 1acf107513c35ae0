//! Watches objects of which only little matters, and tells when that little changes. Nothing is kept but that.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use futures::StreamExt;
use kube_client::core::PartialObjectMeta;
use kube_client::{Api, Resource};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{Event, watcher};
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::failure::chain;

/// Follows all objects of a kind until told to stop. `seen` says which one it is and what matters of it; `tell` hears
/// of each that came, went or changed in that, and what it is like now if it is there.
pub async fn follow<O, K, S>(
    api: Api<PartialObjectMeta<O>>,
    stop: CancellationToken,
    seen: impl Fn(&PartialObjectMeta<O>) -> (K, S),
    tell: impl Fn(K, Option<&S>),
) where
    O: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K: Clone + Eq + Hash,
    S: PartialEq,
{
    let changes = watcher(api, watched()).default_backoff();
    let mut changes = std::pin::pin!(changes.take_until(stop.cancelled()));
    let mut known = Known::default();
    while let Some(change) = changes.next().await {
        match change {
            Ok(change) => {
                for key in known.note(&change, &seen) {
                    let now = known.present.get(&key);
                    tell(key.clone(), now);
                }
            }
            Err(error) => tracing::warn!(
                kind = %O::kind(&()),
                error = chain(&error),
                "a watch broke; it is begun again"
            ),
        }
    }
}

/// What is there.
#[derive(Debug)]
struct Known<K, S> {
    present: HashMap<K, S>,
    /// What is in a list that is not complete yet.
    listed: HashMap<K, S>,
}

impl<K, S> Default for Known<K, S> {
    fn default() -> Self {
        Self {
            present: HashMap::new(),
            listed: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, S: PartialEq> Known<K, S> {
    /// The objects of which somebody should hear. One that went while the watch was broken is missing from the next
    /// list.
    fn note<O>(&mut self, change: &Event<O>, seen: impl Fn(&O) -> (K, S)) -> Vec<K> {
        match change {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.listed.extend([seen(object)]);
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.present, std::mem::take(&mut self.listed));
                let now = &self.present;
                let gone = before.keys().filter(|key| !now.contains_key(key));
                let changed = now
                    .iter()
                    .filter(|(key, seen)| before.get(*key) != Some(*seen));
                gone.chain(changed.map(|(key, _)| key)).cloned().collect()
            }
            Event::Apply(object) => {
                let (key, now) = seen(object);
                let is_news = self.present.get(&key) != Some(&now);
                self.present.insert(key.clone(), now);
                is_news.then_some(key).into_iter().collect()
            }
            Event::Delete(object) => {
                let (key, _) = seen(object);
                self.present.remove(&key);
                vec![key]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, what matters, and what does not.
    type Object = (&'static str, u8, u8);

    fn note(known: &mut Known<&'static str, u8>, change: &Event<Object>) -> Vec<&'static str> {
        let mut names = known.note(change, |object| (object.0, object.1));
        names.sort_unstable();
        names
    }

    #[test]
    fn an_object_is_news_when_it_comes_goes_or_changes_in_what_matters() {
        let mut known = Known::default();
        let mut note = |event| note(&mut known, &event);
        assert_eq!(note(Event::Apply(("data", 1, 1))), ["data"]);
        assert!(note(Event::Apply(("data", 1, 2))).is_empty());
        assert_eq!(note(Event::Apply(("data", 2, 2))), ["data"]);
        assert!(note(Event::Apply(("data", 2, 3))).is_empty());
        assert_eq!(note(Event::Delete(("data", 2, 3))), ["data"]);
    }

    #[test]
    fn what_changed_while_the_watch_was_broken_is_news() {
        let mut known = Known::default();
        let mut list = |objects: &[Object]| {
            note(&mut known, &Event::Init);
            for object in objects {
                assert!(note(&mut known, &Event::InitApply(*object)).is_empty());
            }
            note(&mut known, &Event::InitDone)
        };
        let (a, b, c) = (("a", 1, 1), ("b", 1, 1), ("c", 1, 1));
        assert_eq!(list(&[a, b]), ["a", "b"]);
        assert!(list(&[a, b]).is_empty());
        assert_eq!(list(&[b, c]), ["a", "c"]);
        assert_eq!(list(&[("b", 2, 1), c]), ["b"]);
    }
}
