//! Batches: a condition says that nothing acts on them yet.

use std::fmt::Debug;
use std::sync::Arc;

use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::v1beta1::{BackupBatch, BackupInvokerPhase, RestoreBatch, RestorePhase};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::api::PostParams;
use kube_client::core::NamespaceResourceScope;
use kube_client::{Api, Resource, ResourceExt};
use kube_runtime::Controller;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::FIELD_MANAGER;
use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive, named};
use crate::failure::{ReconcileError, found};

/// A kind whose status can say so.
pub trait Batch:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + PartialEq
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Sets a condition that makes the object invalid, and the phase.
    fn refuse(&mut self, condition: Condition, now: jiff::Timestamp);
}

impl Batch for BackupBatch {
    fn refuse(&mut self, condition: Condition, now: jiff::Timestamp) {
        let generation = self.metadata.generation;
        let status = self.status.get_or_insert_default();
        set_condition(&mut status.conditions, condition, now);
        status.observed_generation = generation;
        status.phase = Some(BackupInvokerPhase::Invalid);
    }
}

impl Batch for RestoreBatch {
    fn refuse(&mut self, condition: Condition, now: jiff::Timestamp) {
        let status = self.status.get_or_insert_default();
        set_condition(&mut status.conditions, condition, now);
        status.phase = Some(RestorePhase::Invalid);
    }
}

/// The controller of one kind.
pub fn controller<K: Batch>(
    name: &'static str,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<K> = Api::all(context.watching());
    drive(
        name,
        Controller::new(api, watched()),
        Arc::clone(context),
        stop.clone(),
        |batch: Arc<K>, context| async move { pass(batch.as_ref(), &context).await },
    )
    .boxed()
}

async fn pass<K: Batch>(batch: &K, context: &Context) -> Result<Again, ReconcileError> {
    let mut after = batch.clone();
    let condition = Condition::new(
        condition_type::VALIDATION_PASSED,
        ConditionStatus::False,
        reason::RESOURCE_VALIDATION_FAILED,
        format!(
            "a {} is not acted on by this version; make an object of its own for each member",
            K::kind(&())
        ),
    );
    after.refuse(condition, jiff::Timestamp::now());
    if after == *batch || batch.meta().deletion_timestamp.is_some() {
        return Ok(Again::OnChange);
    }
    let namespace = batch.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client(), &namespace);
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let written = api
        .replace_status(&batch.name_any(), &options, &after)
        .await;
    found(written)
        .map(|_| Again::OnChange)
        .map_err(ReconcileError::api("update the status of", named(batch)))
}
