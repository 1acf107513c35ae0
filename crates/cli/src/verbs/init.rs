//! `stash init`: creates a repository.

use backend::ErrorKind;
use clap::Args;
use repository::{CreateOptions, OpenOptions, Repository};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open;
use crate::storage;

/// Create a new repository
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  RESTIC_PASSWORD_FILE=/etc/stash/password stash -r /srv/backup init"
)]
pub struct InitOptions {
    /// Format version: 1, 2, `latest` or `stable`
    #[arg(long, default_value = "stable", value_name = "VERSION", value_parser = ["1", "2", "latest", "stable"])]
    repository_version: String,

    /// Cut files as another repository does, so that a copy deduplicates
    #[arg(long, requires = "from_repo")]
    copy_chunker_params: bool,

    /// The repository whose chunker parameters are copied
    #[arg(
        long,
        value_name = "REPOSITORY",
        env = "RESTIC_FROM_REPOSITORY",
        hide_env_values = true
    )]
    from_repo: Option<String>,

    /// File that holds the password of that repository
    #[arg(
        long,
        value_name = "FILE",
        env = "RESTIC_FROM_PASSWORD_FILE",
        hide_env_values = true
    )]
    from_password_file: Option<std::path::PathBuf>,
}

/// Creates the repository; an existing one is never touched.
pub async fn run(context: &Context, options: &InitOptions) -> Result<Outcome, Failure> {
    let backend = open::backend(context)?;
    match Repository::exists(backend.as_ref()).await {
        Ok(false) => {}
        Ok(true) => {
            return Err(repository::OpenError::Exists {
                location: backend.location(),
            }
            .into());
        }
        // The bucket is made with the repository.
        Err(error) if error.kind == ErrorKind::PlaceNotFound => {}
        Err(error) => return Err(error.into()),
    }
    let chunker_polynomial = match &options.from_repo {
        Some(from) if options.copy_chunker_params => {
            Some(polynomial_of(context, from, options).await?)
        }
        _ => None,
    };
    let password = if open::has_password(&context.global) {
        open::password(&context.global)?
    } else {
        open::ask_new()?
    };
    if password.expose_secret().is_empty() {
        return Err(Failure::new(
            "An empty password is refused: anybody could read the repository",
        )
        .with_hint("Set RESTIC_PASSWORD or name a password file."));
    }
    let create = CreateOptions {
        chunker_polynomial,
        version: (options.repository_version == "1").then_some(1),
        compression: open::compression(&context.global)?,
        ..CreateOptions::default()
    };
    let repository = Repository::create(backend, &password, &create).await?;
    if context.printer.is_json() {
        context.printer.json(&json!({
            "message_type": "initialized",
            "id": repository.config().id(),
            "repository": repository.location(),
        }));
    } else {
        context.printer.message(&format!(
            "Created repository {} at {}\n\nKeep the password in a safe place: without it the data is lost for good.",
            &repository.config().id().to_hex()[..10],
            repository.location()
        ));
    }
    Ok(Outcome::Done)
}

async fn polynomial_of(
    context: &Context,
    location: &str,
    options: &InitOptions,
) -> Result<u64, Failure> {
    let backend = storage::open(context, location)?;
    let password = match (
        &options.from_password_file,
        std::env::var("RESTIC_FROM_PASSWORD"),
    ) {
        (Some(file), _) => open::password_from_file(file)?,
        (None, Ok(password)) => password.into(),
        (None, Err(_)) => open::ask("Password of the other repository: ")?,
    };
    let repository = Repository::open(backend, &password, &OpenOptions::default()).await?;
    Ok(repository.config().chunker_polynomial().0)
}
