//! From options and environment to an opened repository and its lock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backend::{Backend, CacheOptions};
use repository::compression::Compression;
use repository::lock::{Lock, LockError, LockKind, LockOptions};
use repository::{OpenOptions, Repository};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::arguments::GlobalOptions;
use crate::failure::{Failure, Outcome};
use crate::storage;

/// The names of this machine and user as they stand in locks, keys and snapshots.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Host name.
    pub hostname: String,
    /// User name.
    pub username: String,
}

impl Identity {
    /// Asks the system. An unknown user is named by number.
    pub fn of_this_process() -> Self {
        let hostname = nix::unistd::gethostname().map_or_else(
            |_| "localhost".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let uid = nix::unistd::getuid();
        let username = nix::unistd::User::from_uid(uid)
            .ok()
            .flatten()
            .map_or_else(|| uid.to_string(), |user| user.name);
        Self { hostname, username }
    }
}

/// The storage that the options name.
pub fn backend(context: &Context) -> Result<Arc<dyn Backend>, Failure> {
    storage::open(context, &location(&context.global)?)
}

/// The repository string that the options name.
pub fn location(global: &GlobalOptions) -> Result<String, Failure> {
    match (&global.repo, &global.repository_file) {
        (Some(_), Some(_)) => Err(Failure::new(
            "`--repo` and `--repository-file` exclude each other",
        )
        .with_hint("Give one of them, and look at RESTIC_REPOSITORY and RESTIC_REPOSITORY_FILE.")),
        (Some(repo), None) => Ok(repo.clone()),
        (None, Some(file)) => read_text(file, "repository"),
        (None, None) => Err(Failure::new("No repository is named").with_hint(
            "Give `-r REPOSITORY`, or set RESTIC_REPOSITORY or RESTIC_REPOSITORY_FILE.",
        )),
    }
}

/// The password, from (in this order) file, command, environment, or the terminal.
pub fn password(global: &GlobalOptions) -> Result<SecretString, Failure> {
    match (&global.password_file, &global.password_command) {
        (Some(_), Some(_)) => {
            return Err(Failure::new(
                "`--password-file` and `--password-command` exclude each other",
            ));
        }
        (Some(file), None) => return read_text(file, "password").map(SecretString::from),
        (None, Some(command)) => return password_from_command(command),
        (None, None) => {}
    }
    if let Ok(password) = std::env::var("RESTIC_PASSWORD") {
        return Ok(SecretString::from(password));
    }
    ask("Password of the repository: ")
}

/// Asks for a password on the terminal.
pub fn ask(prompt: &str) -> Result<SecretString, Failure> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("No password is given")
            .with_hint("Set RESTIC_PASSWORD, RESTIC_PASSWORD_FILE or RESTIC_PASSWORD_COMMAND."));
    }
    rpassword::prompt_password(prompt)
        .map(SecretString::from)
        .map_err(|error| {
            Failure::new(format!(
                "Cannot read the password from the terminal: {error}"
            ))
        })
}

/// Asks for a new password, twice.
pub fn ask_new() -> Result<SecretString, Failure> {
    let password = ask("New password: ")?;
    let again = ask("The same again: ")?;
    if password.expose_secret() != again.expose_secret() {
        return Err(Failure::new("The two passwords differ"));
    }
    Ok(password)
}

/// Whether an option or the environment gives the password, so that nobody need be asked.
pub fn has_password(global: &GlobalOptions) -> bool {
    global.password_file.is_some()
        || global.password_command.is_some()
        || std::env::var_os("RESTIC_PASSWORD").is_some()
}

fn password_from_command(command: &str) -> Result<SecretString, Failure> {
    let mut words = shell_words(command)?.into_iter();
    let program = words
        .next()
        .ok_or_else(|| Failure::new("The password command is empty"))?;
    let output = std::process::Command::new(&program)
        .args(words)
        .stdin(std::process::Stdio::inherit())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::new(format!(
                "Cannot start the password command `{program}`: {error}"
            ))
        })?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "The password command `{program}` failed with {}",
            output.status
        )));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| {
        Failure::new(format!(
            "The password command `{program}` printed text that is not UTF-8"
        ))
    })?;
    Ok(SecretString::from(without_blanks(&text).to_owned()))
}

/// Splits a command line into words: blanks separate, single and double quotes and backslashes protect.
pub fn shell_words(line: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = letters
                    .next()
                    .ok_or_else(|| Failure::new(format!("`{line}` ends in a backslash")))?;
                word.get_or_insert_default().push(next);
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(Failure::new(format!(
            "`{line}` has a quote that is not closed"
        )));
    }
    words.extend(word);
    Ok(words)
}

/// The password in a file.
pub fn password_from_file(file: &Path) -> Result<SecretString, Failure> {
    read_text(file, "password").map(SecretString::from)
}

fn read_text(file: &Path, what: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!(
            "Cannot read the {what} from {}: {error}",
            file.display()
        ))
    })?;
    let line = without_blanks(&text);
    if line.is_empty() {
        return Err(Failure::new(format!(
            "The {what} file {} is empty",
            file.display()
        )));
    }
    Ok(line.to_owned())
}

/// Without blanks and line ends around it, which is how restic takes passwords from files and commands.
fn without_blanks(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// How the options want the repository opened.
fn open_options(
    global: &GlobalOptions,
    cache: Option<CacheOptions>,
) -> Result<OpenOptions, Failure> {
    let pack_size_bytes = match global.pack_size {
        None | Some(0) => None,
        Some(mib @ 4..=128) => Some(mib * 1024 * 1024),
        Some(mib) => {
            return Err(Failure::new(format!(
                "A pack size of {mib} MiB is outside 4 to 128 MiB"
            )));
        }
    };
    Ok(OpenOptions {
        key_hint: global.key_hint.clone(),
        compression: compression(global)?,
        pack_size_bytes,
        cache,
    })
}

/// The compression that the options name.
pub fn compression(global: &GlobalOptions) -> Result<Compression, Failure> {
    global.compression.parse().map_err(Failure::from)
}

/// Opens the repository, with its cache.
pub async fn open(context: &Context) -> Result<Repository, Failure> {
    storage::clean_up_caches(context).await?;
    let cache = storage::cache(context, &location(&context.global)?)?;
    open_with(context, cache).await
}

/// Opens the repository so that everything is read from where it is stored.
pub async fn open_past_cache(context: &Context) -> Result<Repository, Failure> {
    open_with(context, None).await
}

async fn open_with(context: &Context, cache: Option<CacheOptions>) -> Result<Repository, Failure> {
    let global = &context.global;
    let backend = backend(context)?;
    let options = open_options(global, cache)?;
    // Asked before the password, so that a mistyped location is told as that.
    if !Repository::exists(backend.as_ref()).await? {
        return Err(repository::OpenError::NoRepository {
            location: backend.location(),
        }
        .into());
    }
    let password = password(global)?;
    if password.expose_secret().is_empty() {
        return Err(Failure::new("The password is empty")
            .with_hint("Set RESTIC_PASSWORD or name a password file."));
    }
    Ok(unless_cancelled(context, Repository::open(backend, &password, &options)).await??)
}

/// What the work of a verb has while it runs.
#[derive(Debug)]
pub struct Held<'a> {
    /// The lock; absent under `--no-lock`.
    pub lock: Option<&'a Lock>,
    /// Cancelled by a signal, or when the lock is lost.
    pub cancel: CancellationToken,
}

/// What the work does to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It only reads: a shared lock, which `--no-lock` leaves out.
    Read,
    /// It adds: a shared lock, always, or a prune elsewhere would remove what is not yet in use.
    Append,
    /// It removes: the exclusive lock, always.
    Remove,
}

impl Access {
    const fn lock_kind(self) -> LockKind {
        match self {
            Self::Read | Self::Append => LockKind::Shared,
            Self::Remove => LockKind::Exclusive,
        }
    }
}

/// What becomes of the work when it has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// It is dropped at once; for work that changes nothing, or that may be killed at any moment.
    AtOnce,
    /// It watches [`Held::cancel`] and ends by itself within seconds.
    ByItself,
}

/// How long work that ends by itself is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// Longer than one attempt to take a lock.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Runs the work under a lock and releases the lock afterwards, also when the work failed or was interrupted.
pub async fn with_lock<T>(
    context: &Context,
    repository: &Repository,
    access: Access,
    stopping: Stopping,
    work: impl AsyncFnOnce(&Held<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let lock = lock(context, repository, access).await?;
    let held = Held {
        lock: lock.as_ref(),
        cancel: context.cancel.child_token(),
    };
    let result = run(&held, stopping, work(&held)).await;
    if let Some(lock) = lock {
        let released = lock.release().await;
        if result.is_ok() {
            released?;
        }
    }
    result
}

/// Takes a lock; none for a reader under `--no-lock`.
async fn lock(
    context: &Context,
    repository: &Repository,
    access: Access,
) -> Result<Option<Lock>, Failure> {
    if context.global.no_lock && access == Access::Read {
        return Ok(None);
    }
    let kind = access.lock_kind();
    let identity = Identity::of_this_process();
    let options = LockOptions {
        retry_for: context.global.retry_lock.unwrap_or(Duration::ZERO),
        hostname: identity.hostname,
        username: identity.username,
        judge: None,
    };
    let repository = repository.clone();
    let mut acquiring =
        tokio::spawn(async move { Lock::acquire(&repository, kind, &options).await });
    let acquired = tokio::select! {
        acquired = &mut acquiring => acquired,
        () = context.cancel.cancelled() => {
            give_up(acquiring).await;
            return Err(interrupted());
        }
    };
    let acquired = acquired.map_err(|error| Failure::new(format!("Cannot lock: {error}")))?;
    Ok(Some(acquired?))
}

/// Leaves no lock file behind. An attempt takes a fraction of a second and then either has the lock or waits
/// without a file.
async fn give_up(mut acquiring: JoinHandle<Result<Lock, LockError>>) {
    match tokio::time::timeout(ATTEMPT, &mut acquiring).await {
        Ok(Ok(Ok(lock))) => {
            if let Err(error) = lock.release().await {
                tracing::warn!(%error, "cannot release the lock");
            }
        }
        Ok(_) => {}
        Err(_) => acquiring.abort(),
    }
}

async fn run<T>(
    held: &Held<'_>,
    stopping: Stopping,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let lost = held
        .lock
        .map(|lock| lock.lost().clone())
        .unwrap_or_default();
    let mut work = std::pin::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = lost.cancelled() => held.cancel.cancel(),
        () = held.cancel.cancelled() => {}
    }
    if stopping == Stopping::ByItself {
        // Its error would only say that it was cancelled, which is known.
        if let Ok(Ok(value)) = tokio::time::timeout(PATIENCE, &mut work).await {
            return Ok(value);
        }
    }
    if lost.is_cancelled() {
        Err(LockError::Lost.into())
    } else {
        Err(interrupted())
    }
}

async fn unless_cancelled<T>(
    context: &Context,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    tokio::select! {
        value = work => Ok(value),
        () = context.cancel.cancelled() => Err(interrupted()),
    }
}

fn interrupted() -> Failure {
    Failure::new("Interrupted").with_outcome(Outcome::Interrupted)
}
