//! Doubles and fixtures that the test suites share; a dev-dependency only.
//!
//! A double exists for what no real part can do on demand: [`MemoryBackend`] for speed and direct damage,
//! [`FaultBackend`] for failures at a chosen call, [`proxy`] for failures of the network before a real
//! server, [`relay`] for distance, [`certificates`] and [`stub`] for what no real server shows on demand.
//! [`Restic`] is the real program as oracle, [`servers`] tells where the real servers listen,
//! [`cluster`] is the way to a real Kubernetes.
//! [`everything`] builds a folder with all that a Unix file can be, [`tree`] describes and compares
//! folders.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a fixture that cannot be made is a failed test, and a skipped test must say so"
)]

mod fault;
mod memory;

pub mod everything;
mod random;
mod scratch;
pub mod tree;
pub mod uml;

pub mod certificates;
pub mod proxy;
pub mod relay;
mod serving;
pub mod stub;

pub mod cluster;
mod restic;
pub mod servers;

pub use cluster::Cluster;
pub use everything::{build_everything_tree, build_plain_tree, build_varied_tree};
pub use fault::{Call, Calls, Effect, Fault, FaultBackend};
pub use memory::MemoryBackend;
pub use random::Random;
pub use restic::{Restic, ResticOutput, ResticRepository};
pub use scratch::Scratch;
pub use tree::{CompareOptions, assert_same_tree, compare_trees, describe_tree};

/// Says that a test, or a part of one, cannot run here; continuous integration counts these lines.
pub fn skip(reason: impl std::fmt::Display) {
    println!("SKIPPED: {reason}");
}

/// Whether the tests run as root, who may own, mount and make devices as it likes.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
