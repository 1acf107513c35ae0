//! Takes back the rights of init containers. They stay as long as the workload or the RestoreSession: a Pod that is made
//! when the RestoreSession is gone, and nobody has taken the container out, has to be able to see so, and the Pods of a
//! workload that is made anew have to be restored.

use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Pod;
use api::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use api::v1beta1::RestoreSession;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::{Api, ResourceExt};
use kube_runtime::Controller;
use kube_runtime::reflector::ObjectRef;
use session::{labels, names};
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::inject::{self, Invoker};
use crate::pod_parts::Place;
use crate::rbac::WITHIN;
use crate::stores::{Stores, Touched};
use crate::workload::{self, WorkloadKey, target_of_restore};
use crate::{reading, writing};

/// How soon Pods are looked at again that still have the container.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The controller.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let api: Api<Role> = Api::all(context.watching());
    let selector = format!("{}={WITHIN}", labels::COMPONENT);
    let controller = Controller::new(api, watched().labels(&selector));
    let (copies, lost) = (controller.store(), controller.store());
    let concerned = move |change: &Touched| {
        let roles = match change {
            Touched::Invoker { invoker, .. } => {
                copies.state_filter(|role| invoker_of(role).as_ref() == Some(invoker))
            }
            _ => Vec::new(),
        };
        references(&roles)
    };
    let all = move || references(&lost.state());
    let controller = controller.reconcile_on(stores.listen(concerned, all));
    drive(
        "workloadaccess",
        controller,
        Arc::clone(context),
        stop.clone(),
        move |role, context| async move { pass(&role, &context).await },
    )
    .boxed()
}

fn references(roles: &[Arc<Role>]) -> Vec<ObjectRef<Role>> {
    let roles = roles.iter();
    roles
        .map(|role| ObjectRef::from_obj(role.as_ref()))
        .collect()
}

fn invoker_of(role: &Role) -> Option<Invoker> {
    serde_json::from_str(role.annotations().get(labels::INVOKER)?).ok()
}

/// Removes a Role that nobody needs. One that others have changed, so that it does not say whose it is, stays.
async fn pass(role: &Role, context: &Context) -> Result<Again, ReconcileError> {
    let Some(invoker) = invoker_of(role) else {
        return Ok(Again::OnChange);
    };
    let mut owners = role.owner_references().iter();
    // Without the workload the Role goes with the RestoreSession.
    let Some(owner) = owners.find(|owner| owner.kind != invoker.kind) else {
        return Ok(Again::OnChange);
    };
    let (namespace, name) = (role.namespace().unwrap_or_default(), role.name_any());
    if name != names::agent_role(&invoker.kind, &invoker.name) || namespace != invoker.namespace {
        return Ok(Again::OnChange);
    }
    let key = WorkloadKey {
        kind: owner.kind.clone(),
        namespace: namespace.clone(),
        name: owner.name.clone(),
    };
    // One of the same name that is made from now on writes them anew.
    let binding: Option<RoleBinding> = reading::get(context, &namespace, &name).await?;
    let restore: Option<RestoreSession> = reading::get(context, &namespace, &invoker.name).await?;
    let restore = restore.filter(|it| it.metadata.deletion_timestamp.is_none());
    if restore.is_some_and(|it| target_of_restore(&it).as_ref() == Some(&key)) {
        return Ok(Again::OnChange);
    }
    let Some(live) = workload::read(context, &key).await? else {
        return Ok(Again::OnChange);
    };
    let carried = inject::carried(&live, Place::Before);
    if carried.as_ref() == Some(&invoker) && inject::has(&live, Place::Before) {
        return Ok(Again::After(LOOK_AGAIN));
    }
    let pods: Vec<Pod> = reading::list(context, &namespace, "").await?;
    if pods.iter().any(|pod| carries(pod, &invoker.name)) {
        return Ok(Again::After(LOOK_AGAIN));
    }
    if let Some(binding) = &binding {
        writing::remove_unchanged(context, binding).await?;
    }
    writing::remove_unchanged(context, role).await?;
    Ok(Again::OnChange)
}

/// Whether a Pod has the init container of a RestoreSession.
fn carries(pod: &Pod, restore: &str) -> bool {
    let spec = pod.spec.iter();
    let mut inits = spec.flat_map(|spec| spec.init_containers.iter().flatten());
    inits.any(|init| {
        let args = init.args.as_deref().unwrap_or_default();
        init.name == Place::Before.container_name()
            && args
                .windows(2)
                .any(|pair| pair[0] == "--restore-session" && pair[1] == restore)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_carries_the_container_of_the_restore_that_it_names() {
        let pod = |name: &str, restore: &str| -> Pod {
            let args = ["agent", "restore", "--restore-session", restore, "--init"];
            serde_json::from_value(json!({
                "metadata": { "name": "web-0" },
                "spec": { "containers": [], "initContainers": [{ "name": name, "args": args }] },
            }))
            .unwrap()
        };
        assert!(carries(&pod("stash-init", "back"), "back"));
        assert!(!carries(&pod("stash-init", "other"), "back"));
        assert!(!carries(&pod("theirs", "back"), "back"));
        assert!(!carries(&Pod::default(), "back"));
    }
}
