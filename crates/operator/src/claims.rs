//! Volume claims: tells the other controllers when one comes, is being deleted or goes, and which are there. Nothing is
//! done to them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::Api;
use session::model::CLAIM_KIND;
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
    let present = Arc::new(Mutex::new(HashSet::<WorkloadKey>::new()));
    let known = Arc::clone(&present);
    stores.targets.know(CLAIM_KIND, move |claim| {
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(claim)
    });
    known::follow::<PersistentVolumeClaim, _, _>(
        Api::all(context.watching()),
        stop.clone(),
        |claim| {
            // Which object of that name it is, and whether it leaves.
            let is_deleted = claim.metadata.deletion_timestamp.is_some();
            (
                WorkloadKey::of(claim),
                (claim.metadata.uid.clone(), is_deleted),
            )
        },
        move |claim, now| {
            {
                let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
                match now {
                    Some((_, false)) => present.insert(claim.clone()),
                    Some((_, true)) | None => present.remove(&claim),
                };
            }
            stores.tell(Touched::Workload(claim));
        },
    )
    .boxed()
}
