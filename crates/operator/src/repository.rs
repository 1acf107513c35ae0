//! Repositories: who uses them, and the removal of their data when they are deleted with `wipeOut`.
//!
//! Data is removed by a Job in the Repository's namespace, and only when nobody names the Repository any more. The
//! finalizer `stash` is there only with `wipeOut`; nothing else is outside the cluster.

use std::sync::Arc;

use api::k8s_openapi::api::batch::v1::Job;
use api::v1alpha1::Repository;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::{Api, ResourceExt};
use kube_runtime::Controller;
use kube_runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::stores::{Stores, Touched};

mod apply;
mod observe;
mod place;
mod plan;
mod wipe_out;

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<Repository> = Api::all(context.watching());
    let jobs: Api<Job> = Api::all(context.watching());
    let (used, every) = (Arc::clone(stores), Arc::clone(stores));
    let concerned = move |change: &Touched| match change {
        // An invoker may have moved from one Repository to another: those that list it are looked at as well.
        Touched::Invoker {
            invoker,
            repository,
            ..
        } => {
            let concerned = used
                .repositories
                .state_filter(|it| observe::concerns(invoker, repository, it));
            references(&concerned)
        }
        // No data can be removed from within a namespace that goes away.
        Touched::Namespace(name) => {
            let within = used.repositories.state_filter(|it| {
                it.metadata.deletion_timestamp.is_some()
                    && it.metadata.namespace.as_ref() == Some(name)
            });
            references(&within)
        }
        // Another one at the same place may have gone.
        Touched::Repository { .. } => references(
            &used
                .repositories
                .state_filter(|it| it.metadata.deletion_timestamp.is_some()),
        ),
        Touched::Workload(_) | Touched::Over { .. } => Vec::new(),
    };
    let all = move || references(&every.repositories.state());
    let controller = Controller::new(api, watched())
        .owns(jobs, watched().labels(wipe_out::SELECTOR))
        .reconcile_on(stores.listen(concerned, all));
    let stores = Arc::clone(stores);
    drive(
        "repository",
        controller,
        Arc::clone(context),
        stop.clone(),
        move |repository, context| {
            let stores = Arc::clone(&stores);
            async move { pass(&repository, &context, &stores).await }
        },
    )
    .boxed()
}

fn references(objects: &[Arc<Repository>]) -> Vec<ObjectRef<Repository>> {
    objects
        .iter()
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

/// Brings one Repository to where it should be.
async fn pass(
    repository: &Repository,
    context: &Context,
    stores: &Stores,
) -> Result<Again, ReconcileError> {
    stores.ready().await;
    let is_deleted = repository.metadata.deletion_timestamp.is_some();
    if is_deleted && repository.finalizers().is_empty() {
        return Ok(Again::OnChange);
    }
    let observation = observe::observe(repository, context, stores).await?;
    let plan = plan::plan(repository, &observation);
    apply::apply(context, repository, &observation.wipe_out, plan).await
}
