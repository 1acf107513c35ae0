//! rclone: no server of ours, but the second opinion on Azure and B2, where stock restic has no say.

use std::path::Path;
use std::process::Command;

use super::run::Run;
use super::{Product, Server};
use crate::command;
use crate::failure::Failure;

pub const PRODUCT: Product = Product {
    name: "rclone",
    version: "1.75.2",
    offers: &["rclone"],
    needs: &[],
    install: |installer| installer.python(include_str!("rclone.txt")),
    start,
};

fn start(_run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let program = folder.join("bin/rclone");
    command::output(Command::new(&program).args(["version", "--config", "/dev/null"]))?;
    Ok(vec![
        Server::new("rclone", "rclone", PRODUCT.version)
            .value("program", program.display().to_string()),
    ])
}
