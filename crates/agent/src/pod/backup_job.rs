//! A Job that backs up one host of one session.

use std::time::Duration;

use api::v1beta1::BackupSession;
use kube_runtime::watcher;
use session::work::Step;

use super::client::Delays;
use super::watched::Watched;
use super::work::{self, Role, Target, Worked};
use super::{PodAgent, PodError};

/// How often the session is looked at again although nothing seems to have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a Job backs up.
#[derive(Debug, Clone)]
pub struct BackupJob {
    /// Name of the session.
    pub session: String,
    /// Which of its targets.
    pub target_index: usize,
    /// The host to work as.
    pub host: String,
}

/// Works until nothing is left for the host. A host that failed and was reported as failed is work that is done.
pub async fn run(agent: &PodAgent, job: &BackupJob) -> Result<(), PodError> {
    let selected = watcher::Config::default().fields(&format!("metadata.name={}", job.session));
    let sessions = Watched::new(agent.here::<BackupSession>(), selected);
    let role = Role {
        target: Target::Number(job.target_index),
        host: Some(job.host.clone()),
        is_inside: false,
    };
    let mut changes = sessions.changes();
    let mut delays = Delays::new();
    loop {
        changes.mark_unchanged();
        match work::work_on(agent, &role, &sessions, &job.session).await? {
            Worked::Done | Worked::Waits(Step::WaitForOthers) => return Ok(()),
            Worked::Gone => {
                return Err(PodError::NotReported {
                    object: format!("the BackupSession {}, which is gone", job.session),
                });
            }
            Worked::Unreported => {
                tokio::select! {
                    () = delays.wait() => {}
                    () = agent.cancel.cancelled() => return Err(PodError::Stopped),
                }
            }
            Worked::Waits(step) => {
                tracing::info!(session = job.session, ?step, "waiting for the session");
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = agent.cancel.cancelled() => return Err(PodError::Stopped),
                }
            }
        }
    }
}
