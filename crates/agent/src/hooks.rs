//! Runs a hook: commands and requests, in the published order, each within a deadline.

use std::future::Future;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{HTTPGetAction, HTTPHeader};
use api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use api::v1beta1::{Handler, HttpPostAction};
use session::hooks::HookData;
use session::template::{self, TemplateError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

/// How long a hook may take when nothing says otherwise. Published Stash has no limit, and hooks hang for days.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(10);

/// How much of a hook's output is kept for its message.
const OUTPUT_BYTES: usize = 10 * 1024;

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
/// The token stops a hook early, its command with everything it started.
pub async fn run(
    handler: &Handler,
    data: &HookData,
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    let values = data.to_value();
    let render = |place: &str, text: &str| {
        template::render(text, &values).map_err(|source| HookError::Template {
            place: place.to_owned(),
            source,
        })
    };
    if let Some(command) = handler.exec.as_ref().and_then(|exec| exec.command.as_ref()) {
        let words = command
            .iter()
            .enumerate()
            .map(|(at, word)| render(&format!("exec.command[{at}]"), word))
            .collect::<Result<Vec<_>, _>>()?;
        run_command(&words, deadline, cancel).await?;
    }
    if let Some(get) = &handler.http_get {
        or_stopped(request(Request::get(get)?, deadline), cancel).await?;
    }
    if let Some(post) = &handler.http_post {
        let body = post
            .body
            .as_deref()
            .map(|body| render("httpPost.body", body))
            .transpose()?;
        or_stopped(request(Request::post(post, body)?, deadline), cancel).await?;
    }
    if let Some(socket) = &handler.tcp_socket {
        let host = socket
            .host
            .clone()
            .unwrap_or_else(|| "localhost".to_owned());
        or_stopped(connect(&host, port(&socket.port)?, deadline), cancel).await?;
    }
    Ok(())
}

async fn or_stopped(
    work: impl Future<Output = Result<(), HookError>>,
    cancel: &CancellationToken,
) -> Result<(), HookError> {
    tokio::select! {
        result = work => result,
        () = cancel.cancelled() => Err(HookError::Stopped),
    }
}

async fn run_command(
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
async fn read_some(stream: Option<impl AsyncRead + Unpin>) -> String {
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

struct Request {
    url: String,
    headers: Vec<(String, String)>,
    /// Body and its type; `None` is a GET.
    body: Option<(String, &'static str)>,
}

impl Request {
    fn get(action: &HTTPGetAction) -> Result<Self, HookError> {
        let url = url(
            action.scheme.as_deref(),
            action.host.as_deref(),
            &action.port,
            action.path.as_deref(),
        )?;
        Ok(Self {
            url,
            headers: headers(action.http_headers.as_deref().unwrap_or_default()),
            body: None,
        })
    }

    fn post(action: &HttpPostAction, body: Option<String>) -> Result<Self, HookError> {
        let url = url(
            action.scheme.as_deref(),
            action.host.as_deref(),
            &action.port,
            action.path.as_deref(),
        )?;
        let body = match body {
            Some(body) => (body, "application/json"),
            None => (form(action), "application/x-www-form-urlencoded"),
        };
        Ok(Self {
            url,
            headers: headers(&action.http_headers),
            body: Some(body),
        })
    }
}

fn headers(headers: &[HTTPHeader]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect()
}

fn form(action: &HttpPostAction) -> String {
    let pairs = action.form.iter().flat_map(|entry| {
        entry
            .values
            .iter()
            .map(|value| format!("{}={}", encoded(&entry.key), encoded(value)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}

fn port(port: &IntOrString) -> Result<u16, HookError> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| HookError::NamedPort {
            port: number.to_string(),
        }),
        IntOrString::String(name) => name
            .parse()
            .map_err(|_| HookError::NamedPort { port: name.clone() }),
    }
}

fn url(
    scheme: Option<&str>,
    host: Option<&str>,
    port_of: &IntOrString,
    path: Option<&str>,
) -> Result<String, HookError> {
    let scheme = scheme.unwrap_or("HTTP").to_lowercase();
    let host = host.filter(|host| !host.is_empty()).unwrap_or("localhost");
    let path = path.unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(format!("{scheme}://{host}:{}{slash}{path}", port(port_of)?))
}

async fn request(request: Request, deadline: Duration) -> Result<(), HookError> {
    let url = request.url.clone();
    let task = tokio::task::spawn_blocking(move || send(request, deadline));
    task.await.unwrap_or_else(|error| {
        Err(HookError::Request {
            url,
            source: Box::new(error),
        })
    })
}

fn send(request: Request, deadline: Duration) -> Result<(), HookError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(deadline))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => HookError::Deadline {
            what: format!("request to {}", request.url),
            deadline,
        },
        error => HookError::Request {
            url: request.url.clone(),
            source: Box::new(error),
        },
    };
    let mut response = match &request.body {
        None => {
            let mut call = agent.get(&request.url);
            for (name, value) in &request.headers {
                call = call.header(name, value);
            }
            call.call().map_err(failed)?
        }
        Some((body, kind)) => {
            let mut call = agent.post(&request.url);
            if !request
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            {
                call = call.header("Content-Type", *kind);
            }
            for (name, value) in &request.headers {
                call = call.header(name, value);
            }
            call.send(body).map_err(failed)?
        }
    };
    let status = response.status().as_u16();
    if (200..400).contains(&status) {
        return Ok(());
    }
    let mut output = Vec::new();
    let limit = u64::try_from(OUTPUT_BYTES).unwrap_or(u64::MAX);
    // The status is what counts; an answer that breaks off is shown as far as it came.
    let _ = response
        .body_mut()
        .as_reader()
        .take(limit)
        .read_to_end(&mut output);
    Err(HookError::Status {
        url: request.url,
        status,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

async fn connect(host: &str, port: u16, deadline: Duration) -> Result<(), HookError> {
    let url = format!("tcp://{host}:{port}");
    match tokio::time::timeout(deadline, tokio::net::TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(HookError::Request {
            url,
            source: Box::new(error),
        }),
        Err(_) => Err(HookError::Deadline {
            what: format!("connection to {url}"),
            deadline,
        }),
    }
}

#[cfg(test)]
mod tests;
