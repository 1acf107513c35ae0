//! Texts to objects: documents, lists, kinds, schema and one-object rules.

use serde_json::Value;

use crate::manifest::object::{AnyObject, DEFAULT_NAMESPACE, Manifest, ObjectKey, Origin, place};
use crate::manifest::schema::{Kind, find_kind, kinds, validate};
use crate::manifest::tree::{Node, NodeValue};
use crate::manifest::yaml;
use crate::problem::Problem;
use crate::rules;
use crate::suggest::{listed, nearest};

/// A text with manifests: the contents of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDocument {
    /// How problems name it: the path of the file, or `<stdin>`.
    pub name: String,
    /// YAML or JSON, one or more documents.
    pub text: String,
}

/// What was read. Act on the objects only when no problem is an error.
#[derive(Debug, Default)]
pub struct LoadOutcome {
    /// The objects without errors, in the order they were read.
    pub objects: Vec<Manifest>,
    /// Every error and warning about single objects, in the order of the texts.
    pub problems: Vec<Problem>,
    /// Objects with errors that could be read all the same, so that every further rule can be asked about them.
    pub flawed: Vec<Manifest>,
    /// The objects that were refused, as far as they could be named.
    pub refused: Vec<ObjectKey>,
}

impl LoadOutcome {
    /// Whether anything stops the objects from being used.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

/// Deepest nesting of lists of objects.
const MAX_LIST_DEPTH: usize = 4;

/// Reads every document of every text and checks each object by itself.
///
/// What needs several objects is checked by [`crate::rules::check_set`].
pub fn load_manifests(documents: &[SourceDocument]) -> LoadOutcome {
    let mut outcome = LoadOutcome::default();
    for source in documents {
        for document in yaml::parse(&source.text) {
            let origin = Origin {
                file: source.name.clone(),
                document: document.index,
                line: 1,
            };
            match document.content {
                Ok(None) => {}
                Ok(Some(node)) => Loader {
                    origin,
                    outcome: &mut outcome,
                }
                .node(&node, 0),
                Err(error) => {
                    let mut problem = Problem::new(
                        "",
                        format!("the YAML cannot be read: {}", error.message),
                    )
                    .with_fix(
                        "check indentation, quotes and brackets at this place and right before it",
                    );
                    place(&mut problem, &origin, &std::collections::BTreeMap::new());
                    (problem.line, problem.column) = (error.line, error.column);
                    outcome.problems.push(problem);
                }
            }
        }
    }
    outcome
}

struct Loader<'a> {
    origin: Origin,
    outcome: &'a mut LoadOutcome,
}

impl Loader<'_> {
    fn node(&mut self, node: &Node, depth: usize) {
        self.origin.line = node.line;
        if !matches!(node.value, NodeValue::Mapping(_)) {
            let problem = Problem::new("", format!("an object is expected, not {}", node.kind()));
            return self.refuse(
                problem.with_fix("a manifest begins with `apiVersion` and `kind`"),
                node,
            );
        }
        let kind = node.get("kind").and_then(Node::as_text);
        if kind == Some("List") && depth < MAX_LIST_DEPTH {
            return self.list(node, depth);
        }
        if let Some(kind) = self.kind(node) {
            self.object(node, kind);
        }
    }

    fn list(&mut self, node: &Node, depth: usize) {
        if let Some(items) = node.get("items") {
            match &items.value {
                NodeValue::Sequence(items) => {
                    for item in items {
                        self.node(item, depth + 1);
                    }
                }
                _ => self.refuse(
                    Problem::new("items", format!("a list is expected, not {}", items.kind())),
                    items,
                ),
            }
        }
    }

    /// The kind a document says it is.
    fn kind(&mut self, node: &Node) -> Option<&'static Kind> {
        let mut is_complete = true;
        for field in ["apiVersion", "kind"] {
            if node.get(field).and_then(Node::as_text).is_none() {
                let names = kinds().iter().map(|kind| kind.name.as_str());
                let fix = match field {
                    "kind" => format!("add one of {}", listed(names)),
                    _ => "add `apiVersion: stash.appscode.com/v1beta1` or what the kind needs"
                        .to_owned(),
                };
                self.refuse(
                    Problem::new(field, "the field is required").with_fix(fix),
                    node,
                );
                is_complete = false;
            }
        }
        if !is_complete {
            return None;
        }
        let api_version = node.get("apiVersion").and_then(Node::as_text)?;
        let name = node.get("kind").and_then(Node::as_text)?;
        let found = find_kind(api_version, name);
        if found.is_none() {
            self.unknown_kind(node, api_version, name);
        }
        found
    }

    fn unknown_kind(&mut self, node: &Node, api_version: &str, name: &str) {
        if let Some(kind) = kinds().iter().find(|kind| kind.name == name) {
            let problem = Problem::new(
                "apiVersion",
                format!("the kind {name} does not exist in this API version"),
            )
            .with_value(api_version)
            .with_fix(format!("write `{}`", kind.api_version));
            return self.refuse(problem, node);
        }
        let names = || {
            kinds()
                .iter()
                .filter(|kind| kind.is_for_one_machine())
                .map(|kind| kind.name.as_str())
        };
        let fix = match nearest(name, kinds().iter().map(|kind| kind.name.as_str())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "remove the document; the kinds read here are {}",
                listed(names())
            ),
        };
        self.refuse(
            Problem::new("kind", "unknown kind")
                .with_value(name)
                .with_fix(fix),
            node,
        );
    }

    /// Validates one object, fills in defaults and checks the rules of its kind.
    fn object(&mut self, node: &Node, kind: &Kind) {
        let is_secret = kind.name == "Secret";
        let validated = validate(&kind.schema, node, is_secret);
        let positions = validated.positions;
        let key = key_of(kind, &validated.value);
        let mut structural = validated.problems;
        if !kind.is_for_one_machine() {
            let message = format!("{} is known, but needs a cluster", kind.name);
            structural.push(
                Problem::new("kind", message)
                    .with_fix("apply it to a cluster with the Stash operator, or use a BackupConfiguration or RestoreSession per target"),
            );
        }
        let mut value = validated.value;
        set_identity(&mut value, kind);
        let object = match AnyObject::from_json(&kind.name, value) {
            Some(Ok(object)) => Some(object),
            // The error may quote a value of a Secret, so that it is only shown for other kinds.
            Some(Err(error)) if structural.is_empty() => {
                let message = if is_secret {
                    "the object cannot be read".to_owned()
                } else {
                    error.to_string()
                };
                structural.push(Problem::new("", message));
                None
            }
            _ => None,
        };
        let manifest = object.map(|object| Manifest {
            object,
            origin: self.origin.clone(),
            positions: positions.clone(),
        });
        let of_rules = manifest
            .iter()
            .flat_map(|manifest| rules::check_object(&manifest.object));
        let of_rules: Vec<Problem> = of_rules
            .filter(|problem| !is_consequence(problem, &structural))
            .collect();
        let has_errors = structural.iter().chain(&of_rules).any(Problem::is_error);
        let mut problems: Vec<Problem> = Vec::new();
        for mut problem in structural.into_iter().chain(of_rules) {
            let given = (problem.line, problem.column);
            place(&mut problem, &self.origin, &positions);
            if given.0 > 0 {
                (problem.line, problem.column) = given;
            }
            problem.object = key.to_string();
            problems.push(problem);
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        self.outcome.problems.extend(problems);
        match manifest {
            Some(manifest) if !has_errors => self.outcome.objects.push(manifest),
            flawed => {
                self.outcome.flawed.extend(flawed);
                self.outcome.refused.push(key);
            }
        }
    }

    /// Reports a document that is no object of a known kind.
    fn refuse(&mut self, mut problem: Problem, node: &Node) {
        problem.file.clone_from(&self.origin.file);
        problem.document = self.origin.document;
        let entry = match &node.value {
            NodeValue::Mapping(entries) => entries.iter().find(|entry| entry.key == problem.path),
            _ => None,
        };
        (problem.line, problem.column) =
            entry.map_or((node.line, node.column), |entry| (entry.line, entry.column));
        let kind = node.get("kind").and_then(Node::as_text);
        let name = node
            .get("metadata")
            .and_then(|metadata| metadata.get("name"))
            .and_then(Node::as_text);
        problem.object = [kind, name]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("/");
        self.outcome.problems.push(problem);
    }
}

/// Whether a rule complains only because of something that was reported already.
fn is_consequence(problem: &Problem, reported: &[Problem]) -> bool {
    let is_within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    reported.iter().any(|cause| {
        let parent = cause
            .path
            .rfind(['.', '['])
            .map_or("", |end| &cause.path[..end]);
        is_within(&problem.path, &cause.path) || (problem.path == parent && !parent.is_empty())
    })
}

fn key_of(kind: &Kind, value: &Value) -> ObjectKey {
    let text = |field: &str| {
        value["metadata"][field]
            .as_str()
            .filter(|text| !text.is_empty())
    };
    ObjectKey::new(
        &kind.name,
        text("namespace").unwrap_or(DEFAULT_NAMESPACE),
        text("name").unwrap_or_default(),
    )
}

/// Sets kind, API version and namespace, so that every object carries them.
fn set_identity(value: &mut Value, kind: &Kind) {
    value["apiVersion"] = Value::from(kind.api_version.as_str());
    value["kind"] = Value::from(kind.name.as_str());
    if let Value::Object(metadata) = &mut value["metadata"] {
        metadata
            .entry("namespace")
            .or_insert_with(|| Value::from(DEFAULT_NAMESPACE));
    }
}
