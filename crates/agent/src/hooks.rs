//! Runs a hook: commands and requests, in the published order, each within a deadline.
//!
//! Owns what a hook is and how long it may take. Where its command runs in a cluster is left to a [`HookRunner`].

mod request;

use std::fmt;
use std::future::Future;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use api::duration::GoDuration;
use api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use api::v1beta1::Handler;
use async_trait::async_trait;
use session::hooks::HookData;
use session::template::{self, TemplateError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use self::request::{Request, connect, port, request};

/// How long a hook may take when nothing says otherwise. Published Stash has no limit, and hooks hang for days.
const DEFAULT_DEADLINE: Duration = Duration::from_mins(10);

/// How long a hook at the end may go on after the session's own deadline: it may have to thaw what was frozen.
pub(crate) const GRACE: Duration = Duration::from_secs(20);

/// How long a hook of a session may take: as long as its session when that has more time than the default. The session's
/// own deadline comes by the token.
pub(crate) fn deadline(time_out: Option<GoDuration>) -> Duration {
    let time_out = time_out.and_then(GoDuration::to_std);
    time_out.unwrap_or_default().max(DEFAULT_DEADLINE)
}

/// How much of a hook's output is kept for its message.
const OUTPUT_BYTES: usize = 10 * 1024;

/// Where hooks run.
#[derive(Debug, Clone, Default)]
pub enum HookPlace {
    /// On this machine: commands are children of this process, and requests go to `localhost`.
    #[default]
    Here,
    /// In a Pod that somebody else reaches.
    Pod(Arc<dyn HookRunner>),
}

/// Reaches the Pod that hooks are meant for.
#[async_trait]
pub trait HookRunner: fmt::Debug + Send + Sync {
    /// Runs a command in a container, the first one unless named, to its end. It is dropped when it takes too long.
    async fn run_command(&self, container: Option<&str>, words: &[String])
    -> Result<(), HookError>;

    /// The host that requests go to which name none.
    async fn host(&self) -> Result<String, HookError>;

    /// The number of a port of a container, the first one unless named.
    async fn port(&self, container: Option<&str>, name: &str) -> Result<u16, HookError>;
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A template in the hook cannot be rendered.
    #[error("cannot render {place} of the hook")]
    Template {
        /// Which text.
        place: String,
        /// Why.
        #[source]
        source: TemplateError,
    },
    /// The command cannot be started.
    #[error("cannot start the hook's command `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The command failed.
    #[error("the hook's command `{program}` failed with {status}{}", said(.output))]
    Command {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },
    /// The hook took too long and was stopped.
    #[error("the hook's {what} did not end within {} seconds and was stopped", .deadline.as_secs())]
    Deadline {
        /// Command or request.
        what: String,
        /// The limit.
        deadline: Duration,
    },
    /// There is no Pod to run the hook in, or it cannot be reached.
    #[error("cannot run the hook in {place}")]
    Place {
        /// Which Pod and container.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request got no answer.
    #[error("the hook's request to {url} failed")]
    Request {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request was answered with a failure.
    #[error("the hook's request to {url} was answered with status {status}{}", said(.output))]
    Status {
        /// Where to.
        url: String,
        /// HTTP status.
        status: u16,
        /// The answer.
        output: String,
    },
    /// The session was asked to stop.
    #[error("the hook was stopped with its session")]
    Stopped,
    /// A named port without a container to look it up in.
    #[error("the hook's port `{port}` is a name; a number is needed here")]
    NamedPort {
        /// The name.
        port: String,
    },
}

fn said(output: &str) -> String {
    if output.trim().is_empty() {
        String::new()
    } else {
        format!(", it said: {}", output.trim())
    }
}

/// Runs every handler of the hook in the order exec, httpGet, httpPost, tcpSocket; the first failure ends it.
/// On one machine a command runs as a child of this process and requests go to `localhost` unless they name a host.
/// The token stops a hook early; on one machine its command with everything it started.
pub async fn run(
    place: &HookPlace,
    handler: &Handler,
    data: &HookData,
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    let values = data.to_value();
    let render = |field: &str, text: &str| {
        template::render(text, &values).map_err(|source| HookError::Template {
            place: field.to_owned(),
            source,
        })
    };
    if let Some(command) = handler.exec.as_ref().and_then(|exec| exec.command.as_ref()) {
        let words = command
            .iter()
            .enumerate()
            .map(|(at, word)| render(&format!("exec.command[{at}]"), word))
            .collect::<Result<Vec<_>, _>>()?;
        match place {
            HookPlace::Here => run_here(&words, deadline, cancel).await?,
            HookPlace::Pod(pod) => {
                let running = pod.run_command(handler.container_name.as_deref(), &words);
                let program = words.first().map(String::as_str).unwrap_or_default();
                or_stopped(within(deadline, program, running), cancel).await?;
            }
        }
    }
    let default_host = match place {
        HookPlace::Pod(pod) if needs_host(handler) => or_stopped(pod.host(), cancel).await?,
        _ => "localhost".to_owned(),
    };
    let number = |port| {
        or_stopped(
            number(place, handler.container_name.as_deref(), port),
            cancel,
        )
    };
    if let Some(get) = &handler.http_get {
        let get = Request::get(get, &default_host, number(&get.port).await?);
        or_stopped(request(get, deadline), cancel).await?;
    }
    if let Some(post) = &handler.http_post {
        let body = post
            .body
            .as_deref()
            .map(|body| render("httpPost.body", body))
            .transpose()?;
        let post = Request::post(post, &default_host, number(&post.port).await?, body);
        or_stopped(request(post, deadline), cancel).await?;
    }
    if let Some(socket) = &handler.tcp_socket {
        let port = number(&socket.port).await?;
        let host = socket.host.clone().filter(|host| !host.is_empty());
        or_stopped(
            connect(&host.unwrap_or(default_host), port, deadline),
            cancel,
        )
        .await?;
    }
    Ok(())
}

/// The number of a port. A container of a Pod may have given it a name.
async fn number(
    place: &HookPlace,
    container: Option<&str>,
    port_of: &IntOrString,
) -> Result<u16, HookError> {
    match (port(port_of), port_of, place) {
        (Err(_), IntOrString::String(name), HookPlace::Pod(pod)) => pod.port(container, name).await,
        (number, ..) => number,
    }
}

/// Whether a request of the hook names no host.
fn needs_host(handler: &Handler) -> bool {
    let lacks = |host: Option<&String>| host.is_none_or(String::is_empty);
    handler
        .http_get
        .as_ref()
        .is_some_and(|get| lacks(get.host.as_ref()))
        || handler
            .http_post
            .as_ref()
            .is_some_and(|post| lacks(post.host.as_ref()))
        || handler
            .tcp_socket
            .as_ref()
            .is_some_and(|socket| lacks(socket.host.as_ref()))
}

async fn within(
    deadline: Duration,
    program: &str,
    work: impl Future<Output = Result<(), HookError>>,
) -> Result<(), HookError> {
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or_else(|_| {
            Err(HookError::Deadline {
                what: format!("command `{program}`"),
                deadline,
            })
        })
}

async fn or_stopped<T>(
    work: impl Future<Output = Result<T, HookError>>,
    cancel: &CancellationToken,
) -> Result<T, HookError> {
    tokio::select! {
        result = work => result,
        () = cancel.cancelled() => Err(HookError::Stopped),
    }
}

/// Runs a command as a child of this process, with everything it starts in a group of its own.
async fn run_here(
    words: &[String],
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| HookError::Start {
            program: program.clone(),
            source,
        })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = tokio::spawn(async move {
        let (mut out, errors) = tokio::join!(read_some(stdout), read_some(stderr));
        out.push_str(&errors);
        out
    });
    let ended = tokio::select! {
        status = child.wait() => Ok(status),
        () = tokio::time::sleep(deadline) => {
            Err(HookError::Deadline { what: format!("command `{program}`"), deadline })
        }
        () = cancel.cancelled() => Err(HookError::Stopped),
    };
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            stop_group(&child);
            // The group is killed; what remains is to collect the child.
            let _ = child.wait().await;
            return Err(error);
        }
    };
    let status = status.map_err(|source| HookError::Start {
        program: program.clone(),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    // A grandchild may hold the pipe for long after its parent has failed.
    let output = tokio::time::timeout(Duration::from_secs(2), output)
        .await
        .map_or_else(|_| String::new(), Result::unwrap_or_default);
    Err(HookError::Command {
        program: program.clone(),
        status: status.to_string(),
        output,
    })
}

/// Kills the command and everything it started.
fn stop_group(child: &tokio::process::Child) {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
        return;
    };
    if let Err(error) = nix::sys::signal::killpg(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    ) {
        tracing::warn!(%error, pid, "cannot stop a hook's processes");
    }
}

/// The first bytes of a stream; the rest is read and dropped so that the writer never blocks.
pub(crate) async fn read_some(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_BYTES.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&buffer[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests;
