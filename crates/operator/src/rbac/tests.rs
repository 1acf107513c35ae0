use std::collections::BTreeMap;

use api::k8s_openapi::api::rbac::v1::Role;
use api::v1alpha1::Repository;
use serde_json::json;

use super::*;
use crate::inject::Invoker;
use crate::target::Workload;

fn repository(namespace: &str) -> Repository {
    serde_json::from_value(json!({
        "metadata": { "name": "repo", "namespace": namespace, "uid": "r" },
        "spec": { "backend": { "storageSecretName": "keys", "s3": { "endpoint": "e", "bucket": "b" } } },
    }))
    .unwrap()
}

fn invoker(kind: &str) -> Invoker {
    Invoker {
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: "home".to_owned(),
    }
}

fn objects(mission: Mission, repository: &Repository, sessions: &[&str]) -> AccessObjects {
    let invoker = invoker(match mission {
        Mission::Sidecar | Mission::Job => "BackupConfiguration",
        Mission::InitContainer | Mission::Restore => "RestoreSession",
    });
    access(&Access {
        mission,
        invoker: &invoker,
        owners: Vec::new(),
        sessions: sessions.iter().map(|&name| name.to_owned()).collect(),
        repository,
        lease: Some("lock-deployment-web-backup".to_owned()),
        reach: Reach::default(),
        account: Account::Existing("web".to_owned()),
    })
}

/// What a hook reaches that runs a command in a Pod of a Deployment.
fn hooked(mission: Mission) -> Reach {
    let workload = Workload::read(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "template": { "spec": { "containers": [] } } },
    }));
    let hook = serde_json::from_value(json!({ "exec": { "command": ["true"] } })).unwrap();
    Reach::of(mission, workload.as_ref(), &[Some(&hook)])
}

/// `resources names: verbs` of every rule.
fn lines(role: &Role) -> Vec<String> {
    role.rules
        .iter()
        .flatten()
        .map(|rule| {
            format!(
                "{} {:?}: {}",
                rule.resources.clone().unwrap_or_default().join(","),
                rule.resource_names.clone().unwrap_or_default(),
                rule.verbs.join(",")
            )
        })
        .collect()
}

#[test]
fn an_agent_that_backs_up_may_do_this_and_nothing_else() {
    let objects = objects(Mission::Sidecar, &repository("shop"), &["home-1", "home-2"]);
    insta::assert_snapshot!(lines(&objects.role).join("\n"));
    assert_eq!(objects.foreign, None);
    assert_eq!(objects.account, None);
    assert_eq!(objects.binding.subjects.unwrap()[0].name, "web");
}

#[test]
fn a_job_that_backs_up_may_do_this_and_nothing_else() {
    let objects = objects(Mission::Job, &repository("shop"), &["home-1"]);
    insta::assert_snapshot!(lines(&objects.role).join("\n"));
}

#[test]
fn an_agent_that_restores_may_do_this_and_nothing_else() {
    let objects = objects(Mission::Restore, &repository("shop"), &["home"]);
    insta::assert_snapshot!(lines(&objects.role).join("\n"));
}

#[test]
fn an_init_container_learns_of_any_restore_whether_it_is_gone() {
    let objects = objects(Mission::InitContainer, &repository("shop"), &["home"]);
    let lines = lines(&objects.role);
    assert!(lines.contains(&"restoresessions []: get".to_owned()));
    let watched = r#"restoresessions ["home"]: list,watch"#;
    assert!(lines.contains(&watched.to_owned()), "{lines:?}");
}

#[test]
fn without_a_session_no_status_may_be_written() {
    let objects = objects(Mission::Sidecar, &repository("shop"), &[]);
    let lines = lines(&objects.role);
    assert!(
        !lines.iter().any(|line| line.contains("sessions/status")),
        "{lines:?}"
    );
    // A rule without names would be one for all objects.
    for rule in objects.role.rules.unwrap() {
        assert_ne!(rule.resource_names, Some(Vec::new()));
    }
}

#[test]
fn where_the_repository_is_foreign_it_and_its_secret_are_all_there_is() {
    let objects = objects(Mission::Sidecar, &repository("vault"), &["home-1"]);
    let (role, binding) = objects.foreign.unwrap();
    insta::assert_snapshot!(lines(&role).join("\n"));
    assert_eq!(role.metadata.namespace.as_deref(), Some("vault"));
    let name = role.metadata.name.as_deref();
    assert_eq!(name, Some("shop-backupconfiguration-home"));
    let subject = &binding.subjects.unwrap()[0];
    assert_eq!(subject.namespace.as_deref(), Some("shop"));
    let own = lines(&objects.role);
    assert!(
        !own.iter()
            .any(|line| line.contains("secrets") || line.contains("repositories")),
        "{own:?}"
    );
}

#[test]
fn an_account_of_our_own_carries_the_annotations_of_the_user() {
    let repository = repository("shop");
    let identity = ("eks.amazonaws.com/role-arn".to_owned(), "arn".to_owned());
    let invoker = invoker("BackupConfiguration");
    let access = Access {
        mission: Mission::Sidecar,
        invoker: &invoker,
        owners: Vec::new(),
        sessions: Vec::new(),
        repository: &repository,
        lease: None,
        reach: hooked(Mission::Sidecar),
        account: Account::Own(BTreeMap::from([identity.clone()])),
    };
    let objects = super::access(&access);
    let account = objects.account.unwrap();
    let annotations = account.metadata.annotations.unwrap();
    assert_eq!(annotations.get(&identity.0), Some(&identity.1));
    assert_eq!(account.metadata.name, Some(access.account_name()));
    assert!(lines(&objects.role).contains(&"pods/exec []: get,create".to_owned()));
}

/// Whether one of the operator's rules covers a verb on a resource in all namespaces.
fn has(group: &str, resource: &str, verb: &str) -> bool {
    operator_cluster_role("stash")
        .rules
        .unwrap()
        .iter()
        .any(|rule| {
            let has = |list: Option<&Vec<String>>, text: &str| {
                list.is_some_and(|list| list.iter().any(|it| it == text))
            };
            has(rule.api_groups.as_ref(), group)
                && has(rule.resources.as_ref(), resource)
                && has(Some(&rule.verbs), verb)
                && rule.resource_names.is_none()
        })
}

#[test]
fn the_operator_has_everything_that_it_grants() {
    let repository = repository("vault");
    for mission in [
        Mission::Sidecar,
        Mission::Job,
        Mission::InitContainer,
        Mission::Restore,
    ] {
        let invoker = invoker("BackupConfiguration");
        let objects = super::access(&Access {
            mission,
            invoker: &invoker,
            owners: Vec::new(),
            sessions: vec!["home-1".to_owned()],
            repository: &repository,
            lease: Some("lock".to_owned()),
            reach: hooked(mission),
            account: Account::Own(BTreeMap::new()),
        });
        let (foreign, _) = objects.foreign.unwrap();
        let all = objects.role.rules.into_iter().chain(foreign.rules);
        for rule in all.flatten() {
            let group = &rule.api_groups.unwrap()[0];
            for resource in rule.resources.unwrap() {
                for verb in &rule.verbs {
                    assert!(has(group, &resource, verb), "{verb} {resource}");
                }
            }
        }
    }
}

#[test]
fn nobody_gets_everything() {
    let role = operator_cluster_role("stash");
    for rule in role.rules.unwrap() {
        assert!(!rule.verbs.iter().any(|verb| verb == "*"));
        assert!(
            !rule
                .verbs
                .iter()
                .any(|verb| ["escalate", "bind", "impersonate"].contains(&verb.as_str()))
        );
        assert!(!rule.resources.unwrap().iter().any(|name| name == "*"));
    }
    let own = operator_role("stash", "stash", &["stash-webhook"]);
    insta::assert_snapshot!(lines(&own).join("\n"));
}
