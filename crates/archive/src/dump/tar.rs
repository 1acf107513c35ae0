//! A folder as a POSIX tar archive: a plain header per entry, and in front of it an extended one with what
//! does not fit (times to the nanosecond, long names, large numbers, attributes, access control lists).

use std::io::Write;

use repository::time::Time;
use repository::tree::{Node, NodeKind};
use tar::{EntryType, Header};
use tokio_util::sync::CancellationToken;

use crate::dump::acl;
use crate::dump::stream::{Item, Source};
use crate::dump::{DumpError, DumpSummary};
use crate::walk::path_text;

const BLOCK_BYTES: usize = 512;
/// The largest number of seven octal digits.
const LARGEST_SMALL: u64 = 0o777_7777;
/// The largest number of eleven octal digits.
const LARGEST: u64 = 0o777_7777_7777;

/// Writes all entries of the source.
pub(super) async fn write(
    mut source: Source,
    output: &mut (dyn Write + Send),
    cancel: &CancellationToken,
) -> Result<DumpSummary, DumpError> {
    let mut summary = DumpSummary::default();
    let mut padding = 0;
    while let Some(item) = source.next(cancel).await? {
        match item {
            Item::Entry { path, node, size } => {
                let Some(bytes) = header(&path, &node, size)? else {
                    summary.left_out += 1;
                    continue;
                };
                put(output, &vec![0; padding])?;
                put(output, &bytes)?;
                padding = padding_after(size);
                summary.entries += 1;
            }
            Item::Data(data) => {
                put(output, &data)?;
                summary.bytes += data.len() as u64;
            }
        }
    }
    put(output, &vec![0; padding + 2 * BLOCK_BYTES])?;
    output
        .flush()
        .map_err(|source| DumpError::Output { source })?;
    Ok(summary)
}

fn put(output: &mut (dyn Write + Send), bytes: &[u8]) -> Result<(), DumpError> {
    output
        .write_all(bytes)
        .map_err(|source| DumpError::Output { source })
}

/// Zeros up to the next block.
fn padding_after(size: u64) -> usize {
    let rest = usize::try_from(size % BLOCK_BYTES as u64).unwrap_or_default();
    (BLOCK_BYTES - rest) % BLOCK_BYTES
}

/// The headers of an entry; none for what restic's archives leave out.
fn header(path: &[u8], node: &Node, size: u64) -> Result<Option<Vec<u8>>, DumpError> {
    let entry_type = match node.kind {
        NodeKind::File => EntryType::Regular,
        NodeKind::Dir => EntryType::Directory,
        NodeKind::Symlink => EntryType::Symlink,
        _ => return Ok(None),
    };
    let mut name = path.strip_prefix(b"/").unwrap_or(path).to_vec();
    if node.kind == NodeKind::Dir {
        name.push(b'/');
    }
    let mut header = Header::new_ustar();
    let mut records = Records::default();
    header.set_entry_type(entry_type);
    header.set_mode(node.mode & 0o7777);
    put_bytes(&mut header.as_old_mut().name, &name, "path", &mut records);
    put_bytes(
        &mut header.as_old_mut().linkname,
        &node.link_target,
        "linkpath",
        &mut records,
    );
    header.set_uid(small(
        u64::from(node.uid),
        "uid",
        LARGEST_SMALL,
        &mut records,
    ));
    header.set_gid(small(
        u64::from(node.gid),
        "gid",
        LARGEST_SMALL,
        &mut records,
    ));
    header.set_size(small(size, "size", LARGEST, &mut records));
    header.set_mtime(seconds(node.mtime.as_ref()));
    if let Some(ustar) = header.as_ustar_mut() {
        put_bytes(
            &mut ustar.uname,
            node.user.as_bytes(),
            "uname",
            &mut records,
        );
        put_bytes(
            &mut ustar.gname,
            node.group.as_bytes(),
            "gname",
            &mut records,
        );
    }
    for (key, time) in [
        ("mtime", &node.mtime),
        ("atime", &node.atime),
        ("ctime", &node.ctime),
    ] {
        if let Some(time) = time {
            records.add(key, decimal(time).as_bytes());
        }
    }
    attributes(node, &mut records);
    header.set_cksum();

    let mut bytes = Vec::new();
    let records = records.bytes;
    if !records.is_empty() {
        let length = records.len() as u64;
        let mut extended = Header::new_ustar();
        extended.set_entry_type(EntryType::XHeader);
        extended
            .set_path("PaxHeader")
            .map_err(|error| DumpError::Damaged {
                path: path_text(path),
                reason: error.to_string(),
            })?;
        extended.set_mode(0o600);
        extended.set_uid(0);
        extended.set_gid(0);
        extended.set_mtime(0);
        extended.set_size(length);
        extended.set_cksum();
        bytes.extend_from_slice(extended.as_bytes());
        bytes.extend_from_slice(&records);
        bytes.resize(bytes.len() + padding_after(length), 0);
    }
    bytes.extend_from_slice(header.as_bytes());
    Ok(Some(bytes))
}

/// The records of an extended header.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
}

impl Records {
    /// Adds `LENGTH KEY=VALUE\n`, where the length counts itself.
    fn add(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.bytes
            .extend_from_slice(format!("{length} {key}=").as_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }
}

/// Puts a text into its field, and one that is too long or no ASCII into a record.
fn put_bytes(field: &mut [u8], value: &[u8], key: &str, records: &mut Records) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    if value.len() > field.len() || !value.is_ascii() {
        records.add(key, value);
    }
}

/// A number for its field; one that is too large goes into a record.
fn small(value: u64, key: &str, largest: u64, records: &mut Records) -> u64 {
    if value <= largest {
        return value;
    }
    records.add(key, value.to_string().as_bytes());
    0
}

/// Whole seconds for the field; those before 1970 are only in the record.
fn seconds(time: Option<&Time>) -> u64 {
    time.and_then(|time| u64::try_from(time.unix_seconds()).ok())
        .unwrap_or_default()
        .min(LARGEST)
}

/// Seconds as a decimal number with as many digits as are needed.
fn decimal(time: &Time) -> String {
    let (seconds, nanoseconds) = (time.unix_seconds(), i64::from(time.nanoseconds()));
    // The fraction of a time counts forward, that of a negative number away from zero.
    let (sign, whole, fraction) = match (seconds < 0, nanoseconds) {
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, nanoseconds) => (
            "-",
            (seconds + 1).unsigned_abs(),
            1_000_000_000 - nanoseconds,
        ),
        (false, nanoseconds) => ("", seconds.unsigned_abs(), nanoseconds),
    };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{fraction:09}")
        .trim_end_matches('0')
        .to_owned()
}

fn attributes(node: &Node, records: &mut Records) {
    for attribute in &node.extended_attributes {
        let key = match attribute.name.as_str() {
            acl::ACCESS => Some("SCHILY.acl.access"),
            acl::DEFAULT => Some("SCHILY.acl.default"),
            _ => None,
        };
        match key {
            None => records.add(
                &format!("SCHILY.xattr.{}", attribute.name),
                &attribute.value,
            ),
            Some(key) => {
                if let Some(text) = acl::text(&attribute.value) {
                    records.add(key, text.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> String {
        let mut records = Records::default();
        records.add(key, value.as_bytes());
        String::from_utf8(records.bytes).unwrap()
    }

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        assert_eq!(record("a", "b"), "6 a=b\n");
        // Both 9 and 10 would count themselves here; the shorter record is the one that Go writes.
        assert_eq!(record("abc", "de"), "9 abc=de\n");
        assert_eq!(record("abc", "def"), "11 abc=def\n");
        for length in [80, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 994] {
            let text = record("path", &"x".repeat(length));
            let (told, _) = text.split_once(' ').unwrap();
            assert_eq!(told.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn times_before_1970_are_negative_decimals() {
        let time =
            |seconds, nanoseconds| Time::from_unix(seconds, nanoseconds, jiff::tz::Offset::UTC);
        assert_eq!(decimal(&time(5, 0)), "5");
        assert_eq!(decimal(&time(5, 120_000_000)), "5.12");
        assert_eq!(decimal(&time(-1, 750_000_000)), "-0.25");
        assert_eq!(decimal(&time(-3, 0)), "-3");
    }
}
