//! Which data a backup or a restore works on, however its target is named: a volume claim, and a workload whose Pods
//! mount it, are the same data, and so are workloads that mount the same folder of nodes or the same share. A restore
//! waits for a backup of the same data, and a backup for a restore.

use std::collections::BTreeSet;

use api::conditions::{Condition, condition_type as types, find_condition};
use api::k8s_openapi::api::core::v1::VolumeMount;
use api::v1beta1::{
    BackupConfiguration, BackupSession, HostRestorePhase, RestorePhase, RestoreSession, TargetRef,
};
use kube_client::ResourceExt;
use session::model::CLAIM_KIND;

use crate::context::Context;
use crate::failure::ReconcileError;
use crate::inject::Invoker;
use crate::job;
use crate::reading::{self, Target};
use crate::restore_session::{Way, has_ended, way};
use crate::target::Workload;

/// The data of one namespace that something works on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// Kind and name of the target.
    target: Option<(String, String)>,
    /// The volumes.
    volumes: BTreeSet<Volume>,
}

/// Where data lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Volume {
    Claim(String),
    /// Of any node: which one a Pod runs on is not asked.
    HostPath(String),
    Share {
        server: String,
        path: String,
    },
}

impl Volume {
    /// `None` for what no other Pod has.
    fn of(volume: &api::k8s_openapi::api::core::v1::Volume) -> Option<Self> {
        let folder = |path: &str| path.trim_end_matches('/').to_owned();
        if let Some(claim) = &volume.persistent_volume_claim {
            return Some(Self::Claim(claim.claim_name.clone()));
        }
        if let Some(share) = &volume.nfs {
            return Some(Self::Share {
                server: share.server.to_lowercase(),
                path: folder(&share.path),
            });
        }
        let host_path = volume.host_path.as_ref()?;
        Some(Self::HostPath(folder(&host_path.path)))
    }
}

impl Data {
    /// The data of a target: the volumes that are mounted; where nothing says which, all claims.
    pub fn of_target(reference: &TargetRef, target: &Target, mounts: &[VolumeMount]) -> Self {
        let volumes = match target {
            Target::Workload(workload) => volumes(workload, mounts),
            _ if reference.kind == CLAIM_KIND => {
                BTreeSet::from([Volume::Claim(reference.name.clone())])
            }
            _ => BTreeSet::new(),
        };
        Self {
            target: Some((reference.kind.clone(), reference.name.clone())),
            volumes,
        }
    }

    /// Where a restore brings its data; `target` is what it names.
    pub fn of_restore(restore: &RestoreSession, target: &Target) -> Self {
        let Some(of_spec) = &restore.spec.target else {
            return Self::default();
        };
        if !of_spec.volume_claim_templates.is_empty() {
            let made = job::claims(restore, of_spec);
            let claims = made.iter().flat_map(|it| &it.claims);
            return Self {
                target: None,
                volumes: claims.map(|it| Volume::Claim(it.name_any())).collect(),
            };
        }
        let reference = of_spec.reference.clone().unwrap_or_default();
        Self::of_target(&reference, target, &of_spec.volume_mounts)
    }

    /// Whether both work on the same data.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        self.target.is_some() && self.target == other.target
            || !self.volumes.is_disjoint(&other.volumes)
    }

    fn is_target(&self, reference: &TargetRef) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|(kind, name)| *kind == reference.kind && *name == reference.name)
    }
}

fn volumes(workload: &Workload, mounts: &[VolumeMount]) -> BTreeSet<Volume> {
    let is_mounted = |name: &str| mounts.iter().any(|it| it.name == name);
    let volumes = workload.template.volumes.iter().flatten();
    let of_volumes = volumes.filter_map(|it| {
        let volume = Volume::of(it)?;
        // Many Pods have the same small folders of their node, such as one with the time zone.
        let is_all = mounts.is_empty() && matches!(volume, Volume::Claim(_));
        (is_all || is_mounted(&it.name)).then_some(volume)
    });
    let templates = workload.claim_templates.iter();
    let templates = templates.filter(|it| mounts.is_empty() || is_mounted(it));
    let of_templates = templates.flat_map(|name| {
        let pods = workload.ordinals();
        pods.map(move |ordinal| Volume::Claim(format!("{name}-{}", workload.pod(ordinal))))
    });
    of_volumes.chain(of_templates).collect()
}

/// The restore that is at work on this data, or about to be. One that failed in an init container is tried again: what
/// it was to bring back must not be followed by a backup of what is there without it.
pub async fn running_restore(
    context: &Context,
    namespace: &str,
    data: &Data,
) -> Result<Option<String>, ReconcileError> {
    let restores: Vec<RestoreSession> = reading::list(context, namespace, "").await?;
    for restore in restores.iter().filter(|it| may_work(it)) {
        let reference = restore.spec.target.as_ref();
        let reference = reference.and_then(|target| target.reference.as_ref());
        let target = match reference {
            Some(reference) if reference.kind != CLAIM_KIND => {
                reading::target(context, namespace, reference).await?
            }
            _ => Target::NotAsked,
        };
        if works(restore, &target) && Data::of_restore(restore, &target).is_shared_with(data) {
            return Ok(Some(restore.name_any()));
        }
    }
    Ok(None)
}

/// Whether a restore is at work or was let to it.
fn may_work(restore: &RestoreSession) -> bool {
    let way = way(restore).ok();
    let status = restore.status.clone().unwrap_or_default();
    restore.metadata.deletion_timestamp.is_none()
        && !has_ended(restore, way.as_ref())
        && (status.total_hosts.is_some() || way == Some(Way::Init) && is_let_in(restore))
}

/// Whether nothing keeps the init container of a restore from its Pods.
fn is_let_in(restore: &RestoreSession) -> bool {
    let conditions = restore.status.iter().flat_map(|it| &it.conditions);
    let conditions: Vec<Condition> = conditions.cloned().collect();
    let is = |type_, is: fn(&Condition) -> bool| find_condition(&conditions, type_).is_some_and(is);
    is(types::VALIDATION_PASSED, Condition::is_true)
        && is(types::REPOSITORY_FOUND, Condition::is_true)
        && is(types::BACKEND_SECRET_FOUND, Condition::is_true)
        && !is(types::STASH_INIT_CONTAINER_INJECTED, Condition::is_false)
        && !is(types::WAITING, Condition::is_true)
}

/// Without Pods an init container does nothing, and waits again when there are some.
fn works(restore: &RestoreSession, target: &Target) -> bool {
    if !is_tried_again(restore, target) {
        return false;
    }
    let has_begun = restore
        .status
        .as_ref()
        .is_some_and(|it| it.total_hosts.is_some());
    has_begun || matches!(target, Target::Workload(workload) if workload.total_hosts() > 0)
}

/// Whether a restore that failed is tried again: by the init container that the workload has, for a host that it still
/// has. One that has its data is not, even if the hook after it failed.
fn is_tried_again(restore: &RestoreSession, target: &Target) -> bool {
    let status = restore.status.clone().unwrap_or_default();
    let has_failed = matches!(
        status.phase,
        Some(RestorePhase::Failed | RestorePhase::Unknown)
    );
    let (true, Target::Workload(workload)) = (has_failed, target) else {
        return true;
    };
    let alias = restore.spec.target.as_ref();
    let alias = alias.and_then(|target| target.alias.as_deref());
    let stay = match workload.kind.as_str() {
        "StatefulSet" => workload.hosts(alias, &[]),
        _ => status.hosts.clone(),
    };
    let has_data = |host: &String| {
        let mut stats = status.stats.iter();
        stats.any(|it| it.hostname == *host && it.phase == Some(HostRestorePhase::Succeeded))
    };
    let mut hosts = status.hosts.iter().filter(|host| stay.contains(host));
    let lacks_data = status.hosts.is_empty() || hosts.any(|host| !has_data(host));
    workload.init == Some(Invoker::of(restore)) && lacks_data
}

/// The backup that is at work on this data.
pub async fn running_backup(
    context: &Context,
    namespace: &str,
    data: &Data,
) -> Result<Option<String>, ReconcileError> {
    let sessions: Vec<BackupSession> = reading::list(context, namespace, "").await?;
    for session in sessions.iter().filter(|it| is_running(it)) {
        let targets = session.status.iter().flat_map(|status| &status.targets);
        for reference in targets.filter_map(|target| target.reference.as_ref()) {
            let is_same = data.is_target(reference)
                || of_backup(context, namespace, session, reference)
                    .await?
                    .is_shared_with(data);
            if is_same {
                return Ok(Some(session.name_any()));
            }
        }
    }
    Ok(None)
}

fn is_running(session: &BackupSession) -> bool {
    let status = session.status.clone().unwrap_or_default();
    let is_over = status.phase.is_some_and(session::phase::is_final_backup);
    let mut targets = status.targets.iter();
    session.metadata.deletion_timestamp.is_none()
        && !is_over
        && targets.any(|target| target.total_hosts.is_some())
}

async fn of_backup(
    context: &Context,
    namespace: &str,
    session: &BackupSession,
    reference: &TargetRef,
) -> Result<Data, ReconcileError> {
    if reference.kind == CLAIM_KIND {
        return Ok(Data::of_target(reference, &Target::NotAsked, &[]));
    }
    let invoker = &session.spec.invoker.name;
    let configuration: Option<BackupConfiguration> =
        reading::get(context, namespace, invoker).await?;
    let target = configuration.and_then(|it| it.spec.target);
    let mounts = target.map(|it| it.volume_mounts).unwrap_or_default();
    let target = reading::target(context, namespace, reference).await?;
    Ok(Data::of_target(reference, &target, &mounts))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workload(kind: &str, name: &str, claim: &str) -> Target {
        Target::Workload(Box::new(
            Workload::read(&json!({
                "apiVersion": "apps/v1", "kind": kind,
                "metadata": { "name": name, "uid": "u" },
                "spec": {
                    "replicas": 2,
                    "volumeClaimTemplates": [{ "metadata": { "name": "data" } }],
                    "template": { "spec": {
                        "containers": [{ "name": "app" }],
                        "volumes": [
                            { "name": "files", "persistentVolumeClaim": { "claimName": claim } },
                            { "name": "scratch", "emptyDir": {} },
                        ],
                    } },
                },
            }))
            .unwrap(),
        ))
    }

    fn of(kind: &str, name: &str, target: &Target, mounts: &Value) -> Data {
        let reference = TargetRef {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..TargetRef::default()
        };
        let mounts: Vec<VolumeMount> = serde_json::from_value(mounts.clone()).unwrap();
        Data::of_target(&reference, target, &mounts)
    }

    fn claim(name: &str) -> Data {
        of(CLAIM_KIND, name, &Target::NotAsked, &json!([]))
    }

    fn restore(target: &Value) -> RestoreSession {
        let object = json!({
            "metadata": { "name": "back", "namespace": "shop", "uid": "u" },
            "spec": { "repository": { "name": "repo" }, "target": target },
            "status": { "conditions": [
                { "type": "ValidationPassed", "status": "True" },
                { "type": "RepositoryFound", "status": "True" },
                { "type": "BackendSecretFound", "status": "True" },
            ] },
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_claim_and_a_workload_that_mounts_it_are_the_same_data() {
        let mounts = json!([{ "name": "files", "mountPath": "/data" }]);
        let live = workload("Deployment", "web", "files");
        let web = of("Deployment", "web", &live, &mounts);
        assert!(web.is_shared_with(&claim("files")) && claim("files").is_shared_with(&web));
        assert!(!web.is_shared_with(&claim("data-web-0")) && !web.is_shared_with(&claim("other")));
        let twin = workload("Deployment", "twin", "files");
        assert!(web.is_shared_with(&of("Deployment", "twin", &twin, &mounts)));
        let scratch = json!([{ "name": "scratch", "mountPath": "/data" }]);
        let scratch = of("Deployment", "web", &live, &scratch);
        assert!(!scratch.is_shared_with(&claim("files")));
        assert!(
            scratch.is_shared_with(&web),
            "they may write to the same Pods"
        );
        let gone = of("Deployment", "web", &Target::Missing, &mounts);
        assert!(gone.is_shared_with(&web) && !gone.is_shared_with(&Data::default()));
        assert!(!Data::default().is_shared_with(&Data::default()));
    }

    #[test]
    fn a_folder_of_nodes_and_a_share_are_the_same_data_where_they_are_mounted() {
        let of = |name: &str, volume: Value, mounts: &Value| {
            let mut volume = volume;
            volume["name"] = json!("v");
            let live = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": name, "uid": "u" },
                "spec": { "template": { "spec": {
                    "containers": [{ "name": "app" }], "volumes": [volume],
                } } },
            });
            let target = Target::Workload(Box::new(Workload::read(&live).unwrap()));
            of("Deployment", name, &target, mounts)
        };
        let mounts = json!([{ "name": "v", "mountPath": "/data" }]);
        let folder = |path: &str| json!({ "hostPath": { "path": path } });
        let share = |path: &str| json!({ "nfs": { "server": "Files", "path": path } });
        for volume in [folder, share] {
            let one = of("one", volume("/srv/data"), &mounts);
            assert!(one.is_shared_with(&of("two", volume("/srv/data/"), &mounts)));
            assert!(!one.is_shared_with(&of("two", volume("/srv/other"), &mounts)));
            assert!(!one.is_shared_with(&of("two", volume("/srv/data"), &json!([]))));
        }
        let one = of("one", folder("/srv/data"), &mounts);
        assert!(!one.is_shared_with(&of("two", share("/srv/data"), &mounts)));
    }

    #[test]
    fn claims_made_from_templates_are_those_of_the_stateful_set() {
        let mounts = json!([{ "name": "data", "mountPath": "/data" }]);
        let db = of(
            "StatefulSet",
            "db",
            &workload("StatefulSet", "db", "files"),
            &mounts,
        );
        for name in ["data-db-0", "data-db-1"] {
            assert!(db.is_shared_with(&claim(name)), "{name}");
        }
        assert!(!db.is_shared_with(&claim("data-db-2")) && !db.is_shared_with(&claim("files")));
        let templates = |name: &str| {
            let back = restore(&json!({
                "replicas": 2, "volumeMounts": [{ "name": "data-db", "mountPath": "/data" }],
                "volumeClaimTemplates": [{
                    "metadata": { "name": name },
                    "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
                }],
            }));
            Data::of_restore(&back, &Target::NotAsked)
        };
        assert!(templates("data-db-${POD_ORDINAL}").is_shared_with(&db));
        assert!(!templates("data-new-${POD_ORDINAL}").is_shared_with(&db));
    }

    #[test]
    fn a_restore_that_was_let_into_pods_counts_and_one_that_waits_does_not() {
        let live = workload("Deployment", "web", "files");
        let target = json!({
            "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "volumeMounts": [{ "name": "files", "mountPath": "/data" }],
        });
        let mut back = restore(&target);
        assert!(may_work(&back) && works(&back, &live));
        assert!(!works(&back, &Target::Missing));
        let with = |type_: &str, status: &str| {
            let mut back = back.clone();
            let condition = json!({ "type": type_, "status": status });
            let condition = serde_json::from_value(condition).unwrap();
            back.status.as_mut().unwrap().conditions.push(condition);
            may_work(&back)
        };
        assert!(!with("Waiting", "True") && !with("StashInitContainerInjected", "False"));
        assert!(with("StashInitContainerInjected", "True"));
        back.status.as_mut().unwrap().phase = Some(api::v1beta1::RestorePhase::Succeeded);
        assert!(!may_work(&back));
        let mut claim =
            restore(&json!({ "ref": { "kind": "PersistentVolumeClaim", "name": "files" } }));
        assert!(!may_work(&claim));
        claim.status.as_mut().unwrap().total_hosts = Some(1);
        assert!(may_work(&claim) && works(&claim, &Target::NotAsked));
    }

    #[test]
    fn a_restore_that_failed_counts_while_its_container_tries_again() {
        let mut back = restore(&json!({
            "ref": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db" },
        }));
        let of = |invoker: &RestoreSession| {
            let Target::Workload(mut live) = workload("StatefulSet", "db", "files") else {
                panic!("no workload");
            };
            live.init = Some(Invoker::of(invoker));
            Target::Workload(live)
        };
        let status = json!({
            "phase": "Failed", "totalHosts": 3, "hosts": ["host-0", "host-1", "host-7"],
            "stats": [
                { "hostname": "host-0", "phase": "Succeeded" },
                { "hostname": "host-1", "phase": "Failed" },
                { "hostname": "host-7", "phase": "Failed" },
            ],
        });
        back.status = Some(serde_json::from_value(status).unwrap());
        let live = of(&back);
        assert!(works(&back, &live) && works(&back, &Target::Missing));
        let mut other = back.clone();
        other.metadata.name = Some("another".to_owned());
        assert!(!works(&back, &of(&other)), "another has the workload");
        // The host that is left has been scaled away.
        let stats = &mut back.status.as_mut().unwrap().stats;
        stats[1].phase = Some(HostRestorePhase::Succeeded);
        assert!(!works(&back, &live));
    }
}
