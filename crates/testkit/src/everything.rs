//! Folders to back up: one with all that a Unix file can be, one with some of it, one with plain files only.
//!
//! What this process or filesystem may not make (devices and owners without root, ACLs on some filesystems)
//! is left out with a `SKIPPED:` line.

mod special;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::{Random, is_root};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Sizes around the limits of chunks (512 KiB and 8 MiB), of the average chunk (1 MiB) and of packs.
pub const SIZES_BYTES: [usize; 16] = [
    0,
    1,
    63,
    64,
    4 * KIB + 1,
    512 * KIB - 1,
    512 * KIB,
    512 * KIB + 1,
    MIB - 1,
    MIB,
    MIB + 1,
    8 * MIB - 1,
    8 * MIB,
    8 * MIB + 1,
    16 * MIB,
    20 * MIB,
];

/// File names that programs get wrong.
pub const NAMES: [&[u8]; 24] = [
    b"latin1-\xe9\xe8\xfc",
    b"\xff\xfe\x80",
    b"cut-utf8-\xf0\x9f\x98",
    b"line\nbreak",
    b"carriage\rreturn",
    b"tab\there",
    b"\x01\x02\x7f",
    b"double\"quote",
    b"single'quote",
    b"back\\slash",
    b"\\x41\\u0041",
    b"\\xff",
    b" leading and trailing ",
    b"-leading-dash",
    b"...",
    b".hidden",
    b"star*question?[set]{a,b}",
    b"$HOME ~ `id` ;&|",
    b"percent%20%s",
    b"colon:semi;hash#",
    "emoji \u{1f600}".as_bytes(),
    "e\u{301} decomposed".as_bytes(),
    "\u{e9} composed".as_bytes(),
    "right-to-left \u{202e}txt".as_bytes(),
];

/// Fills a folder (made when absent) with all that a Unix file can be, about 65 MB. The same seed gives the
/// same tree for the same user.
pub fn build_everything_tree(root: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let folder = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        path
    };
    build_sizes(&folder("sizes"), &mut random);
    build_names(&folder("names"), &mut random);
    build_many(&folder("many"), &mut random, 2000);
    build_nesting(&folder("nested"), &mut random);
    build_modes(&folder("modes"), &mut random);
    build_links(&folder("links"), &mut random);
    build_sparse(&folder("sparse"), &mut random);
    folder("empty/folders/within");
    special::build(&folder("special"), &mut random);
    special::set_owners(&folder("owners"), &mut random);
    // Last, because whatever is made in a folder changes its time.
    set_times(root, &mut random);
}

/// Fills a folder (made when absent) with some of all that a Unix file can be, about 6 MB: soon written and compared.
/// The same seed gives the same tree for the same user.
pub fn build_varied_tree(root: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let folder = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(&path).expect("a folder can be made");
        path
    };
    build_names(&folder("names"), &mut random);
    build_many(&folder("many"), &mut random, 200);
    build_nesting(&folder("nested"), &mut random);
    build_modes(&folder("modes"), &mut random);
    build_links(&folder("links"), &mut random);
    folder("empty/folders/within");
    special::build(&folder("special"), &mut random);
    special::set_owners(&folder("owners"), &mut random);
    write(&root.join("large"), &random.bytes(5 * MIB + 1));
    write(&root.join("shared"), b"the same for every seed");
    set_times(root, &mut random);
}

/// Fills a folder (made when absent) with so many plain files of up to 100 kB in nested folders.
pub fn build_plain_tree(root: &Path, seed: u64, files: usize) {
    let mut random = Random::new(seed);
    fs::create_dir_all(root).expect("a folder can be made");
    for number in 0..files {
        let folder = root.join(format!(
            "folder-{}/part-{}",
            random.below(8),
            random.below(4)
        ));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let length = random.index(100_000);
        write(
            &folder.join(format!("file-{number}")),
            &mixed(&mut random, length),
        );
    }
}

fn write(path: &Path, data: &[u8]) {
    fs::write(path, data)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Half of the files compress, half do not.
fn mixed(random: &mut Random, length: usize) -> Vec<u8> {
    if random.is_chance(50) {
        random.text(length)
    } else {
        random.bytes(length)
    }
}

fn build_sizes(folder: &Path, random: &mut Random) {
    for bytes in SIZES_BYTES {
        write(&folder.join(format!("{bytes:08}")), &mixed(random, bytes));
    }
    write(&folder.join("zeros"), &vec![0; 3 * MIB]);
    // The same content twice, and once with a byte inserted in front: chunks must be found again.
    let content = random.bytes(9 * MIB);
    write(&folder.join("twin-1"), &content);
    write(&folder.join("twin-2"), &content);
    write(
        &folder.join("twin-shifted"),
        &[&b"x"[..], &content].concat(),
    );
}

fn build_names(folder: &Path, random: &mut Random) {
    for name in NAMES {
        let length = random.index(200);
        write(
            &folder.join(OsStr::from_bytes(name)),
            &mixed(random, length),
        );
    }
    write(&folder.join("n".repeat(255)), b"the longest name");
    write(
        &folder.join("\u{e4}".repeat(127)),
        b"the longest name in UTF-8",
    );
    let inner = folder.join(OsStr::from_bytes(b"folder-\xff\n\"\\"));
    fs::create_dir(&inner).expect("a folder can be made");
    write(
        &inner.join(OsStr::from_bytes(b"file-\xfe")),
        b"below a strange name",
    );
}

fn build_many(folder: &Path, random: &mut Random, files: usize) {
    for number in 0..files {
        let length = random.index(300);
        write(
            &folder.join(format!("file-{number:04}")),
            &random.text(length),
        );
    }
}

fn build_nesting(folder: &Path, random: &mut Random) {
    let mut path = PathBuf::from(folder);
    for level in 0..60 {
        path.push(format!("level-{level}"));
        fs::create_dir(&path).expect("a folder can be made");
        if random.is_chance(30) {
            write(&path.join("file"), &random.text(100));
        }
    }
}

fn build_modes(folder: &Path, random: &mut Random) {
    // What its owner cannot read is for root only.
    let for_root: &[u32] = if is_root() {
        &[0o000, 0o200, 0o111, 0o002]
    } else {
        &[]
    };
    let for_all = [
        0o400, 0o600, 0o640, 0o644, 0o664, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777,
    ];
    for mode in for_all.iter().chain(for_root) {
        let path = folder.join(format!("file-{mode:04o}"));
        write(&path, &random.text(50));
        set_mode(&path, *mode);
    }
    for mode in [0o700, 0o500, 0o711, 0o755, 0o1777, 0o2775] {
        let path = folder.join(format!("folder-{mode:04o}"));
        fs::create_dir(&path).expect("a folder can be made");
        write(&path.join("file"), &random.text(50));
        set_mode(&path, mode);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

fn build_links(folder: &Path, random: &mut Random) {
    let targets: [(&str, &[u8]); 7] = [
        ("relative", b"../sizes/00000001"),
        ("dangling", b"nowhere/to/be/found"),
        ("absolute", b"/etc/hostname"),
        ("to-folder", b"../empty"),
        ("to-itself", b"to-itself"),
        ("not-utf8", b"target-\xff\xfe"),
        ("line-break", b"a\nb\\\"c"),
    ];
    for (name, target) in targets {
        symlink(OsStr::from_bytes(target), folder.join(name)).expect("a symbolic link can be made");
    }
    symlink("t".repeat(1000), folder.join("long-target")).expect("a symbolic link can be made");
    write(&folder.join("hard-1"), &random.bytes(700 * KIB));
    fs::create_dir(folder.join("other")).expect("a folder can be made");
    for name in ["hard-2", "other/hard-3"] {
        fs::hard_link(folder.join("hard-1"), folder.join(name)).expect("a hard link can be made");
    }
    write(&folder.join("other/empty-1"), b"");
    fs::hard_link(folder.join("other/empty-1"), folder.join("empty-2"))
        .expect("a hard link can be made");
}

fn build_sparse(folder: &Path, random: &mut Random) {
    let create = |name: &str, bytes: usize| {
        let file = File::create(folder.join(name)).expect("a file can be made");
        file.set_len(bytes as u64)
            .expect("a file can be made longer");
        file
    };
    create("all-hole", 5 * MIB);
    let file = create("data-hole-data", 12 * MIB);
    file.write_all_at(&random.bytes(10_000), 0)
        .expect("a file can be written");
    file.write_all_at(&random.bytes(10_000), 12 * MIB as u64 - 10_000)
        .expect("a file can be written");
    let file = create("hole-data-hole", 3 * MIB);
    file.write_all_at(&random.bytes(MIB), MIB as u64)
        .expect("a file can be written");
}

/// Seconds and nanoseconds that programs get wrong, and random ones.
fn set_times(path: &Path, random: &mut Random) {
    let metadata = path
        .symlink_metadata()
        .expect("a file that was just made is there");
    if metadata.is_dir() {
        let mut below: Vec<PathBuf> = fs::read_dir(path)
            .expect("a folder can be read")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        below.sort();
        for child in below {
            set_times(&child, random);
        }
    }
    let time = match random.below(12) {
        0 => Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        1 => Timespec {
            tv_sec: -1,
            tv_nsec: 999_999_999,
        },
        2 => Timespec {
            tv_sec: -1_000_000_000,
            tv_nsec: 1,
        },
        // Beyond 32 bits.
        3 => Timespec {
            tv_sec: 4_294_967_296,
            tv_nsec: 500_000_000,
        },
        _ => Timespec {
            tv_sec: i64::try_from(random.below(2_000_000_000)).expect("below 2^31"),
            tv_nsec: i64::try_from(random.below(1_000_000_000)).expect("below 2^30"),
        },
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time can be set");
}

#[cfg(test)]
mod tests;
