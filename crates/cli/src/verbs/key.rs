//! `stash key`: the passwords of a repository.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use repository::Repository;
use repository::keys::{self, KeyInfo, KeyOptions as NewKey};
use repository::time::Time;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome, chain};
use crate::machine::table;
use crate::open::{self, Access, Identity, Stopping};
use crate::values::local_text;

/// Manage the passwords of a repository
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup key list\n  stash -r /srv/backup key add --new-password-file /etc/stash/second\n  stash -r /srv/backup key passwd"
)]
pub struct KeyOptions {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// List the keys
    #[command(after_help = "Example:\n  stash -r /srv/backup key list")]
    List,
    /// Add a password
    #[command(
        after_help = "Example:\n  stash -r /srv/backup key add --new-password-file /etc/stash/second"
    )]
    Add(NewKeyOptions),
    /// Remove a key
    #[command(after_help = "Example:\n  stash -r /srv/backup key remove 1f3a5c7e")]
    Remove {
        /// Id of the key, or a prefix of it
        id: String,
    },
    /// Change the password: adds a key and removes the one in use
    #[command(after_help = "Example:\n  stash -r /srv/backup key passwd")]
    Passwd(NewKeyOptions),
}

#[derive(Debug, Args)]
struct NewKeyOptions {
    /// File that holds the new password
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// User name to show in the list of keys
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Host name to show in the list of keys
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

/// Lists or changes keys.
pub async fn run(context: &Context, options: &KeyOptions) -> Result<Outcome, Failure> {
    let repository = open::open(context).await?;
    let kind = match options.action {
        KeyAction::List => Access::Read,
        KeyAction::Add(_) => Access::Append,
        KeyAction::Remove { .. } | KeyAction::Passwd(_) => Access::Remove,
    };
    open::with_lock(
        context,
        &repository,
        kind,
        Stopping::AtOnce,
        async |_held| match &options.action {
            KeyAction::List => list(context, &repository).await,
            KeyAction::Add(new) => {
                let id = keys::add(
                    &repository,
                    &new_password(new)?,
                    &new_key(new),
                    Timestamp::now(),
                )
                .await?;
                context
                    .printer
                    .message(&format!("saved new key with ID {id}"));
                Ok(())
            }
            KeyAction::Remove { id } => {
                let id = keys::remove(&repository, id).await?;
                context.printer.message(&format!("removed key {id}"));
                Ok(())
            }
            KeyAction::Passwd(new) => {
                let password = new_password(new)?;
                let id =
                    keys::change_password(&repository, &password, &new_key(new), Timestamp::now())
                        .await?;
                context
                    .printer
                    .message(&format!("saved new key with ID {id}"));
                Ok(())
            }
        },
    )
    .await?;
    Ok(Outcome::Done)
}

fn new_password(options: &NewKeyOptions) -> Result<SecretString, Failure> {
    let password = match &options.new_password_file {
        Some(file) => open::password_from_file(file)?,
        None => open::ask_new()?,
    };
    if password.expose_secret().is_empty() {
        return Err(Failure::new(
            "An empty password is refused: anybody could read the repository",
        ));
    }
    Ok(password)
}

fn new_key(options: &NewKeyOptions) -> NewKey {
    let identity = Identity::of_this_process();
    NewKey {
        username: options.user.clone().unwrap_or(identity.username),
        hostname: options.host.clone().unwrap_or(identity.hostname),
        scrypt: None,
    }
}

async fn list(context: &Context, repository: &Repository) -> Result<(), Failure> {
    let keys = keys::list(repository).await?;
    for (key, error) in keys
        .iter()
        .filter_map(|key| Some((key, key.file.as_ref().err()?)))
    {
        context.printer.warning(&format!(
            "Key {} is damaged: {}",
            key.id.short(),
            chain(error)
        ));
    }
    if context.printer.is_json() {
        let values: Vec<_> = keys.iter().filter_map(json_of).collect();
        context.printer.json(&values);
        return Ok(());
    }
    let headings = ["ID", "User", "Host", "Created"].map(str::to_owned);
    let rows: Vec<Vec<String>> = keys.iter().filter_map(row).collect();
    for line in table::lines(&headings, &rows) {
        context.printer.data(&line);
    }
    Ok(())
}

fn json_of(key: &KeyInfo) -> Option<serde_json::Value> {
    let file = key.file.as_ref().ok()?;
    Some(json!({
        "current": key.is_current,
        "id": key.id,
        "userName": file.username,
        "hostName": file.hostname,
        "created": created(&file.created),
    }))
}

fn row(key: &KeyInfo) -> Option<Vec<String>> {
    let file = key.file.as_ref().ok()?;
    let mark = if key.is_current { "*" } else { " " };
    Some(vec![
        format!("{mark}{}", key.id.short()),
        file.username.clone(),
        file.hostname.clone(),
        created(&file.created),
    ])
}

/// The moment for people; a text that is none stays as it is.
fn created(text: &str) -> String {
    text.parse::<Time>()
        .map_or_else(|_| text.to_owned(), |time| local_text(&time))
}
