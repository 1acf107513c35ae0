//! The direction of dependencies between crates, and what each layer must not know.
//!
//! `backend <- repository <- archive <- agent, cli` and `api <- session <- operator, agent, cli`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::failure::Failure;
use crate::report;

/// Workspace crates that each crate may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("backend", &[]),
    ("repository", &["backend"]),
    ("archive", &["backend", "repository"]),
    ("api", &[]),
    ("session", &["api"]),
    (
        "agent",
        &["backend", "repository", "archive", "api", "session"],
    ),
    ("operator", &["api", "session"]),
    (
        "console",
        &[
            "backend",
            "repository",
            "archive",
            "api",
            "session",
            "agent",
        ],
    ),
    (
        "cli",
        &[
            "backend",
            "repository",
            "archive",
            "api",
            "session",
            "agent",
            "operator",
            "console",
        ],
    ),
    (
        "testkit",
        &["backend", "repository", "archive", "api", "session"],
    ),
    ("xtask", &[]),
];

/// Crates that a layer must not reach, neither directly nor through others.
const FORBIDDEN: &[(&[&str], &[&str], &str)] = &[
    (
        &["backend", "repository", "archive"],
        &[
            "clap",
            "kube",
            "kube-core",
            "kube-client",
            "k8s-openapi",
            "indicatif",
            "axum",
            "rusqlite",
        ],
        "engine crates know no Kubernetes, command line or terminal",
    ),
    (
        &["api", "session"],
        &[
            "clap",
            "indicatif",
            "tokio",
            "hyper",
            "reqwest",
            "rusqlite",
            "kube-client",
        ],
        "api and session are pure: no I/O, no terminal",
    ),
    (
        &["agent", "operator", "console"],
        &["clap", "indicatif"],
        "clap and progress bars stay inside cli",
    ),
    (
        &["operator"],
        &["backend", "repository", "archive"],
        "the operator never opens a repository",
    ),
];

const VAGUE_NAMES: &[&str] = &["common", "util", "utils", "helpers", "helper", "misc"];

/// Checks the whole workspace and fails when an edge points the wrong way.
pub fn check(metadata: &Value) -> Result<(), Failure> {
    let problems = problems(metadata);
    for problem in &problems {
        report::problem(problem);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Problems {
            check: "crate edges",
            count: problems.len(),
        })
    }
}

fn problems(metadata: &Value) -> Vec<String> {
    let members = members(metadata);
    let reached = Reached::new(metadata);
    let mut problems = Vec::new();
    for (name, package) in &members {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == name) else {
            problems.push(format!(
                "crate `{name}` is not in the table of crates/xtask/src/edges.rs"
            ));
            continue;
        };
        if VAGUE_NAMES.contains(&name.as_str()) {
            problems.push(format!(
                "crate `{name}`: the name says nothing about its purpose"
            ));
        }
        for (target, is_dev) in direct(package) {
            if !members.contains_key(&target) {
                continue;
            }
            let permitted = allowed.contains(&target.as_str()) || is_dev && target == "testkit";
            if !permitted {
                let kind = if is_dev {
                    "dev-dependency"
                } else {
                    "dependency"
                };
                problems.push(format!(
                    "crate `{name}` must not have the {kind} `{target}`"
                ));
            }
        }
        for (layers, forbidden, reason) in FORBIDDEN {
            if !layers.contains(&name.as_str()) {
                continue;
            }
            for target in reached.from(package["id"].as_str().unwrap_or_default()) {
                if forbidden.contains(&target.as_str()) {
                    problems.push(format!("crate `{name}` reaches `{target}`: {reason}"));
                }
            }
        }
    }
    problems
}

/// Workspace members by name.
fn members(metadata: &Value) -> BTreeMap<String, &Value> {
    let ids: BTreeSet<&str> = list(&metadata["workspace_members"])
        .filter_map(Value::as_str)
        .collect();
    list(&metadata["packages"])
        .filter(|package| package["id"].as_str().is_some_and(|id| ids.contains(id)))
        .filter_map(|package| Some((package["name"].as_str()?.to_owned(), package)))
        .collect()
}

/// Direct dependencies: name, and whether only tests have it.
fn direct(package: &Value) -> impl Iterator<Item = (String, bool)> {
    list(&package["dependencies"]).filter_map(|edge| {
        Some((
            edge["name"].as_str()?.to_owned(),
            edge["kind"].as_str() == Some("dev"),
        ))
    })
}

/// The resolved graph without dev-dependencies.
struct Reached<'a> {
    edges: BTreeMap<&'a str, Vec<&'a str>>,
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> Reached<'a> {
    fn new(metadata: &'a Value) -> Self {
        let names = list(&metadata["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let edges = list(&metadata["resolve"]["nodes"])
            .filter_map(|node| {
                let targets = list(&node["deps"])
                    .filter(|edge| list(&edge["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                    .filter_map(|edge| edge["pkg"].as_str())
                    .collect();
                Some((node["id"].as_str()?, targets))
            })
            .collect();
        Self { edges, names }
    }

    /// The names of all packages behind one, without itself.
    fn from(&self, id: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for target in self.edges.get(id).into_iter().flatten() {
                if seen.insert(*target) {
                    open.push(target);
                }
            }
        }
        seen.iter()
            .filter_map(|id| self.names.get(id))
            .map(|name| (*name).to_owned())
            .collect()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Edges<'a> = &'a [(&'a str, Option<&'a str>)];

    fn workspace(packages: &[(&str, Edges<'_>)]) -> Value {
        let package = |(name, edges): &(&str, Edges<'_>)| {
            let edges: Vec<_> = edges
                .iter()
                .map(|(to, kind)| json!({"name": to, "kind": kind}))
                .collect();
            json!({"name": name, "id": name, "dependencies": edges})
        };
        let node = |(name, edges): &(&str, Edges<'_>)| {
            let edges: Vec<_> = edges
                .iter()
                .map(|(to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                .collect();
            json!({"id": name, "deps": edges})
        };
        json!({
            "workspace_members": packages.iter().map(|p| p.0).collect::<Vec<_>>(),
            "packages": packages.iter().map(package).collect::<Vec<_>>(),
            "resolve": {"nodes": packages.iter().map(node).collect::<Vec<_>>()},
        })
    }

    #[test]
    fn edges_of_the_design_pass() {
        let found = problems(&workspace(&[
            ("backend", &[("testkit", Some("dev"))]),
            ("repository", &[("backend", None)]),
            ("testkit", &[]),
        ]));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn an_operator_that_reaches_the_engine_is_refused() {
        let found = problems(&workspace(&[
            ("operator", &[("repository", None)]),
            ("repository", &[]),
        ]));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn test_fixtures_never_become_part_of_the_product() {
        let found = problems(&workspace(&[
            ("session", &[("testkit", None)]),
            ("testkit", &[]),
        ]));
        assert_eq!(
            found,
            ["crate `session` must not have the dependency `testkit`"]
        );
    }
}
