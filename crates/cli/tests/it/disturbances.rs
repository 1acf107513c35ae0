//! What goes wrong around sessions on a real cluster: sessions end by themselves, nothing is lost, and the next session
//! needs nobody's help. These tests have the cluster to themselves. Every test is skipped, with a line that says so,
//! where there is no cluster.
//!
//! Short by default; `STASH_TEST_LONG=1` takes the numbers and times of real trouble. `STASH_TEST_SEED` repeats the
//! random choices of a run.

mod agents;
mod node;
mod operator;
mod pods;
mod prune;
mod server;
mod site;

/// Whether this run takes its time.
fn is_long() -> bool {
    std::env::var_os("STASH_TEST_LONG").is_some()
}
