//! Who knows more about the holders of locks than the lock files tell.

use std::fmt;

use async_trait::async_trait;

/// Says whether the holder of a lock is gone for good, so that its lock need not grow old before others go on.
#[async_trait]
pub trait Judge: fmt::Debug + Send + Sync {
    /// Whether the holder whose lock carries this host name can never use it again. Only a proof counts: whoever
    /// does not know the name, or cannot find out, says no.
    async fn is_gone(&self, hostname: &str) -> bool;
}
