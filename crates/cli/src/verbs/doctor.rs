//! `stash doctor`: finds out what works between here and a store.

use std::path::PathBuf;
use std::time::Duration;

use backend::doctor::{DoctorOptions, Finding, Severity, examine_until};
use backend::{Backend, HttpOptions, RetryOptions};
use clap::Args;
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::machine::validate;
use crate::printer::Style;
use crate::storage;

/// What fails is tried again for so long: a doctor's patients are waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Find out what works between here and a store: name, connection, certificate, clock, credentials, every operation,
/// speed
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash doctor repository.yaml secret.yaml\n  stash -r s3:https://minio.example.com/backups/app doctor\n\nNothing is left behind. Exits with 0 when all is well, 3 with warnings, 1 when something fails."
)]
pub struct DoctorArguments {
    /// Only read: write and remove nothing
    #[arg(long)]
    read_only: bool,
    /// MiB moved in each direction to measure the speed; 0 measures nothing
    #[arg(long, default_value_t = 16, value_name = "MIB", value_parser = clap::value_parser!(u64).range(0..=1024))]
    speed_size: u64,
    /// Manifests with Repositories and their Secrets: files, folders, or `-`; without any, `-r` names the repository
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Something to examine.
struct Patient {
    name: String,
    backend: std::sync::Arc<dyn Backend>,
    http: HttpOptions,
    folder: Option<PathBuf>,
}

/// Examines the repository of `-r`, or each Repository of the manifests.
pub async fn run(context: &Context, arguments: &DoctorArguments) -> Result<Outcome, Failure> {
    let Some(patients) = patients(context, arguments)? else {
        return Ok(Outcome::Failed);
    };
    let mut worst = Severity::Fine;
    for patient in patients {
        let options = DoctorOptions {
            folder: patient.folder,
            http: patient.http,
            speed_bytes: usize::try_from(arguments.speed_size << 20).unwrap_or(0),
            can_write: !arguments.read_only,
        };
        if !context.printer.is_json() {
            context
                .printer
                .data(&context.printer.style(Style::Bold, &patient.name));
        }
        let mut tell = |finding: &Finding| tell(context, &patient.name, finding);
        let interrupted = context.cancel.cancelled();
        let examined = examine_until(patient.backend.as_ref(), &options, &mut tell, interrupted);
        let Some(found) = examined.await else {
            return Err(Failure::new("Interrupted").with_outcome(Outcome::Interrupted));
        };
        worst = worst.max(found);
    }
    summary(context, worst);
    Ok(match worst {
        Severity::Fine | Severity::Skipped => Outcome::Done,
        Severity::Warning => Outcome::Incomplete,
        Severity::Failed => Outcome::Failed,
    })
}

fn patients(
    context: &Context,
    arguments: &DoctorArguments,
) -> Result<Option<Vec<Patient>>, Failure> {
    let retry = RetryOptions {
        limit: PATIENCE,
        ..RetryOptions::default()
    };
    if arguments.paths.is_empty() {
        let opened = storage::open_with(context, &crate::open::location(&context.global)?, retry)?;
        return Ok(Some(vec![Patient {
            name: opened.backend.location(),
            backend: opened.backend,
            http: opened.http,
            folder: opened.folder,
        }]));
    }
    let Some(desired) = validate::check(context, &arguments.paths)? else {
        return Ok(None);
    };
    if desired.repositories.is_empty() {
        return Err(Failure::new("There is no Repository among the manifests")
            .with_hint("Name the files of a Repository and of its Secret."));
    }
    let patients = desired.repositories.into_values().map(|repository| {
        let storage = agent::Storage::new(&repository.settings, retry.clone())?;
        Ok(Patient {
            name: format!(
                "{} ({})",
                repository.key.name,
                repository.settings.display_url()
            ),
            backend: storage.backend,
            http: storage.http,
            folder: storage.folder,
        })
    });
    patients.collect::<Result<_, Failure>>().map(Some)
}

fn tell(context: &Context, patient: &str, finding: &Finding) {
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&json!({
            "message_type": "finding",
            "repository": patient,
            "step": finding.step,
            "severity": finding.severity.word(),
            "message": finding.message,
            "remedy": finding.remedy,
            "seconds": finding.took.as_secs_f64(),
        }));
        return;
    }
    let style = match finding.severity {
        Severity::Fine => Style::Green,
        Severity::Skipped => Style::Dim,
        Severity::Warning => Style::Yellow,
        Severity::Failed => Style::Red,
    };
    let word = printer.style(style, &format!("{:<8}", finding.severity.word()));
    printer.data(&format!("{word} {:<12} {}", finding.step, finding.message));
    if let Some(remedy) = &finding.remedy {
        printer.data(&format!("{:<8} {:<12} {remedy}", "", ""));
    }
}

fn summary(context: &Context, worst: Severity) {
    if context.printer.is_json() {
        context
            .printer
            .json(&json!({"message_type": "summary", "severity": worst.word()}));
        return;
    }
    context.printer.message(match worst {
        Severity::Fine | Severity::Skipped => "Everything that was tried works",
        Severity::Warning => "Everything works, with warnings",
        Severity::Failed => "Something does not work",
    });
}
