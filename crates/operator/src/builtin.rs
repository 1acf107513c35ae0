//! The Functions and Tasks of the published API that come with the operator, and a word about what is not acted on.
//!
//! `pvc-backup` and `pvc-restore` name the way in which volume claims are backed up; the Jobs are built by the
//! operator itself, so a change of these objects changes nothing and is undone. Other Functions and Tasks, batches
//! and blueprints are kept and validated; an event or a condition says that nothing acts on them yet.

use std::fmt::Debug;
use std::sync::Arc;

use api::v1beta1::{
    BackupBatch, BackupBlueprint, Function, FunctionRef, FunctionSpec, RestoreBatch, Task, TaskSpec,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use kube_client::api::{Patch, PatchParams};
use kube_client::{Api, Resource, ResourceExt};
use kube_runtime::{WatchStreamExt, watcher};
use serde::Serialize;
use serde::de::DeserializeOwned;
use session::model::{PVC_BACKUP_TASK, PVC_RESTORE_TASK};
use tokio_util::sync::CancellationToken;

use crate::FIELD_MANAGER;
use crate::connection::watched;
use crate::context::Context;
use crate::controller::reference;
use crate::events::News;
use crate::failure::{ReconcileError, chain};

mod batches;

/// The published last step of Tasks. Agents report by themselves, so that there is nothing for it to do.
const UPDATE_STATUS: &str = "update-status";

/// Everything of this module.
pub fn controllers(
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> Vec<BoxFuture<'static, ()>> {
    let image = context.options.image.name.clone();
    vec![
        keep(context, stop, functions(&image)),
        keep(context, stop, tasks()),
        keep::<BackupBlueprint>(context, stop, Vec::new()),
        batches::controller::<BackupBatch>("backupbatch", context, stop),
        batches::controller::<RestoreBatch>("restorebatch", context, stop),
    ]
}

fn functions(image: &str) -> Vec<Function> {
    let function = |name: &str, args: &[&str]| {
        Function::new(
            name,
            FunctionSpec {
                image: Some(image.to_owned()),
                args: args.iter().map(|&word| word.to_owned()).collect(),
                ..FunctionSpec::default()
            },
        )
    };
    vec![
        function(
            PVC_BACKUP_TASK,
            &[
                "agent",
                "backup",
                "--session",
                "${BACKUP_SESSION}",
                "--target-index",
                "0",
                "--host",
                "${HOSTNAME}",
            ],
        ),
        function(
            PVC_RESTORE_TASK,
            &[
                "agent",
                "restore",
                "--restore-session",
                "${RESTORE_SESSION}",
                "--host",
                "${HOSTNAME}",
            ],
        ),
        function(UPDATE_STATUS, &["--version"]),
    ]
}

fn tasks() -> Vec<Task> {
    [PVC_BACKUP_TASK, PVC_RESTORE_TASK]
        .map(|name| {
            let steps = [name, UPDATE_STATUS].map(|step| FunctionRef {
                name: step.to_owned(),
                params: Vec::new(),
            });
            Task::new(
                name,
                TaskSpec {
                    steps: steps.into(),
                    volumes: Vec::new(),
                },
            )
        })
        .into()
}

/// Makes these objects exist as they are, and says of others of the kind that nothing acts on them.
fn keep<K>(context: &Arc<Context>, stop: &CancellationToken, ours: Vec<K>) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (context, stop) = (Arc::clone(context), stop.clone());
    Box::pin(async move {
        let changes = watcher(Api::<K>::all(context.watching()), watched())
            .default_backoff()
            .touched_objects();
        let mut changes = std::pin::pin!(changes);
        let mut missing = ours.clone();
        loop {
            let mut failed = Vec::new();
            for object in missing.drain(..) {
                if let Err(error) = apply(&context, &object).await {
                    tracing::warn!(error = chain(&error), "tried again");
                    failed.push(object);
                }
            }
            let again = async {
                if failed.is_empty() {
                    std::future::pending::<()>().await;
                }
                let delay = context.delays.after_failure(&K::kind(&()));
                tokio::time::sleep(delay).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = again => {}
                change = changes.next() => match change {
                    None => return,
                    Some(Err(error)) => tracing::debug!(error = chain(&error), "a watch is begun again"),
                    Some(Ok(object)) => {
                        match ours.iter().find(|it| it.name_any() == object.name_any()) {
                            // Applied again it changes nothing, unless somebody changed it.
                            Some(built_in) => missing.push(built_in.clone()),
                            None => say(&context, &object).await,
                        }
                    }
                },
            }
            missing.extend(failed);
        }
    })
}

async fn apply<K>(context: &Context, object: &K) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object.name_any();
    let options = PatchParams::apply(FIELD_MANAGER).force();
    Api::<K>::all(context.client())
        .patch(&name, &options, &Patch::Apply(object))
        .await
        .map(|_| context.delays.forget(&K::kind(&())))
        .map_err(ReconcileError::api(
            "apply",
            format!("{} {name}", K::kind(&())),
        ))
}

async fn say<K: Resource<DynamicType = ()>>(context: &Context, object: &K) {
    if object.meta().deletion_timestamp.is_some() {
        return;
    }
    let news = News::normal(
        "NotActedOn",
        format!(
            "a {} is not acted on by this version; Stash keeps it and does nothing with it",
            K::kind(&())
        ),
    );
    context.events.tell(&reference(object), &news).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_names_functions_that_exist() {
        let functions = functions("example/stash:1");
        for task in tasks() {
            for step in task.spec.steps {
                assert!(functions.iter().any(|it| it.name_any() == step.name));
            }
        }
    }
}
