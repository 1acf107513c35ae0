//! Giving restored entries their owner, mode, extended attributes (ACLs among them) and times.
//!
//! The order matters: a change of owner clears set-id bits and capabilities, attributes of a file need its
//! write permission, and the times come last.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use repository::time::Time;
use repository::tree::{ExtendedAttribute, Node, NodeKind};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::restore::WarningKind;
use crate::restore::names::Names;
use crate::restore::report::Report;
use crate::restore::target::{open_place, proc_path};

const SET_ID_BITS: u32 = 0o6000;

/// The part of a node that a restore needs after the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Option<Timespec>,
    pub(super) atime: Option<Timespec>,
    pub(super) attributes: Vec<ExtendedAttribute>,
}

/// A moment as the system counts it.
pub(super) fn timespec(time: &Time) -> Timespec {
    Timespec {
        tv_sec: time.unix_seconds(),
        tv_nsec: i64::from(time.nanoseconds()),
    }
}

impl Metadata {
    /// Takes what is needed out of a node.
    pub(super) fn take(node: &mut Node, names: Option<&mut Names>) -> Self {
        let (mut uid, mut gid) = (node.uid, node.gid);
        if let Some(names) = names {
            uid = names.user(&node.user).unwrap_or(uid);
            gid = names.group(&node.group).unwrap_or(gid);
        }
        Self {
            mode: node.mode & 0o7777,
            uid,
            gid,
            mtime: node.mtime.as_ref().map(timespec),
            atime: node.atime.as_ref().map(timespec),
            attributes: std::mem::take(&mut node.extended_attributes),
        }
    }

    fn times(&self) -> Option<Timestamps> {
        const OMIT: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        };
        (self.mtime.is_some() || self.atime.is_some()).then(|| Timestamps {
            last_access: self.atime.unwrap_or(OMIT),
            last_modification: self.mtime.unwrap_or(OMIT),
        })
    }

    /// Whether a file on disk has these owners, this mode and this time of modification.
    pub(super) fn matches(&self, stat: &rustix::fs::Stat) -> bool {
        stat.st_mode & 0o7777 == self.mode
            && stat.st_uid == self.uid
            && stat.st_gid == self.gid
            && self.mtime.is_none_or(|mtime| mtime == modified(stat))
    }
}

/// When a file on disk was modified.
#[expect(
    clippy::cast_possible_wrap,
    reason = "nanoseconds are below a thousand million"
)]
pub(super) fn modified(stat: &rustix::fs::Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec as i64,
    }
}

/// Applies metadata and reports what cannot be applied.
#[derive(Clone, Copy)]
pub(super) struct Applier<'a> {
    pub(super) report: &'a Report,
    pub(super) is_root: bool,
}

impl<'a> Applier<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        Self {
            report,
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// To an open file or directory. `is_fresh` says that it has no attributes yet.
    pub(super) fn apply(
        &self,
        file: BorrowedFd<'_>,
        metadata: &Metadata,
        is_fresh: bool,
        path: &dyn Fn() -> Vec<u8>,
    ) {
        let owner = change_owner(metadata, |uid, gid| rustix::fs::fchown(file, uid, gid));
        let mode = self.owner_result(owner, metadata, path);
        if !is_fresh {
            self.remove_other_attributes(file, metadata, path);
        }
        for attribute in &metadata.attributes {
            let set = rustix::fs::fsetxattr(
                file,
                attribute.name.as_str(),
                &attribute.value,
                XattrFlags::empty(),
            );
            self.attribute_result(set, &attribute.name, path);
        }
        if let Err(error) = rustix::fs::fchmod(file, Mode::from_raw_mode(mode)) {
            self.report.failed(&path(), "set the mode", error);
        }
        if let Some(times) = metadata.times()
            && let Err(error) = rustix::fs::futimens(file, &times)
        {
            self.report.failed(&path(), "set the times", error);
        }
    }

    /// To an entry that cannot be opened as a file: a symbolic link, device, FIFO or socket.
    pub(super) fn apply_at(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: NodeKind,
        metadata: &Metadata,
        path: &dyn Fn() -> Vec<u8>,
    ) {
        let owner = change_owner(metadata, |uid, gid| {
            rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        });
        let mode = self.owner_result(owner, metadata, path);
        for attribute in &metadata.attributes {
            let place = format!("{}/", proc_path(directory)).into_bytes();
            let place = [place.as_slice(), name.to_bytes()].concat();
            let set = rustix::fs::lsetxattr(
                place.as_slice(),
                attribute.name.as_str(),
                &attribute.value,
                XattrFlags::empty(),
            );
            self.attribute_result(set, &attribute.name, path);
        }
        if kind != NodeKind::Symlink {
            let changed = open_place(directory, name).and_then(|place| {
                rustix::fs::chmod(proc_path(place.as_fd()), Mode::from_raw_mode(mode))
            });
            if let Err(error) = changed {
                self.report.failed(&path(), "set the mode", error);
            }
        }
        if let Some(times) = metadata.times()
            && let Err(error) =
                rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        {
            self.report.failed(&path(), "set the times", error);
        }
    }

    /// The mode to set after a change of owner: a file of another owner than intended gets no set-id bits.
    fn owner_result(
        &self,
        result: Result<(), Errno>,
        metadata: &Metadata,
        path: &dyn Fn() -> Vec<u8>,
    ) -> u32 {
        match result {
            Ok(()) => metadata.mode,
            Err(Errno::PERM | Errno::INVAL) => {
                self.report.warn(
                    WarningKind::Ownership {
                        is_root: self.is_root,
                    },
                    &path(),
                );
                if metadata.mode & SET_ID_BITS != 0 {
                    self.report.warn(WarningKind::SetIdBits, &path());
                }
                metadata.mode & !SET_ID_BITS
            }
            Err(error) => {
                self.report.failed(&path(), "set the owner", error);
                metadata.mode & !SET_ID_BITS
            }
        }
    }

    fn attribute_result(&self, result: Result<(), Errno>, name: &str, path: &dyn Fn() -> Vec<u8>) {
        match result {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => self
                .report
                .warn(WarningKind::AttributesUnsupported, &path()),
            Err(Errno::PERM | Errno::ACCESS) => {
                self.report.warn(
                    WarningKind::AttributesForbidden {
                        is_root: self.is_root,
                    },
                    &path(),
                );
            }
            Err(error) => self.report.failed(
                &path(),
                &format!("set the extended attribute `{name}`"),
                error,
            ),
        }
    }

    /// Removes the attributes that the snapshot does not have; labels of the system's security modules stay.
    fn remove_other_attributes(
        &self,
        file: BorrowedFd<'_>,
        metadata: &Metadata,
        path: &dyn Fn() -> Vec<u8>,
    ) {
        let Ok(size) = rustix::fs::flistxattr(file, &mut [0_u8; 0][..]) else {
            return;
        };
        if size == 0 {
            return;
        }
        let mut list = vec![0_u8; size + 4096];
        let Ok(length) = rustix::fs::flistxattr(file, &mut list[..]) else {
            return;
        };
        for name in list[..length]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let is_wanted = metadata
                .attributes
                .iter()
                .any(|attribute| attribute.name.as_bytes() == name);
            if !is_wanted && !name.starts_with(b"security.") {
                let removed = rustix::fs::fremovexattr(file, name);
                self.attribute_result(removed, &String::from_utf8_lossy(name), path);
            }
        }
    }
}

/// Sets owner and group; where the owner may not be set, at least the group.
fn change_owner(
    metadata: &Metadata,
    change: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    // All bits set means "leave it" to the system, and is no owner.
    let (Some(uid), Some(gid)) = (
        (metadata.uid != u32::MAX).then_some(metadata.uid),
        (metadata.gid != u32::MAX).then_some(metadata.gid),
    ) else {
        return Err(Errno::INVAL);
    };
    let gid = Some(Gid::from_raw(gid));
    change(Some(Uid::from_raw(uid)), gid).inspect_err(|_| {
        // The owner's refusal is what is reported.
        let _ = change(None, gid);
    })
}
