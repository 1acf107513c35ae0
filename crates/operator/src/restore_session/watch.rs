//! Whether a restore that runs is done, or nobody works on it any more.

use api::conditions::{
    Condition, ConditionStatus, condition_type as types, find_condition, reason, set_condition,
};
use api::k8s_openapi::api::batch::v1::Job;
use api::v1beta1::{HostProgress, HostRestorePhase, HostRestoreStats, RestoreSessionStatus};
use jiff::Timestamp;
use kube_client::ResourceExt;
use session::disruption::{self, Judgement};
use session::names;
use session::restore::is_superseded;
use session::work::has_all_restored as has_all;

use crate::controller::Again;
use crate::job::state::{
    host_of, is_over, last_report, look_at, refused, state, unended, while_fresh, why_over,
    why_waiting,
};
use crate::reading::Target;
use crate::restore_session::plan::{Case, Plan, Way, go_on};

/// Goes on, gives hosts up on which nobody works, and closes when all have reported.
pub fn watch(case: &Case<'_>, mut status: RestoreSessionStatus) -> Plan {
    if has_all(&status) {
        return conclude(case, status, Again::OnChange);
    }
    let (given_up, next) = judge(case, &status);
    // A Job that begins after all would write over what has been done since.
    let is_given_up = |job: &&Job| {
        let host = host_of(job);
        given_up.iter().any(|(it, _)| Some(it) == host.as_ref())
    };
    let jobs: Vec<Job> = case.seen.jobs.iter().filter(is_given_up).cloned().collect();
    for (host, why) in given_up {
        status.stats.push(HostRestoreStats {
            hostname: host,
            phase: Some(HostRestorePhase::Failed),
            duration: None,
            error: Some(why),
        });
    }
    Plan {
        ended_jobs: unended(&jobs),
        ..conclude(case, status, Again::at(next, case.now))
    }
}

/// Whether every host has its data.
pub fn is_whole(status: &RestoreSessionStatus) -> bool {
    let is_good = |host: &HostRestoreStats| host.phase == Some(HostRestorePhase::Succeeded);
    has_all(status) && status.stats.iter().all(is_good)
}

/// Says whether it is completed, once it is known.
pub fn conclude(case: &Case<'_>, mut status: RestoreSessionStatus, again: Again) -> Plan {
    let failed: Vec<&str> = status
        .stats
        .iter()
        .filter(|stats| stats.phase != Some(HostRestorePhase::Succeeded))
        .map(|stats| stats.hostname.as_str())
        .collect();
    let is_late = find_condition(&status.conditions, types::DEADLINE_EXCEEDED).is_some();
    let condition = if has_all(&status) && failed.is_empty() {
        Some(Condition::new(
            types::RESTORE_COMPLETED,
            ConditionStatus::True,
            reason::POST_RESTORE_TASKS_EXECUTED,
            "every host has its data",
        ))
    } else if has_all(&status) || is_late {
        let tried = match case.way {
            Way::Init if is_superseded(&status) => {
                "; it is not tried again, because another RestoreSession has had the workload since"
            }
            Way::Init if !is_late => {
                "; it is tried again until it succeeds or the RestoreSession is deleted"
            }
            _ => "; delete the RestoreSession and create it anew to try again",
        };
        let message = if failed.is_empty() {
            "not every host has its data".to_owned()
        } else {
            format!("the restore of {} failed{tried}", failed.join(", "))
        };
        Some(Condition::new(
            types::RESTORE_COMPLETED,
            ConditionStatus::False,
            reason::POST_RESTORE_TASKS_NOT_EXECUTED,
            message,
        ))
    } else {
        None
    };
    match condition {
        Some(mut condition) => {
            condition.observed_generation = case.restore.metadata.generation;
            set_condition(&mut status.conditions, condition, case.now);
        }
        None => status
            .conditions
            .retain(|it| it.type_ != types::RESTORE_COMPLETED),
    }
    go_on(case, status, again)
}

/// Hosts that are given up, and when to look again.
fn judge(
    case: &Case<'_>,
    status: &RestoreSessionStatus,
) -> (Vec<(String, String)>, Option<Timestamp>) {
    let (mut given_up, mut next) = (Vec::new(), None::<Timestamp>);
    for host in hosts(case, status) {
        let entry = status.progress.iter().find(|entry| entry.hostname == host);
        match judge_host(case, status, &host, entry) {
            Judgement::Wait(moment) => next = Some(next.map_or(moment, |it| it.min(moment))),
            Judgement::Disrupted(why) => given_up.push((host, why)),
        }
    }
    // Whether a Job gets its Pod is known before a host is given up.
    let looks = case.seen.jobs.iter();
    let looks = looks.filter_map(|job| look_at(job, case.now));
    let next = looks.chain(next).min();
    (given_up, next)
}

/// The hosts that have not reported, as far as they are known.
fn hosts(case: &Case<'_>, status: &RestoreSessionStatus) -> Vec<String> {
    let target = case.restore.spec.target.as_ref();
    let alias = target.and_then(|target| target.alias.as_deref());
    let mut hosts: Vec<String> = status
        .progress
        .iter()
        .map(|entry| entry.hostname.clone())
        .collect();
    if !status.hosts.is_empty() {
        hosts.extend(status.hosts.iter().cloned());
    } else if case.way == Way::Init {
        if let Target::Workload(workload) = &case.seen.target {
            hosts.extend(workload.hosts(alias, &case.seen.pods));
        }
    } else {
        hosts.extend(case.seen.jobs.iter().filter_map(host_of));
        // The host of a Job that is gone is not known by any other way.
        let total = usize::try_from(status.total_hosts.unwrap_or(0)).unwrap_or(0);
        let missing = (0..total)
            .map(|number| names::restore_job(&case.restore.name_any(), number))
            .filter(|name| !case.seen.jobs.iter().any(|job| job.name_any() == *name));
        let known = hosts.len() + status.stats.len();
        hosts.extend(missing.take(total.saturating_sub(known)));
    }
    hosts.sort();
    hosts.dedup();
    hosts.retain(|host| !status.stats.iter().any(|stats| stats.hostname == *host));
    hosts
}

fn judge_host(
    case: &Case<'_>,
    status: &RestoreSessionStatus,
    host: &str,
    entry: Option<&HostProgress>,
) -> Judgement {
    let is_init = case.way == Way::Init;
    if !is_init {
        let of_host = |it: &&Job| host_of(it).as_deref() == Some(host);
        match case.seen.jobs.iter().find(of_host) {
            Some(job) if is_over(job) => {
                return Judgement::Disrupted(why_over(job, &case.seen.pods));
            }
            Some(job) => {
                if let Some(why) = refused(job, &case.seen.refusals, case.now) {
                    return Judgement::Disrupted(why);
                }
            }
            None => {
                return Judgement::Disrupted(
                    "its Job was deleted before it had reported".to_owned(),
                );
            }
        }
    }
    let pods = &case.seen.pods;
    let judged = disruption::judge(
        host,
        entry.map(|entry| (entry, state(entry, pods, case.now))),
        is_init && case.seen.target != Target::Missing,
        since(case, status),
        case.now,
    );
    match (judged, entry) {
        (Judgement::Wait(moment), Some(entry)) => {
            Judgement::Wait(while_fresh(moment, entry, case.now))
        }
        (Judgement::Disrupted(why), None) if !is_init => {
            Judgement::Disrupted(match trouble(case) {
                Some(trouble) => format!("{why}: {trouble}"),
                None => why,
            })
        }
        (judged, _) => judged,
    }
}

/// What Kubernetes says about Pods of Jobs that do not begin.
pub fn trouble(case: &Case<'_>) -> Option<String> {
    why_waiting(&case.seen.unmounted, &case.seen.pods, &case.seen.refusals)
}

/// Since when a host is waited for: since the start, or since any agent has written last.
fn since(case: &Case<'_>, status: &RestoreSessionStatus) -> Timestamp {
    let ensured = find_condition(&status.conditions, types::RESTORE_EXECUTOR_ENSURED);
    let started = ensured
        .and_then(|it| it.last_transition_time.as_ref())
        .map_or(case.now, |time| time.0);
    // Who could not reach the API server was not silent.
    [
        last_report(&case.restore.metadata),
        case.seen.in_touch_since,
    ]
    .into_iter()
    .flatten()
    .fold(started, Timestamp::max)
}
