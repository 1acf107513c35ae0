//! Repository locations as restic spells them.

/// Joins the parts of a path as Go's `path.Join` does, without leading and trailing slashes.
pub(super) fn join(parts: &[&str]) -> String {
    let mut clean: Vec<&str> = Vec::new();
    for segment in parts.iter().flat_map(|part| part.split('/')) {
        match segment {
            "" | "." => {}
            ".." => {
                clean.pop();
            }
            segment => clean.push(segment),
        }
    }
    clean.join("/")
}

/// A URL with user and password put in, in place of those it has.
pub(super) fn with_user(url: &str, username: &str, password: Option<&str>) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    let password = password
        .map(|password| format!(":{}", escaped(password)))
        .unwrap_or_default();
    format!("{scheme}://{}{password}@{host}", escaped(username))
}

/// A URL without user and password.
pub(super) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{scheme}://{host}")
}

/// Escapes what may not stand in the user part of a URL, as Go's `net/url` does.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,;=".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_without_double_slashes() {
        assert_eq!(join(&["bucket", ""]), "bucket");
        assert_eq!(join(&["bucket", "/a//b/"]), "bucket/a/b");
    }

    #[test]
    fn user_and_password_are_escaped_and_replace_those_of_the_url() {
        assert_eq!(
            with_user("http://host:8000/x", "me", None),
            "http://me@host:8000/x"
        );
        assert_eq!(
            with_user("https://old:pw@host/x@y", "a b", Some("p/:@$")),
            "https://a%20b:p%2F%3A%40$@host/x@y"
        );
        assert_eq!(without_user("https://old:pw@host/x"), "https://host/x");
    }
}
