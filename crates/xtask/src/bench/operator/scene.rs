//! The cluster in which the operator is measured: definitions, rights, objects, and the operator in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::operator::objects::{self, Population};
use crate::bench::operator::process::Operator;
use crate::cluster::{self, AUDIT_LOG, AUDITED};
use crate::command;
use crate::failure::Failure;
use crate::report;
use crate::servers::Guard;
use crate::workspace::{Workspace, read_text, write_text};

/// How many programs make objects at the same time, and how many objects each is given at once.
const MAKERS: usize = 4;
const BATCH: usize = 250;
/// Longest life of the operator's token.
const TOKEN: &str = "--duration=12h";

/// What a cluster says about itself.
#[derive(Deserialize)]
struct Offer {
    state: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    network: PathBuf,
    images: Images,
}

#[derive(Deserialize)]
struct Images {
    stash: String,
    busybox: String,
}

/// A cluster, and the program that is measured in it.
pub struct Scene {
    offer: Offer,
    program: PathBuf,
    deploy: PathBuf,
}

impl Scene {
    /// The cluster that runs, or one that ends with the guard.
    pub fn open(workspace: &Workspace, program: PathBuf) -> Result<(Self, Option<Guard>), Failure> {
        let (file, guard) = match std::env::var_os(cluster::VARIABLE) {
            Some(file) => (PathBuf::from(file), None),
            None => {
                cluster::check_machine()?;
                let guard = Guard::post(&cluster::WARD)?;
                let file = cluster::bring_up_with(workspace, &guard, Some(program.clone()))?;
                (file, Some(guard))
            }
        };
        let offer = serde_json::from_str(&read_text(&file)?).map_err(|source| Failure::Json {
            command: file.display().to_string(),
            source,
        })?;
        let scene = Self {
            offer,
            program,
            deploy: workspace.path("deploy"),
        };
        Ok((scene, guard))
    }

    /// An image for targets.
    pub fn busybox(&self) -> &str {
        &self.offer.images.busybox
    }

    /// Where the API server writes down what the operator asks for.
    pub fn audit_log(&self) -> PathBuf {
        self.offer.state.join(AUDIT_LOG)
    }

    /// Makes everything but the operator.
    pub fn prepare(&self, population: &Population, schedule: &str) -> Result<(), Failure> {
        for file in [
            "plain/namespace.yaml",
            "chart/files/crds.yaml",
            "plain/roles.yaml",
        ] {
            let file = self.deploy.join(file);
            let mut apply = self.kubectl(&["apply", "--server-side", "--filename"]);
            command::output(apply.arg(file))?;
        }
        self.write(&rights())?;
        self.write_kubeconfig()?;
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        command::output(&mut self.kubectl(&established))?;
        self.write(&population.namespaces())?;
        self.write_many(population.count(), |number| {
            let mut all = population.surroundings(number);
            all.push(objects::configuration(number, schedule));
            all
        })
    }

    /// Gives every BackupConfiguration a schedule.
    pub fn reschedule(
        &self,
        population: &Population,
        schedule: impl Fn(usize) -> String + Sync,
    ) -> Result<(), Failure> {
        self.write_many(population.count(), |number| {
            vec![objects::configuration(number, &schedule(number))]
        })
    }

    /// How many BackupConfigurations have the phase Ready.
    pub fn ready_configurations(&self) -> Result<usize, Failure> {
        let arguments = [
            "get",
            "backupconfigurations",
            "--all-namespaces",
            "--no-headers",
        ];
        let text = command::output(&mut self.kubectl(&arguments))?;
        let is_ready = |line: &&str| line.split_whitespace().any(|word| word == "Ready");
        Ok(text.lines().filter(is_ready).count())
    }

    /// Starts the operator with the rights that an installed one has.
    pub fn start_operator(&self) -> Result<Operator, Failure> {
        let mut command = self.enter(&self.program);
        command
            .args(["operator", "--image", &self.offer.images.stash])
            .args(["--namespace", "stash", "--identity", "measured"])
            .args(["--webhook-url", "https://127.0.0.1:8443"])
            .env("KUBECONFIG", self.kubeconfig());
        Operator::start(command, &self.offer.state.join("logs/operator.log"))
    }

    fn enter(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.offer.network.display()))
            .arg("--")
            .arg(program);
        command
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.enter(&self.offer.kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.offer.kubeconfig)
            .env("KUBECACHEDIR", self.offer.state.join("run/kubectl"));
        command
    }

    fn kubeconfig(&self) -> PathBuf {
        self.offer.state.join("etc/measured-operator.conf")
    }

    /// The administrator's way to the cluster with the operator's token.
    fn write_kubeconfig(&self) -> Result<(), Failure> {
        let account = AUDITED.rsplit(':').next().unwrap_or_default();
        let create = ["create", "token", account, "--namespace", "stash", TOKEN];
        let token = command::output(&mut self.kubectl(&create))?;
        let view = ["config", "view", "--raw", "--output", "json"];
        let text = command::output(&mut self.kubectl(&view))?;
        let mut config: Value = serde_json::from_str(&text).map_err(|source| Failure::Json {
            command: "kubectl config view".to_owned(),
            source,
        })?;
        config["users"][0]["user"] = json!({ "token": token.trim() });
        write_text(&self.kubeconfig(), &config.to_string())
    }

    fn write(&self, objects: &[Value]) -> Result<(), Failure> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let arguments = ["apply", "--server-side", "--filename", "-"];
        let mut apply = self.kubectl(&arguments);
        let failed = |source| Failure::Start {
            program: "kubectl apply".to_owned(),
            source,
        };
        let mut child = apply
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // A program that ends early says why in its exit status.
            drop(input.write_all(list.to_string().as_bytes()));
        }
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::Status {
            command: command::text_of(&apply),
            status,
        })
    }

    /// Several programs at the same time, each with a part.
    fn write_many(
        &self,
        count: usize,
        objects: impl Fn(usize) -> Vec<Value> + Sync,
    ) -> Result<(), Failure> {
        let numbers: Vec<usize> = (0..count).collect();
        let objects = &objects;
        thread::scope(|scope| {
            let makers: Vec<_> = numbers
                .chunks(count.div_ceil(MAKERS).max(1))
                .map(|part| {
                    scope.spawn(move || {
                        for batch in part.chunks(BATCH) {
                            let batch: Vec<Value> =
                                batch.iter().flat_map(|&number| objects(number)).collect();
                            self.write(&batch)?;
                        }
                        Ok(())
                    })
                })
                .collect();
            for maker in makers {
                maker.join().unwrap_or_else(|_| {
                    report::warning("a thread that made objects broke");
                    Err(Failure::Refused("objects could not be made".to_owned()))
                })?;
            }
            Ok(())
        })
    }
}

/// The operator's account with the roles that `deploy/` has for it.
fn rights() -> Vec<Value> {
    let account = AUDITED.rsplit(':').next().unwrap_or_default();
    let subject = json!([{ "kind": "ServiceAccount", "name": account, "namespace": "stash" }]);
    let binding = |kind: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": account },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "stash-operator" },
            "subjects": subject,
        })
    };
    let mut of_namespace = binding("RoleBinding", "Role");
    of_namespace["metadata"]["namespace"] = json!("stash");
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": account, "namespace": "stash" },
        }),
        binding("ClusterRoleBinding", "ClusterRole"),
        of_namespace,
    ]
}
