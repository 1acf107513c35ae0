//! Helm, for tests of the chart: built from the Go module proxy, kept for all checkouts of this user.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::report;
use crate::servers::installer::Installer;
use crate::servers::testbed;

const VERSION: &str = "3.18.6";

fn installer() -> Result<Installer, Failure> {
    Ok(Installer::at(testbed()?.join(format!("helm-v{VERSION}"))))
}

/// The program, where it has been installed.
pub fn installed() -> Result<Option<PathBuf>, Failure> {
    let installer = installer()?;
    let program = installer.folder().join("bin/helm");
    Ok(installer.is_installed().then_some(program))
}

/// Builds it unless it is there.
pub fn install() -> Result<(), Failure> {
    let installer = installer()?;
    if !installer.is_installed() {
        report::line("  building Helm: 8 minutes of CPU, once for this version");
    }
    installer
        .go(&format!("helm.sh/helm/v3/cmd/helm@v{VERSION}"))
        .map(|_| ())
}
