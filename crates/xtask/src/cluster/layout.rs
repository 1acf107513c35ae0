//! Where everything of a cluster is, and the names and addresses it uses.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The release of Kubernetes; `programs.mod` must agree.
pub const VERSION: &str = "1.34.4";
pub const NODE: &str = "node0";
/// The node's address, on the loopback device of the cluster's network; the kubelet refuses 127.0.0.0/8.
pub const NODE_ADDRESS: &str = "10.89.0.1";
pub const PODS: &str = "10.88.0.0/24";
pub const SERVICES: &str = "10.96.0.0/24";
/// The first address of [`SERVICES`]: the Service `kubernetes`.
pub const API_SERVICE: &str = "10.96.0.1";
pub const DNS: &str = "10.96.0.10";

/// Unix sockets below the state folder must have paths of at most 107 bytes.
const LONGEST_STATE: usize = 60;

/// The folder of one cluster. Everything it writes is below.
#[derive(Clone)]
pub struct Layout {
    state: PathBuf,
}

impl Layout {
    /// Checks that the path suits all the formats it is written into.
    pub fn new(state: &Path) -> Result<Self, Failure> {
        let text = state.to_str().unwrap_or_default();
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
        if !state.is_absolute() || !text.chars().all(is_plain) || text.len() > LONGEST_STATE {
            return Err(Failure::Refused(format!(
                "{}: the folder of a cluster needs an absolute path of at most {LONGEST_STATE} letters, digits, `/`, `.`, `_` and `-`",
                state.display()
            )));
        }
        Ok(Self {
            state: state.to_path_buf(),
        })
    }

    /// The folder itself.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A path below the folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.state.join(below)
    }

    /// A path below the folder as text.
    pub fn text(&self, below: &str) -> String {
        self.path(below).display().to_string()
    }

    /// What tells this cluster from another in names that the machine shares (control groups).
    pub fn name(&self) -> String {
        let digest = Sha256::digest(self.state.as_os_str().as_encoded_bytes());
        format!("stash-{}", hex::encode(&digest[..4]))
    }

    /// The file that keeps the network namespace.
    pub fn network(&self) -> PathBuf {
        self.path("net")
    }

    /// The file that keeps the mount namespace.
    pub fn mounts(&self) -> PathBuf {
        self.path("mnt")
    }

    /// Where containerd listens.
    pub fn containerd(&self) -> String {
        self.text("run/containerd.sock")
    }

    /// The configuration of a client: `admin`, `kubelet` and so on.
    pub fn kubeconfig(&self, client: &str) -> String {
        self.text(&format!("etc/{client}.conf"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_of_different_folders_have_different_names() {
        let name = |path: &str| Layout::new(Path::new(path)).unwrap().name();
        assert_eq!(name("/a/b"), name("/a/b"));
        assert_ne!(name("/a/b"), name("/a/c"));
        assert!(name("/a/b").starts_with("stash-"));
    }

    #[test]
    fn a_folder_that_some_format_would_break_is_refused() {
        for path in [
            "relative",
            "/with space",
            "/with\"quote",
            &format!("/{}", "a".repeat(60)),
        ] {
            assert!(Layout::new(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn the_programs_are_of_the_version_that_is_shown() {
        assert!(include_str!("programs.mod").contains(&format!("k8s.io/kubernetes v{VERSION}\n")));
        assert!(include_str!("addons.yaml").contains(&format!("clusterIP: {DNS}\n")));
    }
}
