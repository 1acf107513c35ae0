//! A folder as a zip archive.

use std::io::{Seek, Write};
use std::mem::ManuallyDrop;

use repository::time::Time;
use repository::tree::{Node, NodeKind};
use tokio_util::sync::CancellationToken;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::dump::stream::{Item, Source};
use crate::dump::{DumpError, DumpSummary};
use crate::walk::path_text;

/// Content from which on an entry needs the large form.
const LARGE_BYTES: u64 = 0xffff_ffff - (1 << 20);

/// Writes all entries of the source.
pub(super) async fn write(
    mut source: Source,
    output: &mut (dyn Write + Send),
    cancel: &CancellationToken,
) -> Result<DumpSummary, DumpError> {
    let mut summary = DumpSummary::default();
    // Dropping it would complete the archive, and one that broke off must not look complete.
    let mut archive = ManuallyDrop::new(ZipWriter::new_stream(output));
    let mut current = String::new();
    while let Some(item) = source.next(cancel).await? {
        match item {
            Item::Entry { path, node, size } => {
                if node.kind == NodeKind::Socket || node.kind == NodeKind::Irregular {
                    summary.left_out += 1;
                    continue;
                }
                current = path_text(&path);
                begin(&mut archive, &current, &node, size)
                    .map_err(|error| failed(&current, error))?;
                summary.entries += 1;
            }
            Item::Data(data) => {
                archive
                    .write_all(&data)
                    .map_err(|source| DumpError::Output { source })?;
                summary.bytes += data.len() as u64;
            }
        }
    }
    let mut output = ManuallyDrop::into_inner(archive)
        .finish()
        .map_err(|error| failed(&current, error))?;
    output
        .flush()
        .map_err(|source| DumpError::Output { source })?;
    Ok(summary)
}

fn failed(path: &str, error: zip::result::ZipError) -> DumpError {
    match error {
        zip::result::ZipError::Io(source) => DumpError::Output { source },
        other => DumpError::Damaged {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}

fn begin<W: Write + Seek>(
    archive: &mut ZipWriter<W>,
    path: &str,
    node: &Node,
    size: u64,
) -> zip::result::ZipResult<()> {
    let name = path.strip_prefix('/').unwrap_or(path);
    let options = SimpleFileOptions::default()
        .unix_permissions(node.mode & 0o7777)
        .last_modified_time(node.mtime.as_ref().and_then(date).unwrap_or_default());
    match node.kind {
        NodeKind::Dir => archive.add_directory(name, options),
        NodeKind::Symlink => {
            archive.add_symlink(name, String::from_utf8_lossy(&node.link_target), options)
        }
        NodeKind::File => {
            let options = options
                .compression_method(CompressionMethod::Deflated)
                .large_file(size >= LARGE_BYTES);
            archive.start_file(name, options)
        }
        _ => archive.start_file(name, options.compression_method(CompressionMethod::Stored)),
    }
}

/// The time in UTC, where the format can say it: from 1980 to 2107, every other second.
fn date(time: &Time) -> Option<DateTime> {
    let civil = jiff::tz::Offset::UTC.to_datetime(time.timestamp());
    let part = |value: i8| u8::try_from(value).ok();
    DateTime::from_date_and_time(
        u16::try_from(civil.year()).ok()?,
        part(civil.month())?,
        part(civil.day())?,
        part(civil.hour())?,
        part(civil.minute())?,
        part(civil.second())?,
    )
    .ok()
}
