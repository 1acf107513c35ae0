//! Writes what was decided about a BackupConfiguration.

use std::time::Duration;

use api::v1beta1::{BackupConfiguration, BackupConfigurationStatus, BackupSession};
use jiff::Timestamp;
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, ResourceExt};
use serde_json::json;
use session::labels;

use crate::FIELD_MANAGER;
use crate::backup_configuration::plan::Plan;
use crate::backup_configuration::schedule::{Remembered, Ticks};
use crate::context::Context;
use crate::controller::{Again, key, named, reference};
use crate::events::News;
use crate::failure::{ReconcileError, chain};
use crate::writing;

/// Carries a plan out. The status comes first: who reads it must not find a session of a configuration that is not
/// ready. The tick is remembered after its session exists.
pub async fn apply(
    context: &Context,
    configuration: &BackupConfiguration,
    plan: Plan,
) -> Result<Again, ReconcileError> {
    let Plan {
        status,
        news,
        ticks,
        has_to_ask_again,
    } = plan;
    if let Some(status) = status {
        write_status(context, configuration, status).await?;
    }
    for news in &news {
        context.events.tell(&reference(configuration), news).await;
    }
    let Ticks {
        session,
        remember,
        next,
    } = ticks;
    if let Some((session, tick)) = session {
        create(context, configuration, &session, tick).await?;
    }
    if let Some(remembered) = remember {
        remember_tick(context, configuration, &remembered).await?;
    }
    let key = format!("what {} needs", key(configuration));
    let ask = if has_to_ask_again {
        Some(context.delays.after_failure(&key))
    } else {
        context.delays.forget(&key);
        None
    };
    Ok(match sooner(ask, next) {
        Some(delay) => Again::After(delay),
        None => Again::OnChange,
    })
}

fn sooner(left: Option<Duration>, right: Option<Duration>) -> Option<Duration> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

fn api(context: &Context, configuration: &BackupConfiguration) -> Api<BackupConfiguration> {
    let namespace = configuration.namespace().unwrap_or_default();
    Api::namespaced(context.client(), &namespace)
}

async fn write_status(
    context: &Context,
    configuration: &BackupConfiguration,
    status: BackupConfigurationStatus,
) -> Result<(), ReconcileError> {
    let mut object = configuration.clone();
    object.status = Some(status);
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    api(context, configuration)
        .replace_status(&configuration.name_any(), &options, &object)
        .await
        .map(|_| ())
        .map_err(ReconcileError::api(
            "update the status of",
            named(configuration),
        ))
}

/// A session of that name is the session of that tick, if it is ours.
async fn create(
    context: &Context,
    configuration: &BackupConfiguration,
    session: &BackupSession,
    tick: Timestamp,
) -> Result<(), ReconcileError> {
    match writing::create(context, session).await {
        Ok(true) => {
            let delay = Timestamp::now().duration_since(tick);
            context
                .metrics
                .created_session(Duration::try_from(delay).ok());
            tracing::info!(session = named(session), %tick, "created a session");
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error @ ReconcileError::Taken { .. }) => {
            let news = News::warning("BackupSessionNotCreated", chain(&error));
            context.events.tell(&reference(configuration), &news).await;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

async fn remember_tick(
    context: &Context,
    configuration: &BackupConfiguration,
    remembered: &Remembered,
) -> Result<(), ReconcileError> {
    let patch = json!({ "metadata": { "annotations": {
        labels::LAST_TICK: remembered.last,
        labels::LAST_SCHEDULE: remembered.schedule,
    } } });
    let options = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api(context, configuration)
        .patch_metadata(&configuration.name_any(), &options, &Patch::Merge(patch))
        .await
        .map(|_| ())
        .map_err(ReconcileError::api("annotate", named(configuration)))
}
