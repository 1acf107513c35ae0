//! What agents need for a restore, and whether they have it.

use std::time::Duration;

use api::conditions::{Condition, ConditionStatus, condition_type as types, reason, set_condition};
use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use api::v1alpha1::Repository;
use api::v1beta1::{RestoreSessionStatus, RestoreTarget};
use kube_client::{Resource, ResourceExt};
use session::hooks::restores_take_turns;
use session::labels::{self, Component};
use session::restore::is_owed;
use session::{host, names};

use crate::controller::Again;
use crate::failure::chain;
use crate::inject::Invoker;
use crate::job::state::host_of;
use crate::job::{self, HostData, JobParts};
use crate::pod_parts::Work;
use crate::preparation::Preparation;
use crate::rbac::{self, Access, AccessObjects, Account, Mission, Reach};
use crate::reading::Target;
use crate::restore_session::plan::{Case, Plan, Way, go_on};
use crate::target::Workload;
use crate::workload::PartOutcome;

/// How soon a workload without Pods is looked at again.
const SCALED_DOWN: Duration = Duration::from_secs(30);

/// How soon a backup of the same data is looked at again.
const BUSY: Duration = Duration::from_secs(30);

/// Starts, or says what it waits for.
pub fn start(case: &Case<'_>, mut status: RestoreSessionStatus) -> Plan {
    let Some(repository) = case.seen.repository.as_deref() else {
        return go_on(case, status, Again::OnChange);
    };
    if let Some(backup) = &case.seen.backup {
        let why = format!(
            "the restore waits for the BackupSession {backup}, which backs up the same data; it starts when that one is over or deleted"
        );
        let waiting = Condition::new(
            types::WAITING,
            ConditionStatus::True,
            reason::WAITS_FOR_BACKUP,
            why,
        );
        set(case, &mut status, waiting);
        return go_on(case, status, Again::After(BUSY));
    }
    status.conditions.retain(|it| it.type_ != types::WAITING);
    match (case.way, &case.seen.target) {
        (Way::Init, Target::Workload(workload)) => by_init(case, status, workload, repository),
        (Way::Init, _) => go_on(case, status, Again::OnChange),
        _ => by_jobs(case, status, repository),
    }
}

/// The rights are there before the conditions, on which the init container is put in.
fn by_init(
    case: &Case<'_>,
    mut status: RestoreSessionStatus,
    workload: &Workload,
    repository: &Repository,
) -> Plan {
    let me = Invoker::of(case.restore);
    let mut again = Again::OnChange;
    let told = match &case.seen.winner {
        Some(winner) if *winner != me => Some(Err(format!(
            "the {} is being restored by the RestoreSession {}; it is this one's turn when that one is done or deleted",
            workload.describe(),
            winner.name
        ))),
        _ => injection(case, workload),
    };
    if let Some(told) = &told {
        set(case, &mut status, injected_condition(told));
    }
    if let Some(Ok(message)) = told {
        if workload.total_hosts() == 0 {
            // It restores when there are Pods.
            again = Again::After(SCALED_DOWN);
        } else {
            let target = case.restore.spec.target.as_ref();
            let alias = target.and_then(|target| target.alias.as_deref());
            let (total, hosts) = workload.expected_hosts(alias, &case.seen.pods);
            (status.total_hosts, status.hosts) = (Some(total), hosts);
            set(case, &mut status, ensured(message));
        }
    }
    Plan {
        preparation: Some(Box::new(of_workload(case, workload, repository))),
        ..go_on(case, status, again)
    }
}

/// What the init containers of a workload need.
fn of_workload(case: &Case<'_>, workload: &Workload, repository: &Repository) -> Preparation {
    let namespace = case.restore.namespace().unwrap_or_default();
    let lease = workload.lease(&lease_name(case), &namespace);
    let owners = [
        Some(workload.owner()),
        case.restore.controller_owner_ref(&()),
    ];
    let account = Account::Existing(workload.account());
    Preparation {
        access: access(
            case,
            repository,
            (account, owners.into_iter().flatten().collect()),
            Some(lease.name_any()),
        ),
        lease: Some(lease),
        claims: Vec::new(),
        jobs: Vec::new(),
        workload: Some(workload.uid.clone()),
    }
}

/// The same once more for a restore that has begun, when the workload is another one than it was prepared for: what
/// belonged to that one is gone with it.
pub fn anew(case: &Case<'_>) -> Option<Box<Preparation>> {
    let (Way::Init, Target::Workload(workload)) = (case.way, &case.seen.target) else {
        return None;
    };
    let repository = case.seen.repository.as_deref()?;
    let is_known = case.seen.prepared.as_ref() == Some(&workload.uid);
    (!is_known).then(|| Box::new(of_workload(case, workload, repository)))
}

/// Says whether the workload has the init container of a restore that has begun: the workload may be another one by now.
/// One that was given to another restore since this one failed is that one's: what it brought is not written over, also
/// not when it has gone.
pub fn follow(case: &Case<'_>, status: &mut RestoreSessionStatus) {
    let (Way::Init, Target::Workload(workload)) = (case.way, &case.seen.target) else {
        return;
    };
    if let Some(told) = injection(case, workload) {
        set(case, status, injected_condition(&told));
    }
    let me = Invoker::of(case.restore);
    let other = workload.init.as_ref().filter(|it| **it != me);
    if let Some(other) = other.filter(|_| is_owed(status)) {
        let why = format!(
            "the {} was given to the RestoreSession {} after this one had failed; delete this one, and Pods that still wait for it if Kubernetes does not replace them",
            workload.describe(),
            other.name
        );
        let condition = Condition::new(
            types::STASH_INIT_CONTAINER_INJECTED,
            ConditionStatus::False,
            reason::RESTORE_SUPERSEDED,
            why,
        );
        set(case, status, condition);
    }
}

fn set(case: &Case<'_>, status: &mut RestoreSessionStatus, mut condition: Condition) {
    condition.observed_generation = case.restore.metadata.generation;
    set_condition(&mut status.conditions, condition, case.now);
}

/// Whether the Pod template has the init container of this restore, or why not; `None` when that is not known.
fn injection(case: &Case<'_>, workload: &Workload) -> Option<Result<String, String>> {
    let me = Invoker::of(case.restore);
    match &case.seen.init {
        Some(PartOutcome::Failed(invoker, why)) if *invoker == me => Some(Err(why.clone())),
        Some(PartOutcome::Present(invoker)) if *invoker == me => {
            let restarts = case.seen.by_hand.map_or_else(String::new, |remedy| {
                format!("; Pods that run already are restored when they are replaced: {remedy}")
            });
            Some(Ok(format!(
                "the Pod template of the {} has the init container{restarts}",
                workload.describe()
            )))
        }
        _ => None,
    }
}

fn injected_condition(told: &Result<String, String>) -> Condition {
    let (status, reason, message) = match told {
        Ok(message) => (
            ConditionStatus::True,
            reason::INIT_CONTAINER_INJECTION_SUCCEEDED,
            message,
        ),
        Err(why) => (
            ConditionStatus::False,
            reason::INIT_CONTAINER_INJECTION_FAILED,
            why,
        ),
    };
    Condition::new(
        types::STASH_INIT_CONTAINER_INJECTED,
        status,
        reason,
        message.as_str(),
    )
}

fn ensured(message: String) -> Condition {
    Condition::new(
        types::RESTORE_EXECUTOR_ENSURED,
        ConditionStatus::True,
        reason::SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR,
        message,
    )
}

fn lease_name(case: &Case<'_>) -> String {
    let target = case.restore.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.clone());
    names::restore_lease(&reference.unwrap_or_default())
}

fn access(
    case: &Case<'_>,
    repository: &Repository,
    (account, owners): (Account, Vec<OwnerReference>),
    lease: Option<String>,
) -> AccessObjects {
    let hooks = case.restore.spec.hooks.as_ref();
    let before = hooks.and_then(|hooks| hooks.pre_restore.as_ref());
    let after = hooks.and_then(|hooks| hooks.post_restore.as_ref());
    // Only a Job reaches into Pods of a workload; elsewhere commands run where the agent is.
    let workload = match &case.seen.target {
        Target::Workload(workload) if case.way == Way::Workload => Some(workload.as_ref()),
        _ => None,
    };
    let hooks = [before, after.map(|hook| &hook.handler)];
    let mission = match case.way {
        Way::Init => Mission::InitContainer,
        Way::Workload | Way::Claim | Way::Templates => Mission::Restore,
    };
    rbac::access(&Access {
        mission,
        invoker: &Invoker::of(case.restore),
        owners,
        sessions: vec![case.restore.name_any()],
        repository,
        lease,
        reach: Reach::of(mission, workload, &hooks),
        account,
    })
}

fn by_jobs(case: &Case<'_>, mut status: RestoreSessionStatus, repository: &Repository) -> Plan {
    let settings = case.restore.spec.runtime_settings.as_ref();
    match jobs(case, repository) {
        Ok((claims, jobs)) => {
            let message = match jobs.as_slice() {
                [job] => format!("the work is done by the Job {}", job.name_any()),
                jobs => format!("the work is done by {} Jobs", jobs.len()),
            };
            status.total_hosts = i32::try_from(jobs.len()).ok();
            status.hosts = jobs.iter().filter_map(host_of).collect();
            let lease = jobs_lease(case, status.total_hosts.unwrap_or(i32::MAX));
            let lease_name = lease.as_ref().map(ResourceExt::name_any);
            let made = Condition::new(
                types::RESTORE_JOB_CREATED,
                ConditionStatus::True,
                reason::RESTORE_JOB_CREATION_SUCCEEDED,
                message.clone(),
            );
            set(case, &mut status, made);
            set(case, &mut status, ensured(message));
            Plan {
                preparation: Some(Box::new(Preparation {
                    access: access(
                        case,
                        repository,
                        (
                            Account::of_jobs(settings),
                            case.restore.controller_owner_ref(&()).into_iter().collect(),
                        ),
                        lease_name,
                    ),
                    lease,
                    claims,
                    jobs,
                    workload: None,
                })),
                ..go_on(case, status, Again::OnChange)
            }
        }
        Err(why) => refused(case, status, &why),
    }
}

/// By what Jobs take turns, where they do.
fn jobs_lease(case: &Case<'_>, total: i32) -> Option<Lease> {
    let takes_turns = restores_take_turns(case.restore.spec.hooks.as_ref(), total);
    takes_turns.then(|| Lease {
        metadata: ObjectMeta {
            name: Some(names::restore_jobs_lease(&case.restore.name_any())),
            namespace: case.restore.namespace(),
            labels: Some([(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned())].into()),
            owner_references: case
                .restore
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec::default()),
    })
}

/// The Jobs, or the rights of the init container, cannot be made yet.
pub fn refused(case: &Case<'_>, mut status: RestoreSessionStatus, why: &str) -> Plan {
    // What is said already is not said at a new time.
    let present = case.restore.status.iter().flat_map(|it| &it.conditions);
    let said = present.filter(|it| it.type_ == types::STASH_INIT_CONTAINER_INJECTED);
    for said in said.cloned().collect::<Vec<_>>() {
        let mut wanted = status.conditions.iter_mut();
        if let Some(condition) = wanted.find(|it| it.type_ == said.type_) {
            *condition = said;
        }
    }
    let condition = if case.way == Way::Init {
        injected_condition(&Err(why.to_owned()))
    } else {
        Condition::new(
            types::RESTORE_JOB_CREATED,
            ConditionStatus::False,
            reason::RESTORE_JOB_CREATION_FAILED,
            why,
        )
    };
    set(case, &mut status, condition);
    Plan {
        has_to_ask_again: true,
        ..go_on(case, status, Again::OnChange)
    }
}

fn jobs(
    case: &Case<'_>,
    repository: &Repository,
) -> Result<(Vec<PersistentVolumeClaim>, Vec<Job>), String> {
    let target = case.restore.spec.target.clone().unwrap_or_default();
    let (mut claims, hosts) = hosts(case, &target)?;
    if hosts.is_empty() {
        return Err("there is nothing to restore into: spec.target.replicas, or the number of Pods of the target, is 0".to_owned());
    }
    let mut jobs = Vec::new();
    let invoker = Invoker::of(case.restore);
    let template = case.restore.spec.interim_volume_template.as_ref();
    for (number, data) in hosts.iter().enumerate() {
        let of = (&invoker, Component::Restore);
        let interim = job::interim(template, case.restore, of, number);
        let made = restore_job(case, repository, (number, data), interim.as_ref());
        jobs.push(made.map_err(|error| chain(&error))?);
        claims.extend(interim);
    }
    Ok((claims, jobs))
}

/// What the Jobs work on, and the claims that are made for it.
fn hosts(
    case: &Case<'_>,
    target: &RestoreTarget,
) -> Result<(Vec<PersistentVolumeClaim>, Vec<HostData>), String> {
    let (alias, mounts) = (target.alias.as_deref(), &target.volume_mounts);
    let (present, pods) = (case.seen.claims.as_slice(), case.seen.pods.as_slice());
    let failed = |error: job::JobError| chain(&error);
    match &case.seen.target {
        Target::Workload(workload) => {
            let around = (present, pods);
            job::of_workload(workload, alias, mounts, around, Work::Restore)
                .map(|hosts| (Vec::new(), hosts))
                .map_err(failed)
        }
        Target::Claim(claim) => {
            let host = (Work::Restore, host::single_host(alias));
            job::of_claim(claim, mounts, pods, host)
                .map(|data| (Vec::new(), vec![data]))
                .map_err(failed)
        }
        Target::NotAsked | Target::Missing => {
            let (mut claims, mut hosts) = (Vec::new(), Vec::new());
            for mut of_replica in job::claims(case.restore, target) {
                if let Some(name) = of_replica.foreign(case.restore, present) {
                    return Err(format!(
                        "the volume claim {name} exists already and was not made by this RestoreSession; delete it, or use another name in spec.target.volumeClaimTemplates"
                    ));
                }
                of_replica.place(present, pods).map_err(failed)?;
                claims.extend(of_replica.claims);
                hosts.push(of_replica.data);
            }
            Ok((claims, hosts))
        }
    }
}

fn restore_job(
    case: &Case<'_>,
    repository: &Repository,
    (number, data): (usize, &HostData),
    interim: Option<&PersistentVolumeClaim>,
) -> Result<Job, job::JobError> {
    let restore = case.restore;
    let spec = &restore.spec;
    let (name, invoker) = (restore.name_any(), Invoker::of(restore));
    let args = [
        "agent",
        "restore",
        "--restore-session",
        &name,
        "--host",
        &data.host,
    ];
    let user = restore.metadata.labels.as_ref();
    let mut job = job::job(&JobParts {
        name: names::restore_job(&name, number),
        namespace: &invoker.namespace,
        labels: labels::of_invoker(user, &invoker.kind, &name, Component::Restore),
        owner: restore.controller_owner_ref(&()),
        work: Work::Restore,
        args: args.iter().map(|&word| word.to_owned()).collect(),
        image: case.image,
        repository,
        settings: spec.runtime_settings.as_ref(),
        temp_dir: spec.temp_dir.as_ref(),
        interim: interim.map(ResourceExt::name_any),
        account: Account::of_jobs(spec.runtime_settings.as_ref()).name(&invoker),
        data,
    })?;
    let host = (labels::HOST.to_owned(), data.host.clone());
    job.metadata.annotations = Some([host].into());
    Ok(job)
}
