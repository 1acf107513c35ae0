//! Whether a session starts, and what its agents need for it.

use std::time::Duration;

use api::conditions::{
    Condition, ConditionStatus, condition_type as types, find_condition, reason, set_condition,
};
use api::k8s_openapi::api::coordination::v1::Lease;
use api::v1beta1::{
    BackupConfiguration, BackupInvokerPhase, BackupSessionStatus, BackupTargetStatus, HostProgress,
    PostBackupAction, PreBackupAction, TargetRef,
};
use jiff::Timestamp;
use kube_client::{Resource, ResourceExt};
use serde_json::{Value, json};
use session::disruption::PATIENCE;
use session::labels::{self, Component};
use session::model::{self, Model};
use session::{host, names, work};

use crate::apart;
use crate::backup_configuration::not_allowed;
use crate::backup_session::close;
use crate::backup_session::observe::{is_older, is_open, is_started, target_of};
use crate::backup_session::plan::{Case, Plan, go_on, unexecuted};
use crate::controller::Again;
use crate::inject::Invoker;
use crate::preparation::Preparation;
use crate::rbac::{self, Access, Account, Mission, Reach};
use crate::reading::Target;
use crate::target::{self, Workload};

mod jobs;

/// How long after its creation a session waits for an invoker that is not there or not ready: both may have been
/// applied together.
const TOGETHER: Duration = Duration::from_secs(15);
/// How soon something is looked at again that nobody tells us of.
const SOON: Duration = Duration::from_secs(5);
/// How soon a restore on the same target is looked at again.
const BUSY: Duration = Duration::from_secs(30);

/// What to do about a session that has not started.
enum Decision {
    /// Not yet, for this reason.
    Wait(Duration, &'static str, String),
    /// Not at all; the next session will do.
    Skip(String),
    /// It cannot be carried out.
    Fail(String),
    /// Now.
    Go(Box<Ready>),
}

/// A session that can start.
struct Ready {
    preparation: Preparation,
    reference: TargetRef,
    /// How many there are, and their names as far as they are known.
    hosts: (i32, Vec<String>),
    executor: String,
}

/// Starts, waits, skips or fails.
pub fn start(case: &Case<'_>, mut status: BackupSessionStatus) -> Plan {
    match decide(case) {
        Decision::Wait(delay, reason, why) => {
            let waiting = Condition::new(types::WAITING, ConditionStatus::True, reason, why);
            set_condition(&mut status.conditions, waiting, case.now);
            go_on(case, status, Again::After(delay))
        }
        Decision::Skip(why) => {
            let condition = Condition::new(
                types::BACKUP_SKIPPED,
                ConditionStatus::True,
                reason::SKIPPED_TAKING_NEW_BACKUP,
                why,
            );
            set_condition(&mut status.conditions, condition, case.now);
            close::skip(case, status)
        }
        Decision::Fail(why) => unexecuted(case, status, &why),
        Decision::Go(ready) => {
            let Ready {
                preparation,
                reference,
                hosts,
                executor,
            } = *ready;
            status.conditions.retain(|it| it.type_ != types::WAITING);
            status.targets = vec![target_status(case.now, reference, hosts, executor)];
            Plan {
                preparation: Some(Box::new(preparation)),
                ..go_on(case, status, Again::OnChange)
            }
        }
    }
}

fn target_status(
    now: Timestamp,
    reference: TargetRef,
    (total, hosts): (i32, Vec<String>),
    executor: String,
) -> BackupTargetStatus {
    let mut target = BackupTargetStatus {
        reference: Some(reference),
        total_hosts: Some(total),
        hosts,
        pre_backup_actions: vec![PreBackupAction::InitializeBackendRepository],
        post_backup_actions: vec![
            PostBackupAction::ApplyRetentionPolicy,
            PostBackupAction::VerifyRepositoryIntegrity,
        ],
        progress: Vec::<HostProgress>::new(),
        ..BackupTargetStatus::default()
    };
    let condition = Condition::new(
        types::BACKUP_EXECUTOR_ENSURED,
        ConditionStatus::True,
        reason::SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR,
        executor,
    );
    set_condition(&mut target.conditions, condition, now);
    target
}

fn decide(case: &Case<'_>) -> Decision {
    let invoker = &case.session.spec.invoker;
    if invoker.kind != BackupConfiguration::kind(&()) {
        return Decision::Fail(format!(
            "spec.invoker names a {}, which is not acted on yet; use a BackupConfiguration",
            invoker.kind
        ));
    }
    let is_young = age(case) < TOGETHER;
    let Some(configuration) = case.seen.configuration.as_deref() else {
        let why = format!(
            "spec.invoker names the BackupConfiguration {}, which does not exist; create it, or correct the name",
            invoker.name
        );
        return if is_young {
            wait_soon(why)
        } else {
            Decision::Fail(why)
        };
    };
    if configuration.metadata.deletion_timestamp.is_some() {
        return Decision::Skip(format!(
            "the BackupConfiguration {} is being deleted",
            invoker.name
        ));
    }
    if let Some(decision) = beside(case, configuration) {
        return decision;
    }
    if let Some(why) = obstacle(configuration).or_else(|| forbidden(case, configuration)) {
        return if is_young {
            wait_soon(why)
        } else {
            Decision::Skip(why)
        };
    }
    if let Some(restore) = &case.seen.restore {
        let why = format!(
            "the backup waits for the RestoreSession {restore}, which restores the same data; it starts when that one has succeeded or is deleted"
        );
        return Decision::Wait(BUSY, reason::WAITS_FOR_RESTORE, why);
    }
    by_model(case, configuration)
}

fn wait_soon(why: String) -> Decision {
    Decision::Wait(SOON, reason::WAITS_FOR_WHAT_IT_NEEDS, why)
}

/// What another session of the same invoker means for this one: it is skipped for one that is at work or was there
/// first.
fn beside(case: &Case<'_>, configuration: &BackupConfiguration) -> Option<Decision> {
    let mut open = case.seen.siblings.iter().filter(|it| is_open(it));
    let other = open.find(|it| is_started(it) || is_older(it, case.session))?;
    let name = other.name_any();
    let status = other.status.clone().unwrap_or_default();
    // Nobody has closed it while the operator was away.
    let is_done = work::is_concluded(&configuration.spec, &status, 0);
    let deadline = status.session_deadline.as_ref().map(|time| time.0);
    Some(
        if is_done || deadline.is_some_and(|deadline| deadline <= case.now) {
            wait_soon(format!("the session {name} is about to be closed"))
        } else {
            Decision::Skip(format!(
                "the session {name} of the same BackupConfiguration is not over"
            ))
        },
    )
}

fn age(case: &Case<'_>) -> Duration {
    Duration::try_from(case.now.duration_since(case.created())).unwrap_or_default()
}

/// Why an invoker is not ready.
fn obstacle(configuration: &BackupConfiguration) -> Option<String> {
    let status = configuration.status.clone().unwrap_or_default();
    let is_current = status.observed_generation == configuration.metadata.generation;
    if status.phase == Some(BackupInvokerPhase::Ready) && is_current {
        return None;
    }
    let ready = [
        types::VALIDATION_PASSED,
        types::REPOSITORY_FOUND,
        types::BACKEND_SECRET_FOUND,
    ];
    let why = status
        .conditions
        .iter()
        .find(|it| !it.is_true() && ready.contains(&it.type_.as_str()))
        .and_then(|it| it.message.clone())
        .unwrap_or_else(|| "it has not been looked at yet".to_owned());
    Some(format!(
        "the BackupConfiguration {} is not ready: {why}",
        configuration.name_any()
    ))
}

/// Whether the usage policy of the Repository was narrowed a moment ago, which the invoker does not say yet.
fn forbidden(case: &Case<'_>, configuration: &BackupConfiguration) -> Option<String> {
    let repository = case.seen.repository.as_deref()?;
    let place = repository.namespace().unwrap_or_default();
    let own = configuration.namespace().unwrap_or_default();
    let problem = not_allowed(&format!("{place}/{}", repository.name_any()), &own);
    (!case.seen.is_allowed).then(|| {
        let name = configuration.name_any();
        format!("the BackupConfiguration {name} is not ready: {problem}")
    })
}

fn by_model(case: &Case<'_>, configuration: &BackupConfiguration) -> Decision {
    let namespace = configuration.namespace().unwrap_or_default();
    let reference = target_of(configuration).unwrap_or_default();
    let model = match model::backup_model(&configuration.spec, &namespace) {
        Ok(model) => model,
        Err(problem) => return Decision::Fail(problem.to_string()),
    };
    let workload = match &case.seen.target {
        Target::NotAsked | Target::Missing => {
            return Decision::Fail(format!(
                "spec.target.ref of the BackupConfiguration {} names the {}, which does not exist in this namespace or is being deleted; create it, or correct the name",
                configuration.name_any(),
                target::describe(&reference)
            ));
        }
        Target::Workload(workload) => Some(workload.as_ref()),
        Target::Claim(_) => None,
    };
    let needs_pods = model == Model::Sidecar
        || workload.is_some_and(|workload| host::is_many_hosts(&workload.kind));
    if let Some(workload) = workload.filter(|it| needs_pods && it.total_hosts() == 0) {
        return Decision::Skip(format!(
            "the {} has no Pods, so that nothing can be backed up; scale it up",
            workload.describe()
        ));
    }
    match (model, workload) {
        (Model::Sidecar, Some(workload)) => by_sidecar(case, configuration, workload, reference),
        _ => jobs::by_jobs(case, configuration, workload, reference),
    }
}

fn by_sidecar(
    case: &Case<'_>,
    configuration: &BackupConfiguration,
    workload: &Workload,
    reference: TargetRef,
) -> Decision {
    let me = Invoker::of(configuration);
    if workload.sidecar.as_ref() != Some(&me) {
        let status = configuration.status.clone().unwrap_or_default();
        let injected = find_condition(&status.conditions, types::STASH_SIDECAR_INJECTED);
        return match injected.filter(|it| it.is_false()) {
            Some(failed) => Decision::Fail(failed.message.clone().unwrap_or_default()),
            None if age(case) < PATIENCE => {
                wait_soon(format!("the {} has no sidecar yet", workload.describe()))
            }
            None => Decision::Fail(format!(
                "the {} has no sidecar after {} minutes",
                workload.describe(),
                PATIENCE.as_secs() / 60
            )),
        };
    }
    let target = configuration.spec.target.clone().unwrap_or_default();
    let volumes = workload.template.volumes.iter().flatten();
    let volumes: Vec<Value> = volumes
        .map(|volume| serde_json::to_value(volume).unwrap_or_default())
        .collect();
    let repository = case.seen.repository.as_deref();
    let apart = repository.map_or(Ok(()), |repository| {
        apart::check(repository, &target, &volumes, &target.volume_mounts)
    });
    if let Err(problem) = apart {
        return Decision::Fail(problem.to_string());
    }
    let lease = workload.lease(&names::backup_lease(&reference), &me.namespace);
    let account = Account::Existing(workload.account());
    let Some(access) = access(case, configuration, Mission::Sidecar, account, Some(&lease)) else {
        return no_repository(configuration);
    };
    Decision::Go(Box::new(Ready {
        hosts: workload.expected_hosts(target.alias.as_deref(), &case.seen.pods),
        executor: format!("the Pods of the {} have the sidecar", workload.describe()),
        preparation: Preparation {
            access,
            lease: Some(lease),
            claims: Vec::new(),
            jobs: Vec::new(),
            workload: None,
        },
        reference,
    }))
}

fn no_repository(configuration: &BackupConfiguration) -> Decision {
    Decision::Fail(format!(
        "spec.repository of the BackupConfiguration {} names the Repository {}, which does not exist; create it, or correct the name",
        configuration.name_any(),
        configuration.spec.repository.name
    ))
}

fn access(
    case: &Case<'_>,
    configuration: &BackupConfiguration,
    mission: Mission,
    account: Account,
    lease: Option<&Lease>,
) -> Option<rbac::AccessObjects> {
    let open = case.seen.siblings.iter().filter(|it| is_open(it));
    let mut sessions: Vec<String> = open.map(|it| it.name_any()).collect();
    sessions.push(case.session.name_any());
    sessions.sort();
    let hooks = configuration.spec.hooks.as_ref();
    let before = hooks.and_then(|hooks| hooks.pre_backup.as_ref());
    let after = hooks.and_then(|hooks| hooks.post_backup.as_ref());
    let workload = match &case.seen.target {
        Target::Workload(workload) => Some(workload.as_ref()),
        _ => None,
    };
    let hooks = [before, after.map(|hook| &hook.handler)];
    Some(rbac::access(&Access {
        mission,
        invoker: &Invoker::of(configuration),
        owners: configuration
            .controller_owner_ref(&())
            .into_iter()
            .collect(),
        sessions,
        repository: case.seen.repository.as_deref()?,
        lease: lease.map(ResourceExt::name_any),
        reach: Reach::of(mission, workload, &hooks),
        account,
    }))
}

/// What a session that was made by hand lacks: labels by which sidecars find it, and its owner.
pub fn adoption(case: &Case<'_>) -> Option<Value> {
    let configuration = case.seen.configuration.as_deref()?;
    let kind = BackupConfiguration::kind(&());
    let mut wanted = labels::of_invoker(None, &kind, &configuration.name_any(), Component::Backup);
    if let Some(reference) = target_of(configuration) {
        let own = configuration.namespace().unwrap_or_default();
        wanted.extend(labels::of_target(&reference, &own));
    }
    let present = case.session.labels();
    wanted.retain(|key, value| present.get(key) != Some(value));
    let owner = configuration
        .controller_owner_ref(&())
        .filter(|_| case.session.owner_references().is_empty());
    if wanted.is_empty() && owner.is_none() {
        return None;
    }
    let mut metadata = json!({});
    if !wanted.is_empty() {
        metadata["labels"] = json!(wanted);
    }
    if let Some(owner) = owner {
        metadata["ownerReferences"] = json!([owner]);
    }
    Some(json!({ "metadata": metadata }))
}
