//! restic's verbs on one repository, and the roles in a cluster: each module holds its options and its run function.

pub mod backup;
pub mod restore;

pub mod cat;
pub mod diff;
pub mod dump;
pub mod find;
pub mod list;
pub mod ls;
pub mod snapshots;
pub mod stats;

pub mod check;
pub mod doctor;
pub mod forget;
pub mod init;
pub mod key;
pub mod prune;
pub mod unlock;

pub mod agent;
pub mod operator;

pub mod completions;
pub mod crds;
pub mod man;
pub mod roles;

mod entry;
mod select;
