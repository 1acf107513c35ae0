//! Counts requests and bytes.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::Operation;

/// What was counted for one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests sent, repeated ones included. Folders count one for each call.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Bytes of contents sent.
    pub sent_bytes: u64,
    /// Bytes of contents received.
    pub received_bytes: u64,
}

/// Counters of one backend, by operation.
#[derive(Debug, Default)]
pub struct Meter {
    counts: Mutex<BTreeMap<Operation, Count>>,
}

impl Meter {
    /// Counts one request.
    pub fn add(&self, operation: Operation, is_failure: bool, sent: usize, received: usize) {
        let mut counts = self.counts.lock();
        let count = counts.entry(operation).or_default();
        count.requests += 1;
        count.failures += u64::from(is_failure);
        count.sent_bytes += sent as u64;
        count.received_bytes += received as u64;
    }

    /// What was counted so far, by operation.
    pub fn counts(&self) -> BTreeMap<Operation, Count> {
        self.counts.lock().clone()
    }

    /// The sum over all operations.
    pub fn total(&self) -> Count {
        self.counts
            .lock()
            .values()
            .fold(Count::default(), |sum, count| Count {
                requests: sum.requests + count.requests,
                failures: sum.failures + count.failures,
                sent_bytes: sum.sent_bytes + count.sent_bytes,
                received_bytes: sum.received_bytes + count.received_bytes,
            })
    }
}
