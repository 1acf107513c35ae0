//! Where caches are, and which of them nobody uses any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Variables;
use crate::cache::folder::{age, is_id};

/// A cache that was not used for so long is removed on request; restic's number.
const OLD_AFTER: Duration = Duration::from_hours(30 * 24);

/// The folder of caches as restic chooses it: `RESTIC_CACHE_DIR`, or `restic` in `XDG_CACHE_HOME`, or
/// `.cache/restic` in the home folder. Nothing when there is none of these.
pub fn default_cache_folder(variables: &Variables) -> Option<PathBuf> {
    if let Some(folder) = variables.get("RESTIC_CACHE_DIR") {
        return Some(folder.into());
    }
    let folder = match variables.get("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(variables.get("HOME")?).join(".cache"),
    };
    Some(folder.join("restic"))
}

/// What a cleanup removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCleanup {
    /// Caches that were removed.
    pub removed: usize,
    /// Old caches that could not be removed.
    pub failed: usize,
}

/// Removes the caches in a folder that no program has used for 30 days. Anything that is not a cache stays.
pub async fn remove_old_caches(folder: &Path) -> io::Result<CacheCleanup> {
    let folder = folder.to_owned();
    let cleaned = tokio::task::spawn_blocking(move || remove_old(&folder)).await;
    cleaned.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn remove_old(folder: &Path) -> io::Result<CacheCleanup> {
    let mut cleanup = CacheCleanup::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(cleanup),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let is_cache = entry.file_type()?.is_dir()
            && entry.file_name().to_str().is_some_and(is_id)
            && path.join("version").is_file();
        if is_cache && age(&path).is_some_and(|age| age > OLD_AFTER) {
            match fs::remove_dir_all(&path) {
                Ok(()) => cleanup.removed += 1,
                Err(_) => cleanup.failed += 1,
            }
        }
    }
    Ok(cleanup)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use secrecy::SecretString;

    use super::*;

    fn variables(values: &[(&str, &str)]) -> Variables {
        Variables::new().or(values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))))
    }

    #[test]
    fn the_folder_is_chosen_as_restic_chooses_it() {
        let all = [
            ("HOME", "/home/me"),
            ("XDG_CACHE_HOME", "/xdg"),
            ("RESTIC_CACHE_DIR", "/mine"),
        ];
        let folder = |count| default_cache_folder(&variables(&all[..count]));
        assert_eq!(folder(0), None);
        assert_eq!(folder(1), Some("/home/me/.cache/restic".into()));
        assert_eq!(folder(2), Some("/xdg/restic".into()));
        assert_eq!(folder(3), Some("/mine".into()));
    }

    #[tokio::test]
    async fn only_caches_that_were_not_used_for_a_month_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, days: u64, has_version: bool| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            if has_version {
                fs::write(path.join("version"), "1").unwrap();
            }
            let then = SystemTime::now() - Duration::from_hours(24 * days);
            File::open(&path).unwrap().set_modified(then).unwrap();
            path
        };
        let old = make(&"a".repeat(64), 31, true);
        let kept = [
            make(&"b".repeat(64), 29, true),
            make(&"c".repeat(64), 99, false),
            make("photos", 99, true),
        ];
        let cleanup = remove_old_caches(folder.path()).await.unwrap();
        assert_eq!((cleanup.removed, cleanup.failed), (1, 0));
        assert!(!old.exists());
        assert!(kept.iter().all(|path| path.exists()));
    }
}
