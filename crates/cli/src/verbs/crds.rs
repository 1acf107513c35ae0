//! `stash crds`: the definitions of the resources for a cluster.

use clap::Args;
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};

/// Print the custom resource definitions
///
/// One JSON list, which `kubectl apply` takes as well as YAML.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash crds | kubectl apply --server-side -f -")]
pub struct CrdsOptions {}

/// Prints them as one List.
pub fn run(context: &Context, _options: &CrdsOptions) -> Result<Outcome, Failure> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": api::crd::crds()});
    let mut text = serde_json::to_vec_pretty(&list)?;
    text.push(b'\n');
    context.printer.raw(&text)?;
    Ok(Outcome::Done)
}
