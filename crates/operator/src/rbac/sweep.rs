//! Takes back rights in namespaces of Repositories when the invoker for whose agents they were is gone, or uses
//! another Repository.

use std::sync::Arc;

use api::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use api::v1beta1::{BackupConfiguration, RepositoryRef, RestoreSession};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::core::NamespaceResourceScope;
use kube_client::{Api, Resource, ResourceExt};
use kube_runtime::reflector::ObjectRef;
use kube_runtime::{Controller, watcher};
use serde::de::DeserializeOwned;
use session::{labels, names};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::{ReconcileError, found};
use crate::inject::Invoker;
use crate::rbac::FOREIGN;
use crate::stores::{Stores, Touched};
use crate::writing;

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<Role> = Api::all(context.client());
    let selector = format!("{}={FOREIGN}", labels::COMPONENT);
    let controller = Controller::new(api, watcher::Config::default().labels(&selector));
    let (copies, lost) = (controller.store(), controller.store());
    let concerned = move |change: &Touched| match change {
        Touched::Invoker { invoker, .. } => copies
            .state_filter(|role| invoker_of(role).as_ref() == Some(invoker))
            .iter()
            .map(|role| ObjectRef::from_obj(role.as_ref()))
            .collect(),
        Touched::Repository { .. } | Touched::Workload(_) => Vec::new(),
    };
    let all = move || {
        let roles = lost.state();
        roles
            .iter()
            .map(|role| ObjectRef::from_obj(role.as_ref()))
            .collect()
    };
    let controller = controller.reconcile_on(stores.listen(concerned, all));
    drive(
        "foreignaccess",
        controller,
        Arc::clone(context),
        stop.clone(),
        |role, context| async move { pass(&role, &context).await },
    )
    .boxed()
}

fn invoker_of(role: &Role) -> Option<Invoker> {
    serde_json::from_str(role.annotations().get(labels::INVOKER)?).ok()
}

/// Removes a Role that nobody needs. A Role of ours without a readable note was changed by others and stays.
async fn pass(role: &Role, context: &Context) -> Result<Again, ReconcileError> {
    let Some(invoker) = invoker_of(role) else {
        return Ok(Again::OnChange);
    };
    let (namespace, name) = (role.namespace().unwrap_or_default(), role.name_any());
    let is_ours = name == names::foreign_role(&invoker.namespace, &invoker.kind, &invoker.name);
    let is_needed = match invoker.kind.as_str() {
        "BackupConfiguration" => {
            needs::<BackupConfiguration>(context, &invoker, &namespace, |it| &it.spec.repository)
                .await?
        }
        "RestoreSession" => {
            needs::<RestoreSession>(context, &invoker, &namespace, |it| &it.spec.repository).await?
        }
        _ => true,
    };
    if is_ours && !is_needed {
        writing::remove::<RoleBinding>(context, &namespace, &name).await?;
        writing::remove::<Role>(context, &namespace, &name).await?;
    }
    Ok(Again::OnChange)
}

/// Whether the invoker, asked for now, uses a Repository of that namespace.
async fn needs<K>(
    context: &Context,
    invoker: &Invoker,
    namespace: &str,
    repository: fn(&K) -> &RepositoryRef,
) -> Result<bool, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client(), &invoker.namespace);
    let object = format!("{} {}/{}", invoker.kind, invoker.namespace, invoker.name);
    let live = found(api.get(&invoker.name).await).map_err(ReconcileError::api("read", object))?;
    Ok(live
        .filter(|it| it.meta().deletion_timestamp.is_none())
        .is_some_and(|it| repository(&it).namespace.as_deref() == Some(namespace)))
}
