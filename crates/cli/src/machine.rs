//! The controller of one machine: manifests in, sessions on schedule, status and history in a database.
//!
//! What a session does is the `agent`'s work and its rules are `session`'s; here is when it runs and what is kept.

pub mod controller;
pub mod desired;
pub mod load;
pub mod run;
pub mod state;

pub mod describe;
pub mod get;
pub mod table;
pub mod trigger;
pub mod validate;
