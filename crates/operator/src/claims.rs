//! Volume claims: tells the other controllers when one comes, is being deleted or goes. Nothing is done to them.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::Api;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::known;
use crate::stores::{Stores, Touched};
use crate::workload::WorkloadKey;

/// The watch, until told to stop.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let stores = Arc::clone(stores);
    known::follow::<PersistentVolumeClaim, _, _>(
        Api::all(context.client()),
        stop.clone(),
        |claim| {
            // Which object of that name it is, and whether it leaves.
            let is_deleted = claim.metadata.deletion_timestamp.is_some();
            (
                WorkloadKey::of(claim),
                (claim.metadata.uid.clone(), is_deleted),
            )
        },
        move |claim| stores.tell(Touched::Workload(claim)),
    )
    .boxed()
}
