//! Takes back rights in namespaces of Repositories when the invoker for whose agents they were is gone, uses another
//! Repository, or is no longer allowed to use it.

use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use api::v1alpha1::Repository;
use api::v1beta1::{BackupConfiguration, BackupSession, RepositoryRef, RestoreSession};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::{Api, Resource, ResourceExt};
use kube_runtime::Controller;
use kube_runtime::reflector::ObjectRef;
use session::phase::is_final_backup;
use session::{labels, names};
use tokio_util::sync::CancellationToken;

use crate::backup_configuration::{is_allowed, is_allowed_by_copies, repository_place};
use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::inject::Invoker;
use crate::rbac::FOREIGN;
use crate::reading;
use crate::restore_session::{has_ended, way};
use crate::stores::{Stores, Touched};
use crate::writing;

/// How soon rights are looked at again that somebody uses who is not allowed to any more.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<Role> = Api::all(context.watching());
    let selector = format!("{}={FOREIGN}", labels::COMPONENT);
    let controller = Controller::new(api, watched().labels(&selector));
    let (copies, lost) = (controller.store(), controller.store());
    let concerned = move |change: &Touched| match change {
        Touched::Invoker { invoker, .. } => {
            references(&copies.state_filter(|role| invoker_of(role).as_ref() == Some(invoker)))
        }
        Touched::Repository { namespace, .. } => references(
            &copies.state_filter(|role| role.metadata.namespace.as_ref() == Some(namespace)),
        ),
        Touched::Namespace(name) => references(&copies.state_filter(|role| {
            invoker_of(role).is_some_and(|invoker| invoker.namespace == *name)
        })),
        Touched::Workload(_) | Touched::Over { .. } => Vec::new(),
    };
    let all = move || references(&lost.state());
    let controller = controller.reconcile_on(stores.listen(concerned, all));
    let stores = Arc::clone(stores);
    drive(
        "foreignaccess",
        controller,
        Arc::clone(context),
        stop.clone(),
        move |role, context| {
            let stores = Arc::clone(&stores);
            async move { pass(&role, &context, &stores).await }
        },
    )
    .boxed()
}

fn references(roles: &[Arc<Role>]) -> Vec<ObjectRef<Role>> {
    roles
        .iter()
        .map(|role| ObjectRef::from_obj(role.as_ref()))
        .collect()
}

fn invoker_of(role: &Role) -> Option<Invoker> {
    serde_json::from_str(role.annotations().get(labels::INVOKER)?).ok()
}

/// Removes a Role that nobody needs. A Role of ours without a readable note was changed by others and stays.
async fn pass(role: &Role, context: &Context, stores: &Stores) -> Result<Again, ReconcileError> {
    let Some(invoker) = invoker_of(role) else {
        return Ok(Again::OnChange);
    };
    let (namespace, name) = (role.namespace().unwrap_or_default(), role.name_any());
    if name != names::foreign_role(&invoker.namespace, &invoker.kind, &invoker.name) {
        return Ok(Again::OnChange);
    }
    stores.ready().await;
    if is_used(stores, &invoker, &namespace) {
        return Ok(Again::OnChange);
    }
    let used = match invoker.kind.as_str() {
        "BackupConfiguration" => by_configuration(context, &invoker).await?,
        "RestoreSession" => by_restore(context, &invoker).await?,
        _ => return Ok(Again::OnChange),
    };
    let used = used.filter(|it| it.repository.namespace.as_deref() == Some(&namespace));
    if let Some(used) = used {
        if is_allowed_now(context, stores, &invoker, &used.repository).await? {
            return Ok(Again::OnChange);
        }
        if used.is_at_work || has_open_session(context, &invoker).await? {
            return Ok(Again::After(LOOK_AGAIN));
        }
    }
    writing::remove::<RoleBinding>(context, &namespace, &name).await?;
    writing::remove::<Role>(context, &namespace, &name).await?;
    Ok(Again::OnChange)
}

/// What an invoker, asked for now, needs rights for.
#[derive(Debug, PartialEq, Eq)]
struct Used {
    repository: RepositoryRef,
    /// Whether its agents are at work; what was begun is brought to its end.
    is_at_work: bool,
}

/// Whether the copies say that an invoker may use a Repository of a namespace, and does. Of what changes that we hear;
/// if they do not, they may be behind.
fn is_used(stores: &Stores, invoker: &Invoker, namespace: &str) -> bool {
    let used = match invoker.kind.as_str() {
        "BackupConfiguration" => stores
            .configurations
            .get(&ObjectRef::new(&invoker.name).within(&invoker.namespace))
            .and_then(|it| of_configuration(&it)),
        _ => stores
            .restores
            .get(&ObjectRef::new(&invoker.name).within(&invoker.namespace))
            .and_then(|it| of_restore(&it)),
    };
    let used = used.filter(|it| it.repository.namespace.as_deref() == Some(namespace));
    let repository = used.and_then(|it| stores.repository(namespace, &it.repository.name));
    repository.is_some_and(|it| is_allowed_by_copies(stores, &it, &invoker.namespace))
}

async fn by_configuration(
    context: &Context,
    invoker: &Invoker,
) -> Result<Option<Used>, ReconcileError> {
    let live: Option<BackupConfiguration> =
        reading::get(context, &invoker.namespace, &invoker.name).await?;
    Ok(live.as_ref().and_then(of_configuration))
}

fn of_configuration(configuration: &BackupConfiguration) -> Option<Used> {
    let stays = configuration.metadata.deletion_timestamp.is_none();
    stays.then(|| Used {
        repository: configuration.spec.repository.clone(),
        is_at_work: false,
    })
}

async fn by_restore(context: &Context, invoker: &Invoker) -> Result<Option<Used>, ReconcileError> {
    let live: Option<RestoreSession> =
        reading::get(context, &invoker.namespace, &invoker.name).await?;
    Ok(live.as_ref().and_then(of_restore))
}

/// A restore that is over needs nothing any more, and an init container that tries again is at work.
fn of_restore(restore: &RestoreSession) -> Option<Used> {
    let has_ended = has_ended(restore, way(restore).as_ref().ok());
    if has_ended || restore.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = restore.status.as_ref();
    Some(Used {
        repository: restore.spec.repository.clone(),
        is_at_work: status.is_some_and(|status| status.total_hosts.is_some()),
    })
}

/// Whether the usage policy lets the invoker use the Repository. A copy that says no may be behind, and with a
/// Repository that is gone go its roles.
async fn is_allowed_now(
    context: &Context,
    stores: &Stores,
    invoker: &Invoker,
    reference: &RepositoryRef,
) -> Result<bool, ReconcileError> {
    let (namespace, name) = repository_place(reference, &invoker.namespace);
    if let Some(copy) = stores.repository(&namespace, &name)
        && is_allowed(context, &copy, &invoker.namespace).await?
    {
        return Ok(true);
    }
    match reading::get::<Repository>(context, &namespace, &name).await? {
        Some(live) => is_allowed(context, &live, &invoker.namespace).await,
        None => Ok(true),
    }
}

async fn has_open_session(context: &Context, invoker: &Invoker) -> Result<bool, ReconcileError> {
    if invoker.kind != BackupConfiguration::kind(&()) {
        return Ok(false);
    }
    let sessions: Vec<BackupSession> = reading::list(context, &invoker.namespace, "").await?;
    Ok(sessions.iter().any(|it| is_open_of(it, invoker)))
}

/// Whether a session of the invoker may be at work, or starts at this moment.
fn is_open_of(session: &BackupSession, invoker: &Invoker) -> bool {
    let phase = session.status.as_ref().and_then(|status| status.phase);
    session.spec.invoker.kind == invoker.kind
        && session.spec.invoker.name == invoker.name
        && !phase.is_some_and(is_final_backup)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn restore(task: &Value, status: &Value) -> RestoreSession {
        let object = json!({
            "metadata": { "name": "back", "namespace": "shop" },
            "spec": {
                "repository": { "name": "repo", "namespace": "safe" },
                "task": task,
                "target": { "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } },
            },
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_restore_keeps_its_rights_from_its_start_to_its_end() {
        let (init, job) = (json!({}), json!({ "name": "pvc-restore" }));
        let is_at_work = |task: &Value, status: Value| {
            of_restore(&restore(task, &status)).map(|used| used.is_at_work)
        };
        let pending = json!({ "phase": "Pending" });
        let with = |phase: &str| json!({ "phase": phase, "totalHosts": 1 });
        assert_eq!(is_at_work(&job, pending), Some(false));
        assert_eq!(is_at_work(&job, with("Running")), Some(true));
        assert_eq!(is_at_work(&job, with("Failed")), None);
        // Init containers try again.
        assert_eq!(is_at_work(&init, with("Failed")), Some(true));
        assert_eq!(is_at_work(&init, with("Succeeded")), None);
    }

    #[test]
    fn an_open_session_is_one_of_the_same_invoker_without_a_final_phase() {
        let me = Invoker {
            kind: "BackupConfiguration".to_owned(),
            namespace: "shop".to_owned(),
            name: "home".to_owned(),
        };
        let is_open = |name: &str, status: Value| {
            let invoker = json!({ "kind": "BackupConfiguration", "name": name });
            let object = json!({
                "metadata": { "name": "a", "namespace": "shop" },
                "spec": { "invoker": invoker },
                "status": status,
            });
            is_open_of(&serde_json::from_value(object).unwrap(), &me)
        };
        assert!(is_open("home", json!({})));
        assert!(is_open("home", json!({ "phase": "Running" })));
        assert!(!is_open("other", json!({ "phase": "Running" })));
        for phase in ["Succeeded", "Failed", "Skipped"] {
            assert!(!is_open("home", json!({ "phase": phase })), "{phase}");
        }
    }
}
