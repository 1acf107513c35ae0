//! `stash agent`: what runs in Pods. The operator writes these command lines; people read them in Pod specifications.

mod priority;

use std::path::PathBuf;

use agent::pod::{self, BackupJob, PodAgent, PodIdentity, Restore, Sidecar, WipeOut};
use clap::{Args, Subcommand};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::Identity;

/// Work in a Pod on behalf of the operator
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  stash agent backup --session home-1700000000 --target-index 0 --host host-0"
)]
pub struct AgentOptions {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Back up the Pod that this container is in, at every session of an invoker
    #[command(
        after_help = "Example:\n  stash agent sidecar --invoker-kind BackupConfiguration --invoker-name home"
    )]
    Sidecar(SidecarOptions),
    /// Back up one host of one session, then end
    #[command(
        after_help = "Example:\n  stash agent backup --session home-1700000000 --target-index 0 --host host-0"
    )]
    Backup(BackupOptions),
    /// Restore one host of a RestoreSession, then end
    #[command(
        after_help = "Example:\n  stash agent restore --restore-session home-back --host host-0 --init"
    )]
    Restore(RestoreOptions),
    /// Remove a repository with everything in it from its backend
    #[command(after_help = "Example:\n  stash agent wipe-out --repository home")]
    WipeOut(WipeOutOptions),
}

#[derive(Debug, Args)]
struct SidecarOptions {
    /// Kind of the invoker
    #[arg(long, value_name = "KIND")]
    invoker_kind: String,
    /// Name of the invoker
    #[arg(long, value_name = "NAME")]
    invoker_name: String,
    /// Kind of the workload, where the invoker has several targets
    #[arg(long, value_name = "KIND", requires = "target_name")]
    target_kind: Option<String>,
    /// Name of the workload
    #[arg(long, value_name = "NAME", requires = "target_kind")]
    target_name: Option<String>,
    #[command(flatten)]
    pod: PodOptions,
}

#[derive(Debug, Args)]
struct BackupOptions {
    /// Name of the BackupSession
    #[arg(long, value_name = "NAME")]
    session: String,
    /// Which target of the session
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    target_index: usize,
    /// Host to back up as
    #[arg(long, value_name = "HOST")]
    host: String,
    #[command(flatten)]
    pod: PodOptions,
}

#[derive(Debug, Args)]
struct RestoreOptions {
    /// Name of the RestoreSession
    #[arg(long, value_name = "NAME")]
    restore_session: String,
    /// Host to restore as; otherwise the Pod's name says which one it is
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Do not end before the host has its data, or the RestoreSession is gone
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    pod: PodOptions,
}

#[derive(Debug, Args)]
struct WipeOutOptions {
    /// Name of the Repository
    #[arg(long, value_name = "NAME")]
    repository: String,
    #[command(flatten)]
    pod: PodOptions,
}

/// Which Pod this is, as the downward API tells.
#[derive(Debug, Args)]
#[command(next_help_heading = "The Pod, as its specification tells")]
struct PodOptions {
    /// Name of this Pod
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pod_name: String,
    /// Namespace of this Pod
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pod_namespace: String,
    /// Uid of this Pod
    #[arg(long, env = "POD_UID", value_name = "UID")]
    pod_uid: String,
    /// Node of this Pod
    #[arg(long, env = "NODE_NAME", value_name = "NODE", default_value = "")]
    node_name: String,
    /// Address of this Pod, for hooks that name no host
    #[arg(long, env = "POD_IP", value_name = "ADDRESS")]
    pod_ip: Option<String>,
    /// Folder for metadata of repositories; without it nothing is kept
    #[arg(long, env = "STASH_CACHE_DIR", value_name = "FOLDER")]
    metadata_cache: Option<PathBuf>,
    #[command(flatten)]
    priority: priority::PriorityOptions,
}

/// Plays the role until it is done, or until the Pod is to end.
pub async fn run(context: &Context, options: AgentOptions) -> Result<Outcome, Failure> {
    match options.role {
        Role::Sidecar(options) => {
            let agent = start(context, &options.pod).await?;
            let sidecar = Sidecar {
                invoker_kind: options.invoker_kind,
                invoker_name: options.invoker_name,
                target: options.target_kind.zip(options.target_name),
            };
            pod::serve(&agent, &sidecar).await?;
        }
        Role::Backup(options) => {
            let agent = start(context, &options.pod).await?;
            let job = BackupJob {
                session: options.session,
                target_index: options.target_index,
                host: options.host,
            };
            pod::back_up(&agent, &job).await?;
        }
        Role::Restore(options) => {
            let agent = start(context, &options.pod).await?;
            let restore = Restore {
                session: options.restore_session,
                host: options.host,
                is_init: options.init,
            };
            Box::pin(pod::restore(&agent, &restore)).await?;
        }
        Role::WipeOut(options) => {
            let agent = start(context, &options.pod).await?;
            let wipe_out = WipeOut {
                repository: options.repository,
            };
            pod::wipe_out(&agent, &wipe_out).await?;
        }
    }
    Ok(Outcome::Done)
}

async fn start(context: &Context, pod: &PodOptions) -> Result<PodAgent, Failure> {
    priority::apply(&pod.priority);
    let identity = PodIdentity {
        pod: pod.pod_name.clone(),
        namespace: pod.pod_namespace.clone(),
        uid: pod.pod_uid.clone(),
        node: pod.node_name.clone(),
        address: pod.pod_ip.clone().filter(|address| !address.is_empty()),
        username: Identity::of_this_process().username,
        cache: pod.metadata_cache.clone(),
    };
    Ok(PodAgent::new(identity, &context.cancel).await?)
}
