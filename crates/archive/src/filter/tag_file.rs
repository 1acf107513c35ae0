//! Files whose presence in a directory leaves out everything beside them (`--exclude-if-present`,
//! `--exclude-caches`).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The tag of <https://bford.info/cachedir/>.
const CACHE_TAG: &[u8] = b"CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55";

/// A text that names no tag file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no file: write FILENAME or FILENAME:HEADER")]
pub struct TagFileError {
    /// The text.
    pub text: String,
}

/// A name and, where given, the bytes the file must begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagFile {
    name: OsString,
    header: Vec<u8>,
}

impl TagFile {
    /// From `FILENAME` or `FILENAME:HEADER`.
    pub fn parse(text: &OsStr) -> Result<Self, TagFileError> {
        let mut parts = text.as_bytes().splitn(2, |byte| *byte == b':');
        let name = parts.next().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| TagFileError {
            text: text.to_string_lossy().into_owned(),
        })?;
        let header = parts.next().unwrap_or_default().to_vec();
        Ok(Self {
            name: OsString::from_vec(name.to_vec()),
            header,
        })
    }

    /// The tag of cache directories.
    pub fn cache() -> Self {
        let (name, header) = CACHE_TAG.split_at(12);
        Self {
            name: OsString::from_vec(name.to_vec()),
            header: header[1..].to_vec(),
        }
    }

    /// The name of the file; it is never left out itself.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Whether the directory holds the file with its header. Trouble reading it is logged and means no.
    pub fn is_in(&self, directory: &Path) -> bool {
        let path = directory.join(&self.name);
        if let Err(error) = std::fs::symlink_metadata(&path) {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot look for the tag file");
            }
            return false;
        }
        if self.header.is_empty() {
            return true;
        }
        let mut start = vec![0; self.header.len()];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut start)) {
            Ok(()) if start == self.header => true,
            Ok(()) => {
                tracing::warn!(path = %path.display(), "the tag file has another header and is ignored");
                false
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the tag file, it is ignored");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_to_be_there_in_full() {
        let folder = tempfile::tempdir().unwrap();
        let tag = TagFile::cache();
        assert!(!tag.is_in(folder.path()));
        let path = folder.path().join("CACHEDIR.TAG");
        for (content, expected) in [
            ("Signature: 8a477f597d28d172789f06886806bc55\n# more", true),
            ("Signature: 8a477f597d28d172789f06886806bc5", false),
            ("signature: 8a477f597d28d172789f06886806bc55", false),
            ("", false),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(tag.is_in(folder.path()), expected, "{content:?}");
        }
    }

    #[test]
    fn a_tag_is_a_name_with_or_without_header() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".nobackup"), "why: because").unwrap();
        for (text, expected) in [
            (".nobackup", true),
            (".nobackup:why: b", true),
            (".nobackup:x", false),
            ("x", false),
        ] {
            assert_eq!(
                TagFile::parse(text.as_ref()).unwrap().is_in(folder.path()),
                expected,
                "{text}"
            );
        }
        assert!(TagFile::parse("".as_ref()).is_err());
        assert!(TagFile::parse(":x".as_ref()).is_err());
    }
}
