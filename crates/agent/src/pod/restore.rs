//! Bringing back one host of a RestoreSession: in an init container, which blocks its Pod until that is done, or in a
//! Job, which tries once.

use std::sync::Arc;
use std::time::Duration;

use api::conditions::{Condition, condition_type as types, find_condition};
use api::v1beta1::{HostRestorePhase, RestoreSession, RestoreSessionStatus, TargetRef};
use jiff::Timestamp;
use kube_runtime::watcher;
use session::hooks::restores_take_turns;
use session::restore::is_superseded;
use session::work::is_restored_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::client::{ApiError, Delays, call, until_answered};
use super::reporter::{PodReporter, Session};
use super::settings::{self, OpenError, Opened};
use super::status::{ObjectId, Worker};
use super::watched::Watched;
use super::{Invoker, PodAgent, PodError, hooks, lease};
use crate::backup::chain;
use crate::restore::{self, Attempt, RestoreRun};
use crate::stop::Stop;

/// The first and the longest wait between two attempts of an init container.
const ATTEMPTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// How often the session is looked at again although nothing seems to have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What is to be brought back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// Name of the RestoreSession.
    pub session: String,
    /// The host to work as; told by the Pod's own name unless given.
    pub host: Option<String>,
    /// Whether the application waits for it (decision 10).
    pub is_init: bool,
}

/// What an attempt comes to.
enum Tried {
    Restored,
    Failed(String),
    /// It must not be tried now.
    Waits(&'static str),
    Interrupted,
    Unreported,
}

/// Restores the host. In an init container it ends when the host has its data or the session is gone, and otherwise
/// tries again; in a Job it ends with the first result that could be reported.
pub async fn run(agent: &PodAgent, restore: &Restore) -> Result<(), PodError> {
    let selected = watcher::Config::default().fields(&format!("metadata.name={}", restore.session));
    let sessions = Watched::new(agent.here::<RestoreSession>(), selected);
    let mut changes = sessions.changes();
    let mut delays = Delays::between(ATTEMPTS.0, ATTEMPTS.1);
    loop {
        changes.mark_unchanged();
        let Some(session) = read(agent, &restore.session).await? else {
            tracing::info!(session = restore.session, "the RestoreSession is gone");
            return Ok(());
        };
        let host = host_of(agent, restore, &session)?;
        if is_restored(&session, &host) {
            tracing::info!(host, "the data is there");
            return Ok(());
        }
        let work = Work {
            agent,
            sessions: &sessions,
            id: ObjectId {
                name: restore.session.clone(),
                uid: session.metadata.uid.clone().unwrap_or_default(),
            },
            session,
            host,
            is_init: restore.is_init,
        };
        let (id, host) = (work.id.clone(), work.host.clone());
        match Box::pin(work.attempt()).await? {
            Tried::Restored => return Ok(()),
            Tried::Failed(_) if !restore.is_init => return Ok(()),
            Tried::Failed(error) => {
                tracing::error!(error, "the restore failed and is tried again");
                delayed(agent, &sessions, (&id, &host), &mut delays).await?;
            }
            Tried::Unreported => delayed(agent, &sessions, (&id, &host), &mut delays).await?,
            Tried::Interrupted if agent.cancel.is_cancelled() => return Err(PodError::Stopped),
            Tried::Interrupted => {}
            Tried::Waits(why) => {
                tracing::info!(session = restore.session, why, "waiting");
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = agent.cancel.cancelled() => return Err(PodError::Stopped),
                }
            }
        }
    }
}

/// Waits before the next attempt, unless none is needed any more.
async fn delayed(
    agent: &PodAgent,
    sessions: &Watched<RestoreSession>,
    (id, host): (&ObjectId, &str),
    delays: &mut Delays,
) -> Result<(), PodError> {
    let over = CancellationToken::new();
    let _observer = sessions.observe(id, {
        let (over, host) = (over.clone(), host.to_owned());
        move |session| {
            if session.is_none_or(|session| is_restored(session, &host)) {
                over.cancel();
            }
        }
    });
    tokio::select! {
        () = delays.wait() => Ok(()),
        () = over.cancelled() => Ok(()),
        () = agent.cancel.cancelled() => Err(PodError::Stopped),
    }
}

async fn read(agent: &PodAgent, name: &str) -> Result<Option<RestoreSession>, PodError> {
    let sessions = agent.here::<RestoreSession>();
    let asked = until_answered(&agent.cancel, "the RestoreSession", async || {
        call(sessions.get_opt(name)).await
    });
    asked.await.map_err(|source| match source {
        ApiError::Stopped => PodError::Stopped,
        source => PodError::Read {
            object: format!("the RestoreSession {name}"),
            source,
        },
    })
}

fn is_restored(session: &RestoreSession, host: &str) -> bool {
    session
        .status
        .as_ref()
        .is_some_and(|status| session::work::is_restored(status, host))
}

fn host_of(
    agent: &PodAgent,
    restore: &Restore,
    session: &RestoreSession,
) -> Result<String, PodError> {
    if let Some(host) = &restore.host {
        return Ok(host.clone());
    }
    let target = session.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.clone());
    let reference = reference.unwrap_or_default();
    let alias = target.and_then(|target| target.alias.as_deref());
    let identity = &agent.identity;
    session::host::pod_host(&reference.kind, alias, &identity.pod, &identity.node).ok_or_else(
        || PodError::NoHost {
            pod: identity.pod.clone(),
            kind: reference.kind.clone(),
            name: reference.name.clone(),
        },
    )
}

/// One attempt for one host.
struct Work<'a> {
    agent: &'a PodAgent,
    sessions: &'a Watched<RestoreSession>,
    id: ObjectId,
    session: RestoreSession,
    host: String,
    is_init: bool,
}

impl Work<'_> {
    fn status(&self) -> RestoreSessionStatus {
        self.session.status.clone().unwrap_or_default()
    }

    fn reference(&self) -> Option<&TargetRef> {
        self.session.spec.target.as_ref()?.reference.as_ref()
    }

    /// Why there must be no attempt now.
    fn obstacle(&self) -> Option<&'static str> {
        let status = self.status();
        if status.total_hosts.is_none() {
            return Some("the operator has not started the session yet");
        }
        if !is_restored_now(&status, &self.host) {
            return Some(
                "the restore began before this Pod was one of its hosts; it waits for the end",
            );
        }
        if self.is_given_up() {
            return Some("this host was given up; its files may have changed since");
        }
        if is_superseded(&status) {
            return Some("another RestoreSession has had the workload since; delete this one");
        }
        is_late(&status).then_some("the session has exceeded its deadline")
    }

    async fn attempt(mut self) -> Result<Tried, PodError> {
        if let Some(why) = self.obstacle() {
            return Ok(self.waits(why));
        }
        let interrupted = self.agent.cancel.child_token();
        let stop = Arc::new(Stop::new(&interrupted, self.time_left()));
        let _guard = self.guard(&stop, &interrupted);
        let mut turn = None;
        if let Some(name) = self.lease() {
            turn = lease::take(self.agent, &name, stop.token()).await;
            if turn.is_none() {
                return Ok(Tried::Interrupted);
            }
        }
        let tried = self.in_turn(&stop, &interrupted).await;
        if let Some(turn) = turn {
            turn.release().await;
        }
        tried
    }

    /// The Lease of those who take turns.
    fn lease(&self) -> Option<String> {
        if self.is_init {
            return self.reference().map(session::names::restore_lease);
        }
        let total = self.status().total_hosts.unwrap_or(1);
        let takes_turns = restores_take_turns(self.session.spec.hooks.as_ref(), total);
        takes_turns.then(|| session::names::restore_jobs_lease(&self.id.name))
    }

    /// Whether the result of a Job is known already: the operator has given it up, or an earlier Pod of it has failed.
    fn is_given_up(&self) -> bool {
        let stats = self.status().stats;
        let of_host = stats.iter().find(|stats| stats.hostname == self.host);
        !self.is_init && of_host.is_some_and(|it| it.phase == Some(HostRestorePhase::Failed))
    }

    /// A Job whose session is over does not wait for another one.
    fn waits(&self, why: &'static str) -> Tried {
        if !self.is_init && (is_late(&self.status()) || self.is_given_up()) {
            return Tried::Failed(why.to_owned());
        }
        Tried::Waits(why)
    }

    async fn in_turn(
        &mut self,
        stop: &Stop,
        interrupted: &CancellationToken,
    ) -> Result<Tried, PodError> {
        // Another Pod of the same host may have been faster.
        match read(self.agent, &self.id.name).await? {
            Some(session) if session.metadata.uid.as_deref() == Some(&self.id.uid) => {
                self.session = session;
            }
            _ => return Ok(Tried::Interrupted),
        }
        if is_restored(&self.session, &self.host) {
            return Ok(Tried::Restored);
        }
        if let Some(why) = self.obstacle() {
            return Ok(self.waits(why));
        }
        let worker = Worker {
            index: 0,
            host: self.host.clone(),
            pod_uid: self.agent.identity.uid.clone(),
        };
        let sessions = Session::Restore(self.agent.here());
        let reporter =
            PodReporter::start(self.agent, sessions, self.id.clone(), worker, interrupted);
        reporter.begin("Reading the Repository");
        let reference = &self.session.spec.repository;
        let opened = settings::open(self.agent, reference, stop.token()).await;
        let run = self.run(opened, stop).await;
        let result = match &run {
            None => None,
            Some(run) => {
                let attempt = Attempt {
                    run,
                    host: &self.host,
                    is_last: !self.is_init,
                    reporter: &reporter,
                    stop,
                };
                restore::attempt(&attempt, self.status()).await
            }
        };
        let is_reported = reporter.finish(result.is_none(), stop.token()).await;
        Ok(match result {
            None => Tried::Interrupted,
            // What is there counts in an init container; in a Job only what is known.
            Some(Ok(())) if is_reported => Tried::Restored,
            Some(Err(error)) if is_reported => Tried::Failed(error),
            Some(_) => Tried::Unreported,
        })
    }

    async fn run(&self, opened: Result<Opened, OpenError>, stop: &Stop) -> Option<RestoreRun> {
        let invoker = Invoker {
            kind: "RestoreSession",
            name: &self.id.name,
        };
        let created = self.session.metadata.creation_timestamp.as_ref();
        let created = created.map_or_else(Timestamp::now, |time| time.0);
        let identity =
            super::identity(self.agent, &self.id.name, invoker, created, stop.token()).await;
        if stop.is_interrupted() {
            return None;
        }
        Some(RestoreRun {
            identity: identity.ok()?,
            spec: self.session.spec.clone(),
            settings: opened
                .map(|opened| opened.settings)
                .map_err(|error| chain(&error)),
            volumes: Some(session::model::restore_volumes(
                self.session.spec.target.as_ref(),
            )),
            // The containers of a Pod do not run yet while its init containers do.
            hooks: if self.is_init {
                crate::HookPlace::Here
            } else {
                hooks::place(self.agent, self.reference(), false)
            },
        })
    }

    fn time_left(&self) -> Option<Duration> {
        let deadline = self.session.status.as_ref()?.session_deadline.as_ref()?;
        let left = deadline.0.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Ends the attempt when the session is late or gone.
    fn guard(&self, stop: &Arc<Stop>, interrupted: &CancellationToken) -> AbortOnDropHandle<()> {
        let (stop, interrupted) = (Arc::clone(stop), interrupted.clone());
        self.sessions
            .observe(&self.id, move |session| match session {
                None => interrupted.cancel(),
                Some(session) if session.status.as_ref().is_some_and(is_late) => stop.expire(),
                Some(_) => {}
            })
    }
}

fn is_late(status: &RestoreSessionStatus) -> bool {
    find_condition(&status.conditions, types::DEADLINE_EXCEEDED).is_some_and(Condition::is_true)
}
