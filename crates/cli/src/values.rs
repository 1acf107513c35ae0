//! Option values and number formats that several verbs share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use repository::snapshot::SnapshotFilter;

use crate::failure::Failure;

/// Which snapshots are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterOptions {
    /// Only snapshots of this host (repeatable)
    #[arg(short = 'H', long = "host", value_name = "HOST", env = "RESTIC_HOST")]
    pub hosts: Vec<String>,
    /// Only snapshots with all of these tags, `a,b` (repeatable: any of the lists)
    #[arg(long = "tag", value_name = "TAG[,TAG]")]
    pub tags: Vec<String>,
    /// Only snapshots that hold this path (repeatable: all of them)
    #[arg(long = "path", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

impl FilterOptions {
    /// The engine's filter; relative paths are taken from the current folder.
    pub fn to_filter(&self) -> Result<SnapshotFilter, Failure> {
        Ok(SnapshotFilter {
            hosts: self.hosts.iter().filter(|host| !host.is_empty()).cloned().collect(),
            paths: self.paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            tags: self.tags.iter().map(|list| tag_list(list)).collect(),
        })
    }
}

/// The tags of `a,b`; the empty text is the list of the empty tag, which stands for "untagged".
pub fn tag_list(text: &str) -> Vec<String> {
    text.split(',').map(|tag| tag.trim().to_owned()).collect()
}

/// The absolute form of a path, cleaned of `.` and `..` without looking at the disk.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::new(format!("Cannot make {} absolute: {error}", path.display())))?;
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    Ok(clean.to_string_lossy().into_owned())
}

/// A Go duration of hours, minutes, seconds and milliseconds: `1h30m`, `45s`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    api::duration::parse(text).map_err(|error| error.to_string())
}

/// Bytes for people, as restic writes them: `1.250 GiB`, `12.000 KiB`, `17 B`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, word) in UNITS {
        if bytes >= unit {
            return format!("{:.3} {word}", bytes as f64 / unit as f64);
        }
    }
    format!("{bytes} B")
}

/// A time span for people: `m:ss`, or `h:mm:ss` from an hour on.
pub fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_restic() {
        assert_eq!(size(17), "17 B");
        assert_eq!(size(1024), "1.000 KiB");
        assert_eq!(size(1_342_177_280), "1.250 GiB");
    }

    #[test]
    fn spans_grow_an_hour_when_they_need_it() {
        assert_eq!(clock(Duration::from_secs(65)), "1:05");
        assert_eq!(clock(Duration::from_secs(3661)), "1:01:01");
    }

    #[test]
    fn a_filter_path_is_absolute_and_clean() {
        assert_eq!(absolute(Path::new("/a/./b/../c/")).unwrap(), "/a/c");
    }
}
