//! Writes what was decided about a session.

use std::time::Duration;

use api::conditions::{Condition, ConditionStatus, condition_type as types, reason, set_condition};
use api::v1beta1::{BackupSession, BackupSessionStatus};
use jiff::{SignedDuration, Timestamp};
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, ResourceExt};
use serde_json::Value;

use crate::FIELD_MANAGER;
use crate::backup_session::observe::Observation;
use crate::backup_session::plan::{self, Case, Plan};
use crate::backup_session::{Passing, news};
use crate::context::Context;
use crate::controller::{Again, named, reference};
use crate::events::News;
use crate::failure::{ReconcileError, chain};
use crate::reading;
use crate::stores::Touched;
use crate::{preparation, writing};

/// How long a session waits for what is forbidden.
const RIGHTS: SignedDuration = SignedDuration::from_mins(1);
/// How long a session waits until an earlier object of the same name is gone.
const ROOM: SignedDuration = SignedDuration::from_mins(10);

/// How soon it is looked again at what has changed meanwhile.
const CHANGED: Duration = Duration::from_secs(1);

/// Carries a plan out. Agents begin when they see the status, so that everything they need is there before it; what
/// follows it can be done again.
pub async fn apply(
    context: &Context,
    passing: &Passing,
    session: &BackupSession,
    seen: &Observation,
    plan: Plan,
) -> Result<Again, ReconcileError> {
    let Plan {
        adoption,
        preparation,
        forgotten,
        retry,
        mut status,
        ended_jobs,
        again,
    } = plan;
    if let Some(patch) = adoption {
        adopt(context, session, &patch).await?;
        return Ok(Again::OnChange);
    }
    if let Some(preparation) = preparation {
        match preparation::prepare(context, *preparation).await {
            // Tried again for a while: an API server that has just started may not know our rights yet.
            Err(error) if error.is_forbidden() && is_younger(session, RIGHTS) => {
                return Err(error);
            }
            Err(error) if error.is_leaving() && is_younger(session, ROOM) => {
                return Err(error);
            }
            Err(error) if error.is_refusal() || error.is_leaving() => {
                let case = Case {
                    session,
                    seen,
                    image: &context.options.image,
                    now: Timestamp::now(),
                };
                let why = error.refused("backup");
                let failed = plan::refused(&case, &why);
                return Box::pin(apply(context, passing, session, seen, failed)).await;
            }
            result => result?,
        }
    }
    let own = session.name_any();
    let is_forgotten = forgotten.contains(&own);
    for name in forgotten.iter().filter(|name| **name != own) {
        let removed = forget(context, session, name).await;
        if let (Err(error), Some(status)) = (removed, &mut status) {
            tracing::warn!(
                session = name,
                error = chain(&error),
                "a session stays in the history"
            );
            not_cleaned(status, name, &error);
        }
    }
    if let Some(next) = &retry {
        create_next(context, session, next).await?;
    }
    // Nobody looks for Jobs of a session that is over.
    if !ended_jobs.is_empty() {
        let namespace = session.namespace().unwrap_or_default();
        if reading::has_changed(context, session).await? {
            // Agents have written meanwhile: it is decided anew.
            return Ok(Again::After(CHANGED));
        }
        writing::end_jobs(context, &namespace, &ended_jobs).await?;
    }
    if let Some(status) = &status {
        write_status(context, session, status).await?;
    }
    if status.as_ref().is_some_and(is_over) {
        let namespace = session.namespace().unwrap_or_default();
        passing.stores.tell(Touched::Over { namespace });
    }
    let shown = status
        .or_else(|| session.status.clone())
        .unwrap_or_default();
    tell(context, passing, session, seen, &shown).await;
    if is_forgotten {
        forget(context, session, &own).await?;
    }
    Ok(again)
}

fn is_over(status: &BackupSessionStatus) -> bool {
    status.phase.is_some_and(session::phase::is_final_backup)
}

/// The session of a retry. Where its name is taken there is none: the next tick does it.
async fn create_next(
    context: &Context,
    session: &BackupSession,
    next: &BackupSession,
) -> Result<(), ReconcileError> {
    match writing::create(context, next).await {
        Ok(true) => {
            context.metrics.created_session(None);
            let after = session.name_any();
            tracing::info!(session = named(next), after, "created a session");
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error @ ReconcileError::Taken { .. }) => {
            let news = News::warning("BackupSessionNotCreated", chain(&error));
            context.events.tell(&reference(session), &news).await;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn is_younger(session: &BackupSession, age: SignedDuration) -> bool {
    let created = session.metadata.creation_timestamp.as_ref();
    created.is_some_and(|created| Timestamp::now().duration_since(created.0) < age)
}

fn api(context: &Context, session: &BackupSession) -> Api<BackupSession> {
    let namespace = session.namespace().unwrap_or_default();
    Api::namespaced(context.client(), &namespace)
}

async fn adopt(
    context: &Context,
    session: &BackupSession,
    patch: &Value,
) -> Result<(), ReconcileError> {
    let options = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api(context, session)
        .patch_metadata(&session.name_any(), &options, &Patch::Merge(patch))
        .await
        .map(|_| ())
        .map_err(ReconcileError::api("label", named(session)))
}

async fn forget(
    context: &Context,
    session: &BackupSession,
    name: &str,
) -> Result<(), ReconcileError> {
    let namespace = session.namespace().unwrap_or_default();
    writing::remove::<BackupSession>(context, &namespace, name).await
}

fn not_cleaned(status: &mut BackupSessionStatus, name: &str, error: &ReconcileError) {
    let condition = Condition::new(
        types::BACKUP_HISTORY_CLEANED,
        ConditionStatus::False,
        reason::FAILED_TO_CLEAN_BACKUP_HISTORY,
        format!("the session {name} could not be removed: {}", chain(error)),
    );
    set_condition(&mut status.conditions, condition, Timestamp::now());
}

/// The version that was read goes along: what agents wrote meanwhile is not lost, and the next pass decides anew.
async fn write_status(
    context: &Context,
    session: &BackupSession,
    status: &BackupSessionStatus,
) -> Result<(), ReconcileError> {
    let mut object = session.clone();
    object.status = Some(status.clone());
    object.metadata.managed_fields = None;
    let options = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    api(context, session)
        .replace_status(&session.name_any(), &options, &object)
        .await
        .map(|_| ())
        .map_err(ReconcileError::api("update the status of", named(session)))?;
    let before = session.status.as_ref().and_then(|status| status.phase);
    if status.phase != before {
        tracing::info!(session = named(session), phase = ?status.phase, "a session went on");
    }
    Ok(())
}

async fn tell(
    context: &Context,
    passing: &Passing,
    session: &BackupSession,
    seen: &Observation,
    status: &BackupSessionStatus,
) {
    let uid = session.uid().unwrap_or_default();
    let ended = news::ended(status);
    let about = reference(session);
    let all = news::of_session(status);
    for news in passing.told.unknown(&uid, all, ended) {
        context.events.tell(&about, &news).await;
    }
    let end = news::of_end(session, status).into_iter().collect();
    for news in passing.told.unknown(&uid, end, ended) {
        context.events.tell(&about, &news).await;
        if let Some(configuration) = seen.configuration.as_deref() {
            context.events.tell(&reference(configuration), &news).await;
        }
    }
}
