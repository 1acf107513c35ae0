//! What needs something real: the cluster that tests of other crates use.

mod cluster;
