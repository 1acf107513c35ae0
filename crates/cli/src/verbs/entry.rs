//! An entry of a snapshot as a line of `ls` and `find`; its JSON forms are `archive::ls`'s.

use archive::ls::permissions;
use repository::time::Time;
use repository::tree::{Node, NodeKind};

use crate::values::{local_text, size};

/// How much of an entry is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Its path.
    Path,
    /// Mode, owner, size, time and path.
    Long {
        /// Sizes with units.
        is_human_readable: bool,
    },
}

impl Form {
    /// The form of `--long` and `--human-readable`.
    pub const fn new(is_long: bool, is_human_readable: bool) -> Self {
        if is_long {
            Self::Long { is_human_readable }
        } else {
            Self::Path
        }
    }
}

/// The path for people: invalid UTF-8 and control characters are replaced, so that a name cannot play tricks
/// on a terminal.
pub fn printable(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    text.chars()
        .map(|letter| {
            if letter.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                letter
            }
        })
        .collect()
}

/// The line of an entry.
pub fn line(path: &[u8], node: &Node, form: Form) -> String {
    let path = printable(path);
    let Form::Long { is_human_readable } = form else {
        return path;
    };
    let bytes = if node.kind == NodeKind::File {
        node.size
    } else {
        0
    };
    let bytes = if is_human_readable {
        size(bytes)
    } else {
        bytes.to_string()
    };
    let target = match node.kind {
        NodeKind::Symlink => format!(" -> {}", printable(&node.link_target)),
        _ => String::new(),
    };
    let time = local_text(&node.mtime.unwrap_or(Time::ZERO));
    let (uid, gid) = (node.uid, node.gid);
    format!(
        "{} {uid:>5} {gid:>5} {bytes:>6} {time} {path}{target}",
        permissions(node)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_play_tricks_on_a_terminal() {
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
