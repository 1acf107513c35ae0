//! Option values and number formats that several verbs share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::duration::{DurationError, GoDuration};
use clap::Args;
use jiff::tz::TimeZone;
use repository::snapshot::{SnapshotFilter, parse_tag_list};
use repository::time::Time;

use crate::failure::Failure;

/// Which snapshots are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterOptions {
    /// Only snapshots of this host (repeatable)
    #[arg(
        short = 'H',
        long = "host",
        value_name = "HOST",
        env = "RESTIC_HOST",
        hide_env_values = true
    )]
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
        snapshot_filter(&self.hosts, &self.tags, &self.paths)
    }
}

/// The engine's filter; relative paths are taken from the current folder.
pub fn snapshot_filter(
    hosts: &[String],
    tags: &[String],
    paths: &[PathBuf],
) -> Result<SnapshotFilter, Failure> {
    Ok(SnapshotFilter {
        hosts: hosts
            .iter()
            .filter(|host| !host.is_empty())
            .cloned()
            .collect(),
        paths: paths
            .iter()
            .map(|path| absolute(path))
            .collect::<Result<_, _>>()?,
        tags: tags.iter().map(|list| parse_tag_list(list)).collect(),
    })
}

/// The absolute form of a path, cleaned of `.` and `..` without looking at the disk.
pub fn absolute(path: &Path) -> Result<String, Failure> {
    let folder = std::env::current_dir()
        .map_err(|error| Failure::new(format!("Cannot find out the current folder: {error}")))?;
    Ok(archive::path::absolute(&folder, path)
        .to_string_lossy()
        .into_owned())
}

/// A Go duration of hours, minutes, seconds and milliseconds: `1h30m`, `45s`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text
        .parse()
        .map_err(|error: DurationError| error.to_string())?;
    duration
        .to_std()
        .ok_or_else(|| format!("`{text}` is negative"))
}

/// A moment as restic's options take it: a date, a date with a time (both of this machine's zone), or RFC 3339.
pub fn moment(text: &str) -> Result<Time, String> {
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    let local = text.parse::<jiff::civil::DateTime>().map_err(|_| {
        format!("`{text}` is no moment: write `2026-01-31`, `2026-01-31 23:59`, `2026-01-31 23:59:59` or RFC 3339")
    })?;
    let zoned = local
        .to_zoned(TimeZone::system())
        .map_err(|error| error.to_string())?;
    Ok(Time::from(&zoned))
}

/// This moment.
pub fn now() -> Time {
    Time::from(&jiff::Zoned::now())
}

/// A moment for people, in this machine's zone: `2026-01-31 23:59:59`.
pub fn local_text(time: &Time) -> String {
    time.timestamp()
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// A size as an option takes it: `100`, `10K`, `5m`, `1G`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    archive::filter::parse_size(text).map_err(|error| error.to_string())
}

/// Bytes for people, as restic writes them: `1.250 GiB`, `12.000 KiB`, `17 B`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    for (unit, word) in UNITS {
        if bytes >= unit {
            return format!("{:.3} {word}", bytes as f64 / unit as f64);
        }
    }
    format!("{bytes} B")
}

/// A time span for people: `m:ss`, or `h:mm:ss` from an hour on.
pub use session::text::processing_time as clock;

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
    fn a_filter_path_is_absolute_and_clean() {
        assert_eq!(absolute(Path::new("/a/./b/../c/")).unwrap(), "/a/c");
    }
}
