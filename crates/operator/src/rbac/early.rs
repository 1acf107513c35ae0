//! Rights of sidecars before their first session: a sidecar looks for sessions from its start on.
//!
//! Only what is missing is made; what a session needs is written when it starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::v1beta1::{BackupConfiguration, BackupInvokerPhase};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::{Api, Resource, ResourceExt};
use kube_runtime::{Controller, watcher};
use tokio_util::sync::CancellationToken;

use crate::backup_configuration::repository_place;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::inject::Invoker;
use crate::rbac::{Access, Account, Mission, access};
use crate::reading::{self, Target};
use crate::stores::Stores;
use crate::workload::target_of_backup;
use crate::writing;

/// Generations of configurations whose agents have rights, by uid.
type Granted = Mutex<HashMap<String, Option<i64>>>;

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<BackupConfiguration> = Api::all(context.client());
    let stores = Arc::clone(stores);
    let granted = Arc::new(Granted::default());
    drive(
        "agentaccess",
        Controller::new(api, watcher::Config::default()),
        Arc::clone(context),
        stop.clone(),
        move |configuration, context| {
            let (stores, granted) = (Arc::clone(&stores), Arc::clone(&granted));
            async move { pass(&configuration, &context, &stores, &granted).await }
        },
    )
    .boxed()
}

async fn pass(
    configuration: &BackupConfiguration,
    context: &Context,
    stores: &Stores,
    granted: &Granted,
) -> Result<Again, ReconcileError> {
    let status = configuration.status.clone().unwrap_or_default();
    let is_ready = status.phase == Some(BackupInvokerPhase::Ready);
    let is_deleted = configuration.metadata.deletion_timestamp.is_some();
    let (uid, generation) = (
        configuration.uid().unwrap_or_default(),
        configuration.metadata.generation,
    );
    let is_granted = {
        let granted = granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.get(&uid) == Some(&generation)
    };
    if !is_ready || is_deleted || is_granted || target_of_backup(configuration).is_none() {
        return Ok(Again::OnChange);
    }
    stores.ready().await;
    if grant(configuration, context, stores).await? {
        let mut granted = granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.insert(uid, generation);
    }
    Ok(Again::OnChange)
}

/// Whether the rights are there now.
async fn grant(
    configuration: &BackupConfiguration,
    context: &Context,
    stores: &Stores,
) -> Result<bool, ReconcileError> {
    let own = configuration.namespace().unwrap_or_default();
    let (namespace, name) = repository_place(&configuration.spec.repository, &own);
    let target = configuration.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.as_ref());
    let (Some(repository), Some(reference)) = (stores.repository(&namespace, &name), reference)
    else {
        return Ok(false);
    };
    let Target::Workload(workload) = reading::target(context, &own, reference).await? else {
        return Ok(false);
    };
    let objects = access(&Access {
        mission: Mission::Backup,
        invoker: &Invoker::of(configuration),
        owner: configuration.controller_owner_ref(&()),
        sessions: Vec::new(),
        repository: &repository,
        lease: None,
        has_exec: false,
        account: Account::Existing(workload.account()),
    });
    writing::create(context, &objects.role).await?;
    writing::create(context, &objects.binding).await?;
    Ok(true)
}
