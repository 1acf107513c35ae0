//! Installing and starting the asked-for products side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::run::{self, Run, Shared};
use super::{Installer, PRODUCTS, Product, processes};
use crate::failure::Failure;
use crate::report;

/// What became of one product.
pub struct Outcome {
    pub product: &'static str,
    /// Whether it was named.
    pub asked_for: bool,
    /// Why it does not run.
    pub skipped: Option<String>,
}

/// Starts the named products (all when there are no names) and what they need, and reports each with one
/// line. What runs already stays.
pub fn bring_up(state: &Path, names: &[String]) -> Result<Vec<Outcome>, Failure> {
    let asked_for = find(names)?;
    let wanted = with_needs(&asked_for);
    let _lock = run::lock(state)?;
    let shared = Arc::new(Shared::new(state)?);
    let board = Board::default();
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> = PRODUCTS
            .iter()
            .filter(|product| wanted.contains(product.name))
            .map(|product| {
                let named = !names.is_empty() && asked_for.contains(product.name);
                let (shared, board) = (Arc::clone(&shared), &board);
                scope.spawn(move || {
                    let result = one(state, product, named, &shared, board);
                    board.put(product.name, result.is_ok());
                    finished(product, named, result)
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    shared.change(|_| ())?;
    Ok(outcomes)
}

/// Installs and starts one product; says how.
fn one(
    state: &Path,
    product: &'static Product,
    asked_for: bool,
    shared: &Arc<Shared>,
    board: &Board,
) -> Result<String, Failure> {
    let is_listed = shared.offers(|offers| {
        product
            .offers
            .iter()
            .any(|name| offers.servers.contains_key(*name))
    });
    if is_listed {
        if processes::is_alive(state, product.name)? {
            return Ok("runs already".to_owned());
        }
        shared.stop(product.name)?;
        shared.change(|offers| {
            offers
                .servers
                .retain(|_, server| server.process != product.name);
        })?;
    }
    let began = Instant::now();
    let folder = (product.install)(&Installer::new(product, asked_for)?)?;
    let installed = began.elapsed();
    for needed in product.needs {
        if !board.wait_for(needed) {
            return Err(Failure::Refused(format!("it needs {needed}")));
        }
    }
    let began = Instant::now();
    let run = Run::new(product.name, Arc::clone(shared));
    match (product.start)(&run, &folder) {
        Ok(servers) => {
            shared.change(|offers| offers.add(product.name, servers))?;
            Ok(format!(
                "started in {:.1} s (program ready after {:.1} s)",
                began.elapsed().as_secs_f64(),
                installed.as_secs_f64()
            ))
        }
        Err(failure) => {
            shared.stop(product.name)?;
            Err(failure)
        }
    }
}

fn finished(product: &Product, asked_for: bool, result: Result<String, Failure>) -> Outcome {
    let title = format!("{} {}", product.name, product.version);
    let skipped = match result {
        Ok(how) => {
            report::line(&format!("{title}: {how}"));
            None
        }
        Err(failure) => {
            let mut reason = failure.to_string();
            let mut cause = failure.source();
            while let Some(error) = cause {
                reason.push_str(": ");
                reason.push_str(&error.to_string());
                cause = error.source();
            }
            report::line(&format!("{title}: skipped: {reason}"));
            Some(reason)
        }
    };
    Outcome {
        product: product.name,
        asked_for,
        skipped,
    }
}

/// The products that the names mean; all when there is no name.
fn find(names: &[String]) -> Result<BTreeSet<&'static str>, Failure> {
    if names.is_empty() {
        return Ok(PRODUCTS.iter().map(|product| product.name).collect());
    }
    let of = |name: &String| {
        PRODUCTS
            .iter()
            .find(|product| product.name == name || product.offers.contains(&name.as_str()))
            .map(|product| product.name)
            .ok_or_else(|| {
                let known: Vec<&str> = PRODUCTS.iter().map(|product| product.name).collect();
                Failure::Refused(format!(
                    "there is no server `{name}`; there are {}",
                    known.join(", ")
                ))
            })
    };
    names.iter().map(of).collect()
}

/// The products and everything they need.
fn with_needs(names: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    let mut all = names.clone();
    loop {
        let more: Vec<&'static str> = PRODUCTS
            .iter()
            .filter(|product| all.contains(product.name))
            .flat_map(|product| product.needs)
            .filter(|needed| !all.contains(*needed))
            .copied()
            .collect();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Where products tell each other whether they run.
#[derive(Default)]
struct Board {
    done: Mutex<BTreeMap<&'static str, bool>>,
    changed: Condvar,
}

impl Board {
    fn put(&self, product: &'static str, runs: bool) {
        self.done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(product, runs);
        self.changed.notify_all();
    }

    fn wait_for(&self, product: &str) -> bool {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(runs) = done.get(product) {
                return *runs;
            }
            done = self
                .changed
                .wait(done)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_and_entry_has_a_name_of_its_own_and_needs_what_exists() {
        let mut names = BTreeSet::new();
        for product in PRODUCTS {
            for name in product.offers {
                assert!(names.insert(*name), "{name} is offered twice");
            }
            for needed in product.needs {
                // Earlier in the table, so that there is no circle.
                let position = |name: &str| PRODUCTS.iter().position(|one| one.name == name);
                assert!(position(needed) < position(product.name), "{needed}");
                assert!(position(needed).is_some(), "{needed}");
            }
        }
    }

    #[test]
    fn an_unknown_server_is_refused_and_the_known_ones_are_named() {
        let error = find(&["nothing-of-the-kind".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("there is no server"), "{error}");
    }
}
