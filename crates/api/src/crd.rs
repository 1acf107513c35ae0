//! The definitions a cluster gets: one per kind, generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::v1alpha1::Repository;
use crate::v1beta1::{
    BackupBatch, BackupBlueprint, BackupConfiguration, BackupSession, Function, RestoreBatch,
    RestoreSession, Task,
};

/// Kubernetes' own pattern of quantities such as `512Mi`, `1.5` or `2e3`.
pub(crate) const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// The definition of every kind of Stash, in the order of the published API.
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        Repository::crd(),
        BackupConfiguration::crd(),
        BackupSession::crd(),
        BackupBatch::crd(),
        BackupBlueprint::crd(),
        RestoreSession::crd(),
        RestoreBatch::crd(),
        Function::crd(),
        Task::crd(),
    ]
    .into_iter()
    .map(with_quantities)
    .map(kept_by_helm)
    .collect()
}

/// With a definition go all its objects: removing a Helm release must not remove it.
fn kept_by_helm(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    definition
        .metadata
        .annotations
        .get_or_insert_default()
        .insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    definition
}

/// Gives the quantities of a definition their pattern, which their Rust type does not carry.
fn with_quantities(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            mark_quantities(schema);
        }
    }
    definition
}

/// Sets the quantity pattern on every field of a schema that holds a quantity.
pub(crate) fn mark_quantities(schema: &mut JSONSchemaProps) {
    for (name, property) in schema.properties.iter_mut().flatten() {
        match name.as_str() {
            "sizeLimit" | "divisor" if property.x_kubernetes_int_or_string == Some(true) => {
                set_pattern(property);
            }
            "limits" | "requests" | "capacity" | "allocatedResources" => {
                if let Some(JSONSchemaPropsOrBool::Schema(values)) =
                    &mut property.additional_properties
                    && values.x_kubernetes_int_or_string == Some(true)
                {
                    set_pattern(values);
                }
            }
            _ => mark_quantities(property),
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        mark_quantities(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        mark_quantities(values);
    }
}

fn set_pattern(schema: &mut JSONSchemaProps) {
    schema.pattern = Some(QUANTITY_PATTERN.to_owned());
}
