//! The buffers of packs: counted, so that memory is bounded, and used again.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Hands out buffers up to a number and makes others wait for one to come back.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    returned: Condvar,
    capacity_bytes: usize,
}

#[derive(Debug)]
struct State {
    available: usize,
    free: Vec<Vec<u8>>,
}

/// The right to hold one buffer; dropped when the buffer is no longer in memory or was given back.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool of `buffers` buffers with room for `capacity_bytes` each.
    pub(super) fn new(buffers: usize, capacity_bytes: usize) -> Arc<Self> {
        let state = Mutex::new(State {
            available: buffers,
            free: Vec::new(),
        });
        Arc::new(Self {
            state,
            returned: Condvar::new(),
            capacity_bytes,
        })
    }

    /// A buffer; waits until there is one.
    pub(super) fn take(self: &Arc<Self>) -> (Vec<u8>, Permit) {
        let mut state = self.state.lock();
        while state.available == 0 {
            self.returned.wait(&mut state);
        }
        state.available -= 1;
        let used = state.free.pop();
        drop(state);
        // Untouched memory costs nothing, so the room for the last blob is taken at once and never moved.
        let buffer = used.unwrap_or_else(|| Vec::with_capacity(self.capacity_bytes));
        (
            buffer,
            Permit {
                pool: Arc::clone(self),
            },
        )
    }
}

impl Permit {
    /// Gives a buffer back together with the right to it.
    pub(super) fn give_back(self, buffer: Vec<u8>) {
        // A buffer that a huge blob made grow is not kept.
        if buffer.capacity() <= 2 * self.pool.capacity_bytes {
            self.pool.state.lock().free.push(buffer);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.state.lock().available += 1;
        self.pool.returned.notify_one();
    }
}
