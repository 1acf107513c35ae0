//! The pure rules of a run: who is which host, what a phase follows from, what is kept, retried and run next.
//!
//! No I/O and no clock: every function is told the moment it shall judge by.

pub mod disruption;
pub mod expected;
pub mod history;
pub mod hooks;
pub mod host;
pub mod labels;
pub mod lease;
pub mod model;
pub mod names;
pub mod owner;
pub mod phase;
pub mod restore;
pub mod retention;
pub mod retry;
pub mod source;
pub mod template;
pub mod text;
pub mod tick;
pub mod usage;
pub mod work;
