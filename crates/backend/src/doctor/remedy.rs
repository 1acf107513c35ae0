//! What to do about a failure of storage, in one sentence for each kind.

use std::error::Error;

use crate::{BackendError, ErrorKind, Operation};

/// The remedy for a kind of failure in an operation.
pub const fn remedy(kind: ErrorKind, operation: Operation) -> &'static str {
    match (kind, operation) {
        (ErrorKind::NotFound, _) => "Check the prefix or path of the repository.",
        (ErrorKind::PlaceNotFound, _) => {
            "Check the name of the bucket or container, or create it: its name may be misspelt."
        }
        (ErrorKind::AlreadyExists, _) => "Somebody else wrote at the same time: try again.",
        (ErrorKind::TooShort, _) => "Run `stash check --read-data`: stored data is damaged.",
        (ErrorKind::Unauthenticated, _) => {
            "Check the keys in the Secret or the environment: they are wrong, revoked or expired."
        }
        (ErrorKind::PermissionDenied, Operation::List) => {
            "Allow these credentials to list (s3:ListBucket, storage.objects.list, Storage Blob Data Reader)."
        }
        (ErrorKind::PermissionDenied, Operation::Read) => {
            "Allow these credentials to read (s3:GetObject, storage.objects.get, Storage Blob Data Reader)."
        }
        (ErrorKind::PermissionDenied, Operation::Stat) => {
            "Allow these credentials to read (s3:GetObject, storage.objects.get, Storage Blob Data Reader), and to list \
             (s3:ListBucket): without that Amazon does not say whether an object exists."
        }
        (ErrorKind::PermissionDenied, Operation::Write) => {
            "Allow these credentials to write (s3:PutObject, storage.objects.create, Storage Blob Data Contributor)."
        }
        (ErrorKind::PermissionDenied, Operation::Remove) => {
            "Allow these credentials to delete (s3:DeleteObject, storage.objects.delete), at least below `locks/`; \
             without it old snapshots are kept for ever."
        }
        (ErrorKind::PermissionDenied, Operation::Create) => {
            "Create the bucket or container beforehand, or allow these credentials to create it."
        }
        (ErrorKind::PermissionDenied, Operation::Authenticate) => {
            "Check the trust policy of the role or identity: it does not let this caller in."
        }
        (ErrorKind::Untrusted, _) => {
            "Give the authority that signed the certificate as CA_CERT_DATA in the Secret or with `--cacert`, and check \
             that the host name is that of the certificate."
        }
        (ErrorKind::ClockSkew, _) => "Set the clock of this machine, for example with NTP.",
        (ErrorKind::ReadOnly, _) => "Mount the storage writable.",
        (ErrorKind::NoSpace, _) => {
            "Free some space or raise the quota; `stash forget --prune` removes old snapshots."
        }
        (ErrorKind::Temporary, _) => {
            "Check that the server is up and that no firewall or proxy is in the way, then try again."
        }
        (ErrorKind::Permanent, _) => {
            "Check host, port, scheme (http or https), region and the name of the bucket."
        }
    }
}

/// An error with its sources in one line.
pub(super) fn told(error: &BackendError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        next = source.source();
    }
    text
}
