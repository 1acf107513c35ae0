//! The command line as clap sees it: global options and the list of verbs.
//!
//! Each verb's own options live beside its code in `verbs/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::storage::StorageArguments;
use crate::{machine, verbs};

/// Backs up directories, volumes and Kubernetes workloads into encrypted, deduplicated repositories.
#[derive(Debug, Parser)]
#[command(
    name = "stash",
    version,
    about,
    long_about = None,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = GUIDE
)]
pub struct Arguments {
    // Not global: after the verb `-o` belongs to `get`, where it names a format as kubectl's does.
    /// As `--option`, before the verb
    #[arg(short = 'o', value_name = "KEY=VALUE", value_parser = crate::storage::key_and_value)]
    pub leading_option: Vec<(String, String)>,
    #[command(flatten)]
    pub global: GlobalOptions,
    #[command(subcommand)]
    pub verb: Verb,
}

const GUIDE: &str = "\
Where to begin:
  stash run /etc/stash                     act on manifests: back up on schedule, restore on demand
  stash get backupsessions                 what happened
  stash -r /srv/backup init                or work on a repository directly, with restic's verbs
  stash -r /srv/backup backup /home

Exit codes: 0 done, 1 failed, 3 incomplete, 10 no repository, 11 locked, 12 wrong password, 130 interrupted";

/// Options that every verb on a repository understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Repository to work on: a folder, or `s3:…`, `gs:…`, `azure:…`, `swift:…`, `b2:…`, `rest:…` as restic spells them
    #[arg(
        short,
        long,
        global = true,
        env = "RESTIC_REPOSITORY",
        hide_env_values = true,
        value_name = "REPOSITORY"
    )]
    pub repo: Option<String>,

    /// File that holds the repository's location
    #[arg(
        long,
        global = true,
        env = "RESTIC_REPOSITORY_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub repository_file: Option<PathBuf>,

    /// File that holds the password
    #[arg(
        short,
        long,
        global = true,
        env = "RESTIC_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,

    /// Command that prints the password
    #[arg(
        long,
        global = true,
        env = "RESTIC_PASSWORD_COMMAND",
        hide_env_values = true,
        value_name = "COMMAND"
    )]
    pub password_command: Option<String>,

    /// Id of the key to try first
    #[arg(
        long,
        global = true,
        env = "RESTIC_KEY_HINT",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub key_hint: Option<String>,

    /// Compression of new data
    #[arg(long, global = true, env = "RESTIC_COMPRESSION", hide_env_values = true, value_name = "LEVEL", default_value = "auto",
          value_parser = ["off", "fastest", "auto", "better", "max"], hide_possible_values = false)]
    pub compression: String,

    /// Size at which a pack is uploaded, in MiB (4 to 128)
    #[arg(long, global = true, env = "RESTIC_PACK_SIZE", hide_env_values = true, value_name = "MIB", value_parser = clap::value_parser!(u32).range(0..=128))]
    pub pack_size: Option<u32>,

    /// Do not lock the repository; only for reading
    #[arg(long, global = true)]
    pub no_lock: bool,

    /// Keep trying for this long when the repository is locked, as `5m`
    #[arg(long, global = true, value_name = "DURATION", value_parser = crate::values::duration)]
    pub retry_lock: Option<std::time::Duration>,

    /// Print JSON lines for programs
    #[arg(long, global = true)]
    pub json: bool,

    /// Print only errors and results
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// Say more; twice for every file
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    #[command(flatten)]
    pub storage: StorageArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    // The machine: manifests, sessions, history.
    Run(machine::run::RunOptions),
    Validate(machine::validate::ValidateOptions),
    Get(machine::get::GetOptions),
    Describe(machine::describe::DescribeOptions),
    Trigger(machine::trigger::TriggerOptions),
    Doctor(verbs::doctor::DoctorArguments),

    // The repository: restic's verbs.
    Init(verbs::init::InitOptions),
    Backup(Box<verbs::backup::BackupArguments>),
    Restore(Box<verbs::restore::RestoreArguments>),
    Snapshots(verbs::snapshots::SnapshotsOptions),
    Ls(verbs::ls::LsOptions),
    Find(verbs::find::FindOptions),
    Diff(verbs::diff::DiffOptions),
    Dump(verbs::dump::DumpOptions),
    Cat(verbs::cat::CatOptions),
    List(verbs::list::ListOptions),
    Stats(verbs::stats::StatsOptions),
    Forget(Box<verbs::forget::ForgetOptions>),
    Prune(verbs::prune::PruneArguments),
    Check(verbs::check::CheckArguments),
    Key(verbs::key::KeyOptions),
    Unlock(verbs::unlock::UnlockOptions),

    // The cluster.
    Operator(Box<verbs::operator::OperatorArguments>),
    Agent(Box<verbs::agent::AgentOptions>),

    // The binary itself.
    Completions(verbs::completions::CompletionsOptions),
    Man(verbs::man::ManOptions),
    Crds(verbs::crds::CrdsOptions),
    Roles(verbs::roles::RolesOptions),
}

impl Verb {
    /// Whether the verb runs in a cluster, where its log is what people read.
    pub const fn is_service(&self) -> bool {
        matches!(self, Self::Operator(_) | Self::Agent(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_in_every_verb() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example_in_its_help() {
        let command = Arguments::command();
        let without: Vec<&str> = command
            .get_subcommands()
            .filter(|verb| {
                let help = verb.get_after_help().or(verb.get_after_long_help());
                help.is_none_or(|help| !help.to_string().contains("stash "))
            })
            .map(clap::Command::get_name)
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
