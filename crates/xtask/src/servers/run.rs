//! What a product gets to start its servers: ports, folders, certificates, processes, readiness.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::authority::Certificates;
use super::curl::Curl;
use super::offers::{Offers, Server};
use super::processes;
use crate::command;
use crate::failure::Failure;
use crate::workspace::read_text;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(40);
/// Below the range from which the kernel takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
/// Presets of the machine that would make a server or a probe trust or use something else.
const PRESETS: &[&str] = &[
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "all_proxy",
];

/// What all products of a run share.
pub struct Shared {
    state: PathBuf,
    certificates: Certificates,
    ports: Mutex<BTreeSet<u16>>,
    /// Everything that was started; written to the file with every change.
    offers: Mutex<Offers>,
    records: Mutex<()>,
}

/// A run as one product sees it.
pub struct Run {
    product: &'static str,
    shared: Arc<Shared>,
}

impl Shared {
    pub fn new(state: &Path) -> Result<Self, Failure> {
        let certificates = Certificates::offer(state)?;
        let mut offers = Offers::load(state)?;
        offers.ca.clone_from(&certificates.ca);
        Ok(Self {
            state: state.to_path_buf(),
            certificates,
            ports: Mutex::default(),
            offers: Mutex::new(offers),
            records: Mutex::default(),
        })
    }

    /// Changes the list of what runs, and its file.
    pub fn change(&self, change: impl FnOnce(&mut Offers)) -> Result<(), Failure> {
        let mut offers = held(&self.offers);
        change(&mut offers);
        offers.save(&self.state)
    }

    /// Looks at the list of what runs.
    pub fn offers<T>(&self, look: impl FnOnce(&Offers) -> T) -> T {
        look(&held(&self.offers))
    }

    pub fn stop(&self, product: &str) -> Result<(), Failure> {
        let _records = held(&self.records);
        processes::stop_product(&self.state, product)
    }
}

impl Run {
    pub fn new(product: &'static str, shared: Arc<Shared>) -> Self {
        Self { product, shared }
    }

    /// The certificate files of this run.
    pub fn certificates(&self) -> &Certificates {
        &self.shared.certificates
    }

    /// An entry of a product that this one needs.
    pub fn server(&self, name: &str) -> Result<Server, Failure> {
        self.shared
            .offers(|offers| offers.servers.get(name).cloned())
            .ok_or_else(|| Failure::Refused(format!("the server {name} does not run")))
    }

    /// A new, empty folder for data and configuration.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self
            .shared
            .state
            .join("data")
            .join(format!("{}-{name}", self.product));
        let made = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&folder),
        };
        made.map_err(|source| Failure::Write {
            path: folder.clone(),
            source,
        })?;
        Ok(folder)
    }

    /// The place for a unix socket; short, because such paths may have 107 bytes only.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.shared.state.join(format!("{name}.sock"))
    }

    /// A port of 127.0.0.1 that nobody listens on and that no other product of this run got.
    pub fn port(&self) -> Result<u16, Failure> {
        let mut taken = held(&self.shared.ports);
        // Runs that start at the same time begin at different places.
        let width = u32::from(PORTS.end - PORTS.start);
        let begin = std::process::id().wrapping_mul(97) % width;
        (0..width)
            .filter_map(|step| u16::try_from((begin + step) % width).ok())
            .map(|offset| PORTS.start + offset)
            .find(|port| {
                !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
            })
            .inspect(|port| {
                taken.insert(*port);
            })
            .ok_or_else(|| Failure::Refused("no port is free".to_owned()))
    }

    /// A request to a server of this run, trusting its authority.
    pub fn curl(&self, address: impl Into<String>) -> Curl {
        Curl::new(address.into(), &self.shared.certificates.ca)
    }

    /// Starts a process that lives until `down`. Its output goes to a log named after the product and
    /// `name`.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Spawned, Failure> {
        let _records = held(&self.shared.records);
        let title = format!("{}-{name}", self.product);
        spawn(&self.shared.state, self.product, title, command)
    }
}

/// Starts a process of a run; its output goes to a log named after its title. The caller sees to it that no two
/// start at the same time.
pub fn spawn(
    state: &Path,
    product: &str,
    title: String,
    command: &mut Command,
) -> Result<Spawned, Failure> {
    let log = state.join("logs").join(format!("{title}.log"));
    let (out, err) = open_log(&log).map_err(|source| Failure::Write {
        path: log.clone(),
        source,
    })?;
    for preset in PRESETS {
        // What the product has set itself stays.
        if !command.get_envs().any(|(name, _)| name == *preset) {
            command.env_remove(preset);
        }
    }
    command
        .env(processes::MARK, state)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0);
    let child = command.spawn().map_err(|source| Failure::Start {
        program: command::text_of(command),
        source,
    })?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    processes::record(state, product, pid)?;
    Ok(Spawned {
        name: title,
        child,
        log,
    })
}

/// A started server that may not answer yet.
pub struct Spawned {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Spawned {
    /// Asks again and again until the server answers; fails when it ends or takes longer than 90 s.
    pub fn wait_until_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answers = is_ready();
            // Looked at after the question, so that a stranger on the same port is not taken for it.
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failure(&format!("ended with {status}")));
            }
            if answers {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("did not answer within {PATIENCE:?}")));
            }
            thread::sleep(POLL);
        }
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::Refused(format!("{} {what}{}", self.name, end_of(&self.log)))
    }
}

/// The last lines of a log, ready to be appended to a message.
pub fn end_of(log: &Path) -> String {
    let text = read_text(log).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines
        .get(lines.len().saturating_sub(6)..)
        .unwrap_or_default();
    if last.is_empty() {
        String::new()
    } else {
        format!(
            "; {} ends with:\n    {}",
            log.display(),
            last.join("\n    ")
        )
    }
}

/// Holds the folder of a run against other `up` and `down`.
pub fn lock(state: &Path) -> Result<File, Failure> {
    let path = state.join("lock");
    fs::create_dir_all(state)
        .and_then(|()| File::create(&path))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|source| Failure::Write { path, source })
}

/// Removes what stopped servers left behind; certificates and logs stay.
pub fn clear(state: &Path) -> Result<(), Failure> {
    let failed = |source| Failure::Write {
        path: state.to_path_buf(),
        source,
    };
    for entry in fs::read_dir(state).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let removed = if name == "data" {
            fs::remove_dir_all(entry.path())
        } else if name == "servers.json" || Path::new(&name).extension() == Some("sock".as_ref()) {
            fs::remove_file(entry.path())
        } else {
            Ok(())
        };
        removed.map_err(failed)?;
    }
    Ok(())
}

fn open_log(log: &Path) -> io::Result<(File, File)> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::create(log)?;
    Ok((file.try_clone()?, file))
}

/// The value also after a thread panicked while holding it: what it guards is written at once.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::installer::need;

    fn run(state: &Path) -> Run {
        Run::new("a", Arc::new(Shared::new(state).unwrap()))
    }

    #[test]
    fn a_server_that_ends_at_once_is_a_failure_with_the_end_of_its_log() {
        let state = tempfile::tempdir().unwrap();
        let mut server = run(state.path())
            .spawn(
                "x",
                Command::new("sh").args(["-c", "echo port taken; exit 4"]),
            )
            .unwrap();
        let mut ended = false;
        let failure = server
            .wait_until_ready(|| {
                // As if a stranger answered on the port, but only after the server has ended.
                ended = ended || server_ended(state.path());
                ended
            })
            .unwrap_err()
            .to_string();
        assert!(
            failure.contains("a-x ended with exit status: 4"),
            "{failure}"
        );
        assert!(failure.contains("port taken"), "{failure}");
    }

    fn server_ended(state: &Path) -> bool {
        !processes::is_alive(state, "a").unwrap()
    }

    #[test]
    fn no_port_is_given_out_twice() {
        let state = tempfile::tempdir().unwrap();
        let run = run(state.path());
        let ports: BTreeSet<u16> = (0..50).map(|_| run.port().unwrap()).collect();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn the_certificates_of_a_run_stay_and_suit_each_other() {
        let state = tempfile::tempdir().unwrap();
        let first = read_text(&run(state.path()).certificates().ca).unwrap();
        let run = run(state.path());
        let files = run.certificates();
        assert_eq!(read_text(&files.ca).unwrap(), first);
        if let Err(missing) = need(&["openssl"], "openssl") {
            println!("SKIPPED: purposes of certificates: {missing}");
            return;
        }
        for (certificate, purpose) in [(&files.server, "sslserver"), (&files.client, "sslclient")] {
            let mut verify = Command::new("openssl");
            verify.args(["verify", "-purpose", purpose, "-CAfile"]);
            verify.arg(&files.ca).arg(certificate);
            command::output(&mut verify).unwrap();
        }
    }
}
