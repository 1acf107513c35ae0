//! A document against the schema of its kind: every problem at once, and the object with its defaults.

mod kinds;
mod scalar;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

pub(super) use kinds::{Kind, find as find_kind, kinds};

use crate::manifest::object::Position;
use crate::manifest::tree::{Entry, Node, NodeValue};
use crate::problem::Problem;
use crate::suggest::{listed, nearest};

/// What became of a document.
#[derive(Default)]
pub(super) struct Validated {
    /// The object without what is wrong, with defaults, and with neutral values where something required is missing.
    pub(super) value: Value,
    pub(super) problems: Vec<Problem>,
    /// Where each field stands.
    pub(super) positions: BTreeMap<String, Position>,
}

/// More fields than this are not listed in a message.
const MAX_LISTED_FIELDS: usize = 16;

/// Checks a document. With `is_secret` no value of it appears in a problem.
pub(super) fn validate(schema: &JSONSchemaProps, node: &Node, is_secret: bool) -> Validated {
    let mut walk = Walk {
        is_secret,
        problems: Vec::new(),
        positions: BTreeMap::new(),
    };
    let value = walk
        .value(schema, node, "")
        .unwrap_or_else(|| neutral(schema));
    Validated {
        value,
        problems: walk.problems,
        positions: walk.positions,
    }
}

struct Walk {
    is_secret: bool,
    problems: Vec<Problem>,
    positions: BTreeMap<String, Position>,
}

impl Walk {
    /// The value without what is wrong; `None` when nothing is left of it.
    fn value(&mut self, schema: &JSONSchemaProps, node: &Node, path: &str) -> Option<Value> {
        match schema.type_.as_deref() {
            Some("object") => self.object(schema, node, path),
            Some("array") => self.array(schema, node, path),
            _ if schema.x_kubernetes_preserve_unknown_fields == Some(true)
                && schema.type_.is_none() =>
            {
                Some(node.to_json())
            }
            _ => match scalar::check(schema, node) {
                Ok(value) => Some(value),
                Err(problem) => {
                    // A number out of its range is kept: the other rules see that something was meant.
                    let kept = problem.kept.clone();
                    self.report(problem.at(path), node);
                    kept
                }
            },
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps, node: &Node, path: &str) -> Option<Value> {
        let NodeValue::Mapping(entries) = &node.value else {
            let problem = Problem::new(path, format!("an object is expected, not {}", node.kind()));
            self.report(
                problem.with_fix("write its fields below it, indented by two spaces"),
                node,
            );
            return None;
        };
        let mut fields = Map::new();
        for entry in entries {
            self.entry(schema, entry, path, &mut fields);
        }
        self.complete(schema, node, path, &mut fields);
        Some(Value::Object(fields))
    }

    fn entry(
        &mut self,
        schema: &JSONSchemaProps,
        entry: &Entry,
        path: &str,
        fields: &mut Map<String, Value>,
    ) {
        let field_path = child(path, &entry.key);
        if entry.is_duplicate {
            let problem = Problem::new(&field_path, "the field is set twice")
                .with_fix("remove one of the two");
            self.report_at(problem, entry.line, entry.column);
            return;
        }
        self.positions
            .insert(field_path.clone(), (entry.line, entry.column));
        let known = schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(&entry.key));
        let additional = match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
            _ => None,
        };
        match known.or(additional) {
            // An absent value and `null` are the same thing.
            Some(_) if entry.value.is_null() => {}
            Some(field) => {
                if let Some(value) = self.value(field, &entry.value, &field_path) {
                    fields.insert(entry.key.clone(), value);
                }
            }
            None if takes_anything(schema) => {
                fields.insert(entry.key.clone(), entry.value.to_json());
            }
            None => self.unknown(schema, entry, field_path),
        }
    }

    fn unknown(&mut self, schema: &JSONSchemaProps, entry: &Entry, field_path: String) {
        let names = || {
            schema
                .properties
                .iter()
                .flatten()
                .map(|(name, _)| name.as_str())
        };
        let fix = match nearest(&entry.key, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if names().count() <= MAX_LISTED_FIELDS => {
                format!("remove it; the fields are {}", listed(names()))
            }
            None => "remove it or check its indentation".to_owned(),
        };
        let mut problem = Problem::new(field_path, "unknown field").with_fix(fix);
        if let Some(value) = entry.value.scalar().filter(|_| !self.is_secret) {
            problem = problem.with_value(value);
        }
        self.report_at(problem, entry.line, entry.column);
    }

    /// Reports what is missing and fills in defaults.
    fn complete(
        &mut self,
        schema: &JSONSchemaProps,
        node: &Node,
        path: &str,
        fields: &mut Map<String, Value>,
    ) {
        for (name, field) in schema.properties.iter().flatten() {
            if fields.contains_key(name) {
                continue;
            }
            let is_required = schema
                .required
                .iter()
                .flatten()
                .any(|required| required == name);
            let is_given = node.get(name).is_some();
            if let Some(default) = &field.default
                && !is_given
            {
                fields.insert(name.clone(), default.0.clone());
            } else if is_required {
                if !is_given {
                    let problem = Problem::new(child(path, name), "the field is required");
                    let described = field
                        .description
                        .as_deref()
                        .and_then(|text| text.split_inclusive('.').next());
                    let fix = match described.map(|text| text.trim_end_matches('.').trim()) {
                        Some(meaning) if meaning.len() < 120 => format!("add it: {meaning}"),
                        _ => "add it".to_owned(),
                    };
                    // The line is that of the nearest field around it.
                    let (line, column) = self
                        .positions
                        .get(path)
                        .copied()
                        .unwrap_or((node.line, node.column));
                    self.report_at(problem.with_fix(fix), line, column);
                }
                fields.insert(name.clone(), neutral(field));
            }
        }
    }

    fn array(&mut self, schema: &JSONSchemaProps, node: &Node, path: &str) -> Option<Value> {
        let NodeValue::Sequence(items) = &node.value else {
            let mut problem =
                Problem::new(path, format!("a list is expected, not {}", node.kind()));
            problem = problem.with_fix("write each item on a line of its own behind `- `");
            self.report(problem, node);
            return None;
        };
        if let Some(most) = schema.max_items
            && items.len() > usize::try_from(most).unwrap_or(usize::MAX)
        {
            self.report(
                Problem::new(
                    path,
                    format!("the list has {} items, {most} are allowed", items.len()),
                ),
                node,
            );
        }
        let Some(JSONSchemaPropsOrArray::Schema(item_schema)) = &schema.items else {
            return Some(node.to_json());
        };
        let mut values = Vec::new();
        for (position, item) in items.iter().enumerate() {
            let item_path = format!("{path}[{position}]");
            self.positions
                .insert(item_path.clone(), (item.line, item.column));
            values.extend(self.value(item_schema, item, &item_path));
        }
        Some(Value::Array(values))
    }

    /// Reports a problem of a value, at the line of its field.
    fn report(&mut self, mut problem: Problem, node: &Node) {
        if problem.value.is_none()
            && let Some(value) = node.scalar()
        {
            problem = problem.with_value(value);
        }
        if self.is_secret {
            problem.value = None;
        }
        let (line, column) = self
            .positions
            .get(&problem.path)
            .copied()
            .unwrap_or((node.line, node.column));
        self.report_at(problem, line, column);
    }

    fn report_at(&mut self, mut problem: Problem, line: usize, column: usize) {
        (problem.line, problem.column) = (line, column);
        self.problems.push(problem);
    }
}

/// An object without described fields holds whatever it likes.
fn takes_anything(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_preserve_unknown_fields == Some(true)
        || matches!(
            schema.additional_properties,
            Some(JSONSchemaPropsOrBool::Bool(true))
        )
        || (schema.properties.is_none() && schema.additional_properties.is_none())
}

/// The path of a field of an object.
fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A value that fits the schema, in place of one that is missing or wrong.
fn neutral(schema: &JSONSchemaProps) -> Value {
    if let Some(default) = &schema.default {
        return default.0.clone();
    }
    if let Some(first) = schema.enum_.iter().flatten().next() {
        return first.0.clone();
    }
    match schema.type_.as_deref() {
        Some("object") => {
            let required = schema.required.iter().flatten();
            let field = |name: &String| {
                schema
                    .properties
                    .as_ref()
                    .and_then(|properties| properties.get(name))
            };
            required
                .filter_map(|name| Some((name.clone(), neutral(field(name)?))))
                .collect()
        }
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::Bool(false),
        Some("string") if schema.format.as_deref() == Some("date-time") => {
            Value::from("1970-01-01T00:00:00Z")
        }
        Some("string") if schema.format.as_deref() == Some("duration") => Value::from("0s"),
        Some("string") => Value::from(""),
        _ if schema.x_kubernetes_int_or_string == Some(true) => Value::from(0),
        _ => Value::Null,
    }
}
