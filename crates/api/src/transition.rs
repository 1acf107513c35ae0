//! CEL for what may not change: an API server compares an object with what it was, whether or not the operator runs.
//!
//! Only fields are compared that both have or one lacks: the equality of whole objects would refuse the move of a field
//! to its new place.

/// True if none of these fields of an object (`""`, or a path as `.spec`) appeared, changed or went.
fn unchanged(object: &str, fields: &[&str]) -> String {
    let unchanged = |field: &&str| {
        let (new, old) = (
            format!("self{object}.{field}"),
            format!("oldSelf{object}.{field}"),
        );
        format!("has({new}) == has({old}) && (!has({new}) || {new} == {old})")
    };
    let all: Vec<_> = fields.iter().map(unchanged).collect();
    all.join(" && ")
}

/// On a whole BackupConfiguration: what is backed up, and its name in snapshots, stay once it is ready. Which of its
/// paths are, without what, may change: the next session does so.
pub fn target_stays_when_ready() -> String {
    let was_ready =
        "has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase == 'Ready'";
    let stays = unchanged(".spec.target", &["ref", "alias"]);
    format!(
        "!({was_ready}) || (has(self.spec.target) == has(oldSelf.spec.target) && (!has(self.spec.target) || ({stays})))"
    )
}

/// The fields of a RestoreSession's specification, but for its target and its rules.
const OF_RESTORE: &[&str] = &[
    "driver",
    "repository",
    "timeOut",
    "task",
    "runtimeSettings",
    "tempDir",
    "interimVolumeTemplate",
    "hooks",
];

/// The fields of a RestoreSession's target, but for its rules.
const OF_RESTORE_TARGET: &[&str] = &[
    "alias",
    "ref",
    "volumeMounts",
    "replicas",
    "volumeClaimTemplates",
    "args",
];

/// On the specification of a RestoreSession: it stays as it is, but its rules may move to their new place.
pub fn restore_stays() -> String {
    // To CEL the two lists are of different types.
    let rules = |of: &str| {
        format!(
            "(has({of}.target) && has({of}.target.rules) ? dyn({of}.target.rules) : []) + (has({of}.rules) ? dyn({of}.rules) : [])"
        )
    };
    format!(
        "{} && has(self.target) == has(oldSelf.target) && (!has(self.target) || ({})) && {} == {}",
        unchanged("", OF_RESTORE),
        unchanged(".target", OF_RESTORE_TARGET),
        rules("self"),
        rules("oldSelf"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

    use super::*;

    fn names(schema: &JSONSchemaProps) -> BTreeSet<&str> {
        let fields = schema.properties.iter().flatten();
        fields.map(|(name, _)| name.as_str()).collect()
    }

    fn property<'a>(schema: &'a JSONSchemaProps, name: &str) -> &'a JSONSchemaProps {
        &schema.properties.as_ref().unwrap()[name]
    }

    #[test]
    fn every_field_of_a_restore_is_compared() {
        let definitions = crate::crds();
        let definition = definitions
            .iter()
            .find(|it| it.spec.names.kind == "RestoreSession")
            .unwrap();
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        let spec = property(schema.open_api_v3_schema.as_ref().unwrap(), "spec");
        let compared = |fields: &[&'static str], others: &[&'static str]| -> BTreeSet<&str> {
            fields.iter().chain(others).copied().collect()
        };
        assert_eq!(names(spec), compared(OF_RESTORE, &["target", "rules"]));
        assert_eq!(
            names(property(spec, "target")),
            compared(OF_RESTORE_TARGET, &["rules"])
        );
    }
}
