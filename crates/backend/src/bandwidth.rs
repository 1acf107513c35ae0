//! Limits of bytes per second, shared by all connections.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Limits for both directions. Clones share the same budget.
#[derive(Debug, Clone, Default)]
pub struct Bandwidth {
    upload: Option<Arc<Limit>>,
    download: Option<Arc<Limit>>,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the store.
    Upload,
    /// From the store.
    Download,
}

impl Bandwidth {
    /// Limits in bytes per second; `None` and 0 mean no limit.
    pub fn new(upload: Option<u64>, download: Option<u64>) -> Self {
        let limit = |bytes: Option<u64>| {
            bytes
                .filter(|bytes| *bytes > 0)
                .map(|bytes| Arc::new(Limit::new(bytes)))
        };
        Self {
            upload: limit(upload),
            download: limit(download),
        }
    }

    /// Whether a direction is limited.
    pub fn is_limited(&self, direction: Direction) -> bool {
        self.limit(direction).is_some()
    }

    /// Takes bytes from the budget and says how long to wait before they may be moved.
    pub fn take(&self, direction: Direction, bytes: usize) -> Duration {
        self.limit(direction)
            .map_or(Duration::ZERO, |limit| limit.take(bytes))
    }

    fn limit(&self, direction: Direction) -> Option<&Limit> {
        match direction {
            Direction::Upload => self.upload.as_deref(),
            Direction::Download => self.download.as_deref(),
        }
    }
}

/// A virtual clock that each byte moves forward: whoever takes bytes waits until it is passed.
#[derive(Debug)]
struct Limit {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Limit {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            free_at: Mutex::new(Instant::now()),
        }
    }

    fn take(&self, bytes: usize) -> Duration {
        let now = Instant::now();
        let mut free_at = self.free_at.lock();
        let start = (*free_at).max(now);
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        let seconds = bytes as f64 / self.bytes_per_second as f64;
        *free_at = start + Duration::from_secs_f64(seconds);
        start - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_wait_for_those_taken_before() {
        let bandwidth = Bandwidth::new(Some(1000), None);
        assert_eq!(bandwidth.take(Direction::Upload, 500), Duration::ZERO);
        assert_eq!(
            bandwidth.clone().take(Direction::Upload, 1000),
            Duration::from_millis(500)
        );
        assert_eq!(
            bandwidth.take(Direction::Upload, 1),
            Duration::from_millis(1500)
        );
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(bandwidth.take(Direction::Upload, 1), Duration::ZERO);
        assert_eq!(bandwidth.take(Direction::Download, 1 << 30), Duration::ZERO);
    }
}
