//! The repository string after `s3:`, as restic reads it.
//!
//! A URL's path is percent-decoded, a bare host's is taken as it is. The prefix is cleaned of empty parts, `.` and
//! `..`, but keeps a slash at its beginning. Shown by experiment with restic 0.19.1.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::service::keys::clean_prefix;
use crate::variables::SetupError;

const EXAMPLE: &str = "Write it as `s3:https://host:port/bucket/prefix` or `s3:s3.amazonaws.com/bucket/prefix`; \
     keys are given by `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.";

/// Where the repository lies, without region and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub is_plain_http: bool,
    /// Host and, where it is not the scheme's own, port.
    pub authority: String,
    pub bucket: String,
    /// Cleaned; empty for the root of the bucket.
    pub prefix: String,
}

impl Location {
    pub fn parse(text: &str) -> Result<Self, SetupError> {
        let (is_plain_http, rest, is_url) = split_scheme(text);
        let rest = if is_url {
            rest.split(['?', '#']).next().unwrap_or_default()
        } else {
            rest
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = if is_url {
            decode(path)?
        } else {
            path.to_owned()
        };
        let (bucket, prefix) = path.split_once('/').unwrap_or((&path, ""));
        if bucket.is_empty() {
            return Err(
                SetupError::new("the S3 location names no bucket after the host")
                    .with_hint(EXAMPLE),
            );
        }
        let prefix = clean(prefix);
        if prefix == ".." || prefix.starts_with("../") {
            return Err(
                SetupError::new("the prefix in the bucket leads out of the bucket")
                    .with_hint("Leave `..` out of the location."),
            );
        }
        Ok(Self {
            is_plain_http,
            authority: authority(host, is_plain_http)?,
            bucket: checked_bucket(bucket)?,
            prefix,
        })
    }

    pub const fn scheme(&self) -> &'static str {
        if self.is_plain_http { "http" } else { "https" }
    }

    /// The key of an object or folder below the prefix.
    pub fn key(&self, path: &str) -> String {
        match self.prefix.as_str() {
            "" => path.to_owned(),
            "/" => format!("/{path}"),
            prefix => format!("{prefix}/{path}"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "s3:{}://{}/{}",
            self.scheme(),
            self.authority,
            self.bucket
        )?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(formatter, "/{prefix}"),
        }
    }
}

/// Whether it is plain HTTP, what follows the scheme, and whether that is a URL. Two slashes may stand before a
/// bare host.
fn split_scheme(text: &str) -> (bool, &str, bool) {
    let after = |scheme: &str| {
        let start = text.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &text[scheme.len()..])
    };
    if let Some(rest) = after("http://") {
        (true, rest, true)
    } else if let Some(rest) = after("https://") {
        (false, rest, true)
    } else {
        (false, text.strip_prefix("//").unwrap_or(text), false)
    }
}

fn decode(path: &str) -> Result<String, SetupError> {
    let malformed = || {
        SetupError::new("the path of the S3 location is not percent-encoded text")
            .with_hint("Write a percent sign in a URL as `%25`.")
    };
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        let is_hex = after
            .as_bytes()
            .get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if !is_hex {
            return Err(malformed());
        }
        rest = after;
    }
    let decoded = percent_decode_str(path).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| malformed())
}

/// Checks the host; its text is not repeated, because it may hold a key by mistake.
fn authority(host: &str, is_plain_http: bool) -> Result<String, SetupError> {
    if host.contains('@') {
        return Err(
            SetupError::new("the S3 location holds a user name or key before the host")
                .with_hint(EXAMPLE),
        );
    }
    let scheme = if is_plain_http { "http" } else { "https" };
    let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|error| {
        SetupError::new(format!("the host of the S3 location is malformed: {error}"))
            .with_hint(EXAMPLE)
    })?;
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| SetupError::new("the S3 location names no host").with_hint(EXAMPLE))?;
    Ok(match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    })
}

fn checked_bucket(bucket: &str) -> Result<String, SetupError> {
    let is_usable = bucket
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && (3..=255).contains(&bucket.len())
        && !bucket.contains("..");
    if is_usable {
        return Ok(bucket.to_owned());
    }
    Err(
        SetupError::new(format!("`{bucket}` cannot be the name of a bucket")).with_hint(
            "Names of buckets have 3 to 63 lower-case letters, digits, dots and hyphens.",
        ),
    )
}

/// As for other services, but a slash at the beginning stays.
fn clean(path: &str) -> String {
    let cleaned = clean_prefix(path);
    if path.starts_with('/') {
        format!("/{cleaned}")
    } else {
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Location and where restic 0.19.1 put the config of a new repository.
    const SEEN: [(&str, &str, &str); 13] = [
        ("http://h/buck1", "buck1", "config"),
        ("http://h/buck2/", "buck2", "config"),
        ("http://h/buck3//x", "buck3", "/x/config"),
        ("http://h/buck4/a//b/../c/", "buck4", "a/c/config"),
        ("http://h/buck5/a%20b+c", "buck5", "a b+c/config"),
        ("http://h/buck6//", "buck6", "/config"),
        ("http://h/buck7/./", "buck7", "config"),
        ("http://h/buck8/ä b", "buck8", "ä b/config"),
        ("http://h/buck9/x?y#z", "buck9", "x/config"),
        ("http://h/buck10/x//", "buck10", "x/config"),
        ("http://h/buck12///", "buck12", "/config"),
        ("http://h/buck18/a%2Fb", "buck18", "a/b/config"),
        ("h/buck19/a%20b", "buck19", "a%20b/config"),
    ];

    #[test]
    fn objects_lie_where_restic_puts_them() {
        for (text, bucket, key) in SEEN {
            let location = Location::parse(text).unwrap();
            assert_eq!(
                (location.bucket.as_str(), location.key("config").as_str()),
                (bucket, key),
                "{text}"
            );
        }
    }

    #[test]
    fn hosts_are_bare_or_in_urls_and_may_be_addresses() {
        for (text, shown) in [
            (
                "s3.amazonaws.com/bucket",
                "s3:https://s3.amazonaws.com/bucket",
            ),
            ("//host:9000/bucket/x", "s3:https://host:9000/bucket/x"),
            ("host:443/bucket", "s3:https://host/bucket"),
            ("HTTP://Host:80/bucket", "s3:http://host/bucket"),
            ("https://[::1]:9000/bucket", "s3:https://[::1]:9000/bucket"),
            ("[fd00::2]/bucket/y", "s3:https://[fd00::2]/bucket/y"),
            ("http://10.0.0.1:9/bucket", "s3:http://10.0.0.1:9/bucket"),
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_names_no_bucket_is_refused_with_a_hint_and_shows_no_key() {
        for text in [
            "",
            "host",
            "host/",
            "http://host",
            "http://host//bucket",
            "http:///bucket",
            "https://AKIA:secret@host/bucket",
            "ho st/bucket",
            "http://host/bucket/a%zz",
            "http://host/bucket/a%f",
            "host/bucket/../x",
            "host/b?/x",
            "host/ab",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.hint.is_some(), "{text}: {error}");
        }
    }
}
