//! `stash trigger`: asks the running controller for a session now.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::get::Place;
use super::state::{Key, StateStore};
use crate::Context;
use crate::failure::{Failure, Outcome};

/// Start a backup session now
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stash trigger home\n  stash trigger home --wait")]
pub struct TriggerOptions {
    /// Name of the BackupConfiguration
    name: String,
    #[command(flatten)]
    place: Place,
    /// Wait until the session is over and exit with its result
    #[arg(short, long)]
    wait: bool,
}

/// Leaves the request and, if asked, follows the session.
pub async fn run(context: &Context, options: &TriggerOptions) -> Result<Outcome, Failure> {
    let store = options.place.open()?;
    let invoker = find(&store, options)?;
    if !StateStore::is_owned(store.directory()) {
        return Err(Failure::new(
            "No `stash run` is at work here, so nobody would start the session",
        )
        .with_hint("Start `stash run MANIFESTS…`, or use `stash run --once MANIFESTS…`."));
    }
    let now = Timestamp::now();
    let session = session::names::session_name(&invoker.name, now);
    store.request(&invoker, &session, &now.to_string())?;
    if context.printer.is_json() {
        context
            .printer
            .json(&serde_json::json!({"message_type": "requested", "session": session}));
    } else {
        context.printer.message(&format!("Session {session} is requested; `stash describe backupsession {session}` tells its story"));
    }
    if options.wait {
        follow(context, &store, &invoker, &session).await
    } else {
        Ok(Outcome::Done)
    }
}

fn find(store: &StateStore, options: &TriggerOptions) -> Result<Key, Failure> {
    let mut keys: Vec<Key> = store
        .list("BackupConfiguration", options.place.namespace.as_deref())?
        .iter()
        .map(Key::of)
        .filter(|key| key.name == options.name)
        .collect();
    match keys.len() {
        0 => Err(Failure::new(format!(
            "No BackupConfiguration is called `{}`",
            options.name
        ))
        .with_hint("`stash get backupconfigurations` shows those that exist.")),
        1 => Ok(keys.remove(0)),
        count => Err(Failure::new(format!(
            "{count} namespaces have a BackupConfiguration `{}`",
            options.name
        ))
        .with_hint("Name one with `--namespace`.")),
    }
}

async fn follow(
    context: &Context,
    store: &StateStore,
    invoker: &Key,
    session: &str,
) -> Result<Outcome, Failure> {
    const PAUSE: Duration = Duration::from_millis(200);
    let key = Key::new("BackupSession", &invoker.namespace, session);
    let mut shown = String::new();
    while !context.cancel.is_cancelled() {
        let object = store.get(&key)?;
        let phase = object
            .as_ref()
            .and_then(|object| object.pointer("/status/phase"))
            .and_then(Value::as_str);
        let phase = phase.unwrap_or_default();
        if phase != shown {
            context.printer.message(&format!("{session}: {phase}"));
            shown = phase.to_owned();
        }
        match phase {
            "Succeeded" => return Ok(Outcome::Done),
            "Failed" | "Skipped" => return Ok(Outcome::Failed),
            _ => {}
        }
        if !StateStore::is_owned(store.directory()) {
            return Err(Failure::new(format!("`stash run` has ended before session {session} was over"))
                .with_hint("The next `stash run` closes the session and tries it again if its retryConfig says so."));
        }
        tokio::select! {
            () = context.cancel.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    Ok(Outcome::Interrupted)
}
