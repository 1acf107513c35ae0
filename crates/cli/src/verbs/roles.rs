//! `stash roles`: the rights of the operator, from the one list in the code.

use clap::Args;
use serde_json::Value;

use crate::Context;
use crate::failure::{Failure, Outcome};

/// Print the rights that the operator needs in a cluster
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  stash roles --namespace backup-system | kubectl apply -f -\n\nThe chart in deploy/chart installs the same."
)]
pub struct RolesOptions {
    /// Name of the ClusterRole and of the Role
    #[arg(long, default_value = "stash-operator", value_name = "NAME")]
    name: String,
    /// Namespace of the operator
    #[arg(long, default_value = "stash", value_name = "NAMESPACE")]
    namespace: String,
    /// Print only the rules of one of the two, for templates
    #[arg(long, value_name = "KIND", value_parser = ["ClusterRole", "Role"])]
    rules_of: Option<String>,
}

/// Prints them as YAML.
pub fn run(context: &Context, options: &RolesOptions) -> Result<Outcome, Failure> {
    let cluster = serde_json::to_value(operator::rbac::operator_cluster_role(&options.name))?;
    let own = serde_json::to_value(operator::own_role(&options.name, &options.namespace))?;
    let text = match options.rules_of.as_deref() {
        Some("ClusterRole") => rules(&cluster),
        Some(_) => rules(&own),
        None => format!(
            "---\n{}---\n{}",
            api::manifest::to_yaml(&cluster),
            api::manifest::to_yaml(&own)
        ),
    };
    context.printer.raw(text.as_bytes())?;
    Ok(Outcome::Done)
}

fn rules(role: &Value) -> String {
    api::manifest::to_yaml(role.get("rules").unwrap_or(&Value::Null))
}
