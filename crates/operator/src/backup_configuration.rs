//! BackupConfigurations: whether backups can run, and a BackupSession at each tick of the schedule.
//!
//! The sidecar is put in by [`crate::workload`], which looks at the phase that is written here; sessions are carried
//! out by others. The operator schedules by itself: `CronJobCreated` says that it does.

use std::sync::Arc;

use api::v1beta1::BackupConfiguration;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::Api;
use kube_runtime::Controller;
use kube_runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::stores::{Stores, Touched};

mod apply;
mod conditions;
mod observe;
mod plan;
mod schedule;
mod validate;

pub(crate) use conditions::{
    repository as repository_condition, secret as secret_condition,
    validation as validation_condition,
};
pub use observe::{Presence, is_allowed, is_allowed_by_copies, repository_place, secret_presence};
pub(crate) use schedule::session as session_of;
pub use validate::problems;
pub(crate) use validate::{not_allowed, of_repository, unused};

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<BackupConfiguration> = Api::all(context.watching());
    let concerned = {
        let stores = Arc::clone(stores);
        move |change: &Touched| {
            let concerned = stores
                .configurations
                .state_filter(|it| observe::concerns(change, it));
            references(&concerned)
        }
    };
    let all = {
        let stores = Arc::clone(stores);
        move || references(&stores.configurations.state())
    };
    let controller = Controller::new(api, watched()).reconcile_on(stores.listen(concerned, all));
    let stores = Arc::clone(stores);
    drive(
        "backupconfiguration",
        controller,
        Arc::clone(context),
        stop.clone(),
        move |configuration, context| {
            let stores = Arc::clone(&stores);
            async move { pass(&configuration, &context, &stores).await }
        },
    )
    .boxed()
}

fn references(objects: &[Arc<BackupConfiguration>]) -> Vec<ObjectRef<BackupConfiguration>> {
    objects
        .iter()
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// Brings one BackupConfiguration to where it should be.
async fn pass(
    configuration: &BackupConfiguration,
    context: &Context,
    stores: &Stores,
) -> Result<Again, ReconcileError> {
    if configuration.metadata.deletion_timestamp.is_some() {
        return Ok(Again::OnChange);
    }
    stores.ready().await;
    let observation = observe::observe(configuration, context, stores).await?;
    let plan = plan::plan(configuration, &observation, jiff::Timestamp::now());
    apply::apply(context, configuration, plan).await
}
