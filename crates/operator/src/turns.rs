//! Who may start in a namespace now: no backup begins while a restore looks whether one runs, and the reverse. Whatever
//! runs is in the statuses that the API server has; this only keeps two from looking at the same moment.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedRwLockReadGuard, RwLock};

/// So many are remembered before those that nobody uses are dropped.
const MANY: usize = 1000;

/// Locks by what they are of.
type Locks<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// Where starts take turns.
#[derive(Debug, Default)]
pub struct Turns {
    namespaces: Locks<String, RwLock<()>>,
    invokers: Locks<(String, String), AsyncMutex<()>>,
}

/// The right to start, until it is dropped.
#[derive(Debug)]
pub enum Turn {
    /// Of a backup, beside those of other invokers.
    Backup {
        /// One session of an invoker at a time.
        invoker: OwnedMutexGuard<()>,
        /// No restore meanwhile.
        namespace: OwnedRwLockReadGuard<()>,
    },
    /// Of a restore.
    Restore(tokio::sync::OwnedRwLockWriteGuard<()>),
}

impl Turns {
    /// Waits until a session of an invoker may start.
    pub async fn of_backup(&self, namespace: &str, invoker: &str) -> Turn {
        let key = (namespace.to_owned(), invoker.to_owned());
        let of_invoker = entry(&self.invokers, key);
        let of_namespace = entry(&self.namespaces, namespace.to_owned());
        Turn::Backup {
            invoker: of_invoker.lock_owned().await,
            namespace: of_namespace.read_owned().await,
        }
    }

    /// Waits until a restore may start.
    pub async fn of_restore(&self, namespace: &str) -> Turn {
        let of_namespace = entry(&self.namespaces, namespace.to_owned());
        Turn::Restore(of_namespace.write_owned().await)
    }
}

fn entry<K: Eq + Hash, V: Default>(all: &Locks<K, V>, key: K) -> Arc<V> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() > MANY {
        all.retain(|_, value| Arc::strong_count(value) > 1);
    }
    Arc::clone(all.entry(key).or_default())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn backups_start_beside_each_other_and_never_beside_a_restore() {
        let turns = Turns::default();
        let home = turns.of_backup("shop", "home").await;
        let mail = turns.of_backup("shop", "mail").await;
        assert!(turns.of_backup("shop", "home").now_or_never().is_none());
        assert!(turns.of_restore("shop").now_or_never().is_none());
        assert!(turns.of_restore("lab").now_or_never().is_some());
        drop((home, mail));
        let restore = turns.of_restore("shop").await;
        assert!(turns.of_backup("shop", "home").now_or_never().is_none());
        drop(restore);
        assert!(turns.of_backup("shop", "home").now_or_never().is_some());
    }
}
