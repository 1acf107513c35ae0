//! Writing objects so that it can be done twice: applied, created if absent, removed.

use std::fmt::Debug;

use api::k8s_openapi::api::batch::v1::Job;
use kube_client::api::{
    DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube_client::core::NamespaceResourceScope;
use kube_client::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod standing;

use standing::{Standing, standing};

use crate::FIELD_MANAGER;
use crate::context::Context;
use crate::controller::named;
use crate::failure::{ReconcileError, chain, found, status_code};

fn api<K>(context: &Context, object: &K) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(context.client(), &object.namespace().unwrap_or_default())
}

/// Brings an object to what it should be, whoever changed it.
pub async fn apply<K>(context: &Context, object: &K) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let encode = |source| ReconcileError::Encode {
        object: named(object),
        source,
    };
    let mut value = serde_json::to_value(object).map_err(encode)?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    let options = PatchParams::apply(FIELD_MANAGER).force();
    api(context, object)
        .patch(&object.name_any(), &options, &Patch::Apply(value))
        .await
        .map(|_| ())
        .map_err(ReconcileError::api("apply", named(object)))
}

/// Creates an object unless it is there already. Whether it was created. That the name is taken is an error: one that
/// passes where an earlier object of the same owner is about to go, and one that names whose it is otherwise.
pub async fn create<K>(context: &Context, object: &K) -> Result<bool, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let api = api(context, object);
    match api.create(&options, object).await {
        Ok(_) => return Ok(true),
        Err(error) if status_code(&error) == Some(409) => {}
        Err(error) => return Err(ReconcileError::api("create", named(object))(error)),
    }
    let present = found(api.get_metadata(&object.name_any()).await)
        .map_err(ReconcileError::api("read", named(object)))?;
    let standing = present.map_or(Standing::Leaving, |present| {
        standing(object.meta(), &present.metadata)
    });
    match standing {
        Standing::Ours => Ok(false),
        Standing::Leaving => Err(ReconcileError::Leaving {
            object: named(object),
        }),
        Standing::Others(whose) => Err(ReconcileError::Taken {
            object: named(object),
            whose,
        }),
    }
}

/// Ends Jobs. Where that is refused for good, they go on: the session they worked for ends all the same.
pub async fn end_jobs(
    context: &Context,
    namespace: &str,
    names: &[String],
) -> Result<(), ReconcileError> {
    for name in names {
        match remove::<Job>(context, namespace, name).await {
            Err(error) if error.is_refusal() => {
                tracing::warn!(job = name, error = chain(&error), "a Job cannot be ended");
            }
            result => result?,
        }
    }
    Ok(())
}

/// Removes an object and, in the background, what it owns. One that is gone already is fine.
pub async fn remove<K>(context: &Context, namespace: &str, name: &str) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    remove_if::<K>(context, (namespace, name), None).await
}

/// The same for an object that is still as it was read: one that was written since is a conflict.
pub async fn remove_unchanged<K>(context: &Context, object: &K) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let unchanged = Preconditions {
        uid: object.uid(),
        resource_version: object.resource_version(),
    };
    remove_if::<K>(context, (&namespace, &name), Some(unchanged)).await
}

async fn remove_if<K>(
    context: &Context,
    (namespace, name): (&str, &str),
    preconditions: Option<Preconditions>,
) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client(), namespace);
    let options = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions,
        ..DeleteParams::default()
    };
    found(api.delete(name, &options).await)
        .map(|_| ())
        .map_err(ReconcileError::api(
            "delete",
            format!("{} {namespace}/{name}", K::kind(&())),
        ))
}
