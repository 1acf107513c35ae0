//! restic's verbs on one repository: each module holds its options and its run function.

pub mod backup;
pub mod restore;
pub mod snapshots;
pub mod ls;
pub mod find;
pub mod diff;
pub mod dump;
pub mod cat;
pub mod list;
pub mod stats;
pub mod forget;
pub mod prune;
pub mod check;
pub mod key;
pub mod unlock;
pub mod init;

pub mod completions;
pub mod crds;
pub mod man;
