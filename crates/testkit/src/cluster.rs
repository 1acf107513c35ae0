//! A real Kubernetes, as tests see it.
//!
//! `cargo xtask cluster up` starts one and names the file to set `STASH_TEST_CLUSTER` to. The same tests run against
//! any other cluster by `KUBECONFIG`, where `STASH_TEST_IMAGE` names the image of `stash`: both, so that no cluster is
//! used by mistake; `STASH_TEST_BUSYBOX` names an image with a shell where the public one cannot be pulled. Tests that
//! stop its parts or need its folders run on one of ours only ([`Cluster::is_own`]). A test is skipped, with a line that is
//! counted, when there is neither:
//!
//! ```no_run
//! # fn body() -> Option<()> {
//! let cluster = testkit::Cluster::offered()?;
//! let namespace = cluster.create_namespace("sidecar");
//! namespace.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
//! # Some(()) }
//! ```
//!
//! A cluster is shared by all tests of a run: keep to a namespace of your own, and give what has none a random name.

mod client;
mod files;
mod namespace;
mod waiting;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

pub use self::client::{Answer, Client};
pub use self::files::Files;
pub use self::namespace::Namespace;
pub use self::waiting::{wait_for, wait_until};
use crate::skip;

/// The variable that names the file of a cluster of `cargo xtask cluster up`.
pub const VARIABLE: &str = "STASH_TEST_CLUSTER";
/// The variable that names the image of `stash` on any other cluster.
pub const IMAGE_VARIABLE: &str = "STASH_TEST_IMAGE";
/// The variable that names another image with a shell, for a cluster that cannot get the usual one.
const BUSYBOX_VARIABLE: &str = "STASH_TEST_BUSYBOX";
/// The image with a shell on any other cluster.
const PUBLIC_BUSYBOX: &str = "docker.io/library/busybox:1.36";
const VOLUMES: &str = "/tmp/hostpath_pv";

/// A cluster and the way to it.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubectl: PathBuf,
    helm: Option<PathBuf>,
    kubeconfig: PathBuf,
    images: Images,
    own: Option<Own>,
}

/// What only a cluster of ours has.
#[derive(Clone, Debug, Deserialize)]
struct Own {
    state: PathBuf,
    network: PathBuf,
    mounts: PathBuf,
    node: String,
    node_address: String,
    volumes: PathBuf,
    xtask: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
struct Images {
    stash: String,
    busybox: String,
    minio: Option<String>,
}

#[derive(Deserialize)]
struct Offer {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    helm: Option<PathBuf>,
    images: Images,
    #[serde(flatten)]
    own: Own,
}

/// What a command of `kubectl` said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; `exec` hands on the one of its command.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Cluster {
    /// The cluster of this run; says that the test is skipped when there is none.
    pub fn offered() -> Option<Self> {
        let found = Self::from_environment();
        if found.is_none() {
            skip(format!(
                "cluster: not running (`cargo xtask cluster up`, then set {VARIABLE}; or set KUBECONFIG and {IMAGE_VARIABLE})"
            ));
        }
        found
    }

    /// The cluster of this run. A file that cannot be read fails the test.
    pub fn from_environment() -> Option<Self> {
        if let Some(file) = env::var_os(VARIABLE) {
            let text = fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", file.display()));
            return Some(Self::parse(&text));
        }
        let kubeconfig = env::var_os("KUBECONFIG")?.into();
        let stash = env::var(IMAGE_VARIABLE).ok()?;
        Some(Self {
            kubectl: "kubectl".into(),
            helm: Some("helm".into()),
            kubeconfig,
            images: Images {
                stash,
                busybox: env::var(BUSYBOX_VARIABLE).unwrap_or_else(|_| PUBLIC_BUSYBOX.to_owned()),
                minio: None,
            },
            own: None,
        })
    }

    fn parse(text: &str) -> Self {
        let offer: Offer =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
        Self {
            kubectl: offer.kubectl,
            helm: offer.helm,
            kubeconfig: offer.kubeconfig,
            images: offer.images,
            own: Some(offer.own),
        }
    }

    /// The configuration file of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The image of `stash`; never pulled.
    pub fn image(&self) -> &str {
        &self.images.stash
    }

    /// An image with a shell and the usual tools.
    pub fn busybox(&self) -> &str {
        &self.images.busybox
    }

    /// MinIO's image; says that the test is skipped when there is none.
    pub fn minio(&self) -> Option<&str> {
        if self.images.minio.is_none() {
            skip(
                "MinIO in the cluster: no image (`cargo xtask servers up minio` installs its program)",
            );
        }
        self.images.minio.as_deref()
    }

    /// Helm; says that the test is skipped when there is none. On any other cluster it is the one on the search path.
    pub fn helm(&self) -> Option<&Path> {
        let found = self.helm.as_deref().filter(|program| {
            let version = Command::new(program).arg("version").output();
            version.is_ok_and(|output| output.status.success())
        });
        if found.is_none() {
            skip("Helm: not installed (`cargo xtask test` builds it)");
        }
        found
    }

    /// Whether it is a cluster of `cargo xtask cluster up`, where tests may disturb parts and see its folders.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The node's name, of a cluster of ours.
    pub fn node(&self) -> &str {
        &self.own().node
    }

    /// The address under which host processes started by [`Cluster::command`] are reached by the API server, of a
    /// cluster of ours.
    pub fn node_address(&self) -> &str {
        &self.own().node_address
    }

    /// A command that runs on this machine within the cluster's network, with `KUBECONFIG` set: an operator outside of
    /// the cluster, or a client of a Service.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match &self.own {
            None => Command::new(program),
            Some(own) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net={}", own.network.display()))
                    .arg("--")
                    .arg(program);
                command
            }
        };
        command.env("KUBECONFIG", &self.kubeconfig);
        if let Some(own) = &self.own {
            // What kubectl remembers goes away with the cluster.
            command.env("KUBECACHEDIR", own.state.join("run/kubectl"));
        }
        command
    }

    /// A command that runs as on the node of a cluster of ours: within its network and with its mounts, where volumes
    /// are at the paths that Kubernetes knows. What is mounted by it can be a `hostPath`; the rest of the machine does
    /// not see it, and it ends with the cluster.
    pub fn node_command(&self, program: impl AsRef<OsStr>) -> Command {
        let own = self.own();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", own.network.display()))
            .arg(format!("--mount={}", own.mounts.display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `kubectl`, whatever it says.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with_input(arguments, b"")
    }

    /// Runs `kubectl` and returns what it wrote; a failure fails the test.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments)
            .succeed(&format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs `kubectl` with something on its standard input.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(&self.kubectl)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.kubectl.display()));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that ends early says why in its output.
                drop(stdin.write_all(input));
            });
            child.wait_with_output().unwrap()
        });
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Applies manifests; objects without a namespace go to `default`.
    pub fn apply(&self, yaml: &str) {
        self.kubectl_with_input(&["apply", "--filename", "-"], yaml.as_bytes())
            .succeed("kubectl apply");
    }

    /// An object as JSON, or nothing when it does not exist. `resource` is for example `deployments.apps/web`; an
    /// empty namespace is for what has none.
    pub fn get(&self, namespace: &str, resource: &str) -> Option<Value> {
        let arguments = [
            "get",
            resource,
            "--output",
            "json",
            "--namespace",
            namespace,
        ];
        let used = if namespace.is_empty() { 4 } else { 6 };
        let output = self.try_kubectl(&arguments[..used]);
        if output.code != 0 && output.stderr.contains("(NotFound)") {
            return None;
        }
        let text = output.succeed(&format!("kubectl get {resource}"));
        Some(serde_json::from_str(&text).unwrap())
    }

    /// A new namespace whose name begins with `title`; removed when the value is dropped.
    pub fn create_namespace(&self, title: &str) -> Namespace {
        Namespace::create(self, title)
    }

    /// The folder on this machine that holds the files of a claim of the default StorageClass, of a cluster of ours.
    pub fn volume(&self, namespace: &str, claim: &str) -> PathBuf {
        let claim = self
            .get(namespace, &format!("persistentvolumeclaims/{claim}"))
            .unwrap_or_else(|| panic!("there is no claim {claim}"));
        let name = claim["spec"]["volumeName"]
            .as_str()
            .unwrap_or_else(|| panic!("the claim has no volume: {claim}"));
        let volume = self
            .get("", &format!("persistentvolumes/{name}"))
            .unwrap_or_else(|| panic!("there is no volume {name}"));
        let path = volume["spec"]["hostPath"]["path"].as_str().unwrap();
        let below = Path::new(path).strip_prefix(VOLUMES).unwrap();
        self.own().volumes.join(below)
    }

    /// Kills a program of a cluster of ours, for example `kubelet`; [`Cluster::start_program`] starts it again. Other
    /// tests see that, too: only for tests that run alone.
    pub fn stop_program(&self, name: &str) {
        self.xtask(&["stop", name]);
    }

    /// Starts a program again that was stopped.
    pub fn start_program(&self, name: &str) {
        self.xtask(&["start", name]);
    }

    fn xtask(&self, arguments: &[&str]) {
        let own = self.own();
        let output = Command::new(&own.xtask)
            .arg("cluster")
            .args(arguments)
            .arg("--state")
            .arg(&own.state)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "xtask cluster {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn own(&self) -> &Own {
        self.own
            .as_ref()
            .unwrap_or_else(|| panic!("this needs a cluster of `cargo xtask cluster up`"))
    }
}

impl Output {
    /// What it wrote to standard output; a failure fails the test.
    pub fn succeed(self, what: &str) -> String {
        assert_eq!(self.code, 0, "{what}: {}{}", self.stdout, self.stderr);
        self.stdout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_cluster_tells_where_everything_is() {
        let text = r#"{"version": "1", "state": "/s", "kubeconfig": "/s/etc/admin.conf", "kubectl": "/p/kubectl",
            "network": "/s/net", "mounts": "/s/mnt", "node": "node0", "node_address": "10.0.0.1", "volumes": "/s/volumes",
            "images": {"stash": "registry.local/stash:1", "busybox": "b", "minio": null}, "xtask": "/x"}"#;
        let cluster = Cluster::parse(text);
        assert!(cluster.is_own());
        assert_eq!(cluster.image(), "registry.local/stash:1");
        assert_eq!(cluster.node_address(), "10.0.0.1");
        let command = cluster.command("stash");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--net=/s/net", "--", "stash"]);
        assert!(command.get_envs().any(
            |(name, value)| name == "KUBECONFIG" && value == Some("/s/etc/admin.conf".as_ref())
        ));
    }
}
