//! Pipes, sockets, devices, extended attributes, ACLs and foreign owners.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{set_mode, write};
use crate::{Random, is_root, skip};

pub(super) fn build(folder: &Path, random: &mut Random) {
    let make = |name: &str, kind: FileType, device: u64| {
        if let Err(error) = mknodat(
            CWD,
            folder.join(name),
            kind,
            Mode::from_raw_mode(0o640),
            device,
        ) {
            skip(format_args!("cannot make the {kind:?} `{name}`: {error}"));
        }
    };
    make("fifo", FileType::Fifo, 0);
    make("socket", FileType::Socket, 0);
    if is_root() {
        make("character-device", FileType::CharacterDevice, makedev(1, 3));
        make("block-device", FileType::BlockDevice, makedev(7, 300));
    } else {
        skip("devices need root");
    }
    build_attributes(folder, random);
    build_acls(folder);
}

fn build_attributes(folder: &Path, random: &mut Random) {
    let file = folder.join("attributes");
    write(&file, b"has extended attributes");
    let inner = folder.join("attributes-of-a-folder");
    fs::create_dir(&inner).expect("a folder can be made");
    set_attribute(&file, "user.text", b"plain");
    set_attribute(&file, "user.empty", b"");
    set_attribute(&file, "user.binary", &[0, 1, 2, 0xff, 0, b'\n']);
    set_attribute(&file, "user.long", &random.bytes(1500));
    set_attribute(&file, "user.\u{e9} \"quoted\"", b"strange name");
    set_attribute(&inner, "user.folder", b"on a folder");
}

fn build_acls(folder: &Path) {
    const ACCESS: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";
    let file = folder.join("acl");
    write(&file, b"has an ACL");
    let inner = folder.join("acl-of-a-folder");
    fs::create_dir(&inner).expect("a folder can be made");
    set_mode(&file, 0o640);
    set_attribute(&file, ACCESS, &acl(0o6));
    set_attribute(&inner, ACCESS, &acl(0o7));
    set_attribute(&inner, DEFAULT, &acl(0o5));
}

/// The kernel's form of an ACL: version 2, then tag, permission and id of each entry.
/// The owner has everything, user 4711 and group 4712 what is given, the owning group reads, others nothing.
fn acl(permission: u16) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 6] = [
        (0x01, 0o7, NO_ID),
        (0x02, permission, 4711),
        (0x04, 0o4, NO_ID),
        (0x08, permission, 4712),
        (0x10, 0o7, NO_ID),
        (0x20, 0o0, NO_ID),
    ];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permission.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    if let Err(error) = xattr::set(path, name, value) {
        skip(format_args!(
            "cannot set `{name}` of {}: {error}",
            path.display()
        ));
    }
}

/// Files, a folder and a symbolic link of users that have no name here.
pub(super) fn set_owners(folder: &Path, random: &mut Random) {
    if !is_root() {
        skip("foreign owners need root");
        return;
    }
    let set =
        |path: &Path, uid, gid| lchown(path, Some(uid), Some(gid)).expect("root can change owners");
    for (name, uid, gid) in [
        ("nobody", 65_534, 65_534),
        ("unknown", 123_456, 654_321),
        ("highest", u32::MAX - 1, 7),
    ] {
        let file = folder.join(name);
        write(&file, &random.text(64));
        set(&file, uid, gid);
    }
    // A change of owner takes the set-user-id bit away: whoever restores must set the mode after the owner.
    let file = folder.join("set-user-id");
    write(&file, b"#!/bin/true\n");
    set(&file, 1234, 1234);
    set_mode(&file, 0o6755);
    let link = folder.join("link");
    std::os::unix::fs::symlink("nobody", &link).expect("a symbolic link can be made");
    set(&link, 1000, 1001);
    let inner = folder.join("folder");
    fs::create_dir(&inner).expect("a folder can be made");
    write(&inner.join("file"), b"in a foreign folder");
    set(&inner, 1000, 1000);
}
