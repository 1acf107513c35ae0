//! What all controllers look at: one watch and one copy of every BackupConfiguration, RestoreSession and Repository,
//! and a channel by which controllers hear of each other's objects.
//!
//! Copies may be behind. What is removed because a copy does not have it is asked for first.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use api::v1alpha1::Repository;
use api::v1beta1::{BackupConfiguration, RepositoryRef, RestoreSession};
use futures::{Stream, StreamExt, stream};
use kube_client::{Api, Client, Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::reflector::{self, ObjectRef, Store};
use kube_runtime::watcher::{Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::failure::chain;
use crate::inject::Invoker;
use crate::presence::{Namespaces, Targets};
use crate::turns::Turns;
use crate::workload::{Outcome, WorkloadKey};

/// How many changes a listener may be behind before it looks at everything.
const CHANNEL_SIZE: usize = 4096;

/// Something changed, was made or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// A BackupConfiguration or RestoreSession, and the workload that it names.
    Invoker {
        /// Who.
        invoker: Invoker,
        /// What it wants to be in.
        target: Option<WorkloadKey>,
        /// Namespace and name of the Repository that it names.
        repository: (String, String),
    },
    /// A Repository's specification; its status changes with every backup and concerns nobody.
    Repository {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// What became of our containers in a workload; or a target, a volume claim as well, came or went.
    Workload(WorkloadKey),
    /// A backup in a namespace is over: whoever waits for it may go on.
    Over {
        /// The namespace.
        namespace: String,
    },
    /// The labels of a namespace, or that it is being deleted.
    Namespace(String),
}

/// The copies.
#[derive(Debug)]
pub struct Stores {
    /// Every BackupConfiguration.
    pub configurations: Store<BackupConfiguration>,
    /// Every RestoreSession.
    pub restores: Store<RestoreSession>,
    /// Every Repository.
    pub repositories: Store<Repository>,
    /// Where backups and restores take turns to start.
    pub turns: Turns,
    /// Cancelled when everything has been read once.
    read: CancellationToken,
    touched: broadcast::Sender<Touched>,
    outcomes: Mutex<HashMap<WorkloadKey, Outcome>>,
    /// Which targets are there.
    pub targets: Targets,
    /// The labels of namespaces.
    pub namespaces: Namespaces,
}

impl Stores {
    /// The copies, empty at first, and the work of keeping them, which ends when it is told to stop.
    pub fn start(
        client: Client,
        stop: CancellationToken,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (configurations, configuration_writer) = reflector::store();
        let (restores, restore_writer) = reflector::store();
        let (repositories, repository_writer) = reflector::store();
        let (touched, _) = broadcast::channel(CHANNEL_SIZE);
        let stores = Arc::new(Self {
            configurations,
            restores,
            repositories,
            turns: Turns::default(),
            read: CancellationToken::new(),
            touched: touched.clone(),
            outcomes: Mutex::new(HashMap::new()),
            targets: Targets::default(),
            namespaces: Namespaces::default(),
        });
        let whole = Arc::clone(&stores);
        let tell = move |change| drop(touched.send(change));
        let (tell_of_restore, tell_of_repository) = (tell.clone(), tell.clone());
        let work = async move {
            let mut known_configurations = HashMap::new();
            let configurations = follow(
                client.clone(),
                configuration_writer,
                stop.clone(),
                |it: &BackupConfiguration, is_gone| {
                    if !is_news(&mut known_configurations, it, is_gone) {
                        return;
                    }
                    tell(Touched::Invoker {
                        invoker: Invoker::of(it),
                        target: crate::workload::target_of_backup(it),
                        repository: place(it, &it.spec.repository),
                    });
                },
            );
            let restores = follow(client.clone(), restore_writer, stop.clone(), |it, _| {
                tell_of_restore(Touched::Invoker {
                    invoker: Invoker::of(it),
                    target: crate::workload::target_of_restore(it),
                    repository: place(it, &it.spec.repository),
                });
            });
            let mut known = HashMap::new();
            let repositories = follow(
                client,
                repository_writer,
                stop,
                |it: &Repository, is_gone| {
                    let namespace = it.namespace().unwrap_or_default();
                    let name = it.name_any();
                    let key = (namespace.clone(), name.clone());
                    let metadata = &it.metadata;
                    let now = (
                        metadata.uid.clone(),
                        metadata.generation,
                        metadata.deletion_timestamp.is_some(),
                    );
                    let is_news = if is_gone {
                        known.remove(&key);
                        true
                    } else {
                        known.insert(key, now.clone()) != Some(now)
                    };
                    if is_news {
                        tell_of_repository(Touched::Repository { namespace, name });
                    }
                },
            );
            futures::join!(configurations, restores, repositories, whole.reading());
        };
        (stores, work)
    }

    /// Waits until everything has been read once. Never before that may something be removed.
    pub async fn ready(&self) {
        self.read.cancelled().await;
    }

    /// Notes that everything has been read. A store wakes only the last of those who wait for it, so that nobody else
    /// may.
    async fn reading(&self) {
        let all = futures::join!(
            self.configurations.wait_until_ready(),
            self.restores.wait_until_ready(),
            self.repositories.wait_until_ready()
        );
        // Otherwise the operator ends.
        if let (Ok(()), Ok(()), Ok(())) = all {
            self.read.cancel();
        }
    }

    /// The copy of a Repository.
    pub fn repository(&self, namespace: &str, name: &str) -> Option<Arc<Repository>> {
        self.repositories
            .get(&ObjectRef::new(name).within(namespace))
    }

    /// The workloads with a container that uses a Repository.
    pub fn targets_of(&self, namespace: &str, name: &str) -> Vec<WorkloadKey> {
        let is_it = |place: (String, String)| place.0 == namespace && place.1 == name;
        let backups = self
            .configurations
            .state_filter(|it| is_it(place(it, &it.spec.repository)));
        let restores = self
            .restores
            .state_filter(|it| is_it(place(it, &it.spec.repository)));
        let of_backups = backups
            .iter()
            .filter_map(|it| crate::workload::target_of_backup(it));
        let of_restores = restores
            .iter()
            .filter_map(|it| crate::workload::target_of_restore(it));
        of_backups.chain(of_restores).collect()
    }

    /// Tells the other controllers.
    pub fn tell(&self, change: Touched) {
        // Nobody may be listening yet; whoever begins to listen looks at everything first.
        drop(self.touched.send(change));
    }

    /// The objects that a listener should look at again. `all` is asked for when changes were lost.
    pub fn listen<K: Resource + 'static>(
        self: &Arc<Self>,
        concerned: impl Fn(&Touched) -> Vec<ObjectRef<K>> + Send + 'static,
        all: impl Fn() -> Vec<ObjectRef<K>> + Send + 'static,
    ) -> impl Stream<Item = ObjectRef<K>> + Send + 'static
    where
        ObjectRef<K>: Send,
    {
        let receiver = self.touched.subscribe();
        stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(change) => Some((Some(change), receiver)),
                Err(RecvError::Lagged(_)) => Some((None, receiver)),
                Err(RecvError::Closed) => None,
            }
        })
        .flat_map(move |change| {
            stream::iter(match change {
                Some(change) => concerned(&change),
                None => all(),
            })
        })
    }

    /// What became of our containers in a workload when it was looked at last.
    pub fn outcome(&self, workload: &WorkloadKey) -> Option<Outcome> {
        let outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.get(workload).cloned()
    }

    /// Notes what became of our containers in a workload, and tells it if it is news.
    pub fn note(&self, workload: &WorkloadKey, outcome: Option<&Outcome>) {
        let is_news = {
            let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            let before = match outcome {
                Some(outcome) => outcomes.insert(workload.clone(), outcome.clone()),
                None => outcomes.remove(workload),
            };
            before.as_ref() != outcome
        };
        if is_news {
            self.tell(Touched::Workload(workload.clone()));
        }
    }
}

/// Whether a BackupConfiguration changed in what concerns others: not in its annotations, where ticks are remembered.
fn is_news(
    known: &mut HashMap<(Option<String>, Option<String>), u64>,
    object: &BackupConfiguration,
    is_gone: bool,
) -> bool {
    let metadata = &object.metadata;
    let key = (metadata.namespace.clone(), metadata.name.clone());
    if is_gone {
        known.remove(&key);
        return true;
    }
    let what = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp,
        metadata.labels,
        object.status
    );
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    let now = hasher.finish();
    known.insert(key, now) != Some(now)
}

/// Where the Repository of an object lies.
fn place<K: ResourceExt>(object: &K, reference: &RepositoryRef) -> (String, String) {
    let namespace = reference.namespace.clone().filter(|it| !it.is_empty());
    (
        namespace.or_else(|| object.namespace()).unwrap_or_default(),
        reference.name.clone(),
    )
}

/// Keeps one copy until told to stop, and tells of each change and whether the object is gone.
async fn follow<K>(
    client: Client,
    writer: reflector::store::Writer<K>,
    stop: CancellationToken,
    mut tell: impl FnMut(&K, bool),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let changes = watcher(Api::<K>::all(client), watched())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer);
    let mut changes = std::pin::pin!(changes);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.next() => match change {
                Some(Ok(Event::Apply(object) | Event::InitApply(object))) => tell(&object, false),
                Some(Ok(Event::Delete(object))) => tell(&object, true),
                Some(Ok(Event::Init | Event::InitDone)) => {}
                Some(Err(error)) => {
                    tracing::warn!(kind = %K::kind(&()), error = chain(&error), "a watch broke; it is begun again");
                }
                None => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use futures::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_for_the_first_reading_goes_on_after_it() {
        let (configurations, mut configuration_writer) = reflector::store();
        let (restores, mut restore_writer) = reflector::store();
        let (repositories, mut repository_writer) = reflector::store();
        let stores = Arc::new(Stores {
            configurations,
            restores,
            repositories,
            turns: Turns::default(),
            read: CancellationToken::new(),
            touched: broadcast::channel(1).0,
            outcomes: Mutex::default(),
            targets: Targets::default(),
            namespaces: Namespaces::default(),
        });
        let spawn = |stores: &Arc<Stores>| {
            let stores = Arc::clone(stores);
            tokio::spawn(async move { stores.ready().await })
        };
        let mut waiting: Vec<_> = (0..3).map(|_| spawn(&stores)).collect();
        let reading = Arc::clone(&stores);
        waiting.push(tokio::spawn(async move { reading.reading().await }));
        waiting.extend((0..3).map(|_| spawn(&stores)));
        configuration_writer.apply_watcher_event(&Event::InitDone);
        tokio::task::yield_now().await;
        restore_writer.apply_watcher_event(&Event::InitDone);
        tokio::task::yield_now().await;
        assert!(
            stores.ready().now_or_never().is_none(),
            "nobody goes on before the last copy is whole"
        );
        repository_writer.apply_watcher_event(&Event::InitDone);
        let all = futures::future::join_all(waiting);
        for ended in timeout(Duration::from_secs(10), all).await.unwrap() {
            ended.unwrap();
        }
        assert!(stores.ready().now_or_never().is_some());
    }

    #[test]
    fn a_configuration_is_news_when_it_or_its_status_changes_and_not_when_a_tick_is_remembered() {
        let object = |generation: i64, phase: &str, tick: &str| -> BackupConfiguration {
            serde_json::from_value(json!({
                "metadata": {
                    "name": "home", "uid": "u", "generation": generation,
                    "annotations": { "tick": tick },
                },
                "spec": {
                    "repository": { "name": "repo" },
                    "retentionPolicy": { "name": "keep", "prune": true },
                },
                "status": { "phase": phase },
            }))
            .unwrap()
        };
        let mut known = HashMap::new();
        assert!(is_news(&mut known, &object(1, "NotReady", "1"), false));
        assert!(!is_news(&mut known, &object(1, "NotReady", "2"), false));
        assert!(is_news(&mut known, &object(1, "Ready", "2"), false));
        assert!(is_news(&mut known, &object(2, "Ready", "2"), false));
        assert!(is_news(&mut known, &object(2, "Ready", "2"), true));
        assert!(is_news(&mut known, &object(2, "Ready", "2"), false));
    }
}
