//! Starting a cluster, step by step, each with its time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::components::{
    self, API_SERVER, CONTAINERD, CONTROLLERS, ETCD, KUBELET, PROXY, SCHEDULER,
};
use super::layout::Layout;
use super::machine::Machine;
use super::{
    api, certificates, control_groups, helm, images, namespaces, offer, programs, settings,
};
use crate::command;
use crate::failure::Failure;
use crate::report;
use crate::servers::installer::program_on_path;
use crate::servers::run::{self, Spawned};
use crate::servers::{processes, testbed};
use crate::workspace::{Workspace, write_text};

const ADDONS: &str = include_str!("addons.yaml");
const POLL: Duration = Duration::from_millis(40);
/// How long containerd may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is made before a cluster starts, as none of it needs one.
pub struct Prepared {
    programs: PathBuf,
    /// Needed before the first Pod.
    base: Vec<PathBuf>,
    minio: Option<PathBuf>,
    helm: Option<PathBuf>,
    stash: PathBuf,
}

impl Prepared {
    /// The program for the image of `stash`.
    pub fn stash(&self) -> &Path {
        &self.stash
    }

    pub fn kubectl(&self) -> PathBuf {
        self.programs.join("kubectl")
    }

    /// Helm, where it has been installed.
    pub fn helm(&self) -> Option<&Path> {
        self.helm.as_deref()
    }

    /// Whether there is an image of MinIO.
    pub fn has_minio(&self) -> bool {
        self.minio.is_some()
    }
}

/// Builds and installs whatever is missing. `stash` is the program for the image; built from the workspace when it is
/// not given.
pub fn prepare(workspace: &Workspace, stash: Option<PathBuf>) -> Result<Prepared, Failure> {
    programs::check_machine()?;
    let programs = programs::install()?;
    let base = images::base(&programs)?;
    let minio = images::minio()?;
    let stash = match stash {
        Some(program) if program.is_file() => program,
        Some(program) => {
            return Err(Failure::Refused(format!(
                "there is no program {}",
                program.display()
            )));
        }
        None => build(workspace)?,
    };
    Ok(Prepared {
        programs,
        base,
        minio,
        helm: helm::installed()?,
        stash,
    })
}

/// Builds `stash` and returns the program.
pub fn build(workspace: &Workspace) -> Result<PathBuf, Failure> {
    command::run(&mut workspace.cargo(&["build", "--package", "cli", "--bin", "stash"]))?;
    Ok(workspace.target_folder()?.join("debug/stash"))
}

/// Starts everything in an empty state folder; the caller holds its lock.
pub fn start(layout: &Layout, prepared: &Prepared) -> Result<(), Failure> {
    let clock = Clock::start();
    for folder in ["run", "tmp", "etc", "volumes"] {
        let folder = layout.path(folder);
        fs::create_dir_all(&folder).map_err(|source| Failure::Write {
            path: folder.clone(),
            source,
        })?;
    }
    Machine::new(&testbed()?).enter(layout)?;
    namespaces::create(layout)?;
    control_groups::create(layout)?;
    certificates::write(layout)?;
    let runc = program_on_path("runc", "runc")?;
    settings::write(layout, &runc, programs::network_plugins()?)?;
    clock.say("namespaces, certificates, settings");

    let starter = Starter {
        layout,
        prepared,
        clock,
    };
    starter.start(CONTAINERD)?;
    let etcd = starter.start(ETCD)?;
    thread::scope(|scope| {
        let base = scope.spawn(|| starter.load_base());
        starter.start_control_plane(etcd)?;
        joined(base.join())?;
        let others = scope.spawn(|| starter.load_others());
        starter.start_node()?;
        joined(others.join())
    })?;
    offer::save(layout, prepared)
}

fn joined(result: thread::Result<Result<(), Failure>>) -> Result<(), Failure> {
    result.unwrap_or_else(|_| Err(Failure::Refused("loading images panicked".to_owned())))
}

/// Starts one program again that was stopped.
pub fn start_again(layout: &Layout, programs: &Path, name: &str) -> Result<(), Failure> {
    spawn(layout, programs, name).map(drop)
}

/// Makes the image of `stash` and loads it into a running cluster.
pub fn load_stash(layout: &Layout, program: &Path) -> Result<(), Failure> {
    let file = layout.path("tmp/stash.tar");
    images::stash(program, &file)?;
    load(layout, &file)?;
    fs::remove_file(&file).map_err(|source| Failure::Write { path: file, source })
}

/// Loads the images of a docker-archive tarball into a running cluster.
pub fn load(layout: &Layout, file: &Path) -> Result<(), Failure> {
    let mut import = Command::new("ctr");
    import
        .args(["--address", &layout.containerd(), "--namespace", "k8s.io"])
        .args(["images", "import"])
        .arg(file)
        .env(processes::MARK, layout.state());
    command::output(&mut import).map(drop)
}

struct Starter<'a> {
    layout: &'a Layout,
    prepared: &'a Prepared,
    clock: Clock,
}

impl Starter<'_> {
    fn start(&self, name: &str) -> Result<Spawned, Failure> {
        spawn(self.layout, &self.prepared.programs, name)
    }

    fn start_control_plane(&self, mut etcd: Spawned) -> Result<(), Failure> {
        etcd.wait_until_ready(|| api::etcd_is_healthy(self.layout))?;
        self.clock.say("etcd healthy");
        let mut server = self.start(API_SERVER)?;
        server.wait_until_ready(|| api::is_ready(self.layout))?;
        self.clock.say("API server ready");
        for name in [CONTROLLERS, SCHEDULER, PROXY] {
            self.start(name)?;
        }
        self.apply_addons()?;
        self.clock.say("add-ons applied");
        Ok(())
    }

    fn start_node(&self) -> Result<(), Failure> {
        let mut kubelet = self.start(KUBELET)?;
        kubelet.wait_until_ready(|| api::node_is_ready(self.layout))?;
        self.clock.say("node Ready");
        kubelet.wait_until_ready(|| {
            api::has_default_account(self.layout) && api::dns_is_ready(self.layout)
        })?;
        self.clock.say("DNS ready");
        Ok(())
    }

    /// Loads what the node needs for its first Pods.
    fn load_base(&self) -> Result<(), Failure> {
        let is_there = || {
            let mut version = Command::new("ctr");
            version.args(["--address", &self.layout.containerd(), "version"]);
            command::succeeds(&mut version)
        };
        let deadline = Instant::now() + PATIENCE;
        while !is_there() {
            if Instant::now() > deadline {
                let log = self.layout.path("logs/containerd.log");
                return Err(Failure::Refused(format!(
                    "containerd did not answer within {PATIENCE:?}{}",
                    run::end_of(&log)
                )));
            }
            thread::sleep(POLL);
        }
        for image in &self.prepared.base {
            load(self.layout, image)?;
        }
        self.clock.say("images of the node loaded");
        Ok(())
    }

    fn load_others(&self) -> Result<(), Failure> {
        load_stash(self.layout, &self.prepared.stash)?;
        if let Some(image) = &self.prepared.minio {
            load(self.layout, image)?;
        }
        self.clock.say("images of the tests loaded");
        Ok(())
    }

    fn apply_addons(&self) -> Result<(), Failure> {
        let file = self.layout.path("etc/addons.yaml");
        write_text(&file, ADDONS)?;
        let mut apply = namespaces::enter(self.layout, &self.prepared.kubectl());
        apply
            .args(["--kubeconfig", &self.layout.kubeconfig("admin")])
            .args(["create", "--validate=false", "--filename"])
            .arg(&file)
            .env("KUBECACHEDIR", self.layout.path("run/kubectl"))
            .env(processes::MARK, self.layout.state());
        command::output(&mut apply).map(drop)
    }
}

fn spawn(layout: &Layout, programs: &Path, name: &str) -> Result<Spawned, Failure> {
    let mut command = components::command(layout, programs, name)?;
    run::spawn(layout.state(), name, name.to_owned(), &mut command)
}

/// Says what has been reached, and when.
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn say(&self, what: &str) {
        let seconds = self.0.elapsed().as_secs_f64();
        report::line(&format!("{seconds:6.1} s  {what}"));
    }
}
