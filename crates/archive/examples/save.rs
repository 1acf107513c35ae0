//! Saves paths into a local repository and prints what it took, for measuring without the command line.
//!
//! `RESTIC_REPOSITORY=… RESTIC_PASSWORD=… save [--force] PATH…`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use archive::parent::ParentChoice;
use archive::save::{BackupOptions, NoProgress, backup};
use archive::source::BackupSource;
use backend::LocalBackend;
use repository::{CreateOptions, OpenOptions, Repository};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its output is its purpose")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = Arc::new(LocalBackend::new(std::env::var("RESTIC_REPOSITORY")?));
    let password = SecretString::from(std::env::var("RESTIC_PASSWORD")?);
    let (flags, paths): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with("--"));
    let mut options = BackupOptions::new(
        paths.into_iter().map(PathBuf::from).collect(),
        "host",
        "save example",
    );
    if flags.iter().any(|flag| flag == "--force") {
        options.parent = ParentChoice::None;
    }
    options.one_file_system = flags.iter().any(|flag| flag == "--one-file-system");
    let began = Instant::now();
    let repository = if Repository::exists(&*backend).await? {
        Repository::open(backend, &password, &OpenOptions::default()).await?
    } else {
        Repository::create(backend, &password, &CreateOptions::default()).await?
    };
    println!("opened after {:?}", began.elapsed());
    let repository = repository.load_index().await?;
    println!("indexed after {:?}", began.elapsed());
    let cancel = CancellationToken::new();
    let summary = backup(
        &repository,
        &options,
        BackupSource::Paths,
        Arc::new(NoProgress),
        cancel,
    )
    .await?;
    println!("saved after {:?}\n{summary:#?}", began.elapsed());
    Ok(())
}
