//! Files of patterns: one per line, comments and blank lines left out, variables of the environment put in.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Looks up a variable of the environment; absent ones become nothing.
pub type Environment<'a> = &'a dyn Fn(&OsStr) -> Option<OsString>;

/// A pattern file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the pattern file {}", path.display())]
pub struct PatternFileError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// The patterns of a file (UTF-8, or UTF-16 with a byte order mark), in order.
pub fn read_patterns(
    path: &Path,
    environment: Environment<'_>,
) -> Result<Vec<OsString>, PatternFileError> {
    let content = std::fs::read(path).map_err(|source| PatternFileError {
        path: path.to_owned(),
        source,
    })?;
    let content = decode(content);
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    Ok(lines
        .map(|line| OsString::from_vec(expand(line, environment)))
        .collect())
}

/// Takes a byte order mark off and UTF-16 to UTF-8.
fn decode(content: Vec<u8>) -> Vec<u8> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| unit([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units).into_bytes()
    };
    match content.as_slice() {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.to_vec(),
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        _ => content,
    }
}

/// Puts in `$NAME` and `${NAME}`; `$$` is a dollar, and so is one before anything that is no name.
fn expand(line: &[u8], environment: Environment<'_>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'$' || after.is_empty() {
            expanded.push(*first);
            continue;
        }
        let (name, length) = variable(after);
        match name {
            Some(b"$") => expanded.push(b'$'),
            Some(name) => {
                let value = environment(OsStr::from_bytes(name)).unwrap_or_default();
                expanded.extend_from_slice(value.as_bytes());
            }
            None if length == 0 => expanded.push(b'$'),
            None => {}
        }
        rest = &after[length..];
    }
    expanded
}

/// The variable's name after a dollar and the bytes it takes; bytes without a name are wrong syntax, which vanishes.
fn variable(text: &[u8]) -> (Option<&[u8]>, usize) {
    let is_special = |byte: u8| b"*#$@!?-".contains(&byte) || byte.is_ascii_digit();
    if text[0] == b'{' {
        return match text.iter().position(|byte| *byte == b'}') {
            None => (None, 1),
            Some(1) => (None, 2),
            Some(end) => (Some(&text[1..end]), end + 1),
        };
    }
    if is_special(text[0]) {
        return (Some(&text[..1]), 1);
    }
    let length = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    ((length > 0).then_some(&text[..length]), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &OsStr) -> Option<OsString> {
        (name == "HOME").then(|| "/root".into())
    }

    #[test]
    fn variables_are_put_in_as_go_does_it() {
        let cases = [
            ("$HOME/x", "/root/x"),
            ("${HOME}x", "/rootx"),
            ("$$x", "$x"),
            ("a$", "a$"),
            ("$/x", "$/x"),
            ("${}x", "x"),
            ("${x", "x"),
            ("$UNSET/x", "/x"),
            ("$1x", "x"),
            ("a${$}b", "a$b"),
        ];
        for (line, expected) in cases {
            assert_eq!(
                expand(line.as_bytes(), &environment),
                expected.as_bytes(),
                "{line}"
            );
        }
    }

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patterns");
        std::fs::write(&path, "\u{feff}# all\n\n  *.tmp  \r\n\t#no\n!x # y\n/last").unwrap();
        let patterns = read_patterns(&path, &environment).unwrap();
        assert_eq!(patterns, ["*.tmp", "!x # y", "/last"]);
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("ä\n".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        std::fs::write(&path, utf16).unwrap();
        assert_eq!(read_patterns(&path, &environment).unwrap(), ["ä"]);
    }

    #[test]
    fn a_missing_pattern_file_is_named() {
        let error = read_patterns(Path::new("/does/not/exist"), &environment).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read the pattern file /does/not/exist"
        );
    }
}
