//! The life of a RestoreSession: run once, and closed if its process ended.

use agent::restore::RestoreRun;
use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::v1beta1::{HostRestorePhase, HostRestoreStats, RestorePhase, RestoreSession};
use jiff::Timestamp;

use super::reporter::StoreReporter;
use super::{Controller, Ended};
use crate::failure::Failure;
use crate::machine::state::{EventKind, Key};

impl Controller {
    /// The restores of the manifests that have not run. One that ended stays as it is: to restore again, give the
    /// RestoreSession another name.
    pub(super) fn pending_restores(&self) -> Result<Vec<RestoreSession>, Failure> {
        let mut pending = Vec::new();
        for restore in &self.inner.desired.restores {
            let stored = self.inner.store.get(&key_of(restore))?;
            let phase = stored.and_then(|object| {
                serde_json::from_value::<Option<RestorePhase>>(object["status"]["phase"].clone())
                    .ok()
                    .flatten()
            });
            match phase {
                Some(phase) if session::phase::is_final_restore(phase) => {
                    let name = restore.metadata.name.as_deref().unwrap_or_default();
                    self.say(&format!(
                        "RestoreSession {name} is {phase} already; another name restores again"
                    ));
                }
                _ => pending.push(restore.clone()),
            }
        }
        Ok(pending)
    }

    /// Runs a restore.
    pub(super) async fn restore(&self, restore: &RestoreSession) -> Ended {
        match self.try_restore(restore).await {
            Ok(phase) => Ended::Restore(phase),
            Err(failure) => {
                self.inner
                    .context
                    .printer
                    .error(&failure.message, failure.hint.as_deref());
                Ended::Broken
            }
        }
    }

    async fn try_restore(&self, restore: &RestoreSession) -> Result<RestorePhase, Failure> {
        let key = key_of(restore);
        let repository = self.inner.desired.repository_of_restore(restore)?;
        let queue = self.queue(&repository.key);
        let turn = queue.lock().await;
        if self.is_stopping() {
            return Ok(RestorePhase::Pending);
        }
        self.say(&format!("RestoreSession {} is running", key.name));
        let run = RestoreRun {
            identity: self.agent_identity(&key, &key.name, Timestamp::now()),
            spec: restore.spec.clone(),
            settings: Ok(repository.settings.clone()),
            hooks: agent::HookPlace::Here,
            volumes: None,
        };
        let reporter = StoreReporter::new(self, key.clone(), &repository.key);
        let status = agent::restore::run(
            &run,
            &reporter,
            &agent::SystemClock,
            &self.inner.context.cancel,
        )
        .await;
        reporter.finish().await;
        drop(turn);
        let phase = status.phase.unwrap_or(RestorePhase::Unknown);
        self.inner
            .store
            .put_status(&key, &serde_json::to_value(&status)?)?;
        let error = status.stats.iter().find_map(|host| host.error.clone());
        let lasted = status.session_duration.unwrap_or_default();
        self.say(&match error {
            None => format!("RestoreSession {} is {phase} after {lasted}", key.name),
            Some(error) => format!(
                "RestoreSession {} is {phase} after {lasted}: {error}",
                key.name
            ),
        });
        Ok(phase)
    }

    /// Restores that an earlier process left behind are closed as failed: what is in the target may be incomplete.
    pub(super) fn close_abandoned_restores(&self) -> Result<(), Failure> {
        for object in self.inner.store.list("RestoreSession", None)? {
            let restore: RestoreSession = serde_json::from_value(object)?;
            let Some(mut status) = restore.status.clone() else {
                continue;
            };
            let has_begun =
                status.phase == Some(RestorePhase::Running) || status.total_hosts.is_some();
            if !has_begun || status.phase.is_some_and(session::phase::is_final_restore) {
                continue;
            }
            let now = Timestamp::now();
            let message = "the process that ran this restore ended before it was complete; what is in the target may \
                           be incomplete";
            let host = session::host::restore_host(restore.spec.target.as_ref());
            status.stats = vec![HostRestoreStats {
                hostname: host,
                phase: Some(HostRestorePhase::Failed),
                duration: None,
                error: Some(message.to_owned()),
            }];
            let completed = Condition::new(
                condition_type::RESTORE_COMPLETED,
                ConditionStatus::False,
                reason::POST_RESTORE_TASKS_NOT_EXECUTED,
                message,
            );
            set_condition(&mut status.conditions, completed, now);
            status.phase = Some(session::phase::restore_session(&status));
            let key = key_of(&restore);
            self.inner
                .store
                .put_status(&key, &serde_json::to_value(&status)?)?;
            self.inner.store.record_event(
                &key,
                EventKind::Warning,
                "RestoreDisrupted",
                message,
                &now.to_string(),
            )?;
            self.say(&format!(
                "RestoreSession {} was left behind by an earlier process and is closed as Failed",
                key.name
            ));
        }
        Ok(())
    }
}

fn key_of(restore: &RestoreSession) -> Key {
    let metadata = &restore.metadata;
    Key::new(
        "RestoreSession",
        metadata.namespace.as_deref().unwrap_or("default"),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
