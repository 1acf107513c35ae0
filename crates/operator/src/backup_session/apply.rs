//! Writes what was decided about a session.

use api::conditions::{Condition, ConditionStatus, condition_type as types, reason, set_condition};
use api::k8s_openapi::api::batch::v1::Job;
use api::v1beta1::{BackupSession, BackupSessionStatus};
use jiff::Timestamp;
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, ResourceExt};
use serde_json::Value;

use crate::FIELD_MANAGER;
use crate::backup_session::observe::Observation;
use crate::backup_session::plan::{self, Case, Plan, Preparation};
use crate::backup_session::{Passing, news};
use crate::context::Context;
use crate::controller::{Again, named, reference};
use crate::failure::{ReconcileError, chain, status_code};
use crate::rbac::AccessObjects;
use crate::writing;

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
        match prepare(context, *preparation).await {
            Err(error) if is_refusal(&error) => {
                let case = Case {
                    session,
                    seen,
                    image: &context.options.image,
                    now: Timestamp::now(),
                };
                let why = format!(
                    "the API server refuses what the backup needs: {}",
                    chain(&error)
                );
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
    if let Some(next) = &retry
        && writing::create(context, next.as_ref()).await?
    {
        context.metrics.created_session(None);
        tracing::info!(
            session = named(next.as_ref()),
            after = own,
            "created a session"
        );
    }
    if let Some(status) = &status {
        write_status(context, session, status).await?;
    }
    let namespace = session.namespace().unwrap_or_default();
    for job in &ended_jobs {
        writing::remove::<Job>(context, &namespace, job).await?;
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

async fn prepare(context: &Context, preparation: Preparation) -> Result<(), ReconcileError> {
    let Preparation {
        access,
        lease,
        claims,
        jobs,
    } = preparation;
    grant(context, &access).await?;
    if let Some(lease) = &lease {
        writing::create(context, lease).await?;
    }
    for claim in &claims {
        writing::create(context, claim).await?;
    }
    for job in &jobs {
        writing::create(context, job).await?;
    }
    Ok(())
}

/// Gives agents their rights.
pub async fn grant(context: &Context, access: &AccessObjects) -> Result<(), ReconcileError> {
    let AccessObjects {
        account,
        role,
        binding,
        foreign,
    } = access;
    if let Some(account) = account {
        writing::apply(context, account).await?;
    }
    writing::apply(context, role).await?;
    writing::apply(context, binding).await?;
    if let Some((role, binding)) = foreign {
        writing::apply(context, role).await?;
        writing::apply(context, binding).await?;
    }
    Ok(())
}

/// Whether somebody has to do something before it can work.
pub fn is_refusal(error: &ReconcileError) -> bool {
    match error {
        ReconcileError::Api { source, .. } => {
            status_code(source).is_some_and(|code| matches!(code, 400 | 403 | 422))
        }
        _ => false,
    }
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
