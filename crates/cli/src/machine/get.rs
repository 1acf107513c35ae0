//! `stash get`: objects of this machine as tables, YAML or JSON.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::{Key, StateStore};
use super::table::{self, Column};
use crate::Context;
use crate::failure::{Failure, Outcome};

/// Show repositories, configurations, sessions and snapshots of this machine
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash get backupsessions\n  stash get bc home -o yaml\n  stash get snapshots -o wide\n  stash get backupsessions --watch"
)]
pub struct GetOptions {
    /// Kind: repositories, backupconfigurations, backupsessions, restoresessions, snapshots
    kind: String,
    /// Only this object
    name: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Form of the output
    #[arg(short, long, value_enum)]
    output: Option<Form>,
    /// Keep printing what changes
    #[arg(short, long)]
    watch: bool,
}

/// Where the state lies.
#[derive(Debug, Clone, Args)]
pub struct StateDirectory {
    /// Directory of status, sessions and history [default: /var/lib/stash for root, else ~/.local/state/stash]
    #[arg(
        long,
        env = "STASH_STATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub state_dir: Option<PathBuf>,
}

/// Where the state lies and which namespace is meant.
#[derive(Debug, Clone, Args)]
pub struct Place {
    #[command(flatten)]
    directory: StateDirectory,
    /// Namespace; all when not given
    #[arg(short, long)]
    pub namespace: Option<String>,
}

impl StateDirectory {
    /// The state directory: as given, or the system's for root and the user's otherwise.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.state_dir {
            return Ok(directory.clone());
        }
        if nix::unistd::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/stash"));
        }
        let home = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| {
                std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"))
            });
        home.map(|home| home.join("stash")).ok_or_else(|| {
            Failure::new("No state directory is known").with_hint("Give `--state-dir DIR`.")
        })
    }
}

impl Place {
    /// The state as left by `stash run`.
    pub fn open(&self) -> Result<StateStore, Failure> {
        StateStore::open_shared(&self.directory.path()?).map_err(|error| {
            Failure::from(error).with_hint(
                "Start `stash run MANIFESTS…` first, or name its directory with `--state-dir`.",
            )
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Wide,
    Yaml,
    Json,
    Name,
}

/// The kinds that can be shown, by every name that kubectl would take.
pub fn kind_of(word: &str) -> Result<&'static str, Failure> {
    let word = word.to_lowercase();
    let word = word.split('.').next().unwrap_or_default();
    match word {
        "repository" | "repositories" | "repo" => Ok("Repository"),
        "backupconfiguration" | "backupconfigurations" | "bc" => Ok("BackupConfiguration"),
        "backupsession" | "backupsessions" => Ok("BackupSession"),
        "restoresession" | "restoresessions" | "restore" => Ok("RestoreSession"),
        "snapshot" | "snapshots" => Ok("Snapshot"),
        _ => Err(Failure::new(format!("No kind is called `{word}`")).with_hint(
            "Kinds: repositories (repo), backupconfigurations (bc), backupsessions, restoresessions (restore), snapshots.",
        )),
    }
}

/// Prints the objects.
pub async fn run(context: &Context, options: &GetOptions) -> Result<Outcome, Failure> {
    let kind = kind_of(&options.kind)?;
    let store = options.place.open()?;
    let form = if context.printer.is_json() {
        Some(Form::Json)
    } else {
        options.output
    };
    let objects = select(&store, kind, options)?;
    if objects.is_empty() && options.name.is_none() && !options.watch && form.is_none() {
        context
            .printer
            .message(&format!("No {} found", plural(kind)));
        return Ok(Outcome::Done);
    }
    print(context, kind, form, &objects, options.name.is_some(), true)?;
    if options.watch {
        watch(context, &store, kind, form, options, objects).await?;
    }
    Ok(Outcome::Done)
}

async fn watch(
    context: &Context,
    store: &StateStore,
    kind: &str,
    form: Option<Form>,
    options: &GetOptions,
    mut shown: Vec<Value>,
) -> Result<(), Failure> {
    const PAUSE: Duration = Duration::from_millis(300);
    let mut version = store.version()?;
    while !context.cancel.is_cancelled() {
        tokio::select! {
            () = context.cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
        let now = store.version()?;
        if now == version {
            continue;
        }
        version = now;
        let objects = select_quietly(store, kind, options)?;
        let changed: Vec<Value> = objects
            .iter()
            .filter(|object| !shown.contains(object))
            .cloned()
            .collect();
        if !changed.is_empty() {
            print(context, kind, form, &changed, options.name.is_some(), false)?;
        }
        shown = objects;
    }
    Ok(())
}

fn select(
    store: &StateStore,
    kind: &'static str,
    options: &GetOptions,
) -> Result<Vec<Value>, Failure> {
    let objects = select_quietly(store, kind, options)?;
    match &options.name {
        Some(name) if objects.is_empty() => Err(Failure::new(format!(
            "No {kind} is called `{name}`"
        ))
        .with_hint(format!(
            "`stash get {}` shows those that exist.",
            plural(kind)
        ))),
        _ => Ok(objects),
    }
}

fn select_quietly(
    store: &StateStore,
    kind: &str,
    options: &GetOptions,
) -> Result<Vec<Value>, Failure> {
    let mut objects = store.list(kind, options.place.namespace.as_deref())?;
    if let Some(name) = &options.name {
        objects.retain(|object| Key::of(object).name == *name);
    }
    if kind == "BackupSession" || kind == "RestoreSession" {
        objects.sort_by_key(|object| object["metadata"]["creationTimestamp"].to_string());
    }
    if kind == "Snapshot" {
        objects.sort_by_key(|object| object["metadata"]["creationTimestamp"].to_string());
    }
    Ok(objects)
}

fn print(
    context: &Context,
    kind: &str,
    form: Option<Form>,
    objects: &[Value],
    is_single: bool,
    has_heading: bool,
) -> Result<(), Failure> {
    match form {
        Some(Form::Json) => {
            let value = if is_single && objects.len() == 1 {
                objects[0].clone()
            } else {
                list(objects)
            };
            context.printer.data(&serde_json::to_string_pretty(&value)?);
        }
        Some(Form::Yaml) => {
            let value = if is_single && objects.len() == 1 {
                objects[0].clone()
            } else {
                list(objects)
            };
            context
                .printer
                .data(api::manifest::to_yaml(&value).trim_end());
        }
        Some(Form::Name) => {
            for object in objects {
                context
                    .printer
                    .data(&format!("{}/{}", resource(kind), Key::of(object).name));
            }
        }
        None | Some(Form::Wide) => {
            for line in rows(kind, form == Some(Form::Wide), objects, Timestamp::now())
                .iter()
                .skip(usize::from(!has_heading))
            {
                context.printer.data(line);
            }
        }
    }
    Ok(())
}

fn list(objects: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

fn plural(kind: &str) -> String {
    match kind {
        "Repository" => "repositories".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    }
}

fn resource(kind: &str) -> String {
    let group = if kind == "Snapshot" {
        "repositories.stash.appscode.com"
    } else {
        "stash.appscode.com"
    };
    format!("{}.{group}", kind.to_lowercase())
}

/// The table of these objects, headings first.
pub fn rows(kind: &str, is_wide: bool, objects: &[Value], now: Timestamp) -> Vec<String> {
    let mut columns = vec![
        Column::text("Namespace", ".metadata.namespace"),
        Column::text("Name", ".metadata.name"),
    ];
    let has_namespaces = objects
        .iter()
        .any(|object| object["metadata"]["namespace"] != "default");
    if !has_namespaces {
        columns.remove(0);
    }
    columns.extend(
        columns_of(kind)
            .into_iter()
            .filter(|column| is_wide || !column.is_wide),
    );
    let headings: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let cells: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            columns
                .iter()
                .map(|column| column.cell(object, now))
                .collect()
        })
        .collect();
    table::lines(&headings, &cells)
}

/// The printer columns of the published resource, and some more for the wide form.
fn columns_of(kind: &str) -> Vec<Column> {
    let mut columns: Vec<Column> = match kind {
        "Snapshot" => vec![
            Column::text("ID", ".status.id"),
            Column::text("Repository", ".status.repository"),
            Column::text("Hostname", ".status.hostname"),
            Column::age("Created At", ".metadata.creationTimestamp"),
        ],
        _ => published_columns(kind),
    };
    let extra = match kind {
        "Repository" => vec![Column::text("Location", ".status.location")],
        "BackupConfiguration" => vec![Column::text("Repository", ".spec.repository.name")],
        "Snapshot" => vec![
            Column::text("Paths", ".status.paths"),
            Column::text("Tags", ".status.tags"),
        ],
        _ => Vec::new(),
    };
    columns.extend(extra.into_iter().map(Column::wide));
    columns
}

fn published_columns(kind: &str) -> Vec<Column> {
    let definitions = api::crds();
    let version = definitions
        .iter()
        .find(|definition| definition.spec.names.kind == kind)
        .and_then(|definition| definition.spec.versions.first());
    version
        .and_then(|version| version.additional_printer_columns.as_ref())
        .into_iter()
        .flatten()
        .map(|column| Column {
            name: column.name.clone(),
            path: column.json_path.clone(),
            is_date: column.type_ == "date",
            is_wide: column.priority.unwrap_or(0) > 0,
        })
        .collect()
}
