//! One Pod's work on one BackupSession, step by step, until nothing is left for its host.

mod role;

use std::sync::Arc;
use std::time::Duration;

use api::conditions::{Condition, condition_type as types, find_condition};
use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{BackupConfiguration, BackupSession, BackupSessionStatus, TargetRef};
use jiff::Timestamp;
use session::host;
use session::work::{self, Step};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::role::{Role, Target};
use super::client::{ApiError, call, until_answered};
use super::lease::{self, Turn};
use super::reporter::{PodReporter, Session};
use super::settings::{self, OpenError, Opened};
use super::status::{ObjectId, Worker};
use super::watched::Watched;
use super::{Invoker, PodAgent, PodError, hooks};
use crate::backup::{self, BackupRun, OpenedEngine, Part, chain};
use crate::stop::Stop;

/// How the work on a session ended for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worked {
    /// Nothing is left for this host, or for anybody.
    Done,
    /// The session has to change first.
    Waits(Step),
    /// The session does not exist.
    Gone,
    /// Something could not be reported; what it was is done again.
    Unreported,
}

/// Everything about one session that stays the same while this Pod works on it.
struct Work<'a> {
    agent: &'a PodAgent,
    sessions: &'a Watched<BackupSession>,
    id: ObjectId,
    session: BackupSession,
    configuration: BackupConfiguration,
    index: usize,
    host: String,
    role: &'a Role,
}

/// Works on a session as long as there is something to do for this Pod.
pub(super) async fn work_on(
    agent: &PodAgent,
    role: &Role,
    sessions: &Watched<BackupSession>,
    name: &str,
) -> Result<Worked, PodError> {
    let mut engine = None;
    loop {
        let Some(session) = read(agent, name).await? else {
            return Ok(Worked::Gone);
        };
        let Some(work) = Work::new(agent, role, sessions, session).await? else {
            return Ok(Worked::Gone);
        };
        let step = work.step();
        if !matches!(step, Step::BackUp | Step::Conclude) {
            return Ok(match step {
                Step::Done => Worked::Done,
                step => Worked::Waits(step),
            });
        }
        if work.is_past_deadline() {
            // The operator is about to say so.
            return Ok(Worked::Waits(step));
        }
        if !Box::pin(work.take_step(&mut engine)).await? {
            return Ok(Worked::Unreported);
        }
    }
}

async fn read(agent: &PodAgent, name: &str) -> Result<Option<BackupSession>, PodError> {
    let sessions = agent.here::<BackupSession>();
    let asked = until_answered(&agent.cancel, "the BackupSession", async || {
        call(sessions.get_opt(name)).await
    });
    asked.await.map_err(|source| match source {
        ApiError::Stopped => PodError::Stopped,
        source => PodError::Read {
            object: format!("the BackupSession {name}"),
            source,
        },
    })
}

impl<'a> Work<'a> {
    /// `None` when the invoker is gone, which the operator makes the session's end.
    async fn new(
        agent: &'a PodAgent,
        role: &'a Role,
        sessions: &'a Watched<BackupSession>,
        session: BackupSession,
    ) -> Result<Option<Self>, PodError> {
        let invoker = session.spec.invoker.name.clone();
        let configurations = agent.here::<BackupConfiguration>();
        let asked = until_answered(&agent.cancel, "the BackupConfiguration", async || {
            call(configurations.get_opt(&invoker)).await
        });
        let configuration = asked.await.map_err(|source| match source {
            ApiError::Stopped => PodError::Stopped,
            source => PodError::Read {
                object: format!("the BackupConfiguration {invoker}"),
                source,
            },
        })?;
        let Some(configuration) = configuration else {
            return Ok(None);
        };
        let index = role.index(session.status.as_ref());
        Ok(Some(Self {
            host: role.host_of(agent, &configuration)?,
            id: ObjectId {
                name: session.metadata.name.clone().unwrap_or_default(),
                uid: session.metadata.uid.clone().unwrap_or_default(),
            },
            agent,
            sessions,
            session,
            configuration,
            index,
            role,
        }))
    }

    fn status(&self) -> BackupSessionStatus {
        self.session.status.clone().unwrap_or_default()
    }

    fn step(&self) -> Step {
        work::next_step(
            &self.configuration.spec,
            &self.status(),
            self.index,
            &self.host,
        )
    }

    fn time_left(&self) -> Option<Duration> {
        let deadline = self.session.status.as_ref()?.session_deadline.as_ref()?;
        let left = deadline.0.duration_since(Timestamp::now());
        Some(Duration::try_from(left).unwrap_or_default())
    }

    fn is_past_deadline(&self) -> bool {
        self.time_left() == Some(Duration::ZERO)
    }

    fn reference(&self) -> Option<&TargetRef> {
        self.configuration.spec.target.as_ref()?.reference.as_ref()
    }

    /// Does what is next, in turn where Pods take turns. Whether everything was reported.
    async fn take_step(mut self, engine: &mut OpenedEngine) -> Result<bool, PodError> {
        let interrupted = self.agent.cancel.child_token();
        let stop = Arc::new(Stop::new(&interrupted, self.time_left()));
        let _guard = self.guard(&stop, &interrupted);
        // The Pods of a Deployment are one host: only the one whose turn it is speaks for it.
        let waiting = self.is_one_of_many().then(|| self.reporter(&interrupted));
        if let Some(reporter) = &waiting {
            reporter.begin("Waiting for its turn");
        }
        let turn = match self.turn(&stop).await {
            Ok(turn) => turn,
            Err(stopped) => {
                if let Some(reporter) = waiting {
                    reporter.finish(false, stop.token()).await;
                }
                return if self.agent.cancel.is_cancelled() {
                    Err(stopped)
                } else {
                    Ok(true)
                };
            }
        };
        let reporter = waiting.unwrap_or_else(|| self.reporter(&interrupted));
        let result = self.in_turn(&reporter, &stop, engine).await;
        let is_left_to_others = matches!(result, Ok(false));
        let is_reported = reporter.finish(is_left_to_others, stop.token()).await;
        if let Some(turn) = turn {
            turn.release().await;
        }
        result?;
        if self.agent.cancel.is_cancelled() {
            return Err(PodError::Stopped);
        }
        Ok(is_reported)
    }

    fn reporter(&self, gone: &CancellationToken) -> PodReporter {
        let worker = Worker {
            index: self.index,
            host: self.host.clone(),
            pod_uid: self.agent.identity.uid.clone(),
        };
        let session = Session::Backup(self.agent.here());
        PodReporter::start(self.agent, session, self.id.clone(), worker, gone)
    }

    /// Ends the work when the session is over, whoever says so.
    fn guard(&self, stop: &Arc<Stop>, interrupted: &CancellationToken) -> AbortOnDropHandle<()> {
        let (stop, interrupted) = (Arc::clone(stop), interrupted.clone());
        let index = self.index;
        self.sessions.observe(&self.id, move |session| {
            let Some(session) = session else {
                return interrupted.cancel();
            };
            let status = session.status.clone().unwrap_or_default();
            let late = find_condition(&status.conditions, types::DEADLINE_EXCEEDED);
            if late.is_some_and(Condition::is_true) {
                stop.expire();
            } else if is_over(&status, index) {
                interrupted.cancel();
            }
        })
    }

    fn is_one_of_many(&self) -> bool {
        let target = self.reference();
        target.is_some_and(|target| host::is_many_hosts(&target.kind))
    }

    /// Waits for the turn. A Job that is all of its session takes none.
    async fn turn(&self, stop: &Stop) -> Result<Option<Turn>, PodError> {
        let takes_turns = self.role.is_inside || self.is_one_of_many();
        let (true, Some(target)) = (takes_turns, self.reference()) else {
            return Ok(None);
        };
        let name = session::names::backup_lease(target);
        match lease::take(self.agent, &name, stop.token()).await {
            Some(turn) => Ok(Some(turn)),
            None => Err(PodError::Stopped),
        }
    }

    /// Looks again what is next, now that nobody else is at work, and does it. Whether it was not interrupted.
    async fn in_turn(
        &mut self,
        reporter: &PodReporter,
        stop: &Stop,
        engine: &mut OpenedEngine,
    ) -> Result<bool, PodError> {
        let Some(session) = read(self.agent, &self.id.name).await? else {
            return Ok(true);
        };
        if session.metadata.uid.as_deref() != Some(self.id.uid.as_str()) {
            return Ok(true);
        }
        self.session = session;
        let step = self.step();
        if !matches!(step, Step::BackUp | Step::Conclude) || self.is_past_deadline() {
            return Ok(true);
        }
        reporter.begin("Reading the Repository");
        let reference = &self.configuration.spec.repository;
        let opened = settings::open(self.agent, reference, stop.token()).await;
        if stop.is_interrupted() {
            return Ok(false);
        }
        if let Ok(opened) = &opened {
            reporter.found(opened);
        }
        let Some(run) = self.run(opened, stop).await else {
            return Ok(false);
        };
        let part = Part {
            run: &run,
            index: self.index,
            host: &self.host,
            reporter,
            stop,
        };
        let status = self.status();
        let is_done = match step {
            Step::BackUp => backup::back_up_host(&part, status, engine).await,
            _ => backup::conclude(&part, status, engine).await,
        };
        if !is_done && self.is_given_up(stop) {
            self.thaw(&part).await;
        }
        Ok(is_done)
    }

    /// Whether the work was interrupted and nobody goes on with it. Another Pod of a workload does, but not of a
    /// Job whose host is the last, and nobody does when the session is over or deleted.
    fn is_given_up(&self, stop: &Stop) -> bool {
        let is_inside = self.role.is_inside;
        let has_others = self.agent.cancel.is_cancelled() && (is_inside || self.others_go_on());
        stop.is_interrupted() && !has_others
    }

    /// Whether other hosts have not reported: whoever is the last of them concludes the session.
    fn others_go_on(&self) -> bool {
        let status = self.status();
        let target = status.targets.get(self.index);
        target.is_some_and(|target| session::work::missing(target) > 1)
    }

    /// Runs the post hook of a session that is given up, as it is by now.
    async fn thaw(&self, part: &Part<'_>) {
        let sessions = self.agent.here::<BackupSession>();
        let present = call(sessions.get_opt(&self.id.name)).await.ok().flatten();
        let present = present.filter(|it| it.metadata.uid.as_deref() == Some(self.id.uid.as_str()));
        let status = present.and_then(|session| session.status);
        backup::thaw(part, status.unwrap_or_else(|| self.status())).await;
    }

    /// What the engine is told; `None` when the work was stopped before all of it is known.
    async fn run(&self, opened: Result<Opened, OpenError>, stop: &Stop) -> Option<BackupRun> {
        let identity = super::identity(
            self.agent,
            &self.id.name,
            Invoker {
                kind: &self.session.spec.invoker.kind,
                name: &self.session.spec.invoker.name,
            },
            self.created(),
            stop.token(),
        );
        let (settings, repository) = match opened {
            Ok(opened) => (Ok(opened.settings), opened.status),
            Err(error) => (Err(chain(&error)), RepositoryStatus::default()),
        };
        let annotations = self.configuration.metadata.annotations.as_ref();
        let tolerates = annotations.and_then(|it| it.get(session::labels::TOLERATE_UNREADABLE));
        Some(BackupRun {
            identity: identity.await.ok()?,
            spec: self.configuration.spec.clone(),
            retries_left: self.session.spec.retry_left.unwrap_or(0),
            settings,
            repository,
            tolerates_unreadable: tolerates.is_some_and(|value| value == "true"),
            hooks: hooks::place(self.agent, self.reference(), self.role.is_inside),
        })
    }

    fn created(&self) -> Timestamp {
        let created = self.session.metadata.creation_timestamp.as_ref();
        created.map_or_else(Timestamp::now, |time| time.0)
    }
}

/// Whether nobody is to work on a target any more.
fn is_over(status: &BackupSessionStatus, index: usize) -> bool {
    let is_disrupted = status.targets.get(index).is_some_and(|target| {
        find_condition(&target.conditions, types::BACKUP_DISRUPTED).is_some_and(Condition::is_true)
    });
    work::is_stopped(status) || is_disrupted
}
