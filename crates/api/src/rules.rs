//! The rules of the resources: about one object, about a set of them, and about what one machine can do.
//!
//! The rules about one object that can be said in CEL also stand at the types, from where they get into the
//! definitions of a cluster; the functions here say the same with the value and the fix. Problems carry the path
//! of the field; [`crate::manifest::Manifest::locate`] adds file and line.

mod backup;
mod hooks;
mod names;
mod one_machine;
mod repository;
mod restore;
mod set;

pub use backup::{check_backup_configuration, check_backup_session, check_retention_policy};
pub use one_machine::{
    backup_needs_cluster, needs_cluster, repository_needs_cluster, restore_needs_cluster,
    session_needs_cluster,
};
pub use repository::{check_repository, is_use_allowed};
pub use restore::check_restore_session;
pub use set::check_set;

use crate::manifest::AnyObject;
use crate::problem::Problem;

/// Every problem of one object that its schema does not find.
pub fn check_object(object: &AnyObject) -> Vec<Problem> {
    let mut problems = names::check_metadata(object.metadata());
    problems.extend(match object {
        AnyObject::Secret(_) => Vec::new(),
        AnyObject::Repository(repository) => check_repository(repository),
        AnyObject::BackupConfiguration(configuration) => check_backup_configuration(configuration),
        AnyObject::BackupSession(session) => check_backup_session(session),
        AnyObject::RestoreSession(session) => check_restore_session(session),
    });
    problems
}
