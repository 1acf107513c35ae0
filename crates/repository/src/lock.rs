//! restic's lock protocol (`docs/format.md`, locks).
