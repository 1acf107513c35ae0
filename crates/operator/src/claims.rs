//! Volume claims: tells the other controllers when one comes, is being deleted or goes. Nothing is done to them.
//!
//! Of each claim only its name, its uid and whether it leaves is kept.

use std::collections::HashMap;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube_client::Api;
use kube_client::core::PartialObjectMeta;
use kube_runtime::WatchStreamExt;
use kube_runtime::watcher::{self, Event, watcher};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::chain;
use crate::stores::{Stores, Touched};
use crate::workload::WorkloadKey;

/// Which object of that name it is, and whether it is being deleted.
type Seen = (Option<String>, bool);

/// The watch, until told to stop.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<PartialObjectMeta<PersistentVolumeClaim>> = Api::all(context.client());
    let (stores, stop) = (Arc::clone(stores), stop.clone());
    async move {
        let changes = watcher(api, watcher::Config::default()).default_backoff();
        let mut changes = std::pin::pin!(changes.take_until(stop.cancelled()));
        let mut known = Known::default();
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => {
                    for claim in known.note(&change) {
                        stores.tell(Touched::Workload(claim));
                    }
                }
                Err(error) => tracing::warn!(
                    kind = "PersistentVolumeClaim",
                    error = chain(&error),
                    "a watch broke; it is begun again"
                ),
            }
        }
    }
    .boxed()
}

/// The claims that are there.
#[derive(Debug, Default)]
struct Known {
    claims: HashMap<WorkloadKey, Seen>,
    /// Those of a list that is not complete yet.
    listed: HashMap<WorkloadKey, Seen>,
}

impl Known {
    /// The claims of which somebody should hear. A claim that went while the watch was broken is missing from the next
    /// list.
    fn note(
        &mut self,
        change: &Event<PartialObjectMeta<PersistentVolumeClaim>>,
    ) -> Vec<WorkloadKey> {
        match change {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(claim) => {
                self.listed.insert(WorkloadKey::of(claim), seen(claim));
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.claims, std::mem::take(&mut self.listed));
                let now = &self.claims;
                let gone = before.keys().filter(|key| !now.contains_key(key));
                let changed = now
                    .iter()
                    .filter(|(key, seen)| before.get(*key) != Some(*seen));
                gone.chain(changed.map(|(key, _)| key)).cloned().collect()
            }
            Event::Apply(claim) => {
                let (key, now) = (WorkloadKey::of(claim), seen(claim));
                let is_news = self.claims.insert(key.clone(), now.clone()) != Some(now);
                is_news.then_some(key).into_iter().collect()
            }
            Event::Delete(claim) => {
                let key = WorkloadKey::of(claim);
                self.claims.remove(&key);
                vec![key]
            }
        }
    }
}

fn seen(claim: &PartialObjectMeta<PersistentVolumeClaim>) -> Seen {
    let metadata = &claim.metadata;
    (metadata.uid.clone(), metadata.deletion_timestamp.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(
        name: &str,
        labels: &str,
        is_leaving: bool,
    ) -> PartialObjectMeta<PersistentVolumeClaim> {
        let mut object = json!({
            "metadata": { "name": name, "namespace": "shop", "uid": name, "labels": { "a": labels } },
        });
        if is_leaving {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(object).unwrap()
    }

    fn names(keys: &[WorkloadKey]) -> Vec<String> {
        let mut names: Vec<String> = keys.iter().map(WorkloadKey::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn a_claim_is_news_when_it_comes_leaves_and_goes_and_not_when_it_changes() {
        let mut known = Known::default();
        let mut note = |event| names(&known.note(&event));
        let data = ["PersistentVolumeClaim shop/data"];
        assert_eq!(note(Event::Apply(claim("data", "1", false))), data);
        assert!(note(Event::Apply(claim("data", "2", false))).is_empty());
        assert_eq!(note(Event::Apply(claim("data", "2", true))), data);
        assert!(note(Event::Apply(claim("data", "3", true))).is_empty());
        assert_eq!(note(Event::Delete(claim("data", "3", true))), data);
    }

    #[test]
    fn a_claim_that_went_while_the_watch_was_broken_is_news() {
        let mut known = Known::default();
        let mut list = |claims: &[&str]| {
            known.note(&Event::Init);
            for name in claims {
                assert!(
                    known
                        .note(&Event::InitApply(claim(name, "1", false)))
                        .is_empty()
                );
            }
            names(&known.note(&Event::InitDone))
        };
        let key = |name: &str| format!("PersistentVolumeClaim shop/{name}");
        assert_eq!(list(&["a", "b"]), [key("a"), key("b")]);
        assert!(list(&["a", "b"]).is_empty());
        assert_eq!(list(&["b", "c"]), [key("a"), key("c")]);
    }
}
