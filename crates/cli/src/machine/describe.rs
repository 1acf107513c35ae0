//! `stash describe`: the story of one object.

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::get::{Place, kind_of};
use super::state::{Key, StateStore};
use super::table;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::printer::{Printer, Style};

/// Tell the story of one object: what it is, what holds, what happened
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash describe backupconfiguration home\n  stash describe backupsession home-1767225600\n  stash describe repository local"
)]
pub struct DescribeOptions {
    /// Kind, as in `stash get`
    kind: String,
    /// Name
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Prints the story.
pub fn run(context: &Context, options: &DescribeOptions) -> Result<Outcome, Failure> {
    let kind = kind_of(&options.kind)?;
    let store = options.place.open()?;
    let objects: Vec<Value> = store
        .list(kind, options.place.namespace.as_deref())?
        .into_iter()
        .filter(|object| Key::of(object).name == options.name)
        .collect();
    if objects.is_empty() {
        return Err(
            Failure::new(format!("No {kind} is called `{}`", options.name)).with_hint(format!(
                "`stash get {}` shows those that exist.",
                options.kind
            )),
        );
    }
    for object in &objects {
        for line in story(&context.printer, &store, object, Timestamp::now())? {
            context.printer.data(&line);
        }
    }
    Ok(Outcome::Done)
}

fn story(
    printer: &Printer,
    store: &StateStore,
    object: &Value,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let key = Key::of(object);
    let mut lines = vec![
        field("Name", &key.name),
        field("Namespace", &key.namespace),
        field(
            "Kind",
            &format!("{} ({})", key.kind, text(object, "/apiVersion")),
        ),
        field(
            "Created",
            &moment(&object["metadata"]["creationTimestamp"], now),
        ),
    ];
    if let Some(phase) = object.pointer("/status/phase").and_then(Value::as_str) {
        lines.push(field("Phase", &printer.style(phase_style(phase), phase)));
    }
    section(&mut lines, printer, "Spec", &outline(&object["spec"], 0));
    let mut status = object["status"].clone();
    let conditions = take_conditions(&mut status);
    let targets = take(&mut status, "targets");
    if let Some(status) = status.as_object_mut() {
        status.remove("phase");
    }
    section(&mut lines, printer, "Status", &outline(&status, 0));
    for target in targets.as_array().into_iter().flatten() {
        lines.extend(target_lines(printer, target, now));
    }
    section(
        &mut lines,
        printer,
        "Conditions",
        &condition_lines(&conditions, now),
    );
    if key.kind == "BackupConfiguration" {
        section(
            &mut lines,
            printer,
            "Sessions",
            &session_lines(store, &key, now)?,
        );
    }
    section(
        &mut lines,
        printer,
        "Events",
        &event_lines(store, &key, now)?,
    );
    lines.push(String::new());
    Ok(lines)
}

fn field(name: &str, value: &str) -> String {
    format!("{:<14}{value}", format!("{name}:"))
}

fn section(lines: &mut Vec<String>, printer: &Printer, name: &str, body: &[String]) {
    if body.is_empty() {
        return;
    }
    lines.push(printer.style(Style::Bold, &format!("{name}:")));
    lines.extend(body.iter().map(|line| format!("  {line}")));
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn moment(value: &Value, now: Timestamp) -> String {
    let Some(text) = value.as_str() else {
        return String::new();
    };
    match text.parse::<Timestamp>() {
        Ok(moment) if moment <= now => format!("{text} ({} ago)", table::age(moment, now)),
        Ok(moment) => format!("{text} (in {})", table::age(now, moment)),
        Err(_) => text.to_owned(),
    }
}

fn phase_style(phase: &str) -> Style {
    match phase {
        "Succeeded" | "Ready" => Style::Green,
        "Failed" | "Invalid" => Style::Red,
        "NotReady" | "Skipped" | "Unknown" => Style::Yellow,
        _ => Style::Plain,
    }
}

fn take(value: &mut Value, name: &str) -> Value {
    value
        .as_object_mut()
        .and_then(|fields| fields.remove(name))
        .unwrap_or_default()
}

fn take_conditions(status: &mut Value) -> Vec<Value> {
    take(status, "conditions")
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// A value as indented `key: value` lines.
fn outline(value: &Value, depth: usize) -> Vec<String> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Object(_) | Value::Array(_) if !is_empty(value) => {
                    let mut lines = vec![format!("{indent}{name}:")];
                    lines.extend(outline(value, depth + 1));
                    lines
                }
                Value::Object(_) | Value::Array(_) | Value::Null => Vec::new(),
                value => vec![format!("{indent}{name}: {}", scalar(value))],
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .flat_map(|item| match item {
                Value::Object(_) | Value::Array(_) => {
                    let mut lines = outline(item, depth + 1);
                    if let Some(first) = lines.first_mut() {
                        *first = format!("{indent}- {}", first.trim_start());
                    }
                    lines
                }
                item => vec![format!("{indent}- {}", scalar(item))],
            })
            .collect(),
        Value::Null => Vec::new(),
        value => vec![format!("{indent}{}", scalar(value))],
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn scalar(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn target_lines(printer: &Printer, target: &Value, now: Timestamp) -> Vec<String> {
    let mut target = target.clone();
    let conditions = take_conditions(&mut target);
    let mut lines = Vec::new();
    for host in target["stats"].as_array().into_iter().flatten() {
        let phase = text(host, "/phase");
        let heading = format!(
            "Host {}: {} in {}",
            text(host, "/hostname"),
            printer.style(phase_style(phase), phase),
            text(host, "/duration")
        );
        let mut body = Vec::new();
        for snapshot in host["snapshots"].as_array().into_iter().flatten() {
            let id = text(snapshot, "/name");
            body.push(format!(
                "snapshot {} of {}: {}, {} added, {}",
                id.get(..8).unwrap_or(id),
                text(snapshot, "/path"),
                text(snapshot, "/totalSize"),
                text(snapshot, "/uploaded"),
                files(&snapshot["fileStats"]),
            ));
        }
        if let Some(error) = host["error"].as_str() {
            body.push(format!("error: {error}"));
        }
        lines.push(heading);
        lines.extend(body.into_iter().map(|line| format!("  {line}")));
    }
    section(
        &mut lines,
        printer,
        "Target conditions",
        &condition_lines(&conditions, now),
    );
    lines
}

fn files(stats: &Value) -> String {
    let count = |name: &str| stats[name].as_i64().unwrap_or(0);
    format!(
        "{} files ({} new, {} modified, {} unmodified)",
        count("totalFiles"),
        count("newFiles"),
        count("modifiedFiles"),
        count("unmodifiedFiles")
    )
}

fn condition_lines(conditions: &[Value], now: Timestamp) -> Vec<String> {
    let headings = ["Type", "Status", "Reason", "Since", "Message"].map(str::to_owned);
    let rows: Vec<Vec<String>> = conditions
        .iter()
        .map(|condition| {
            let since = text(condition, "/lastTransitionTime")
                .parse()
                .map_or_else(|_| String::new(), |since| table::age(since, now));
            let cell = |pointer| text(condition, pointer).to_owned();
            vec![
                cell("/type"),
                cell("/status"),
                cell("/reason"),
                since,
                cell("/message"),
            ]
        })
        .collect();
    if rows.is_empty() {
        Vec::new()
    } else {
        table::lines(&headings, &rows)
    }
}

fn session_lines(
    store: &StateStore,
    invoker: &Key,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let mut sessions: Vec<Value> = store
        .list("BackupSession", Some(&invoker.namespace))?
        .into_iter()
        .filter(|session| session["spec"]["invoker"]["name"] == invoker.name.as_str())
        .collect();
    sessions.sort_by_key(|session| text(session, "/metadata/creationTimestamp").to_owned());
    let headings = ["Name", "Phase", "Duration", "Age"].map(str::to_owned);
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let age = text(session, "/metadata/creationTimestamp")
                .parse()
                .map_or_else(|_| String::new(), |created| table::age(created, now));
            let cell = |pointer| text(session, pointer).to_owned();
            vec![
                cell("/metadata/name"),
                cell("/status/phase"),
                cell("/status/sessionDuration"),
                age,
            ]
        })
        .collect();
    Ok(if rows.is_empty() {
        Vec::new()
    } else {
        table::lines(&headings, &rows)
    })
}

fn event_lines(store: &StateStore, key: &Key, now: Timestamp) -> Result<Vec<String>, Failure> {
    let events = store.events(key)?;
    if events.is_empty() {
        return Ok(vec!["none".to_owned()]);
    }
    let headings = ["Type", "Reason", "Age", "Count", "Message"].map(str::to_owned);
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            let age = event
                .last_seen
                .parse()
                .map_or_else(|_| String::new(), |seen| table::age(seen, now));
            vec![
                event.kind.word().to_owned(),
                event.reason.clone(),
                age,
                event.count.to_string(),
                event.message.clone(),
            ]
        })
        .collect();
    Ok(table::lines(&headings, &rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outline_leaves_empty_fields_out() {
        let value = json!({"a": 1, "b": {"c": ["x", {"d": "e", "f": 2}]}, "g": [], "h": null});
        assert_eq!(
            outline(&value, 0),
            ["a: 1", "b:", "  c:", "    - x", "    - d: e", "      f: 2"]
        );
    }

    #[test]
    fn a_story_names_conditions_hosts_and_events() {
        let directory = tempfile::tempdir().unwrap();
        let store = StateStore::open_owned(directory.path()).unwrap();
        let printer = Printer::new(false, crate::printer::Verbosity::Normal, true);
        let session = json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
            "metadata": {"name": "home-1", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"invoker": {"kind": "BackupConfiguration", "name": "home"}},
            "status": {
                "phase": "Failed",
                "conditions": [{"type": "RetentionPolicyApplied", "status": "False", "reason": "Why", "message": "no space"}],
                "targets": [{"stats": [{"hostname": "host-0", "phase": "Failed", "duration": "1s", "error": "disk full",
                    "snapshots": [{"name": "0123456789", "path": "/srv", "totalSize": "1 B", "uploaded": "1 B"}]}]}]
            }
        });
        let key = Key::of(&session);
        store
            .record_event(
                &key,
                super::super::state::EventKind::Warning,
                "HostBackupFailed",
                "disk full",
                "2026-01-01T00:00:01Z",
            )
            .unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let text = story(&printer, &store, &session, now).unwrap().join("\n");
        for part in [
            "home-1",
            "Phase:        Failed",
            "Host host-0: Failed in 1s",
            "snapshot 01234567 of /srv",
            "error: disk full",
            "RetentionPolicyApplied",
            "HostBackupFailed",
            "(60s ago)",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
