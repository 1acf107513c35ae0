//! Writes a workload and tells what was done.

use api::k8s_openapi::api::core::v1::ObjectReference;
use kube_client::api::PostParams;
use kube_client::core::DynamicObject;
use serde_json::Value;

use crate::FIELD_MANAGER;
use crate::context::Context;
use crate::events::{EventKind, News, Repeats};
use crate::failure::{ReconcileError, status_code};
use crate::inject::Invoker;
use crate::pod_parts::Place;
use crate::stores::Stores;
use crate::workload::plan::{Outcome, Plan};
use crate::workload::{WorkloadKey, observe};

/// Carries a plan out. The workload is written with the version that was read: a change in between is a conflict,
/// and the next pass decides anew.
pub async fn apply(
    context: &Context,
    stores: &Stores,
    workload: &WorkloadKey,
    live: &Value,
    plan: Plan,
) -> Result<(), ReconcileError> {
    let Plan {
        write,
        removed,
        injected,
        outcome,
    } = plan;
    if let Some(value) = write {
        let object: DynamicObject =
            serde_json::from_value(value).map_err(|source| ReconcileError::Encode {
                object: workload.to_string(),
                source,
            })?;
        let options = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let api = observe::api(context, workload);
        if let Err(error) = api.replace(&workload.name, &options, &object).await {
            if is_refusal(&error) {
                let reason = format!("the API server refuses the Pod template: {error}");
                let refused = Outcome {
                    // Tried again by every pass.
                    seen: String::new(),
                    sidecar: outcome.sidecar.refused(&reason),
                    init: outcome.init.refused(&reason),
                    by_hand: None,
                };
                stores.note(workload, Some(&refused));
            }
            return Err(ReconcileError::api("inject into", workload.to_string())(
                error,
            ));
        }
        let about = reference(workload, live);
        for (place, invoker) in &injected {
            tell(context, &about, injected_news(*place, invoker)).await;
        }
        for (place, invoker) in &removed {
            tell(context, &about, removed_news(*place, invoker.as_ref())).await;
        }
    }
    stores.note(workload, Some(&outcome));
    Ok(())
}

/// Whether somebody has to do something before it can work.
fn is_refusal(error: &kube_client::Error) -> bool {
    status_code(error).is_some_and(|code| matches!(code, 400 | 403 | 422))
}

async fn tell(context: &Context, about: &ObjectReference, news: News) {
    tracing::info!(
        workload = format!(
            "{} {}/{}",
            about.kind.as_deref().unwrap_or_default(),
            about.namespace.as_deref().unwrap_or_default(),
            about.name.as_deref().unwrap_or_default()
        ),
        reason = news.reason,
        "changed a workload"
    );
    context.events.tell(about, &news).await;
}

fn injected_news(place: Place, invoker: &Invoker) -> News {
    let (reason, what) = match place {
        Place::Beside => ("SidecarInjectionSucceeded", "sidecar"),
        Place::Before => ("InitContainerInjectionSucceeded", "init container"),
    };
    News {
        kind: EventKind::Normal,
        reason,
        message: format!(
            "the {what} {} for the {} {} is part of the Pod template",
            place.container_name(),
            invoker.kind,
            invoker.name
        ),
        repeats: Repeats::Counted,
    }
}

fn removed_news(place: Place, invoker: Option<&Invoker>) -> News {
    let (reason, what) = match place {
        Place::Beside => ("SidecarDeletionSucceeded", "sidecar"),
        Place::Before => ("InitContainerDeletionSucceeded", "init container"),
    };
    let whose = invoker.map_or_else(String::new, |invoker| {
        format!(" of the {} {}", invoker.kind, invoker.name)
    });
    News {
        kind: EventKind::Normal,
        reason,
        message: format!(
            "the {what} {}{whose} was taken out of the Pod template",
            place.container_name()
        ),
        repeats: Repeats::Counted,
    }
}

fn reference(workload: &WorkloadKey, live: &Value) -> ObjectReference {
    ObjectReference {
        api_version: Some(workload.api_version().to_owned()),
        kind: Some(workload.kind.clone()),
        namespace: Some(workload.namespace.clone()),
        name: Some(workload.name.clone()),
        uid: live
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .map(str::to_owned),
        ..ObjectReference::default()
    }
}
