//! RestoreSessions: checked, started, watched and closed. What is restored is the work of the agents.
//!
//! A workload is restored by an init container, which [`crate::workload`] puts in when the conditions that are written
//! here say that everything is there; its Pods start when their host has its data. Volume claims, claims made from
//! templates, and workloads by request are restored by Jobs.
//!
//! What the user can still put right keeps a restore Pending. A restore by Jobs that failed is over; an init container
//! tries again until it succeeds, so that a failed restore of a workload may still succeed (decision 10).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::k8s_openapi::api::batch::v1::Job;
use api::v1beta1::RestoreSession;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::Api;
use kube_runtime::Controller;
use kube_runtime::reflector::ObjectRef;
use session::labels::{self, Component};
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::stores::{Stores, Touched};
use crate::told::Told;

mod apply;
mod conditions;
mod news;
mod observe;
mod plan;
mod start;
mod watch;

pub(crate) use plan::{Way, has_ended, way};

/// How many restores are remembered.
const MANY: usize = 10_000;

/// What every pass is given.
#[derive(Debug)]
struct Passing {
    stores: Arc<Stores>,
    told: Told,
    prepared: Prepared,
}

/// Uids of the workloads that restores were prepared for, by the uid of the restore.
#[derive(Debug, Default)]
struct Prepared(Mutex<HashMap<String, String>>);

impl Prepared {
    fn of(&self, restore: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(restore).cloned()
    }

    fn note(&self, restore: &str, workload: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MANY {
            // What is forgotten is made once more.
            known.clear();
        }
        known.insert(restore.to_owned(), workload.to_owned());
    }
}

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<RestoreSession> = Api::all(context.watching());
    let jobs: Api<Job> = Api::all(context.watching());
    let selector = format!("{}={}", labels::COMPONENT, Component::Restore.as_str());
    let controller = Controller::new(api, watched()).owns(jobs, watched().labels(&selector));
    let (concerned, all) = (Arc::clone(stores), Arc::clone(stores));
    let listening = stores.listen(
        move |change: &Touched| {
            let concerned = concerned
                .restores
                .state_filter(|it| observe::concerns(change, it));
            references(&concerned)
        },
        move || references(&all.restores.state()),
    );
    let passing = Arc::new(Passing {
        stores: Arc::clone(stores),
        told: Told::default(),
        prepared: Prepared::default(),
    });
    drive(
        "restoresession",
        controller.reconcile_on(listening),
        Arc::clone(context),
        stop.clone(),
        move |restore, context| {
            let passing = Arc::clone(&passing);
            async move { pass(&restore, &context, &passing).await }
        },
    )
    .boxed()
}

fn references(objects: &[Arc<RestoreSession>]) -> Vec<ObjectRef<RestoreSession>> {
    objects
        .iter()
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// Brings one RestoreSession a step further.
async fn pass(
    restore: &RestoreSession,
    context: &Context,
    passing: &Passing,
) -> Result<Again, ReconcileError> {
    if restore.metadata.deletion_timestamp.is_some() {
        return Ok(Again::OnChange);
    }
    passing.stores.ready().await;
    let way = plan::way(restore).ok();
    let is_started = restore
        .status
        .as_ref()
        .is_some_and(|it| it.total_hosts.is_some());
    let _turn = if is_started || has_ended(restore, way.as_ref()) {
        None
    } else {
        let namespace = restore.metadata.namespace.as_deref().unwrap_or_default();
        Some(passing.stores.turns.of_restore(namespace).await)
    };
    let now = jiff::Timestamp::now();
    let mut observation = observe::observe(restore, context, &passing.stores).await?;
    let uid = restore.metadata.uid.as_deref().unwrap_or_default();
    observation.prepared = passing.prepared.of(uid);
    let plan = plan::plan(restore, &observation, &context.options.image, now);
    apply::apply(context, passing, restore, plan).await
}
