//! What is known of the sessions that concern this Pod: listed once, then watched, and listed again when the watch
//! breaks. While the API server is away, what was known last stays known.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube_client::Api;
use kube_core::{Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::utils::Backoff;
use kube_runtime::watcher::{self, DefaultBackoff, Event};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::status::ObjectId;

/// The longest wait until a broken watch begins anew. The library's own delays grow to a minute, for which a Pod would
/// be deaf to new sessions after an API server has come back.
const LONGEST: Duration = Duration::from_secs(10);

/// Objects by name.
pub(super) type Known<K> = BTreeMap<String, Arc<K>>;

/// Follows the objects of a kind.
#[derive(Debug)]
pub(super) struct Watched<K> {
    /// `None` until they were listed.
    known: watch::Receiver<Option<Arc<Known<K>>>>,
    _follower: AbortOnDropHandle<()>,
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Follows the objects that the configuration selects.
    pub fn new(objects: Api<K>, selected: watcher::Config) -> Self {
        let (sender, known) = watch::channel(None);
        let follower = tokio::spawn(follow(objects, selected, sender));
        Self {
            known,
            _follower: AbortOnDropHandle::new(follower),
        }
    }

    /// Looks at an object whenever anything changes: at what it is, or at `None` when it was seen and is gone. Ends
    /// when dropped.
    pub fn observe(
        &self,
        id: &ObjectId,
        look: impl Fn(Option<&K>) + Send + 'static,
    ) -> AbortOnDropHandle<()> {
        let (mut changes, id) = (self.changes(), id.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut was_seen = false;
            loop {
                let known = changes.borrow_and_update().clone();
                let object = known.as_ref().and_then(|known| known.get(&id.name));
                let object = object.filter(|it| it.meta().uid.as_deref() == Some(&id.uid));
                // A list may be older than what was read before it, and lack what is there.
                was_seen |= object.is_some();
                if was_seen {
                    look(object.map(|object| &**object));
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        }))
    }

    /// A receiver that sees every change from now on.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<Known<K>>>> {
        self.known.clone()
    }
}

async fn follow<K>(
    objects: Api<K>,
    selected: watcher::Config,
    known: watch::Sender<Option<Arc<Known<K>>>>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut events = std::pin::pin!(watcher::watcher(objects, selected).backoff(Delays::default()));
    let mut listing = Known::new();
    // The stream begins anew after every error and ends with the process.
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listing.clear(),
            Ok(Event::InitApply(object)) => {
                listing.insert(object.name_any(), Arc::new(object));
            }
            Ok(Event::InitDone) => {
                known.send_replace(Some(Arc::new(std::mem::take(&mut listing))));
            }
            Ok(Event::Apply(object)) => change(&known, |known| {
                known.insert(object.name_any(), Arc::new(object));
            }),
            Ok(Event::Delete(object)) => change(&known, |known| {
                known.remove(&object.name_any());
            }),
            Err(error) => {
                tracing::warn!(
                    error = crate::backup::chain(&error),
                    "the watch broke off and begins anew"
                );
            }
        }
    }
}

/// The library's delays, of which the long ones are replaced by shorter ones that differ as much between Pods.
#[derive(Default)]
struct Delays(DefaultBackoff);

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0.next()?;
        if wait <= LONGEST {
            return Some(wait);
        }
        // The fraction of a second is chance: Pods do not come back all at once.
        let half = LONGEST / 2;
        Some(half + half.mul_f64(wait.as_secs_f64().fract()))
    }
}

impl Backoff for Delays {
    fn reset(&mut self) {
        self.0.reset();
    }
}

fn change<K>(known: &watch::Sender<Option<Arc<Known<K>>>>, change: impl FnOnce(&mut Known<K>)) {
    known.send_modify(|known| {
        // Copies a list of pointers: sessions are few.
        let mut changed = known.as_deref().cloned().unwrap_or_default();
        change(&mut changed);
        *known = Some(Arc::new(changed));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_never_stays_broken_for_long() {
        let mut delays = Delays::default();
        let waits: Vec<Duration> = delays.by_ref().take(50).collect();
        assert_eq!(waits.len(), 50, "it is begun again however often");
        assert!(waits[0] < Duration::from_secs(2), "{waits:?}");
        for wait in &waits[10..] {
            assert!((LONGEST / 2..=LONGEST).contains(wait), "{waits:?}");
        }
        delays.reset();
        assert!(delays.next().unwrap() < Duration::from_secs(2));
    }
}
