//! The controllers of a cluster: from BackupConfigurations to BackupSessions, their sidecars and Jobs, and back by
//! RestoreSessions.
//!
//! It schedules, injects, watches and closes. It never opens a repository: that is the work of the agents it starts.
