//! The life of a BackupSession: created, run, closed, tried again, and dropped from the history.

use agent::backup::BackupRun;
use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::duration::GoDuration;
use api::v1beta1::{
    BackupConfiguration, BackupInvokerRef, BackupSession, BackupSessionPhase, BackupSessionSpec,
    BackupSessionStatus, BackupTargetStatus,
};
use jiff::Timestamp;
use session::history::{self, Entry};
use session::retry::{self, Retry};

use super::{Cause, Controller, Ended, key_of};
use crate::failure::Failure;
use crate::machine::controller::reporter::StoreReporter;
use crate::machine::state::{EventKind, Key};

/// Prefix of the labels that name a session's invoker (reference 3.3).
const LABELS: &str = "stash.appscode.com";

impl Controller {
    /// Runs a configuration and, under `--once`, its retries too; the result is that of the last session.
    pub(super) async fn back_up_with_retries(&self, configuration: &BackupConfiguration) -> Ended {
        let mut cause = Cause::Due;
        loop {
            let session = match self.create_session(configuration, &cause, Timestamp::now()) {
                Ok(session) => session,
                Err(failure) => return self.broken(&failure),
            };
            let ended = self.run_session(configuration, &session).await;
            let Ok(Some(next)) = self.next_retry(&key_of(configuration), &session) else {
                return ended;
            };
            self.say(&format!(
                "Session {session} failed and is tried again at {next}"
            ));
            let left = next.duration_since(Timestamp::now());
            tokio::select! {
                () = self.inner.context.cancel.cancelled() => return ended,
                () = tokio::time::sleep(left.try_into().unwrap_or_default()) => {}
            }
            cause = Cause::Retry(session);
        }
    }

    fn broken(&self, failure: &Failure) -> Ended {
        self.inner
            .context
            .printer
            .error(&failure.message, failure.hint.as_deref());
        Ended::Broken
    }

    /// Creates the session object of a cause, or returns its name if it exists. A request or an earlier failure is
    /// marked as answered in the same breath, and a crash in between is healed by the object's fixed name.
    pub(super) fn create_session(
        &self,
        configuration: &BackupConfiguration,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<String, Failure> {
        let store = &self.inner.store;
        let invoker = key_of(configuration);
        let name = match cause {
            Cause::Requested(name) => name.clone(),
            Cause::Due | Cause::Retry(_) => self.free_name(&invoker, now)?,
        };
        let key = Key::new("BackupSession", &invoker.namespace, &name);
        if store.get(&key)?.is_none() {
            let retries_left = match cause {
                Cause::Retry(earlier) => self
                    .load(&invoker.namespace, earlier)?
                    .map_or(0, |session| {
                        session.spec.retry_left.unwrap_or(0).saturating_sub(1)
                    }),
                Cause::Due | Cause::Requested(_) => {
                    retry::retries(configuration.spec.retry_config.as_ref())
                }
            };
            let mut session = new_session(&invoker, &name, retries_left, now);
            if self.running(&invoker)?.is_some() {
                skip(&mut session, now);
            }
            store.put(&serde_json::to_value(&session)?)?;
        }
        match cause {
            Cause::Requested(name) => store.drop_request(name)?,
            Cause::Retry(earlier) => {
                if let Some(mut session) = self.load(&invoker.namespace, earlier)? {
                    session.status.get_or_insert_default().retried = Some(true);
                    store.put(&serde_json::to_value(&session)?)?;
                }
            }
            Cause::Due => {}
        }
        Ok(name)
    }

    /// A session name that no session has.
    fn free_name(&self, invoker: &Key, now: Timestamp) -> Result<String, Failure> {
        let mut moment = now;
        loop {
            let name = session::names::session_name(&invoker.name, moment);
            if self
                .inner
                .store
                .get(&Key::new("BackupSession", &invoker.namespace, &name))?
                .is_none()
            {
                return Ok(name);
            }
            moment += jiff::SignedDuration::from_secs(1);
        }
    }

    pub(super) async fn run_session(
        &self,
        configuration: &BackupConfiguration,
        name: &str,
    ) -> Ended {
        match self.try_session(configuration, name).await {
            Ok(phase) => Ended::Backup(phase),
            Err(failure) => self.broken(&failure),
        }
    }

    async fn try_session(
        &self,
        configuration: &BackupConfiguration,
        name: &str,
    ) -> Result<BackupSessionPhase, Failure> {
        let invoker = key_of(configuration);
        let Some(session) = self.load(&invoker.namespace, name)? else {
            return Ok(BackupSessionPhase::Skipped);
        };
        if let Some(phase) = session.status.as_ref().and_then(|status| status.phase)
            && session::phase::is_final_backup(phase)
        {
            self.say(&format!(
                "Session {name} is {phase}: another session of {} is at work",
                invoker.name
            ));
            return Ok(phase);
        }
        let repository = self.inner.desired.repository_of(configuration)?;
        let queue = self.queue(&repository.key);
        let turn = queue.lock().await;
        if self.is_stopping() {
            // A session that never began stays Pending and is closed by the next start.
            return Ok(BackupSessionPhase::Pending);
        }
        self.say(&format!("Session {name} is running"));
        let created = created(&session);
        let run = BackupRun {
            identity: self.agent_identity(&invoker, name, created),
            spec: configuration.spec.clone(),
            retries_left: session.spec.retry_left.unwrap_or(0),
            settings: Ok(repository.settings.clone()),
            repository: self.repository_status(&repository.key)?,
            tolerates_unreadable: super::configurations::tolerates_unreadable(configuration),
            hooks: agent::HookPlace::Here,
        };
        let reporter = StoreReporter::new(
            self,
            Key::new("BackupSession", &invoker.namespace, name),
            &repository.key,
        );
        let status = agent::backup::run(
            &run,
            &reporter,
            &agent::SystemClock,
            &self.inner.context.cancel,
        )
        .await;
        reporter.finish().await;
        drop(turn);
        self.close(configuration, session, status)
    }

    /// The last step: history, phase, duration, and when to try again.
    fn close(
        &self,
        configuration: &BackupConfiguration,
        mut session: BackupSession,
        mut status: BackupSessionStatus,
    ) -> Result<BackupSessionPhase, Failure> {
        let now = Timestamp::now();
        let invoker = key_of(configuration);
        let name = session.metadata.name.clone().unwrap_or_default();
        let cleaned = Condition::new(
            condition_type::BACKUP_HISTORY_CLEANED,
            ConditionStatus::True,
            reason::SUCCESSFULLY_CLEANED_BACKUP_HISTORY,
            "only the newest sessions are kept",
        );
        set_condition(&mut status.conditions, cleaned, now);
        for target in &mut status.targets {
            target.phase = Some(session::phase::target(target));
        }
        let phase = session::phase::backup_session(&status);
        status.phase = Some(phase);
        let lasted = now.duration_since(created(&session));
        let lasted = std::time::Duration::try_from(lasted).unwrap_or_default();
        status.session_duration = Some(
            GoDuration::from_std(lasted)
                .rounded_to_seconds()
                .to_string(),
        );
        let retries_left = session.spec.retry_left.unwrap_or(0);
        if let Retry::At(next) = retry::after(
            phase,
            retries_left,
            false,
            configuration.spec.retry_config.as_ref(),
            now,
        ) {
            status.next_retry = Some(super::reporter::time(next));
        }
        session.status = Some(status);
        self.inner.store.put(&serde_json::to_value(&session)?)?;
        self.clean_history(configuration, &invoker)?;
        self.tell(&invoker, &session, phase)?;
        self.say(&super::reporter::result_line(&name, &session));
        Ok(phase)
    }

    fn tell(
        &self,
        invoker: &Key,
        session: &BackupSession,
        phase: BackupSessionPhase,
    ) -> Result<(), Failure> {
        let name = session.metadata.name.as_deref().unwrap_or_default();
        let (kind, reason) = if phase == BackupSessionPhase::Succeeded {
            (EventKind::Normal, "BackupSucceeded")
        } else {
            (EventKind::Warning, "BackupFailed")
        };
        let message = format!("session {name} is {phase}");
        Ok(self.inner.store.record_event(
            invoker,
            kind,
            reason,
            &message,
            &Timestamp::now().to_string(),
        )?)
    }

    fn clean_history(
        &self,
        configuration: &BackupConfiguration,
        invoker: &Key,
    ) -> Result<(), Failure> {
        let entries: Vec<Entry> = self
            .sessions(invoker)?
            .iter()
            .map(|session| Entry {
                name: session.metadata.name.clone().unwrap_or_default(),
                created: created(session),
                phase: phase_of(session),
            })
            .collect();
        for name in history::to_remove(&entries, configuration.spec.backup_history_limit) {
            self.inner
                .store
                .delete(&Key::new("BackupSession", &invoker.namespace, &name))?;
        }
        Ok(())
    }

    /// Sessions that an earlier process left behind are closed as disrupted; those that never began too.
    pub(super) fn close_abandoned_sessions(&self) -> Result<(), Failure> {
        for object in self.inner.store.list("BackupSession", None)? {
            let session: BackupSession = serde_json::from_value(object)?;
            if session::phase::is_final_backup(phase_of(&session)) {
                continue;
            }
            self.close_abandoned(session)?;
        }
        self.close_abandoned_restores()
    }

    fn close_abandoned(&self, mut session: BackupSession) -> Result<(), Failure> {
        let now = Timestamp::now();
        let mut status = session.status.take().unwrap_or_default();
        if status.targets.is_empty() {
            status.targets.push(BackupTargetStatus {
                total_hosts: Some(1),
                ..Default::default()
            });
        }
        for target in &mut status.targets {
            let disrupted = Condition::new(
                condition_type::BACKUP_DISRUPTED,
                ConditionStatus::True,
                reason::FAILED_TO_COMPLETE_DUE_TO_DISRUPTION,
                "the process that ran this session ended before the session was complete",
            );
            set_condition(&mut target.conditions, disrupted, now);
            target.phase = Some(session::phase::target(target));
        }
        let cleaned = Condition::new(
            condition_type::BACKUP_HISTORY_CLEANED,
            ConditionStatus::True,
            reason::SUCCESSFULLY_CLEANED_BACKUP_HISTORY,
            "closed at the next start",
        );
        set_condition(&mut status.conditions, cleaned, now);
        status.phase = Some(session::phase::backup_session(&status));
        let invoker = invoker_of(&session);
        let config = self
            .configuration(&invoker)
            .and_then(|configuration| configuration.spec.retry_config);
        let retries_left = session.spec.retry_left.unwrap_or(0);
        if let Retry::At(next) = retry::after(
            BackupSessionPhase::Failed,
            retries_left,
            false,
            config.as_ref(),
            now,
        ) {
            status.next_retry = Some(super::reporter::time(next));
        }
        session.status = Some(status);
        let name = session.metadata.name.clone().unwrap_or_default();
        let key = Key::new("BackupSession", &invoker.namespace, &name);
        self.inner.store.put(&serde_json::to_value(&session)?)?;
        let message = "the process that ran this session ended before the session was complete";
        self.inner.store.record_event(
            &key,
            EventKind::Warning,
            "BackupDisrupted",
            message,
            &now.to_string(),
        )?;
        self.say(&format!(
            "Session {name} was left behind by an earlier process and is closed as Failed"
        ));
        Ok(())
    }

    /// Failed sessions whose retry is due: the invoker and the session's name.
    pub(super) fn retries_due(&self, now: Timestamp) -> Result<Vec<(Key, String)>, Failure> {
        let mut due = Vec::new();
        for object in self.inner.store.list("BackupSession", None)? {
            let session: BackupSession = serde_json::from_value(object)?;
            let status = session.status.clone().unwrap_or_default();
            let is_open =
                status.phase == Some(BackupSessionPhase::Failed) && status.retried != Some(true);
            if is_open && status.next_retry.is_some_and(|next| next.0 <= now) {
                due.push((
                    invoker_of(&session),
                    session.metadata.name.clone().unwrap_or_default(),
                ));
            }
        }
        Ok(due)
    }

    fn next_retry(&self, invoker: &Key, name: &str) -> Result<Option<Timestamp>, Failure> {
        let session = self.load(&invoker.namespace, name)?;
        Ok(session
            .and_then(|session| session.status)
            .and_then(|status| status.next_retry)
            .map(|next| next.0))
    }

    fn load(&self, namespace: &str, name: &str) -> Result<Option<BackupSession>, Failure> {
        let object = self
            .inner
            .store
            .get(&Key::new("BackupSession", namespace, name))?;
        Ok(object.map(serde_json::from_value).transpose()?)
    }

    fn sessions(&self, invoker: &Key) -> Result<Vec<BackupSession>, Failure> {
        let mut sessions = Vec::new();
        for object in self
            .inner
            .store
            .list("BackupSession", Some(&invoker.namespace))?
        {
            let session: BackupSession = serde_json::from_value(object)?;
            if invoker_of(&session) == *invoker {
                sessions.push(session);
            }
        }
        Ok(sessions)
    }

    /// A session of this invoker that has begun and is not over, or waits for its turn.
    fn running(&self, invoker: &Key) -> Result<Option<BackupSession>, Failure> {
        Ok(self
            .sessions(invoker)?
            .into_iter()
            .find(|session| !session::phase::is_final_backup(phase_of(session))))
    }

    pub(super) fn agent_identity(
        &self,
        invoker: &Key,
        session: &str,
        created: Timestamp,
    ) -> agent::Identity {
        agent::Identity {
            session: session.to_owned(),
            namespace: invoker.namespace.clone(),
            invoker_kind: invoker.kind.clone(),
            invoker_name: invoker.name.clone(),
            machine: self.inner.identity.hostname.clone(),
            username: self.inner.identity.username.clone(),
            judge: None,
            cache: agent::CachePlace::OfUser,
            created,
        }
    }
}

fn new_session(invoker: &Key, name: &str, retries_left: i32, now: Timestamp) -> BackupSession {
    let mut session = BackupSession::new(
        name,
        BackupSessionSpec {
            invoker: BackupInvokerRef {
                api_group: Some("stash.appscode.com".to_owned()),
                kind: invoker.kind.clone(),
                name: invoker.name.clone(),
            },
            retry_left: Some(retries_left),
        },
    );
    session.metadata.namespace = Some(invoker.namespace.clone());
    session.metadata.creation_timestamp = Some(super::reporter::time(now));
    session.metadata.uid = Some(super::configurations::new_uid());
    let labels = [
        (format!("{LABELS}/invoker-type"), invoker.kind.clone()),
        (format!("{LABELS}/invoker-name"), invoker.name.clone()),
        (
            "app.kubernetes.io/component".to_owned(),
            "stash-backup".to_owned(),
        ),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            "stash.appscode.com".to_owned(),
        ),
    ];
    session.metadata.labels = Some(labels.into());
    session.status = Some(BackupSessionStatus {
        phase: Some(BackupSessionPhase::Pending),
        ..BackupSessionStatus::default()
    });
    session
}

fn skip(session: &mut BackupSession, now: Timestamp) {
    let skipped = Condition::new(
        condition_type::BACKUP_SKIPPED,
        ConditionStatus::True,
        reason::SKIPPED_TAKING_NEW_BACKUP,
        "another session of the same configuration is at work",
    );
    let status = session.status.get_or_insert_default();
    set_condition(&mut status.conditions, skipped, now);
    status.phase = Some(session::phase::backup_session(status));
    status.session_duration = Some("0s".to_owned());
}

fn phase_of(session: &BackupSession) -> BackupSessionPhase {
    session
        .status
        .as_ref()
        .and_then(|status| status.phase)
        .unwrap_or(BackupSessionPhase::Pending)
}

fn created(session: &BackupSession) -> Timestamp {
    session
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |created| created.0)
}

fn invoker_of(session: &BackupSession) -> Key {
    let namespace = session.metadata.namespace.as_deref().unwrap_or("default");
    Key::new(
        &session.spec.invoker.kind,
        namespace,
        &session.spec.invoker.name,
    )
}
