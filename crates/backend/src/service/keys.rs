//! Keys of objects in stores without folders: a prefix and restic's layout below it.

use crate::{FileKind, Handle};

/// Length of an object's name: a SHA-256 in hex.
const NAME_DIGITS: usize = 64;

/// A prefix as restic cleans it for B2, GCS and Azure: one leading slash goes, then `.`, `..` and doubled slashes
/// are resolved as in a path. An empty prefix is the root.
pub(super) fn clean_prefix(text: &str) -> String {
    let is_rooted = text.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            // Nothing is above the root.
            ".." if is_rooted => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The key of an object below a cleaned prefix.
pub(super) fn key(prefix: &str, handle: &Handle) -> String {
    below(prefix, &handle.path())
}

/// What the keys of all objects of a kind begin with; for the config, its key.
pub(super) fn kind_prefix(prefix: &str, kind: FileKind) -> String {
    match kind {
        FileKind::Config => below(prefix, "config"),
        kind => below(prefix, &format!("{}/", kind.folder())),
    }
}

/// The name of the object of this kind that has this key below [`kind_prefix`]; nothing for a foreign key.
pub(super) fn name_of(kind: FileKind, rest: &str) -> Option<&str> {
    let name = match kind {
        FileKind::Config => return rest.is_empty().then_some("config"),
        FileKind::Pack => {
            let (folder, name) = rest.split_once('/')?;
            // A pack in the folder of another prefix is out of reach under its name.
            name.strip_prefix(folder).filter(|_| folder.len() == 2)?;
            name
        }
        _ => rest,
    };
    let is_name = name.len() == NAME_DIGITS
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_name.then_some(name)
}

fn below(prefix: &str, path: &str) -> String {
    // Only Swift knows a prefix that ends in a slash: the root as a folder.
    if prefix.is_empty() || prefix.ends_with('/') {
        format!("{prefix}{path}")
    } else {
        format!("{prefix}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_cleaned_as_restic_does() {
        for (text, clean) in [
            ("", ""),
            ("/", ""),
            (".", ""),
            ("x", "x"),
            ("/x", "x"),
            ("//x//y/", "x/y"),
            ("x/./y/../z", "x/z"),
            ("/../x", "x"),
            ("../x", "../x"),
            ("a b/ü", "a b/ü"),
        ] {
            assert_eq!(clean_prefix(text), clean, "{text}");
        }
    }

    #[test]
    fn keys_and_names_are_inverse_and_foreign_keys_have_no_name() {
        let name = "ab".repeat(32);
        for kind in FileKind::ALL {
            let handle = match kind {
                FileKind::Config => Handle::config(),
                kind => Handle::new(kind, name.clone()),
            };
            for prefix in ["", "x/y"] {
                let key = key(prefix, &handle);
                let rest = key.strip_prefix(&kind_prefix(prefix, kind)).unwrap();
                assert_eq!(name_of(kind, rest), Some(handle.name()), "{key}");
            }
        }
        assert_eq!(key("x", &Handle::config()), "x/config");
        for rest in ["", "short", &format!("{name}-tmp"), &name.to_uppercase()] {
            assert_eq!(name_of(FileKind::Index, rest), None, "{rest}");
        }
        for rest in [
            name.clone(),
            format!("ac/{name}"),
            format!("aba/{name}"),
            format!("ab/{name}/x"),
            format!("/{name}"),
        ] {
            assert_eq!(name_of(FileKind::Pack, &rest), None, "{rest}");
        }
        assert_eq!(name_of(FileKind::Config, "urable"), None);
    }
}
