//! When the next session is due, and the session that is.

use std::time::Duration;

use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use api::schedule::Schedule;
use api::v1beta1::{BackupConfiguration, BackupInvokerRef, BackupSession, BackupSessionSpec};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube_client::{Resource, ResourceExt};
use session::labels::{self, Component};
use session::tick::{self, Due, Memory};
use session::{names, tick::due};

/// What is remembered of ticks, as annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// [`labels::LAST_TICK`].
    pub last: String,
    /// [`labels::LAST_SCHEDULE`].
    pub schedule: String,
}

/// What the schedule asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticks {
    /// The session to create first, and the tick it is for.
    pub session: Option<(Box<BackupSession>, Timestamp)>,
    /// What to remember after that; `None` when it is remembered.
    pub remember: Option<Remembered>,
    /// How long until the next tick.
    pub next: Option<Duration>,
}

/// Decides. Nothing starts before everything that a backup needs is there: ticks of that time are caught up by one
/// session.
pub fn ticks(configuration: &BackupConfiguration, is_ready: bool, now: Timestamp) -> Ticks {
    let spec = &configuration.spec;
    let Ok(schedule) = Schedule::parse(&spec.schedule) else {
        return Ticks {
            session: None,
            remember: None,
            next: None,
        };
    };
    let before = Remembered {
        last: annotation(configuration, labels::LAST_TICK).unwrap_or_default(),
        schedule: annotation(configuration, labels::LAST_SCHEDULE).unwrap_or_default(),
    };
    let remembering = |last: String| {
        let after = Remembered {
            last,
            schedule: spec.schedule.clone(),
        };
        (after != before).then_some(after)
    };
    if spec.paused {
        return Ticks {
            session: None,
            remember: remembering(labels::PAUSED.to_owned()),
            next: None,
        };
    }
    let zone = TimeZone::UTC;
    let anchor = tick::anchor(memory(configuration), &spec.schedule, now);
    let until = |moment: Timestamp| Duration::try_from(moment.duration_since(now)).ok();
    match due(&schedule, anchor, now, &zone) {
        Due::Never => Ticks {
            session: None,
            remember: remembering(anchor.to_string()),
            next: None,
        },
        Due::At(moment) => Ticks {
            session: None,
            remember: remembering(anchor.to_string()),
            next: until(moment),
        },
        Due::Now if !is_ready => Ticks {
            session: None,
            remember: remembering(anchor.to_string()),
            next: None,
        },
        Due::Now => {
            let newest = tick::newest(&schedule, anchor, now, &zone);
            let next = schedule.next_after(newest, &zone);
            Ticks {
                session: Some((Box::new(session(configuration, newest)), newest)),
                remember: remembering(newest.to_string()),
                next: next.and_then(until),
            }
        }
    }
}

fn annotation(configuration: &BackupConfiguration, name: &str) -> Option<String> {
    configuration.annotations().get(name).cloned()
}

fn memory(configuration: &BackupConfiguration) -> Memory<'_> {
    let annotations = configuration.annotations();
    let status = configuration.status.as_ref();
    Memory {
        last: annotations.get(labels::LAST_TICK).map(String::as_str),
        schedule: annotations.get(labels::LAST_SCHEDULE).map(String::as_str),
        created: configuration
            .creation_timestamp()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        is_known: status.is_some_and(|status| status.observed_generation.is_some()),
    }
}

/// The session of a tick. Made again after a crash it has the same name, so that there is one.
pub(crate) fn session(configuration: &BackupConfiguration, tick: Timestamp) -> BackupSession {
    let spec = &configuration.spec;
    let kind = BackupConfiguration::kind(&());
    let name = configuration.name_any();
    let namespace = configuration.namespace();
    let mut all = labels::of_invoker(
        configuration.metadata.labels.as_ref(),
        &kind,
        &name,
        Component::Backup,
    );
    let target = spec.target.as_ref();
    if let Some(reference) = target.and_then(|target| target.reference.as_ref()) {
        let own = namespace.as_deref().unwrap_or_default();
        all.extend(labels::of_target(reference, own));
    }
    BackupSession {
        metadata: ObjectMeta {
            name: Some(names::session_name(&name, tick)),
            namespace,
            labels: Some(all),
            owner_references: configuration
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: BackupSessionSpec {
            invoker: BackupInvokerRef {
                api_group: Some(BackupConfiguration::group(&()).into_owned()),
                kind: kind.into_owned(),
                name,
            },
            retry_left: Some(spec.retry_config.map_or(0, |retry| retry.max_retry)),
        },
        status: None,
    }
}
