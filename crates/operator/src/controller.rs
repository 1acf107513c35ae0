//! Drives one controller: passes over objects, failures with growing delays, counting and logging in one place.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::k8s_openapi::api::core::v1::ObjectReference;
use futures::StreamExt;
use jiff::Timestamp;
use kube_client::Resource;
use kube_runtime::Controller;
use kube_runtime::controller::Action;
use rand::RngExt;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::{ReconcileError, chain};

/// How many objects of one kind are worked on at the same time.
const CONCURRENCY: u16 = 16;
/// A burst of changes of one object is one pass.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How long passes may go on when the operator is to end; shorter than the Lease lasts.
const GRACE: Duration = Duration::from_secs(5);
/// Everything is looked at again so often, should a change ever have been missed: about every ten minutes, and not all
/// of it at the same time.
const RESYNC: RangeInclusive<Duration> = Duration::from_mins(8)..=Duration::from_mins(12);

/// When to look at an object again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// When something changes, or by the rare look at everything.
    OnChange,
    /// After this time, or when something changes.
    After(Duration),
}

impl Again {
    /// At this moment, or when something changes.
    pub fn at(moment: Option<Timestamp>, now: Timestamp) -> Self {
        let left = moment.map(|moment| moment.duration_since(now));
        left.map_or(Self::OnChange, |left| {
            Self::After(Duration::try_from(left).unwrap_or_default())
        })
    }

    /// The one that comes first.
    #[must_use]
    pub fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(left), Self::After(right)) => Self::After(left.min(right)),
            (Self::OnChange, other) | (other, Self::OnChange) => other,
        }
    }
}

/// `Kind namespace/name` of an object, for messages.
pub fn named<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    match meta.namespace.as_deref() {
        Some(namespace) => format!("{} {namespace}/{name}", K::kind(&())),
        None => format!("{} {name}", K::kind(&())),
    }
}

/// What tells an object from all others, also from those that had its name before.
pub fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    format!("{} {uid}", named(object))
}

/// What events about an object point at.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// Runs a controller until told to stop. `pass` brings one object to where it should be.
pub async fn drive<K, Pass, Passing>(
    name: &'static str,
    controller: Controller<K>,
    context: Arc<Context>,
    stop: CancellationToken,
    pass: Pass,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone + Debug + Unpin,
    Pass: Fn(Arc<K>, Arc<Context>) -> Passing + Send + Sync + 'static,
    Passing: Future<Output = Result<Again, ReconcileError>> + Send + 'static,
{
    let pass = Arc::new(pass);
    let reconcile = move |object: Arc<K>, context: Arc<Context>| {
        let pass = Arc::clone(&pass);
        async move {
            let key = key(object.as_ref());
            let started = Instant::now();
            let result = pass(object, Arc::clone(&context)).await;
            context
                .metrics
                .passed(name, result.is_ok(), started.elapsed());
            if result.is_ok() {
                context.delays.forget(&key);
            }
            let resync = rand::rng().random_range(RESYNC);
            result.map(|again| match again {
                Again::OnChange => Action::requeue(resync),
                Again::After(delay) => Action::requeue(delay.min(resync)),
            })
        }
    };
    let on_error = |object: Arc<K>, error: &ReconcileError, context: Arc<Context>| {
        let delay = context.delays.after_failure(&key(object.as_ref()));
        let object = named(object.as_ref());
        if error.is_conflict() {
            tracing::debug!(object, "changed meanwhile; looking again");
        } else if error.is_leaving() {
            tracing::info!(object, error = chain(error), retry = ?delay, "waiting");
        } else if error.is_too_late() {
            tracing::debug!(object, "its namespace is going away");
        } else {
            tracing::warn!(object, error = chain(error), retry = ?delay, "a pass failed");
        }
        Action::requeue(delay)
    };
    let running = controller
        .with_config(
            kube_runtime::controller::Config::default()
                .concurrency(CONCURRENCY)
                .debounce(DEBOUNCE),
        )
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, on_error, context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(controller = name, error = chain(&error), "controller");
            }
        });
    // Passes that end while the controller stops are scheduled anew, and with many of them the library waits for ever
    // for room. Whatever was begun is healed by the next pass.
    let given_up = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = running => {}
        () = given_up => tracing::warn!(controller = name, "passes were cut off"),
    }
}
