//! The one binary, `stash`: every role is a subcommand.
//!
//! This crate owns the command line: options, output, exit codes, and the controller of one machine.
//! The rules live below, in the engine crates and in `api`, `session` and `agent`.

mod arguments;
mod failure;
mod machine;
mod open;
mod printer;
mod progress;
mod signals;
mod storage;
mod values;
mod verbs;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::arguments::{Arguments, GlobalOptions, Verb};
use crate::failure::{Failure, Outcome};
use crate::printer::{Printer, Verbosity};

/// What every verb gets: the options of all verbs, the way to speak, and the signal to stop.
#[derive(Debug)]
pub struct Context {
    /// Options of all verbs.
    pub global: GlobalOptions,
    /// The way to speak.
    pub printer: Arc<Printer>,
    /// What all storages of this run share.
    pub storage: storage::Shared,
    /// Cancelled by SIGINT and SIGTERM.
    pub cancel: CancellationToken,
}

fn main() -> ExitCode {
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let options = &mut arguments.global.storage.option;
    options.append(&mut arguments.leading_option);
    let verbosity = match (arguments.global.quiet, arguments.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Debug,
    };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let printer = Printer::new(arguments.global.json, verbosity, no_color);
    init_log(if arguments.verb.is_service() {
        "info"
    } else {
        "off"
    });

    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(&format!("Cannot start the runtime: {error}"), None);
            return Outcome::Failed.into();
        }
    };
    let context = Arc::new(Context {
        storage: storage::Shared::new(&arguments.global.storage),
        global: arguments.global,
        printer: Arc::new(printer),
        cancel: CancellationToken::new(),
    });
    let result = runtime.block_on(async {
        signals::cancel_on_signal(&context.cancel);
        dispatch(&context, arguments.verb).await
    });
    context.printer.clear_status();
    context.storage.show(&context.printer);
    // A blocked read of stdin or a hung mount must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            let failure = if context.cancel.is_cancelled() {
                failure.with_outcome(Outcome::Interrupted)
            } else {
                failure
            };
            failure.show(&context.printer);
            failure.outcome.into()
        }
    }
}

async fn dispatch(context: &Arc<Context>, verb: Verb) -> Result<Outcome, Failure> {
    match verb {
        Verb::Run(options) => machine::run::run(context, options).await,
        Verb::Validate(options) => machine::validate::run(context, &options),
        Verb::Get(options) => machine::get::run(context, &options).await,
        Verb::Describe(options) => machine::describe::run(context, &options),
        Verb::Trigger(options) => machine::trigger::run(context, &options).await,
        Verb::Doctor(options) => verbs::doctor::run(context, &options).await,
        Verb::Init(options) => verbs::init::run(context, &options).await,
        Verb::Backup(options) => verbs::backup::run(context, *options).await,
        Verb::Restore(options) => verbs::restore::run(context, *options).await,
        Verb::Snapshots(options) => verbs::snapshots::run(context, &options).await,
        Verb::Ls(options) => verbs::ls::run(context, &options).await,
        Verb::Find(options) => verbs::find::run(context, &options).await,
        Verb::Diff(options) => verbs::diff::run(context, &options).await,
        Verb::Dump(options) => verbs::dump::run(context, &options).await,
        Verb::Cat(options) => verbs::cat::run(context, &options).await,
        Verb::List(options) => verbs::list::run(context, &options).await,
        Verb::Stats(options) => verbs::stats::run(context, &options).await,
        Verb::Forget(options) => verbs::forget::run(context, *options).await,
        Verb::Prune(options) => verbs::prune::run(context, &options).await,
        Verb::Check(options) => verbs::check::run(context, &options).await,
        Verb::Key(options) => verbs::key::run(context, &options).await,
        Verb::Unlock(options) => verbs::unlock::run(context, &options).await,
        Verb::Operator(options) => verbs::operator::run(context, *options).await,
        Verb::Agent(options) => verbs::agent::run(context, *options).await,
        Verb::Completions(options) => verbs::completions::run(context, &options),
        Verb::Man(options) => verbs::man::run(context, &options),
        Verb::Crds(options) => verbs::crds::run(context, &options),
        Verb::Roles(options) => verbs::roles::run(context, &options),
    }
}

/// Help and version are answers, anything else is a mistake; restic exits 1 for those.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal has gone.
    let _ = error.print();
    if error.use_stderr() {
        Outcome::Failed.into()
    } else {
        Outcome::Done.into()
    }
}

/// Logs go to stderr: those of services from `info` on, others none, unless `STASH_LOG` says otherwise
/// (`STASH_LOG=debug`).
fn init_log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("STASH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .finish();
    // Only fails when a subscriber is set already, which nobody else does.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
