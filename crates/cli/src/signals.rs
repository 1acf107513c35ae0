//! SIGINT and SIGTERM ask the work to stop; a second one ends the process at once.
//!
//! SIGHUP is not among them: restic's `unlock` sends it to the holders of locks to see whether they live.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Outcome;

/// Cancels the token at the first signal.
pub fn cancel_on_signal(cancel: &CancellationToken) {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
    for kind in kinds {
        let cancel = cancel.clone();
        match signal(kind) {
            Ok(mut stream) => {
                tokio::spawn(async move {
                    while stream.recv().await.is_some() {
                        if cancel.is_cancelled() {
                            exit_now();
                        }
                        cancel.cancel();
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "cannot listen for a signal"),
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the user asked twice; locks become stale by their owner's absence"
)]
fn exit_now() {
    std::process::exit(i32::from(Outcome::Interrupted.code()));
}
