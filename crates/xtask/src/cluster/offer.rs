//! The file that tells tests about a cluster: `cluster.json` in its folder. `testkit::cluster` reads it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::bring_up::Prepared;
use super::images;
use super::layout::{Layout, NODE, NODE_ADDRESS, VERSION};
use crate::failure::Failure;
use crate::servers::save_json;

/// What a test may need to know.
#[derive(Serialize)]
pub struct Offer {
    /// The release of Kubernetes.
    pub version: String,
    /// The folder of the cluster; its logs are in `logs`.
    pub state: PathBuf,
    pub kubeconfig: PathBuf,
    pub kubectl: PathBuf,
    /// Nothing where it is not installed.
    pub helm: Option<PathBuf>,
    /// The network namespace in which the API server and Services can be reached.
    pub network: PathBuf,
    /// The mount namespace of the node.
    pub mounts: PathBuf,
    pub node: String,
    pub node_address: String,
    /// What stands for `/tmp/hostpath_pv`, where the default StorageClass puts volumes, outside of the cluster.
    pub volumes: PathBuf,
    pub images: Images,
    /// The task runner, to stop and start parts of the cluster: `xtask cluster stop PROGRAM --state DIR`.
    pub xtask: PathBuf,
}

#[derive(Serialize)]
pub struct Images {
    pub stash: String,
    pub busybox: String,
    /// Nothing where MinIO's program is not installed.
    pub minio: Option<String>,
}

/// Where the file is.
pub fn file(state: &Path) -> PathBuf {
    state.join("cluster.json")
}

/// Writes the file.
pub fn save(layout: &Layout, prepared: &Prepared) -> Result<(), Failure> {
    let xtask = std::env::current_exe().map_err(|source| Failure::Start {
        program: "xtask".to_owned(),
        source,
    })?;
    let offer = Offer {
        version: VERSION.to_owned(),
        state: layout.state().to_path_buf(),
        kubeconfig: layout.kubeconfig("admin").into(),
        kubectl: prepared.kubectl(),
        helm: prepared.helm().map(Path::to_path_buf),
        network: layout.network(),
        mounts: layout.mounts(),
        node: NODE.to_owned(),
        node_address: NODE_ADDRESS.to_owned(),
        volumes: layout.path("volumes"),
        images: Images {
            stash: images::STASH.to_owned(),
            busybox: images::BUSYBOX.to_owned(),
            minio: prepared.has_minio().then(|| images::MINIO.to_owned()),
        },
        xtask,
    };
    save_json(&file(layout.state()), &offer)
}
