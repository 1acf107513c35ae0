//! Sessions that are carried out by Jobs.

use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use api::v1beta1::{BackupConfiguration, TargetRef};
use kube_client::{Resource, ResourceExt};
use session::labels::{self, Component};
use session::{host, names};

use crate::backup_session::plan::Case;
use crate::backup_session::start::{Decision, Ready, access, no_repository};
use crate::failure::chain;
use crate::inject::Invoker;
use crate::job::{self, HostData, JobParts};
use crate::pod_parts::Work;
use crate::preparation::Preparation;
use crate::rbac::{Account, Mission};
use crate::reading::Target;
use crate::target::Workload;

/// Starts by Jobs, or says why it cannot.
pub(super) fn by_jobs(
    case: &Case<'_>,
    configuration: &BackupConfiguration,
    workload: Option<&Workload>,
    reference: TargetRef,
) -> Decision {
    let settings = configuration.spec.runtime_settings.as_ref();
    let account = Account::of_jobs(settings);
    let namespace = configuration.namespace().unwrap_or_default();
    // Hosts of one workload begin and conclude in turn: only one of them makes the repository.
    let lease = workload
        .filter(|workload| host::is_many_hosts(&workload.kind))
        .map(|it| it.lease(&names::backup_lease(&reference), &namespace));
    let access = access(case, configuration, Mission::Job, account, lease.as_ref());
    let Some(access) = access else {
        return no_repository(configuration);
    };
    let hosts = match hosts(case, configuration, workload) {
        Ok(hosts) => hosts,
        Err(error) => return Decision::Fail(chain(&error)),
    };
    let (mut jobs, mut claims) = (Vec::new(), Vec::new());
    for (number, data) in hosts.iter().enumerate() {
        let template = configuration.spec.interim_volume_template.as_ref();
        let invoker = (&Invoker::of(configuration), Component::Backup);
        let interim = job::interim(template, case.session, invoker, number);
        match backup_job(case, configuration, (number, data), interim.as_ref()) {
            Ok(job) => jobs.push(job),
            Err(error) => return Decision::Fail(chain(&error)),
        }
        claims.extend(interim);
    }
    let names: Vec<String> = jobs.iter().map(ResourceExt::name_any).collect();
    Decision::Go(Box::new(Ready {
        hosts: (
            i32::try_from(jobs.len()).unwrap_or(i32::MAX),
            hosts.into_iter().map(|data| data.host).collect(),
        ),
        executor: format!("the work is done by {}", listed(&names)),
        preparation: Preparation {
            access,
            lease,
            claims,
            jobs,
            workload: None,
        },
        reference,
    }))
}

fn listed(jobs: &[String]) -> String {
    match jobs {
        [job] => format!("the Job {job}"),
        [first, .., last] => format!("the Jobs {first} to {last}"),
        [] => "no Job".to_owned(),
    }
}

fn hosts(
    case: &Case<'_>,
    configuration: &BackupConfiguration,
    workload: Option<&Workload>,
) -> Result<Vec<HostData>, job::JobError> {
    let target = configuration.spec.target.clone().unwrap_or_default();
    let alias = target.alias.as_deref();
    let pods = &case.seen.pods;
    match (workload, &case.seen.target) {
        (Some(workload), _) => job::of_workload(
            workload,
            alias,
            &target.volume_mounts,
            (&case.seen.claims, pods),
            Work::Backup,
        ),
        (None, Target::Claim(claim)) => {
            let host = (Work::Backup, host::single_host(alias));
            job::of_claim(claim, &target.volume_mounts, pods, host).map(|data| vec![data])
        }
        (None, _) => Ok(Vec::new()),
    }
}

fn backup_job(
    case: &Case<'_>,
    configuration: &BackupConfiguration,
    (number, data): (usize, &HostData),
    interim: Option<&PersistentVolumeClaim>,
) -> Result<Job, job::JobError> {
    let session = case.session.name_any();
    let namespace = configuration.namespace().unwrap_or_default();
    let spec = &configuration.spec;
    let args = [
        "agent",
        "backup",
        "--session",
        &session,
        "--target-index",
        "0",
        "--host",
        &data.host,
    ];
    let kind = BackupConfiguration::kind(&());
    let name = configuration.name_any();
    let user = configuration.metadata.labels.as_ref();
    let invoker = Invoker::of(configuration);
    let account = Account::of_jobs(spec.runtime_settings.as_ref()).name(&invoker);
    let empty = api::v1alpha1::Repository::default();
    let repository = case.seen.repository.as_deref().unwrap_or(&empty);
    if let Some(target) = &spec.target {
        job::check_apart(data, repository, target)?;
    }
    let mut job = job::job(&JobParts {
        name: names::backup_job(&session, number),
        namespace: &namespace,
        labels: labels::of_invoker(user, &kind, &name, Component::Backup),
        owner: case.session.controller_owner_ref(&()),
        work: Work::Backup,
        args: args.iter().map(|&word| word.to_owned()).collect(),
        image: case.image,
        repository,
        settings: spec.runtime_settings.as_ref(),
        temp_dir: spec.temp_dir.as_ref(),
        interim: interim.map(ResourceExt::name_any),
        account,
        data,
    })?;
    let host = (labels::HOST.to_owned(), data.host.clone());
    job.metadata.annotations = Some([host].into());
    Ok(job)
}
