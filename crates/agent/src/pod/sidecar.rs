//! The sidecar: lives as long as its Pod, and works on every session of its invoker.

use std::time::Duration;

use api::v1beta1::BackupSession;
use kube_runtime::watcher;
use session::labels;

use super::client::Delays;
use super::watched::{Known, Watched};
use super::work::{self, Role, Target, Worked};
use super::{PodAgent, PodError};

/// How often everything is looked at again although nothing seems to have changed.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// For whom a sidecar works.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// Kind of the invoker.
    pub invoker_kind: String,
    /// Name of the invoker.
    pub invoker_name: String,
    /// Kind and name of the workload, where the invoker has several targets.
    pub target: Option<(String, String)>,
}

/// Works on sessions until the agent is asked to stop.
pub async fn run(agent: &PodAgent, sidecar: &Sidecar) -> Result<(), PodError> {
    let selector = format!(
        "{}={},{}={}",
        labels::INVOKER_TYPE,
        sidecar.invoker_kind,
        labels::INVOKER_NAME,
        labels::label_value(&sidecar.invoker_name)
    );
    let selected = watcher::Config::default().labels(&selector);
    let sessions = Watched::new(agent.here::<BackupSession>(), selected);
    let role = Role {
        target: match &sidecar.target {
            Some((kind, name)) => Target::Named {
                kind: kind.clone(),
                name: name.clone(),
            },
            None => Target::Number(0),
        },
        host: None,
        is_inside: true,
    };
    tracing::info!(pod = agent.identity.pod, selector, "waiting for sessions");
    let mut changes = sessions.changes();
    let mut delays = Delays::new();
    loop {
        let known = changes.borrow_and_update().clone();
        let mut is_trouble = false;
        for name in known.iter().flat_map(|known| unfinished(known, sidecar)) {
            match work::work_on(agent, &role, &sessions, &name).await {
                Ok(Worked::Unreported) => is_trouble = true,
                Ok(worked) => tracing::debug!(session = name, ?worked, "nothing more to do now"),
                Err(PodError::Stopped) => return Ok(()),
                Err(error) => {
                    let error = crate::backup::chain(&error);
                    tracing::warn!(session = name, error, "cannot work on the session yet");
                    is_trouble = true;
                }
            }
        }
        if is_trouble {
            tokio::select! {
                () = delays.wait() => continue,
                () = agent.cancel.cancelled() => return Ok(()),
            }
        }
        delays = Delays::new();
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = agent.cancel.cancelled() => return Ok(()),
        }
    }
}

/// Names of sessions that are not over, the oldest first.
fn unfinished(known: &Known<BackupSession>, sidecar: &Sidecar) -> Vec<String> {
    let mut open: Vec<_> = known
        .values()
        .filter(|session| {
            let invoker = &session.spec.invoker;
            // A label may be shortened; the specification is not.
            invoker.kind == sidecar.invoker_kind && invoker.name == sidecar.invoker_name
        })
        .filter(|session| {
            let phase = session.status.as_ref().and_then(|status| status.phase);
            !phase.is_some_and(session::phase::is_final_backup)
        })
        .map(|session| {
            let metadata = &session.metadata;
            let created = metadata.creation_timestamp.clone().map(|time| time.0);
            (created, metadata.name.clone().unwrap_or_default())
        })
        .collect();
    open.sort();
    open.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn open_sessions_of_the_own_invoker_are_taken_in_their_order() {
        let session = |name: &str, minute: u32, invoker: &str, phase: Option<&str>| {
            let session: BackupSession = serde_json::from_value(json!({
                "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
                "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z")},
                "spec": {"invoker": {"kind": "BackupConfiguration", "name": invoker}},
                "status": {"phase": phase.unwrap_or("Running")},
            }))
            .unwrap();
            (name.to_owned(), Arc::new(session))
        };
        let known = Known::from([
            session("a", 3, "home", None),
            session("b", 1, "home", None),
            session("c", 2, "home", Some("Succeeded")),
            session("d", 0, "other", None),
        ]);
        let sidecar = Sidecar {
            invoker_kind: "BackupConfiguration".to_owned(),
            invoker_name: "home".to_owned(),
            target: None,
        };
        assert_eq!(unfinished(&known, &sidecar), ["b", "a"]);
    }
}
