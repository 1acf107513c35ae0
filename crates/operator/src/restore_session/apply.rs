//! Writes what was decided about a RestoreSession.

use std::time::Duration;

use api::v1beta1::{RestoreSession, RestoreSessionStatus};
use jiff::SignedDuration;
use kube_client::api::PostParams;
use kube_client::{Api, ResourceExt};

use crate::FIELD_MANAGER;
use crate::context::Context;
use crate::controller::{Again, key, named, reference};
use crate::failure::ReconcileError;
use crate::reading;
use crate::restore_session::plan::{Case, Plan, Way, way};
use crate::restore_session::{Passing, news, observe, start};
use crate::{preparation, writing};

/// How soon it is looked again at what has changed meanwhile.
const CHANGED: Duration = Duration::from_secs(1);
/// How long a restore waits for the end of an earlier one of the same name before that is told.
const ROOM: SignedDuration = SignedDuration::from_secs(20);

/// Carries a plan out. What agents need is there before the status on which they begin.
pub async fn apply(
    context: &Context,
    passing: &Passing,
    restore: &RestoreSession,
    plan: Plan,
) -> Result<Again, ReconcileError> {
    let Plan {
        preparation,
        mut status,
        ended_jobs,
        mut has_to_ask_again,
        again,
    } = plan;
    let has_begun = restore
        .status
        .as_ref()
        .is_some_and(|it| it.total_hosts.is_some());
    let uid = restore.uid().unwrap_or_default();
    if let Some(preparation) = preparation {
        let workload = preparation.workload.clone();
        match preparation::prepare(context, *preparation).await {
            // What agents have reported is written all the same.
            Err(error) if error.is_leaving() && has_begun => has_to_ask_again = true,
            // Told only if it lasts.
            Err(error) if error.is_leaving() && is_young(restore) => return Err(error),
            Err(error) if error.is_refusal() || error.is_leaving() => {
                let told = status.filter(|_| has_begun);
                let failed = refused(context, passing, restore, (told, &error)).await?;
                (status, has_to_ask_again) = (failed.status, failed.has_to_ask_again);
            }
            Err(error) => return Err(error),
            Ok(()) => {
                if let Some(workload) = workload {
                    passing.prepared.note(&uid, &workload);
                }
            }
        }
    }
    // Nobody looks for Jobs of a restore that is over.
    if !ended_jobs.is_empty() {
        let namespace = restore.namespace().unwrap_or_default();
        if reading::has_changed(context, restore).await? {
            // Agents have written meanwhile: it is decided anew.
            return Ok(Again::After(CHANGED));
        }
        writing::end_jobs(context, &namespace, &ended_jobs).await?;
    }
    if let Some(status) = &status {
        write_status(context, restore, status).await?;
    }
    let shown = status
        .or_else(|| restore.status.clone())
        .unwrap_or_default();
    let all = news::of_restore(restore, &shown);
    for news in passing.told.unknown(&uid, all, news::ended(&shown)) {
        context.events.tell(&reference(restore), &news).await;
    }
    let key = format!("what {} needs", key(restore));
    if has_to_ask_again {
        return Ok(again.sooner(Again::After(context.delays.after_failure(&key))));
    }
    context.delays.forget(&key);
    Ok(again)
}

fn is_young(restore: &RestoreSession) -> bool {
    let created = restore.metadata.creation_timestamp.as_ref();
    created.is_some_and(|created| jiff::Timestamp::now().duration_since(created.0) < ROOM)
}

/// The API server refuses what the restore needs: said in the status that was to be written, or else in the present one,
/// and tried again.
async fn refused(
    context: &Context,
    passing: &Passing,
    restore: &RestoreSession,
    (status, error): (Option<RestoreSessionStatus>, &ReconcileError),
) -> Result<Plan, ReconcileError> {
    let seen = observe::observe(restore, context, &passing.stores).await?;
    let case = Case {
        restore,
        way: way(restore).unwrap_or(Way::Init),
        seen: &seen,
        image: &context.options.image,
        now: jiff::Timestamp::now(),
    };
    let why = error.refused("restore");
    let status = status.or_else(|| restore.status.clone());
    let status = status.unwrap_or_default();
    Ok(start::refused(&case, status, &why))
}

/// The version that was read goes along: what agents wrote meanwhile is not lost, and the next pass decides anew.
async fn write_status(
    context: &Context,
    restore: &RestoreSession,
    status: &RestoreSessionStatus,
) -> Result<(), ReconcileError> {
    let namespace = restore.namespace().unwrap_or_default();
    let api: Api<RestoreSession> = Api::namespaced(context.client(), &namespace);
    let mut object = restore.clone();
    object.status = Some(status.clone());
    object.metadata.managed_fields = None;
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    api.replace_status(&restore.name_any(), &options, &object)
        .await
        .map(|_| ())
        .map_err(ReconcileError::api("update the status of", named(restore)))?;
    let before = restore.status.as_ref().and_then(|status| status.phase);
    if status.phase != before {
        tracing::info!(restore = named(restore), phase = ?status.phase, "a restore went on");
    }
    Ok(())
}
