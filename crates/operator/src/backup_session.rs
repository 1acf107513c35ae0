//! BackupSessions: started, watched and closed. What is backed up is the work of the agents.
//!
//! A session of an invoker that is not ready, or beside an unfinished older one, is skipped. Otherwise agents get their
//! rights, sidecars or Jobs are there, and the number of hosts is written, on which agents begin. The session ends when
//! they have done everything, when its time is over, or when nobody works on it any more (decision 16).

use std::sync::Arc;

use api::k8s_openapi::api::batch::v1::Job;
use api::v1beta1::BackupSession;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::Api;
use kube_runtime::Controller;
use kube_runtime::reflector::{ObjectRef, Store};
use session::labels::{self, Component};
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::stores::{Stores, Touched};
use crate::told::Told;

mod apply;
mod close;
mod news;
mod observe;
mod plan;
mod start;
mod watch;

/// What every pass is given.
#[derive(Debug)]
struct Passing {
    stores: Arc<Stores>,
    sessions: Store<BackupSession>,
    told: Told,
}

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<BackupSession> = Api::all(context.watching());
    let jobs: Api<Job> = Api::all(context.watching());
    let selector = format!("{}={}", labels::COMPONENT, Component::Backup.as_str());
    let controller = Controller::new(api, watched()).owns(jobs, watched().labels(&selector));
    let (concerned, all) = (controller.store(), controller.store());
    let of_invoker = Arc::clone(stores);
    let listening = stores.listen(
        move |change: &Touched| {
            references(&concerned, |it| observe::concerns(change, it, &of_invoker))
        },
        move || references(&all, observe::is_open),
    );
    let passing = Arc::new(Passing {
        stores: Arc::clone(stores),
        sessions: controller.store(),
        told: Told::default(),
    });
    drive(
        "backupsession",
        controller.reconcile_on(listening),
        Arc::clone(context),
        stop.clone(),
        move |session, context| {
            let passing = Arc::clone(&passing);
            async move { pass(&session, &context, &passing).await }
        },
    )
    .boxed()
}

fn references(
    store: &Store<BackupSession>,
    is_meant: impl Fn(&BackupSession) -> bool,
) -> Vec<ObjectRef<BackupSession>> {
    let sessions = store.state_filter(is_meant);
    sessions
        .iter()
        .map(|session| ObjectRef::from_obj(session.as_ref()))
        .collect()
}

/// Brings one session a step further.
async fn pass(
    session: &BackupSession,
    context: &Context,
    passing: &Passing,
) -> Result<Again, ReconcileError> {
    if session.metadata.deletion_timestamp.is_some() {
        return Ok(Again::OnChange);
    }
    passing.stores.ready().await;
    let is_new = observe::is_open(session) && !observe::is_started(session);
    let _turn = if is_new {
        let namespace = session.metadata.namespace.as_deref().unwrap_or_default();
        let invoker = &session.spec.invoker.name;
        Some(passing.stores.turns.of_backup(namespace, invoker).await)
    } else {
        None
    };
    let now = jiff::Timestamp::now();
    let observation = observe::observe(session, context, passing, now).await?;
    let plan = plan::plan(session, &observation, &context.options.image, now);
    apply::apply(context, passing, session, &observation, plan).await
}
