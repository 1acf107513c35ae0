//! The generated definitions against the published ones.

use api::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Version, plural, short names, categories, scope, status and columns of each kind.
const PUBLISHED: &str = "\
v1alpha1 Repository repositories [repo] [stash,appscode] Namespaced status: Integrity=.status.integrity Size=.status.totalSize Snapshot-Count=.status.snapshotCount Last-Successful-Backup=.status.lastBackupTime Age=.metadata.creationTimestamp
v1beta1 BackupConfiguration backupconfigurations [bc] [stash,appscode,all] Namespaced status: Task=.spec.task.name Schedule=.spec.schedule Paused=.spec.paused Phase=.status.phase Age=.metadata.creationTimestamp
v1beta1 BackupSession backupsessions [] [stash,appscode,all] Namespaced status: Invoker-Type=.spec.invoker.kind Invoker-Name=.spec.invoker.name Phase=.status.phase Duration=.status.sessionDuration Age=.metadata.creationTimestamp
v1beta1 BackupBatch backupbatches [] [stash,appscode,all] Namespaced status: Schedule=.spec.schedule Paused=.spec.paused Phase=.status.phase Age=.metadata.creationTimestamp
v1beta1 BackupBlueprint backupblueprints [bb] [stash,appscode] Cluster none: Task=.spec.task.name Schedule=.spec.schedule Age=.metadata.creationTimestamp
v1beta1 RestoreSession restoresessions [restore] [stash,appscode,all] Namespaced status: Repository=.spec.repository.name Phase=.status.phase Duration=.status.sessionDuration Age=.metadata.creationTimestamp
v1beta1 RestoreBatch restorebatches [] [stash,appscode,all] Namespaced status: Repository=.spec.repository.name Phase=.status.phase Duration=.status.sessionDuration Age=.metadata.creationTimestamp
v1beta1 Function functions [fn] [stash,appscode] Cluster none: Age=.metadata.creationTimestamp
v1beta1 Task tasks [task] [stash,appscode] Cluster none: Age=.metadata.creationTimestamp
";

#[test]
fn names_scopes_and_columns_are_the_published_ones() {
    let mut found = String::new();
    for definition in api::crds() {
        assert_eq!(definition.spec.group, "stash.appscode.com");
        let version = &definition.spec.versions[0];
        let names = &definition.spec.names;
        let columns: Vec<String> = version
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|column| format!("{}={}", column.name, column.json_path))
            .collect();
        let status = version
            .subresources
            .as_ref()
            .and_then(|subresources| subresources.status.as_ref());
        found.push_str(&format!(
            "{} {} {} [{}] [{}] {} {}: {}\n",
            version.name,
            names.kind,
            names.plural,
            names
                .short_names
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join(","),
            names
                .categories
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join(","),
            definition.spec.scope,
            if status.is_some() { "status" } else { "none" },
            columns.join(" ")
        ));
    }
    assert_eq!(found, PUBLISHED);
}

fn schema(kind: &str) -> JSONSchemaProps {
    let definition = api::crds()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .unwrap();
    definition.spec.versions[0]
        .schema
        .clone()
        .unwrap()
        .open_api_v3_schema
        .unwrap()
}

fn field(schema: &JSONSchemaProps, path: &str) -> JSONSchemaProps {
    path.split('.')
        .fold(schema.clone(), |schema, name| match (name, &schema.items) {
            ("[]", Some(JSONSchemaPropsOrArray::Schema(items))) => (**items).clone(),
            _ => schema
                .properties
                .as_ref()
                .and_then(|properties| properties.get(name))
                .cloned()
                .unwrap_or_else(|| panic!("{path}: no field {name}")),
        })
}

#[test]
fn enums_and_defaults_are_the_published_ones() {
    let cases = [
        (
            "Repository",
            "spec.usagePolicy.allowedNamespaces.from",
            "All,Selector,Same",
            "\"Same\"",
        ),
        (
            "BackupConfiguration",
            "spec.driver",
            "Restic,VolumeSnapshotter",
            "\"Restic\"",
        ),
        (
            "BackupConfiguration",
            "spec.hooks.postBackup.executionPolicy",
            "Always,OnFailure,OnSuccess,OnFinalRetryFailure",
            "\"Always\"",
        ),
        ("BackupConfiguration", "spec.retryConfig.maxRetry", "", "1"),
        (
            "BackupConfiguration",
            "status.phase",
            "Invalid,Ready,NotReady",
            "",
        ),
        (
            "BackupSession",
            "status.phase",
            "Pending,Skipped,Running,Succeeded,Failed,Unknown",
            "",
        ),
        (
            "BackupSession",
            "status.targets.[].phase",
            "Pending,Succeeded,Running,Failed",
            "",
        ),
        (
            "BackupSession",
            "status.targets.[].stats.[].phase",
            "Succeeded,Failed",
            "",
        ),
        (
            "RestoreSession",
            "status.phase",
            "Pending,Running,Succeeded,Failed,Unknown,Invalid",
            "",
        ),
        (
            "RestoreSession",
            "status.stats.[].phase",
            "Succeeded,Failed,Running,Unknown",
            "",
        ),
        (
            "RestoreSession",
            "spec.hooks.postRestore.executionPolicy",
            "Always,OnFailure,OnSuccess",
            "\"Always\"",
        ),
        (
            "BackupBatch",
            "spec.executionOrder",
            "Parallel,Sequential",
            "\"Parallel\"",
        ),
    ];
    for (kind, path, values, default) in cases {
        let field = field(&schema(kind), path);
        let found: Vec<&str> = field
            .enum_
            .iter()
            .flatten()
            .filter_map(|value| value.0.as_str())
            .collect();
        assert_eq!(found.join(","), values, "{kind} {path}");
        let found = field
            .default
            .map(|value| value.0.to_string())
            .unwrap_or_default();
        assert_eq!(found, default, "{kind} {path}");
    }
}

#[test]
fn the_rules_stand_in_the_definitions() {
    let rules = |kind: &str, path: &str| -> Vec<String> {
        let field = field(&schema(kind), path);
        field
            .x_kubernetes_validations
            .iter()
            .flatten()
            .filter_map(|rule| rule.message.clone())
            .collect()
    };
    assert!(rules("Repository", "spec.backend")[1].starts_with("exactly one of local"));
    assert!(rules("Repository", "spec")[0].starts_with("wipeOut"));
    assert!(rules("Repository", "spec.backend.local")[0].starts_with("mountPath"));
    assert!(
        rules("BackupConfiguration", "spec.retentionPolicy")[0]
            .starts_with("the policy keeps nothing")
    );
    assert!(rules("BackupConfiguration", "spec.hooks.preBackup")[0].starts_with("a hook needs"));
    assert!(rules("RestoreSession", "spec.target.rules")[0].starts_with("at most one rule"));
    assert!(rules("RestoreSession", "spec.target.rules.[]")[0].starts_with("a rule may have"));
}

#[test]
fn every_field_of_ours_is_described_and_every_schema_is_structural() {
    fn walk(schema: &JSONSchemaProps, path: &str) {
        assert!(
            schema.type_.is_some() || schema.x_kubernetes_int_or_string == Some(true),
            "{path} has no type"
        );
        assert!(
            schema.ref_path.is_none() && schema.any_of.is_none() && schema.one_of.is_none(),
            "{path}"
        );
        for (name, field) in schema.properties.iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(field.description.is_some(), "{path} is not described");
            walk(field, &path);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(items, &format!("{path}[]"));
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            walk(values, &format!("{path}{{}}"));
        }
    }
    for definition in api::crds() {
        let kind = &definition.spec.names.kind;
        for (name, field) in schema(kind).properties.iter().flatten() {
            walk(field, &format!("{kind}.{name}"));
        }
    }
}
