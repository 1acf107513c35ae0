//! `stash operator`: the controllers of a cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use clap::Args;
use operator::{ImageOptions, OperatorOptions, WebhookOptions};

use crate::Context;
use crate::failure::{Failure, Outcome};

/// Run the controllers of a Kubernetes cluster: schedules, sidecars, Jobs and restores
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash operator --image ghcr.io/example/stash:1.0\n  KUBECONFIG=admin.conf stash operator --image stash:dev --webhook-url https://127.0.0.1:8443\n\nIn a cluster it is installed by the chart in deploy/chart, or by `kubectl apply -k deploy/`."
)]
pub struct OperatorArguments {
    /// Image that sidecars, init containers and Jobs run, with tag or digest; default: that of the operator's own Pod
    #[arg(long, env = "STASH_IMAGE", value_name = "IMAGE")]
    image: Option<String>,
    /// When nodes pull the image
    #[arg(long, default_value = "IfNotPresent", value_name = "POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// Secret that nodes pull the image with; repeat for several
    #[arg(long = "image-pull-secret", value_name = "NAME")]
    image_pull_secrets: Vec<String>,
    /// Namespace of the operator's own Lease and certificates; default: the one it runs in
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Name of this process among operators; default: the Pod's name
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
    /// Port of health, readiness and metrics
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    metrics_port: u16,
    /// Port of the webhooks; 0 serves none
    #[arg(long, default_value_t = 8443, value_name = "PORT")]
    webhook_port: u16,
    /// Service in front of the webhooks
    #[arg(long, default_value = "stash-webhook", value_name = "NAME")]
    webhook_service: String,
    /// Where the API server finds the webhooks of an operator that runs outside the cluster, as `https://HOST:PORT`
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// Seconds that the API server waits for the webhooks before it goes on without
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u8).range(1..=30))]
    webhook_timeout: u8,
    /// Namespaces whose workloads are not sent to the webhooks, besides the operator's own
    #[arg(
        long,
        default_value = "kube-system,kube-public,kube-node-lease",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    webhook_excluded_namespaces: Vec<String>,
    /// ClusterRole with which the configurations of the webhooks are removed; without it they are left behind
    #[arg(long, value_name = "NAME")]
    webhook_owner: Option<String>,
    /// Work without waiting to lead; only where no other operator can be running
    #[arg(long)]
    no_leader_election: bool,
}

/// Runs until stopped.
pub async fn run(context: &Context, arguments: OperatorArguments) -> Result<Outcome, Failure> {
    let (connection, own_namespace) = operator::connect().await?;
    let namespace = arguments.namespace.unwrap_or(own_namespace);
    let image = match (arguments.image, &arguments.identity) {
        (Some(image), _) => image,
        (None, pod) => {
            let pod = pod.as_deref().unwrap_or_default();
            operator::own_image(connection.requests.clone(), &namespace, pod).await?
        }
    };
    let address = every_address();
    let any = |port| SocketAddr::new(address, port);
    let options = OperatorOptions {
        namespace,
        identity: arguments
            .identity
            .unwrap_or_else(|| format!("operator-{}", uuid::Uuid::new_v4())),
        elects_leader: !arguments.no_leader_election,
        image: ImageOptions {
            name: image,
            pull_policy: arguments.image_pull_policy,
            pull_secrets: arguments.image_pull_secrets,
        },
        metrics_address: any(arguments.metrics_port),
        webhook: (arguments.webhook_port != 0).then(|| WebhookOptions {
            address: any(arguments.webhook_port),
            service: arguments.webhook_service,
            url: arguments.webhook_url,
            timeout_seconds: arguments.webhook_timeout,
            excluded_namespaces: arguments
                .webhook_excluded_namespaces
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect(),
            owner: arguments.webhook_owner,
        }),
    };
    operator::run(connection, options, context.cancel.clone()).await?;
    Ok(Outcome::Done)
}

/// The address that stands for every one of this machine: of both families where a socket can serve both, else of IPv4.
fn every_address() -> IpAddr {
    let (both, old) = (IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED);
    let serves_both = TcpListener::bind((both, 0)).is_ok_and(|listener| {
        let port = listener.local_addr().map(|address| address.port());
        // Taken, unless `net.ipv6.bindv6only` is set.
        port.is_ok_and(|port| TcpListener::bind((old, port)).is_err())
    });
    if serves_both { both } else { old.into() }
}
