//! `stash crds`: the definitions of the resources for a cluster.

use clap::Args;
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};

/// Print the custom resource definitions
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash crds | kubectl apply --server-side -f -")]
pub struct CrdsOptions {
    /// How to print them
    #[arg(long, default_value = "json", value_name = "FORMAT", value_parser = ["json", "yaml"])]
    output: String,
}

/// Prints them: as one JSON list, or as YAML documents.
pub fn run(context: &Context, options: &CrdsOptions) -> Result<Outcome, Failure> {
    let definitions = api::crd::crds();
    if options.output == "yaml" {
        for definition in definitions {
            let text = api::manifest::to_yaml(&serde_json::to_value(definition)?);
            context.printer.raw(format!("---\n{text}").as_bytes())?;
        }
        return Ok(Outcome::Done);
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    let mut text = serde_json::to_vec_pretty(&list)?;
    text.push(b'\n');
    context.printer.raw(&text)?;
    Ok(Outcome::Done)
}
