//! Servers that begin with nothing: for measurements that must not see what others before them stored.

use std::path::Path;

use super::offers::{Offers, Server};
use super::{bring_up, processes, run};
use crate::failure::Failure;

/// What runs after [`renew`].
#[derive(Default)]
pub struct Servers(Offers);

/// Stops the named products where they run, and starts them without the data they had.
pub fn renew(state: &Path, names: &[&str]) -> Result<Servers, Failure> {
    let lock = run::lock(state)?;
    for name in names {
        processes::stop_product(state, name)?;
        let mut offers = Offers::load(state)?;
        offers.servers.retain(|_, server| server.process != *name);
        offers.save(state)?;
    }
    drop(lock);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    for outcome in bring_up(state, &names)? {
        if let Some(reason) = outcome.skipped {
            return Err(Failure::Refused(format!("{}: {reason}", outcome.product)));
        }
    }
    Offers::load(state).map(Servers)
}

impl Servers {
    /// An entry by name.
    pub fn get(&self, name: &str) -> Result<&Server, Failure> {
        self.0
            .servers
            .get(name)
            .ok_or_else(|| Failure::Refused(format!("the server {name} does not run")))
    }

    /// The certificate of the authority that all of them trust.
    pub fn ca(&self) -> &Path {
        &self.0.ca
    }
}
