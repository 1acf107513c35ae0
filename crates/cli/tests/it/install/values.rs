//! The values of the chart: each one does something, and is checked by the schema. Needs neither Helm nor a cluster.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::root;

/// Charts above this one give it, and Helm adds it by itself.
const GLOBAL: &str = "global";

fn read(path: &str) -> String {
    fs::read_to_string(root().join("deploy/chart").join(path)).unwrap()
}

/// The paths of the values with something in them, as `image.repository`; below a list there are none.
fn values() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in read("values.yaml").lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        let Some((name, value)) = text.split_once(':') else {
            assert!(text.is_empty() || text.starts_with('#'), "{line}");
            continue;
        };
        if text.starts_with('#') {
            continue;
        }
        above.retain(|(of, _)| *of < depth);
        above.push((depth, name.to_owned()));
        if !value.trim().is_empty() {
            let path: Vec<_> = above.iter().map(|(_, name)| name.as_str()).collect();
            found.insert(path.join("."));
        }
    }
    found
}

/// The paths that templates read.
fn of_templates() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(root().join("deploy/chart/templates")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for part in text.split(".Values.").skip(1) {
            let is_of_path = |it: char| it.is_ascii_alphanumeric() || it == '.';
            let end = part.find(|it| !is_of_path(it)).unwrap_or(part.len());
            found.insert(part[..end].to_owned());
        }
    }
    found
}

/// The paths of the schema that end in something else than an object with named properties.
fn of_schema(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.insert(path.to_owned());
        return;
    };
    assert_eq!(
        schema["additionalProperties"], false,
        "`{path}` takes anything"
    );
    for (name, property) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        of_schema(property, &path, found);
    }
}

/// Whether one is the other or lies below it.
fn is_at(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[test]
fn every_value_of_the_chart_is_used_and_is_in_the_schema() {
    let (values, of_templates) = (values(), of_templates());
    let mut of_schema_all = BTreeSet::new();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    of_schema(&schema, "", &mut of_schema_all);
    assert!(of_schema_all.remove(GLOBAL));
    assert!(values.len() > 40, "{values:?}");
    for value in &values {
        assert!(
            of_templates.iter().any(|it| is_at(value, it)),
            "no template uses {value}"
        );
        assert!(
            of_schema_all.iter().any(|it| is_at(value, it)),
            "the schema does not know {value}"
        );
    }
    for used in of_templates.iter().chain(&of_schema_all) {
        assert!(
            values.iter().any(|it| is_at(it, used)),
            "values.yaml does not have {used}"
        );
    }
}
