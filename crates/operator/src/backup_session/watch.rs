//! Whether a session that runs is done, or nobody works on it any more.

use api::conditions::{
    Condition, ConditionStatus, condition_type as types, find_condition, reason, set_condition,
};
use api::k8s_openapi::api::core::v1::Pod;
use api::v1beta1::{
    BackupConfiguration, BackupSessionStatus, BackupTargetStatus, HostBackupPhase, HostBackupStats,
    HostProgress,
};
use jiff::{SignedDuration, Timestamp};
use kube_client::ResourceExt;
use session::disruption::{self, Judgement, PodState};
use session::hooks::runs_after_backup;
use session::model::{self, Model};
use session::{names, work};

use crate::backup_session::close;
use crate::backup_session::plan::{Case, Plan, go_on};
use crate::controller::Again;
use crate::job::state::{
    host_of, is_alive, is_over, last_report, look_at, refused, state, while_fresh, why_over,
    why_waiting,
};
use crate::reading::Target;
use crate::target;

/// How soon the Pods of a workload that was deleted are looked at again.
const SOON: SignedDuration = SignedDuration::from_secs(5);

/// How soon a workload is looked at again whose hosts nobody works for: it may have been scaled down.
const WITHOUT_WORK: SignedDuration = SignedDuration::from_secs(15);

/// Closes a session that is done or given up, and otherwise says when to look again. A host that is lost while others
/// go on counts as failed, so that they conclude the session without it.
pub fn watch(case: &Case<'_>, mut status: BackupSessionStatus) -> Plan {
    let Some(configuration) = case.seen.configuration.as_deref() else {
        let why = format!(
            "the BackupConfiguration {} was deleted while the session ran",
            case.session.spec.invoker.name
        );
        return disrupted(case, status, why);
    };
    if is_concluded(case, &status) {
        // Jobs end by themselves when nothing is left to do, and stay with their logs for a while.
        return Plan {
            ended_jobs: Vec::new(),
            ..close::close(case, status)
        };
    }
    let Some(target) = status.targets.first() else {
        return go_on(case, status, Again::OnChange);
    };
    let watched = Watched::new(case, configuration, target);
    let lost = watched.lost_beside_others();
    if !lost.is_empty() {
        if let Some(target) = status.targets.first_mut() {
            target.stats.extend(lost);
        }
        return go_on(case, status, Again::OnChange);
    }
    match watched.judge() {
        Judgement::Wait(moment) => go_on(case, status, Again::at(Some(moment), case.now)),
        Judgement::Disrupted(why) => disrupted(case, status, why),
    }
}

/// Whether nothing is left for agents to do.
pub fn is_concluded(case: &Case<'_>, status: &BackupSessionStatus) -> bool {
    let configuration = case.seen.configuration.as_deref();
    configuration.is_some_and(|it| work::is_concluded(&it.spec, status, 0))
}

fn disrupted(case: &Case<'_>, mut status: BackupSessionStatus, why: String) -> Plan {
    let why = if misses_hook(case, &status) {
        format!(
            "{why}; nobody has reported that the post-backup hook ran: look whether what the hooks act on has to be put right by hand"
        )
    } else {
        why
    };
    let condition = Condition::new(
        types::BACKUP_DISRUPTED,
        ConditionStatus::True,
        reason::FAILED_TO_COMPLETE_DUE_TO_DISRUPTION,
        why,
    );
    if let Some(target) = status.targets.first_mut() {
        set_condition(&mut target.conditions, condition, case.now);
    }
    close::close(case, status)
}

/// Whether hosts had begun, and the hook that is due after them is not known to have run. Who is only silent may still
/// run it, so that nothing is said in its condition.
fn misses_hook(case: &Case<'_>, status: &BackupSessionStatus) -> bool {
    let configuration = case.seen.configuration.as_deref();
    let hooks = configuration.and_then(|it| it.spec.hooks.as_ref());
    let hook = hooks.and_then(|hooks| hooks.post_backup.as_ref());
    let retries_left = case.session.spec.retry_left.unwrap_or(0);
    let is_due = |policy| runs_after_backup(policy, true, retries_left);
    let type_ = types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED;
    let is_open = |target: &BackupTargetStatus| {
        let has_begun = !target.progress.is_empty() || !target.stats.is_empty();
        has_begun && find_condition(&target.conditions, type_).is_none()
    };
    hook.is_some_and(|hook| is_due(hook.execution_policy)) && status.targets.iter().any(is_open)
}

struct Watched<'a> {
    case: &'a Case<'a>,
    target: &'a BackupTargetStatus,
    alias: Option<&'a str>,
    is_job: bool,
    since: Timestamp,
}

impl<'a> Watched<'a> {
    fn new(
        case: &'a Case<'a>,
        configuration: &'a BackupConfiguration,
        target: &'a BackupTargetStatus,
    ) -> Self {
        let namespace = configuration.namespace().unwrap_or_default();
        let of_spec = configuration.spec.target.as_ref();
        let ensured = find_condition(&target.conditions, types::BACKUP_EXECUTOR_ENSURED);
        let ensured = ensured.and_then(|it| it.last_transition_time.as_ref());
        let started = ensured.map_or(case.created(), |time| time.0);
        Self {
            case,
            target,
            alias: of_spec.and_then(|target| target.alias.as_deref()),
            is_job: model::backup_model(&configuration.spec, &namespace) == Ok(Model::Job),
            // Who could not reach the API server was not silent.
            since: [
                last_report(&case.session.metadata),
                case.seen.in_touch_since,
            ]
            .into_iter()
            .flatten()
            .fold(started, Timestamp::max),
        }
    }

    fn total(&self) -> usize {
        usize::try_from(self.target.total_hosts.unwrap_or(0)).unwrap_or(0)
    }

    fn has_reported(&self, host: &str) -> bool {
        self.target.stats.iter().any(|stats| stats.hostname == host)
    }

    /// The hosts that have not reported, and who works on them.
    fn open_hosts(&self) -> Vec<(String, Option<&HostProgress>)> {
        let missing = work::missing(self.target);
        let mut hosts: Vec<(String, Option<&HostProgress>)> = self
            .target
            .progress
            .iter()
            .filter(|entry| !self.has_reported(&entry.hostname))
            .map(|entry| (entry.hostname.clone(), Some(entry)))
            .collect();
        for host in self.expected() {
            let is_known = self.has_reported(&host) || hosts.iter().any(|(it, _)| *it == host);
            if !is_known && hosts.len() < missing {
                hosts.push((host, None));
            }
        }
        while hosts.len() < missing {
            let reference = self.target.reference.clone().unwrap_or_default();
            hosts.push((format!("of the {}", target::describe(&reference)), None));
        }
        hosts
    }

    /// The hosts that are lost, as failed ones, if others are there that conclude the session.
    fn lost_beside_others(&self) -> Vec<HostBackupStats> {
        let is_lost = |host: &String| self.lost_host(host, None).is_some();
        if work::missing(self.target) == 0 || self.target.hosts.iter().all(is_lost) {
            return Vec::new();
        }
        let hosts = self.open_hosts();
        let named = hosts
            .iter()
            .filter(|(it, _)| self.target.hosts.contains(it));
        let lost = named.filter_map(|(host, entry)| {
            Some(HostBackupStats {
                hostname: host.clone(),
                phase: Some(HostBackupPhase::Failed),
                snapshots: Vec::new(),
                duration: None,
                error: Some(self.lost_host(host, *entry)?),
            })
        });
        lost.collect()
    }

    /// What is to be waited for next; the first host that is given up ends the session.
    fn judge(&self) -> Judgement {
        if work::missing(self.target) == 0 {
            return self.judge_conclusion();
        }
        let hosts = self.open_hosts();
        // Those that are gone for good end the session when nobody works on another one.
        let lost = |(host, entry): &(String, Option<&HostProgress>)| self.lost_host(host, *entry);
        let open: Vec<_> = hosts.iter().filter(|host| lost(host).is_none()).collect();
        if open.is_empty()
            && let Some(why) = hosts.iter().find_map(lost)
        {
            return Judgement::Disrupted(why);
        }
        let judgements = open
            .iter()
            .map(|(host, entry)| self.judge_host(host, *entry));
        match first(judgements) {
            Judgement::Wait(moment) => Judgement::Wait(self.until_refused(moment)),
            disrupted @ Judgement::Disrupted(_) => disrupted,
        }
    }

    /// Whether a Job gets its Pod is known before a host is given up.
    fn until_refused(&self, moment: Timestamp) -> Timestamp {
        let jobs = self.case.seen.jobs.iter();
        let looks = jobs.filter_map(|job| look_at(job, self.case.now));
        looks.fold(moment, Timestamp::min)
    }

    fn judge_host(&self, host: &str, entry: Option<&HostProgress>) -> Judgement {
        if entry.is_none() && self.nobody_can_begin() {
            let why = format!("no Pod is left to work for host {host}");
            return Judgement::Disrupted(self.explained(why));
        }
        let judgement = disruption::judge(
            host,
            entry.map(|entry| (entry, self.state(entry))),
            self.can_resume(),
            self.since,
            self.case.now,
        );
        match (judgement, entry) {
            (Judgement::Wait(moment), None) if self.has_many_hosts() => {
                let look = self.case.now.checked_add(WITHOUT_WORK).unwrap_or(moment);
                Judgement::Wait(look.min(moment))
            }
            // An agent that has just said that it works need not be asked for before that is old.
            (Judgement::Wait(moment), Some(_)) if self.is_target_gone() && !self.is_job => {
                let soon = self.case.now.checked_add(SOON).unwrap_or(moment);
                Judgement::Wait(soon.min(moment))
            }
            (Judgement::Wait(moment), Some(entry)) => {
                Judgement::Wait(while_fresh(moment, entry, self.case.now))
            }
            (Judgement::Disrupted(why), entry) if entry.is_none() || self.is_target_gone() => {
                Judgement::Disrupted(self.explained(why))
            }
            (judgement, _) => judgement,
        }
    }

    /// All hosts have reported; somebody has to do what follows.
    fn judge_conclusion(&self) -> Judgement {
        if self.is_job {
            let alive = self.case.seen.jobs.iter().any(|job| !is_over(job));
            if !alive {
                return Judgement::Disrupted(
                    "every host has reported, but no Job is left that applies the retention policy and checks the repository".to_owned(),
                );
            }
        }
        let working: Vec<&HostProgress> = self.target.progress.iter().collect();
        let judgements: Vec<Judgement> = working
            .iter()
            .map(|entry| self.judge_host(&entry.hostname, Some(entry)))
            .collect();
        let waits = judgements
            .iter()
            .filter(|it| matches!(it, Judgement::Wait(_)));
        if let Some(wait) = waits.min_by_key(|it| match it {
            Judgement::Wait(moment) => *moment,
            Judgement::Disrupted(_) => Timestamp::MAX,
        }) {
            return wait.clone();
        }
        match judgements.into_iter().next() {
            Some(judgement) => judgement,
            None => self.judge_host("that concludes the backup", None),
        }
    }

    /// Another Pod of a workload takes over. A Job is not tried again, but any of them can conclude.
    fn can_resume(&self) -> bool {
        if self.is_job {
            let has_all = work::missing(self.target) == 0;
            return has_all && self.case.seen.jobs.iter().any(|job| !is_over(job));
        }
        !self.is_target_gone()
    }

    /// Hosts as far as they are known.
    fn expected(&self) -> Vec<String> {
        if !self.target.hosts.is_empty() {
            return self.target.hosts.clone();
        }
        if self.is_job {
            let jobs = self.case.seen.jobs.iter();
            return jobs.filter_map(host_of).collect();
        }
        match &self.case.seen.target {
            Target::Workload(workload) => workload.hosts(self.alias, &self.case.seen.pods),
            _ => Vec::new(),
        }
    }

    /// Why a host that has not reported is waited for in vain.
    fn lost_host(&self, host: &str, entry: Option<&HostProgress>) -> Option<String> {
        if self.is_job {
            return self.lost_job(host);
        }
        let why = self.without(host)?;
        let is_gone = entry.is_none_or(|entry| self.state(entry) == PodState::Gone);
        is_gone.then(|| {
            format!("{why}, and host {host} has no Pod any more; the next session goes without it")
        })
    }

    /// Why the Job of a host will not report: it has ended, gets no Pod or is gone. It is not tried again.
    fn lost_job(&self, host: &str) -> Option<String> {
        let seen = self.case.seen;
        let mut jobs = seen.jobs.iter();
        match jobs.find(|job| host_of(job).as_deref() == Some(host)) {
            Some(job) if is_over(job) => Some(why_over(job, &seen.pods)),
            Some(job) => refused(job, &seen.refusals, self.case.now),
            None => {
                let session = self.case.session.name_any();
                let is_there = |name: &String| seen.jobs.iter().any(|it| it.name_any() == *name);
                let mut names = (0..self.total()).map(|number| names::backup_job(&session, number));
                Some(format!(
                    "the Job {} was deleted before its host had reported",
                    names.find(|name| !is_there(name)).unwrap_or_default()
                ))
            }
        }
    }

    fn has_many_hosts(&self) -> bool {
        let reference = self.target.reference.as_ref();
        !self.is_job && reference.is_some_and(|it| session::host::is_many_hosts(&it.kind))
    }

    /// Why the workload has no such host any more: a StatefulSet of fewer replicas, or a DaemonSet whose Pods are all on
    /// other nodes. One that still lacks a Pod may get it on that node.
    fn without(&self, host: &str) -> Option<String> {
        let workload = match &self.case.seen.target {
            Target::Workload(workload) if !self.is_job => workload,
            _ => return None,
        };
        let hosts = workload.hosts(self.alias, &self.case.seen.pods);
        let has_all = i32::try_from(hosts.len()).unwrap_or(i32::MAX) >= workload.replicas;
        if hosts.iter().any(|it| it == host) || !has_all {
            return None;
        }
        match workload.kind.as_str() {
            "StatefulSet" => Some(format!(
                "the {} was scaled down while the session ran",
                workload.describe()
            )),
            "DaemonSet" => Some(format!(
                "the {} left a node while the session ran",
                workload.describe()
            )),
            _ => None,
        }
    }

    fn is_target_gone(&self) -> bool {
        self.case.seen.target == Target::Missing
    }

    /// A Pod that said a moment ago that it works is there, unless it goes with its workload.
    fn state(&self, entry: &HostProgress) -> PodState {
        let pods = &self.case.seen.pods;
        if !self.is_target_gone() {
            state(entry, pods, self.case.now)
        } else if is_alive(entry, pods) {
            PodState::Alive
        } else {
            PodState::Gone
        }
    }

    /// Whether the target is gone, and no Pod of a Job has its volumes yet.
    fn nobody_can_begin(&self) -> bool {
        let seen = self.case.seen;
        let is_placed = |pod: &Pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            node.is_some()
        };
        self.is_target_gone() && !(self.is_job && seen.pods.iter().any(is_placed))
    }

    /// Adds that the target is gone, or what Kubernetes says about Pods that do not begin.
    fn explained(&self, why: String) -> String {
        if self.is_target_gone() {
            let reference = self.target.reference.clone().unwrap_or_default();
            return format!(
                "{why}; the {} was deleted while the session ran",
                target::describe(&reference)
            );
        }
        match trouble(self.case) {
            Some(trouble) => format!("{why}: {trouble}"),
            None => why,
        }
    }
}

/// What Kubernetes says about Pods that do not begin.
pub fn trouble(case: &Case<'_>) -> Option<String> {
    why_waiting(&case.seen.unmounted, &case.seen.pods, &case.seen.refusals)
}

/// The first that is given up, or else the earliest moment to look again.
fn first(judgements: impl Iterator<Item = Judgement>) -> Judgement {
    let mut next = Timestamp::MAX;
    for judgement in judgements {
        match judgement {
            Judgement::Wait(moment) => next = next.min(moment),
            disrupted @ Judgement::Disrupted(_) => return disrupted,
        }
    }
    Judgement::Wait(next)
}
