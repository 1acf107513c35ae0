//! Rights of sidecars before their first session: a sidecar looks for sessions from its start on.
//!
//! Only what is missing is made; what a session needs is written when it starts. What is there when the operator starts
//! is found out once for all configurations.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use api::k8s_openapi::api::rbac::v1::RoleBinding;
use api::v1beta1::{BackupConfiguration, BackupInvokerPhase, RepositoryRef, TargetRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::api::ListParams;
use kube_client::{Api, Resource, ResourceExt};
use kube_runtime::Controller;
use session::{labels, names};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::backup_configuration::repository_place;
use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::inject::Invoker;
use crate::rbac::{Access, Account, Mission, Reach, access};
use crate::reading::{self, Target};
use crate::stores::Stores;
use crate::workload::target_of_backup;
use crate::writing;

/// What rights depend on.
type Wanted = (Option<TargetRef>, RepositoryRef);

/// Configurations whose agents have rights.
#[derive(Default)]
struct Granted {
    /// By uid, with what for.
    now: Mutex<HashMap<String, Wanted>>,
    /// Uids of the owners of what was there when the operator started.
    before: OnceCell<HashSet<String>>,
}

impl Granted {
    fn has(&self, uid: &str, wanted: &Wanted) -> bool {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.get(uid) == Some(wanted)
    }

    fn note(&self, uid: String, wanted: Wanted) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.insert(uid, wanted);
    }

    /// Whether the operator found rights of that configuration when it started, and has not looked since.
    async fn had(&self, context: &Context, uid: &str) -> Result<bool, ReconcileError> {
        {
            let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            if now.contains_key(uid) {
                return Ok(false);
            }
        }
        let before = self.before.get_or_try_init(|| owners(context)).await?;
        Ok(before.contains(uid))
    }
}

/// The configurations that own a RoleBinding of agents, which is made after its Role.
async fn owners(context: &Context) -> Result<HashSet<String>, ReconcileError> {
    let bindings: Api<RoleBinding> = Api::all(context.client());
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let listed = bindings
        .list_metadata(&ListParams::default().labels(&ours))
        .await
        .map_err(ReconcileError::api("list", "rolebindings".to_owned()))?;
    let kind = BackupConfiguration::kind(&());
    let all = listed.items.into_iter().flat_map(|binding| {
        let name = binding.name_any();
        let owners = binding.metadata.owner_references.unwrap_or_default();
        owners
            .into_iter()
            .filter(|owner| owner.kind == kind && names::agent_role(&kind, &owner.name) == name)
            .map(|owner| owner.uid)
            .collect::<Vec<_>>()
    });
    Ok(all.collect())
}

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<BackupConfiguration> = Api::all(context.watching());
    let stores = Arc::clone(stores);
    let granted = Arc::new(Granted::default());
    drive(
        "agentaccess",
        Controller::new(api, watched()),
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
    let uid = configuration.uid().unwrap_or_default();
    let spec = &configuration.spec;
    let target = spec.target.as_ref();
    let wanted = (
        target.and_then(|target| target.reference.clone()),
        spec.repository.clone(),
    );
    let is_granted = granted.has(&uid, &wanted);
    if !is_ready || is_deleted || is_granted || target_of_backup(configuration).is_none() {
        return Ok(Again::OnChange);
    }
    stores.ready().await;
    if granted.had(context, &uid).await? || grant(configuration, context, stores).await? {
        granted.note(uid, wanted);
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
        mission: Mission::Sidecar,
        invoker: &Invoker::of(configuration),
        owners: configuration
            .controller_owner_ref(&())
            .into_iter()
            .collect(),
        sessions: Vec::new(),
        repository: &repository,
        lease: None,
        reach: Reach::default(),
        account: Account::Existing(workload.account()),
    });
    writing::create(context, &objects.role).await?;
    writing::create(context, &objects.binding).await?;
    Ok(true)
}
