//! Runs sessions when they are due: by schedule, on request, after a failure, or once.
//!
//! The database is the only truth: every pass looks at it anew, so a kill between any two writes is healed by the
//! next start. At most one session works on a repository at a time (they queue), and at most one of a configuration
//! runs (a further one is Skipped).

mod configurations;
mod reporter;
mod restores;
mod sessions;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::schedule::Schedule;
use api::v1beta1::{BackupConfiguration, BackupSessionPhase, RestorePhase};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use session::tick::{Due, due};
use tokio::task::JoinSet;

use super::desired::{Desired, RepositoryKey};
use super::state::{Key, StateStore};
use crate::Context;
use crate::failure::{Failure, Outcome};

/// How often requests and retries are looked for.
const PAUSE: Duration = Duration::from_millis(500);

/// Until when the controller works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until each configuration and each restore has run once.
    Once,
    /// Until it is stopped.
    Forever,
}

/// Why a session is created.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// Its schedule fired, or `--once`.
    Due,
    /// Somebody asked, and named the session.
    Requested(String),
    /// An earlier session of this name failed.
    Retry(String),
}

/// The controller of one machine.
#[derive(Debug, Clone)]
pub struct Controller {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Arc<Context>,
    store: Arc<StateStore>,
    desired: Desired,
    mode: Mutex<Mode>,
    /// One session at a time for each repository.
    queues: Mutex<HashMap<RepositoryKey, Arc<tokio::sync::Mutex<()>>>>,
    identity: crate::open::Identity,
}

/// What the tasks of a controller end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Backup(BackupSessionPhase),
    Restore(RestorePhase),
    /// The state could not be kept.
    Broken,
}

impl Ended {
    const fn is_good(self) -> bool {
        matches!(
            self,
            Self::Backup(BackupSessionPhase::Succeeded) | Self::Restore(RestorePhase::Succeeded)
        )
    }
}

impl Controller {
    /// A controller that owns the store.
    pub fn new(context: Arc<Context>, store: Arc<StateStore>, desired: Desired) -> Self {
        let inner = Inner {
            context,
            store,
            desired,
            mode: Mutex::new(Mode::Forever),
            queues: Mutex::default(),
            identity: crate::open::Identity::of_this_process(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Works until the mode's end or a signal. Sessions under way are stopped by the signal, write their last
    /// status, and give their locks back before this returns.
    pub async fn run(&self, mode: Mode) -> Result<Outcome, Failure> {
        *self.inner.mode.lock() = mode;
        self.close_abandoned_sessions()?;
        self.apply_desired(mode)?;
        self.request_sessions()?;
        match mode {
            Mode::Once => Box::pin(self.run_once()).await,
            Mode::Forever => self.run_forever().await,
        }
    }

    async fn run_once(&self) -> Result<Outcome, Failure> {
        let mut tasks = JoinSet::new();
        let mut skipped = 0;
        let requests = self.inner.store.requests()?;
        for configuration in &self.inner.desired.configurations {
            let key = key_of(configuration);
            if requests.iter().any(|request| request.invoker == key) {
                continue;
            }
            if configuration.spec.paused {
                skipped += 1;
                self.say(&format!(
                    "{} is paused and left out",
                    Self::name(configuration)
                ));
                continue;
            }
            let (controller, configuration) = (self.clone(), configuration.clone());
            start(&mut tasks, async move || {
                controller.back_up_with_retries(&configuration).await
            });
        }
        for request in requests {
            let Some(configuration) = self.configuration(&request.invoker).cloned() else {
                continue;
            };
            let session = self.create_session(
                &configuration,
                &Cause::Requested(request.session),
                Timestamp::now(),
            )?;
            let controller = self.clone();
            start(&mut tasks, async move || {
                controller.run_session(&configuration, &session).await
            });
        }
        let mut ended = collect(&mut tasks).await;
        // Restores follow the backups: a set of manifests with both proves that what was saved comes back.
        for restore in self.pending_restores()? {
            if self.is_stopping() {
                break;
            }
            ended.push(self.restore(&restore).await);
        }
        let good = ended.iter().filter(|ended| ended.is_good()).count();
        self.say(&format!(
            "{good} of {} sessions succeeded{}; status and history are in {}",
            ended.len(),
            if skipped > 0 {
                format!(", {skipped} paused")
            } else {
                String::new()
            },
            self.inner.store.directory().display()
        ));
        Ok(if self.is_stopping() {
            Outcome::Interrupted
        } else if good == ended.len() {
            Outcome::Done
        } else {
            Outcome::Failed
        })
    }

    async fn run_forever(&self) -> Result<Outcome, Failure> {
        let mut tasks = JoinSet::new();
        for restore in self.pending_restores()? {
            let controller = self.clone();
            start(&mut tasks, async move || controller.restore(&restore).await);
        }
        self.announce();
        while !self.is_stopping() {
            for (configuration, session) in self.work_due()? {
                let controller = self.clone();
                start(&mut tasks, async move || {
                    controller.run_session(&configuration, &session).await
                });
            }
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                () = self.inner.context.cancel.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        self.say("Stopping: sessions under way are closed");
        collect(&mut tasks).await;
        // Being stopped is how this mode ends.
        Ok(Outcome::Done)
    }

    /// Sessions that manifests ask for, unless they exist already.
    fn request_sessions(&self) -> Result<(), Failure> {
        let store = &self.inner.store;
        let waiting: Vec<String> = store
            .requests()?
            .into_iter()
            .map(|request| request.session)
            .collect();
        for session in &self.inner.desired.sessions {
            let namespace = session.metadata.namespace.as_deref().unwrap_or("default");
            let name = session.metadata.name.clone().unwrap_or_default();
            let is_known = store
                .get(&Key::new("BackupSession", namespace, &name))?
                .is_some();
            if !is_known && !waiting.contains(&name) {
                let invoker = &session.spec.invoker;
                store.request(
                    &Key::new(&invoker.kind, namespace, &invoker.name),
                    &name,
                    &Timestamp::now().to_string(),
                )?;
            }
        }
        Ok(())
    }

    fn announce(&self) {
        let zone = TimeZone::system();
        for configuration in &self.inner.desired.configurations {
            let name = Self::name(configuration);
            if configuration.spec.paused {
                self.say(&format!("{name} is paused; `stash trigger` still runs it"));
                continue;
            }
            let next = Schedule::parse(&configuration.spec.schedule)
                .ok()
                .and_then(|schedule| schedule.next_after(Timestamp::now(), &zone));
            let next = next.map_or_else(
                || "never".to_owned(),
                |next| next.to_zoned(zone.clone()).strftime("%F %T %Z").to_string(),
            );
            self.say(&format!(
                "{name} runs at `{}`, next {next}",
                configuration.spec.schedule
            ));
        }
    }

    /// Creates the sessions that have to start now. They exist before the next look, so nothing starts twice.
    fn work_due(&self) -> Result<Vec<(BackupConfiguration, String)>, Failure> {
        let mut work = Vec::new();
        let now = Timestamp::now();
        for request in self.inner.store.requests()? {
            match self.configuration(&request.invoker) {
                Some(configuration) => {
                    work.push((configuration.clone(), Cause::Requested(request.session)));
                }
                None => self.inner.store.drop_request(&request.session)?,
            }
        }
        for configuration in &self.inner.desired.configurations {
            if !configuration.spec.paused && self.is_due(configuration, now)? {
                work.push((configuration.clone(), Cause::Due));
            }
        }
        for (invoker, session) in self.retries_due(now)? {
            if let Some(configuration) = self.configuration(&invoker) {
                work.push((configuration.clone(), Cause::Retry(session)));
            }
        }
        work.into_iter()
            .map(|(configuration, cause)| {
                let session = self.create_session(&configuration, &cause, now)?;
                Ok((configuration, session))
            })
            .collect()
    }

    /// Whether the schedule has fired since it was acted on last. A schedule that is new starts counting now.
    fn is_due(&self, configuration: &BackupConfiguration, now: Timestamp) -> Result<bool, Failure> {
        let key = key_of(configuration);
        let expression = &configuration.spec.schedule;
        let Ok(schedule) = Schedule::parse(expression) else {
            return Ok(false);
        };
        let last = self
            .inner
            .store
            .last_tick(&key, expression)?
            .and_then(|last| last.parse().ok());
        let Some(last) = last else {
            self.inner
                .store
                .set_last_tick(&key, expression, &now.to_string())?;
            return Ok(false);
        };
        let is_due = due(&schedule, last, now, &TimeZone::system()) == Due::Now;
        if is_due {
            self.inner
                .store
                .set_last_tick(&key, expression, &now.to_string())?;
        }
        Ok(is_due)
    }

    fn configuration(&self, key: &Key) -> Option<&BackupConfiguration> {
        self.inner
            .desired
            .configurations
            .iter()
            .find(|configuration| key_of(configuration) == *key)
    }

    fn is_stopping(&self) -> bool {
        self.inner.context.cancel.is_cancelled()
    }

    fn is_once(&self) -> bool {
        *self.inner.mode.lock() == Mode::Once
    }

    fn say(&self, line: &str) {
        if self.is_once() {
            self.inner.context.printer.message(line);
        } else {
            let now = Timestamp::now().to_zoned(TimeZone::system());
            self.inner
                .context
                .printer
                .message(&format!("{} {line}", now.strftime("%F %T")));
        }
    }

    fn name(configuration: &BackupConfiguration) -> String {
        format!(
            "BackupConfiguration {}",
            configuration.metadata.name.as_deref().unwrap_or_default()
        )
    }

    fn queue(&self, repository: &RepositoryKey) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(
            self.inner
                .queues
                .lock()
                .entry(repository.clone())
                .or_default(),
        )
    }
}

/// The key of a configuration.
fn key_of(configuration: &BackupConfiguration) -> Key {
    let metadata = &configuration.metadata;
    Key::new(
        "BackupConfiguration",
        metadata.namespace.as_deref().unwrap_or("default"),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// Runs a session on a thread of its own: sessions are few and long, and their futures are not `Send`.
fn start(tasks: &mut JoinSet<Ended>, session: impl AsyncFnOnce() -> Ended + Send + 'static) {
    let runtime = tokio::runtime::Handle::current();
    tasks.spawn_blocking(move || runtime.block_on(session()));
}

async fn collect(tasks: &mut JoinSet<Ended>) -> Vec<Ended> {
    let mut ended = Vec::new();
    while let Some(result) = tasks.join_next().await {
        ended.push(result.unwrap_or_else(|error| {
            tracing::error!(%error, "a session broke off");
            Ended::Broken
        }));
    }
    ended
}
