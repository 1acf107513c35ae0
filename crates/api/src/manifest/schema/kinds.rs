//! The kinds that are known, each with the schema of a whole document.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::crd::{crds, mark_quantities};
use crate::manifest::object::AnyObject;

/// A kind with its schema.
pub(crate) struct Kind {
    pub(crate) api_version: String,
    pub(crate) name: String,
    pub(crate) schema: JSONSchemaProps,
}

impl Kind {
    /// Whether objects of this kind can be acted on without a cluster.
    pub(crate) fn is_for_one_machine(&self) -> bool {
        AnyObject::KINDS.contains(&self.name.as_str())
    }
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let metadata = schema_of::<ObjectMeta>();
    let secret = Kind {
        api_version: "v1".to_owned(),
        name: "Secret".to_owned(),
        schema: schema_of::<Secret>(),
    };
    let resources = crds().into_iter().flat_map(|definition| {
        let (group, name) = (definition.spec.group, definition.spec.names.kind);
        definition
            .spec
            .versions
            .into_iter()
            .filter_map(move |version| {
                let schema = version.schema?.open_api_v3_schema?;
                Some(Kind {
                    api_version: format!("{group}/{}", version.name),
                    name: name.clone(),
                    schema,
                })
            })
    });
    std::iter::once(secret)
        .chain(resources)
        .map(|kind| complete(kind, &metadata))
        .collect()
});

/// Every known kind.
pub(crate) fn kinds() -> &'static [Kind] {
    &KINDS
}

/// The kind of that name and API version.
pub(crate) fn find(api_version: &str, name: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.api_version == api_version && kind.name == name)
}

/// Adds what every document has and the definitions of a cluster leave out.
fn complete(mut kind: Kind, metadata: &JSONSchemaProps) -> Kind {
    let text = JSONSchemaProps {
        type_: Some("string".to_owned()),
        ..JSONSchemaProps::default()
    };
    let properties = kind.schema.properties.get_or_insert_with(BTreeMap::new);
    properties.insert("apiVersion".to_owned(), text.clone());
    properties.insert("kind".to_owned(), text);
    properties.insert("metadata".to_owned(), metadata.clone());
    let required = kind.schema.required.get_or_insert_with(Vec::new);
    if !required.iter().any(|name| name == "metadata") {
        required.push("metadata".to_owned());
    }
    kind
}

/// The schema of one of Kubernetes' own types, without references.
fn schema_of<T: JsonSchema>() -> JSONSchemaProps {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema: JSONSchemaProps = serde_json::from_value(schema.to_value())
        .expect("the schema of a Kubernetes type is an OpenAPI schema");
    mark_quantities(&mut schema);
    schema
}
