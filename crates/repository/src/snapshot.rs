//! Snapshot files: which tree was saved when, where and by whom.
