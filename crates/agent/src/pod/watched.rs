//! What is known of the sessions that concern this Pod: listed once, then watched, and listed again when the watch
//! breaks. While the API server is away, what was known last stays known.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use kube_client::Api;
use kube_core::{Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, Event};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::status::ObjectId;

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
    let mut events = std::pin::pin!(watcher::watcher(objects, selected).default_backoff());
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

fn change<K>(known: &watch::Sender<Option<Arc<Known<K>>>>, change: impl FnOnce(&mut Known<K>)) {
    known.send_modify(|known| {
        // Copies a list of pointers: sessions are few.
        let mut changed = known.as_deref().cloned().unwrap_or_default();
        change(&mut changed);
        *known = Some(Arc::new(changed));
    });
}
