//! Where a REST server is and who we are there.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::variables::{SetupError, Variables};

/// A repository on a REST server.
#[derive(Clone)]
pub struct RestOptions {
    /// Scheme, host, port and path of the repository, without user and password; ends in `/`.
    url: Url,
    unix_socket: Option<PathBuf>,
    username: Option<String>,
    password: Option<SecretString>,
    /// Most requests at once.
    pub connections: Option<usize>,
}

impl RestOptions {
    /// From what follows `rest:` in restic's repository string.
    ///
    /// User and password come from the URL, or else from `RESTIC_REST_USERNAME` and `RESTIC_REST_PASSWORD`.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let (text, unix_socket) = split_socket(text)?;
        // The text itself may hold a password and is not repeated.
        let mut url = Url::parse(&text).map_err(|error| {
            SetupError::new(format!("the URL of the REST server is malformed: {error}"))
                .with_hint("Write it as `rest:https://host:8000/path/`.")
        })?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(SetupError::new(
                "the URL of the REST server begins neither with http:// nor with https://",
            )
            .with_hint("Write it as `rest:https://host:8000/path/`."));
        }
        let in_url = (!url.username().is_empty()).then(|| {
            let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            (
                decode(url.username()),
                url.password().map(|text| SecretString::from(decode(text))),
            )
        });
        let (username, password) = match in_url {
            Some((username, password)) => (Some(username), password),
            None => (
                variables.get("RESTIC_REST_USERNAME"),
                variables.secret("RESTIC_REST_PASSWORD"),
            ),
        };
        let cannot_be_changed = |()| SetupError::new("the URL of the REST server is malformed");
        url.set_username("").map_err(cannot_be_changed)?;
        url.set_password(None).map_err(cannot_be_changed)?;
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self {
            url,
            unix_socket,
            username,
            password,
            connections: None,
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(super) fn unix_socket(&self) -> Option<&Path> {
        self.unix_socket.as_deref()
    }

    pub(super) fn password(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }

    /// The value of the header, where there is a user.
    pub(super) fn authorization(&self) -> Option<SecretString> {
        let username = self.username.as_deref()?;
        let password = self
            .password
            .as_ref()
            .map_or("", |password| password.expose_secret());
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        Some(SecretString::from(format!("Basic {encoded}")))
    }

    pub(super) fn endpoint(&self) -> Option<String> {
        let is_remote = self.unix_socket.is_none();
        is_remote.then(|| self.url.origin().ascii_serialization())
    }
}

/// `http+unix:///path/of.sock:/repository/` names a socket and the path that is asked for over it.
fn split_socket(text: &str) -> Result<(String, Option<PathBuf>), SetupError> {
    let Some(rest) = text.strip_prefix("http+unix://") else {
        return Ok((text.to_owned(), None));
    };
    let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
    if !socket.starts_with('/') {
        return Err(
            SetupError::new("the path of the Unix socket is not absolute")
                .with_hint("Write it as `rest:http+unix:///run/rest.sock:/path/`."),
        );
    }
    Ok((
        format!("http://localhost/{path}"),
        Some(PathBuf::from(socket)),
    ))
}

impl fmt::Display for RestOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unix_socket {
            Some(socket) => write!(
                formatter,
                "rest:http+unix://{}:{}",
                socket.display(),
                self.url.path()
            ),
            None => write!(formatter, "rest:{}", self.url),
        }
    }
}

impl fmt::Debug for RestOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("RestOptions")
            .field(&self.to_string())
            .finish()
    }
}
