//! Which kind of failure an error of the operating system is.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{BackendError, ErrorKind, Operation};

/// Why an object cannot be found: its whole repository folder is not there.
#[derive(Debug, thiserror::Error)]
#[error("there is no folder {}; is the volume mounted?", .0.display())]
struct MissingRoot(PathBuf);

/// The failure of an operation on something in the repository folder `root`.
pub(super) fn backend_error(
    root: &Path,
    operation: Operation,
    object: String,
    source: io::Error,
) -> BackendError {
    let kind = kind(&source);
    let source = if kind == ErrorKind::NotFound && is_missing(root) {
        MissingRoot(root.to_owned()).into()
    } else {
        source.into()
    };
    BackendError {
        kind,
        operation,
        object,
        location: root.display().to_string(),
        retry_after: None,
        source: Some(source),
    }
}

/// Whether nothing is at this path. A path that cannot be looked at is not called missing.
pub(super) fn is_missing(path: &Path) -> bool {
    path.metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether a filesystem says that it lacks an operation rather than that the operation failed.
pub(super) fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
}

fn kind(error: &io::Error) -> ErrorKind {
    let Some(errno) = Errno::from_io_error(error) else {
        return match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::UnexpectedEof => ErrorKind::TooShort,
            _ => ErrorKind::Permanent,
        };
    };
    match errno {
        Errno::NOENT => ErrorKind::NotFound,
        Errno::EXIST => ErrorKind::AlreadyExists,
        Errno::ACCESS | Errno::PERM => ErrorKind::PermissionDenied,
        Errno::ROFS => ErrorKind::ReadOnly,
        Errno::NOSPC | Errno::DQUOT => ErrorKind::NoSpace,
        // A network filesystem that lost its server, a disk that may answer the next time,
        // or a table of this machine that is full for the moment.
        Errno::STALE
        | Errno::IO
        | Errno::INTR
        | Errno::AGAIN
        | Errno::BUSY
        | Errno::TIMEDOUT
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::CONNABORTED
        | Errno::CONNREFUSED
        | Errno::CONNRESET
        | Errno::NOTCONN
        | Errno::REMOTEIO
        | Errno::NOLCK
        | Errno::NOMEM
        | Errno::MFILE
        | Errno::NFILE => ErrorKind::Temporary,
        _ => ErrorKind::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_map_to_the_kinds_callers_tell_apart() {
        for (errno, expected) in [
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::EXIST, ErrorKind::AlreadyExists),
            (Errno::ACCESS, ErrorKind::PermissionDenied),
            (Errno::PERM, ErrorKind::PermissionDenied),
            (Errno::ROFS, ErrorKind::ReadOnly),
            (Errno::NOSPC, ErrorKind::NoSpace),
            (Errno::DQUOT, ErrorKind::NoSpace),
            (Errno::STALE, ErrorKind::Temporary),
            (Errno::IO, ErrorKind::Temporary),
            (Errno::INTR, ErrorKind::Temporary),
            (Errno::NOTDIR, ErrorKind::Permanent),
            (Errno::ISDIR, ErrorKind::Permanent),
        ] {
            assert_eq!(kind(&io::Error::from(errno)), expected, "{errno:?}");
        }
    }

    #[test]
    fn a_missing_repository_folder_is_told_apart_from_a_missing_object() {
        let folder = tempfile::tempdir().unwrap();
        let error = |root: &Path| {
            backend_error(
                root,
                Operation::Read,
                "config".to_owned(),
                Errno::NOENT.into(),
            )
            .source
            .unwrap()
            .to_string()
        };
        assert!(!error(folder.path()).contains("mounted"));
        assert!(error(&folder.path().join("absent")).contains("is the volume mounted?"));
    }
}
