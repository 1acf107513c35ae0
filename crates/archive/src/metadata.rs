//! Everything a Unix file has, as a node of a tree.
//!
//! Owns asking the system for metadata: type, permissions, owners with their names, times, link targets and
//! extended attributes (POSIX ACLs are among them). File content is `save`'s, setting metadata is `restore`'s.

mod attributes;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use hashbrown::HashMap;
use jiff::tz::TimeZone;
use parking_lot::RwLock;
use repository::time::Time;
use repository::tree::{ExtendedAttribute, Node, NodeKind};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io;

pub use self::attributes::AttributeError;

/// What `stat` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Type of the file.
    pub kind: NodeKind,
    /// Permissions with setuid, setgid and sticky.
    pub mode: u32,
    /// Device of the file system.
    pub device_id: u64,
    /// Inode number.
    pub inode: u64,
    /// Number of hard links.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub device: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last modification: seconds and nanoseconds since the epoch.
    pub mtime: (i64, u32),
    /// Last access.
    pub atime: (i64, u32),
    /// Last change of the inode.
    pub ctime: (i64, u32),
}

impl FileStat {
    /// Of a name within an open directory; a symbolic link is not followed.
    pub fn at(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Self::from(&stat))
    }

    /// Of a path; a symbolic link at its end is not followed.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        rustix::fs::lstat(path).map(|stat| Self::from(&stat))
    }

    /// Of an open file.
    pub fn of_file(file: impl AsFd) -> io::Result<Self> {
        rustix::fs::fstat(file).map(|stat| Self::from(&stat))
    }
}

impl From<&Stat> for FileStat {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "the widths of `struct stat` differ by platform; nanoseconds are below 2^30, sizes not negative"
    )]
    fn from(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Dir,
            FileType::Symlink => NodeKind::Symlink,
            FileType::BlockDevice => NodeKind::Dev,
            FileType::CharacterDevice => NodeKind::CharDev,
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
            FileType::Unknown => NodeKind::Irregular,
        };
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            device_id: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
            device: stat.st_rdev as u64,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            atime: (stat.st_atime as i64, stat.st_atime_nsec as u32),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }
}

/// Where to ask for extended attributes.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// By name in an open directory; the path is where the two are.
    Name(BorrowedFd<'a>, &'a [u8], &'a Path),
    /// An open file.
    File(BorrowedFd<'a>),
}

/// Makes nodes; remembers the names of owners.
#[derive(Debug)]
pub struct MetadataReader {
    zone: TimeZone,
    with_atime: bool,
    users: RwLock<HashMap<u32, String>>,
    groups: RwLock<HashMap<u32, String>>,
}

impl MetadataReader {
    /// Times are written in this zone's offset, which restic takes from the system; without `with_atime`
    /// the access time is that of the last modification.
    pub fn new(zone: TimeZone, with_atime: bool) -> Self {
        Self {
            zone,
            with_atime,
            users: RwLock::default(),
            groups: RwLock::default(),
        }
    }

    /// A node with everything that `stat` knows; of a regular file the content is empty.
    pub fn node(&self, name: &[u8], stat: &FileStat) -> Node {
        let mut node = Node::new(name, stat.kind);
        node.mode = stat.mode;
        node.mtime = Some(self.time(stat.mtime));
        node.atime = Some(self.time(if self.with_atime {
            stat.atime
        } else {
            stat.mtime
        }));
        node.ctime = Some(self.time(stat.ctime));
        node.uid = stat.uid;
        node.gid = stat.gid;
        node.user = named(&self.users, stat.uid, |uid| {
            nix::unistd::User::from_uid(uid.into())
                .ok()
                .flatten()
                .map(|user| user.name)
        });
        node.group = named(&self.groups, stat.gid, |gid| {
            nix::unistd::Group::from_gid(gid.into())
                .ok()
                .flatten()
                .map(|group| group.name)
        });
        node.inode = stat.inode;
        node.device_id = stat.device_id;
        // restic counts links of everything but directories, pipes and sockets.
        match stat.kind {
            NodeKind::File => {
                node.size = stat.size;
                node.links = stat.links;
                node.content = Some(Vec::new());
            }
            NodeKind::Symlink => node.links = stat.links,
            NodeKind::Dev | NodeKind::CharDev => {
                node.links = stat.links;
                node.device = stat.device;
            }
            NodeKind::Dir | NodeKind::Fifo | NodeKind::Socket | NodeKind::Irregular => {}
        }
        node
    }

    /// The times of `stat` in the zone.
    pub fn time(&self, (seconds, nanoseconds): (i64, u32)) -> Time {
        Time::from_unix_in(seconds, nanoseconds, &self.zone)
    }
}

/// The target of a symbolic link in an open directory.
pub fn link_target(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(target.into_bytes()).into_vec())
}

/// All extended attributes in the order of the file system. Those that could be read come with the error.
pub fn extended_attributes(place: Place<'_>) -> (Vec<ExtendedAttribute>, Option<AttributeError>) {
    attributes::read(place)
}

fn named(
    cache: &RwLock<HashMap<u32, String>>,
    id: u32,
    look_up: impl Fn(u32) -> Option<String>,
) -> String {
    if let Some(name) = cache.read().get(&id) {
        return name.clone();
    }
    let name = look_up(id).unwrap_or_default();
    cache.write().insert(id, name.clone());
    name
}
