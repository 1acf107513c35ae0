//! Writes what was decided about a Repository.

use std::fmt::Debug;
use std::time::Duration;

use api::k8s_openapi::api::batch::v1::Job;
use api::v1alpha1::{Repository, RepositoryStatus};
use kube_client::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube_client::core::NamespaceResourceScope;
use kube_client::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use session::names;

use crate::FIELD_MANAGER;
use crate::context::Context;
use crate::controller::{Again, key, named, reference};
use crate::events::News;
use crate::failure::{ReconcileError, chain, found};
use crate::repository::observe::WipeOut;
use crate::repository::place;
use crate::repository::plan::{FINALIZER, Plan, Step};
use crate::repository::wipe_out::{self, Objects};

/// Carries a plan out.
pub async fn apply(
    context: &Context,
    repository: &Repository,
    wipe_out: &WipeOut,
    plan: Plan,
) -> Result<Again, ReconcileError> {
    let Plan {
        status,
        step,
        mut news,
    } = plan;
    if let Some(status) = status {
        write_status(context, repository, status).await?;
    }
    let key = format!("the data of {}", key(repository));
    // A Job that failed stays until its time has come, and is told once.
    let mut left = Duration::ZERO;
    if let WipeOut::Failed { job, .. } = wipe_out {
        let before = context.delays.has_noted(&key, job);
        left = context.delays.left_after(&key, job);
        news.retain(|_| !before);
    }
    for news in &news {
        context.events.tell(&reference(repository), news).await;
    }
    match step {
        Step::Nothing => {}
        Step::Wait(delay) => return Ok(Again::After(delay)),
        Step::AddFinalizer => set_finalizer(context, repository, true).await?,
        Step::RemoveFinalizer => {
            context.delays.forget(&key);
            set_finalizer(context, repository, false).await?;
        }
        Step::LetGo => {
            context.delays.forget(&key);
            // No event can be written in a namespace that is being deleted.
            for news in &news {
                tracing::warn!(repository = named(repository), "{}", news.message);
            }
            set_finalizer(context, repository, false).await?;
        }
        Step::StartWipeOut => return Box::pin(start(context, repository)).await,
        Step::RemoveJob => {
            if !left.is_zero() {
                return Ok(Again::After(left));
            }
            remove_job(context, repository).await?;
        }
    }
    Ok(Again::OnChange)
}

fn api<K>(context: &Context, repository: &Repository) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(
        context.client(),
        &repository.namespace().unwrap_or_default(),
    )
}

async fn write_status(
    context: &Context,
    repository: &Repository,
    status: RepositoryStatus,
) -> Result<(), ReconcileError> {
    let mut object = repository.clone();
    object.status = Some(status);
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let written = api::<Repository>(context, repository)
        .replace_status(&repository.name_any(), &options, &object)
        .await;
    // A Repository that is gone needs no status.
    found(written).map(|_| ()).map_err(ReconcileError::api(
        "update the status of",
        named(repository),
    ))
}

/// The version that was read goes along: somebody else's finalizer is not lost. The status may have been written a
/// moment ago, so the object is read again.
async fn set_finalizer(
    context: &Context,
    repository: &Repository,
    is_wanted: bool,
) -> Result<(), ReconcileError> {
    let api = api::<Repository>(context, repository);
    let name = repository.name_any();
    let doing = || ReconcileError::api("update the finalizers of", named(repository));
    let Some(live) = found(api.get_metadata(&name).await).map_err(doing())? else {
        return Ok(());
    };
    if live.metadata.uid != repository.metadata.uid {
        return Ok(());
    }
    let mut finalizers = live.metadata.finalizers.unwrap_or_default();
    finalizers.retain(|it| it != FINALIZER);
    if is_wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({ "metadata": {
        "resourceVersion": live.metadata.resource_version,
        "finalizers": finalizers,
    } });
    let options = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = api
        .patch_metadata(&name, &options, &Patch::Merge(patch))
        .await;
    found(patched).map(|_| ()).map_err(doing())
}

async fn start(context: &Context, repository: &Repository) -> Result<Again, ReconcileError> {
    let objects = match wipe_out::objects(repository, &context.options.image) {
        Ok(objects) => objects,
        Err(error) => {
            let news = News::warning(
                "WipeOutFailed",
                format!("the Job cannot be built: {}", chain(&error)),
            );
            context.events.tell(&reference(repository), &news).await;
            return Ok(Again::OnChange);
        }
    };
    let Objects {
        account,
        role,
        binding,
        job,
    } = objects;
    let made = async {
        ensure(&api(context, repository), &account).await?;
        ensure(&api(context, repository), &role).await?;
        ensure(&api(context, repository), &binding).await?;
        ensure(&api(context, repository), &job).await
    };
    match made.await {
        Err(ReconcileError::Api { source, .. }) if is_terminating(&source) => {
            let news = News::warning(
                "WipeOutFailed",
                format!(
                    "the namespace is being deleted, so that no Job can run in it: the data stays in {}; remove it by hand",
                    place::describe(repository)
                ),
            );
            tracing::warn!(
                repository = named(repository),
                place = place::describe(repository),
                "data stays: the namespace is gone"
            );
            context.events.tell(&reference(repository), &news).await;
            set_finalizer(context, repository, false).await?;
        }
        result => result?,
    }
    Ok(Again::OnChange)
}

/// Nothing can be made in a namespace that is being deleted, and it would wait for ever for the finalizer.
fn is_terminating(error: &kube_client::Error) -> bool {
    match error {
        kube_client::Error::Api(status) => {
            status.code == 403 && status.message.contains("because it is being terminated")
        }
        _ => false,
    }
}

async fn ensure<K>(api: &Api<K>, object: &K) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let options = PatchParams::apply(FIELD_MANAGER).force();
    let mut value = serde_json::to_value(object).map_err(|source| ReconcileError::Encode {
        object: named(object),
        source,
    })?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    api.patch(&object.name_any(), &options, &Patch::Apply(value))
        .await
        .map(|_| ())
        .map_err(ReconcileError::api("apply", named(object)))
}

async fn remove_job(context: &Context, repository: &Repository) -> Result<(), ReconcileError> {
    let name = names::wipe_out_job(&repository.name_any());
    let jobs: Api<Job> = api(context, repository);
    found(jobs.delete(&name, &DeleteParams::background()).await)
        .map(|_| ())
        .map_err(ReconcileError::api("delete", format!("Job {name}")))
}
