//! From a repository string to a backend with everything around it.
//!
//! Owns restic's spelling of places and the order of the decorators. What follows the scheme, the variables and the
//! extended options of a service are that service's own; the cache belongs to the opened repository, whose id names
//! it.

mod extended;
mod open;

use std::path::{Path, PathBuf};

use crate::service::{AzureOptions, B2Options, GcsOptions, RestOptions, S3Options, SwiftOptions};
use crate::{SetupError, Variables};

pub use open::{OpenOptions, open};

/// Where a repository is, and who we are there.
#[derive(Debug, Clone)]
pub enum Location {
    /// A folder.
    Local {
        /// Its path.
        path: PathBuf,
        /// Most calls at once.
        connections: Option<usize>,
    },
    /// A bucket of S3.
    S3(Box<S3Options>),
    /// A bucket of Google Cloud Storage.
    Gcs(Box<GcsOptions>),
    /// A container of Azure.
    Azure(Box<AzureOptions>),
    /// A container of OpenStack Swift.
    Swift(Box<SwiftOptions>),
    /// A bucket of Backblaze B2.
    B2(Box<B2Options>),
    /// A REST server.
    Rest(Box<RestOptions>),
}

/// What restic stores in and we do not.
const UNSUPPORTED: [(&str, &str); 3] = [
    (
        "sftp",
        "Mount the server with sshfs and give the folder, or run rest-server there.",
    ),
    (
        "rclone",
        "Run `rclone serve restic` and give its address, as `rest:http://localhost:8080/`.",
    ),
    (
        "opendal",
        "Give the place by its own name, as `s3:https://host/bucket`.",
    ),
];

const FORMS: &str = "Give a folder, or one of `s3:`, `gs:`, `azure:`, `swift:`, `b2:` and `rest:`; write `local:` \
     before a folder whose name has a colon.";

impl Location {
    /// Reads a repository string as restic spells it, the variables that belong to it, and `-o` options as pairs of
    /// `s3.storage-class` and its value. Options of other services are ignored. Nothing is connected.
    pub fn parse(
        repository: &str,
        variables: &Variables,
        extended: &[(String, String)],
    ) -> Result<Self, SetupError> {
        extended::check_names(extended)?;
        let (scheme, rest) = scheme(repository);
        let mut location = match scheme {
            Some("local") => Self::local(rest)?,
            Some("s3") => Self::S3(Box::new(S3Options::parse(rest, variables)?)),
            Some("gs") => Self::Gcs(Box::new(GcsOptions::parse(rest, variables)?)),
            Some("azure") => Self::Azure(Box::new(AzureOptions::parse(rest, variables)?)),
            Some("swift") => Self::Swift(Box::new(SwiftOptions::parse(rest, variables)?)),
            Some("b2") => Self::B2(Box::new(B2Options::parse(rest, variables)?)),
            Some("rest") => Self::Rest(Box::new(RestOptions::parse(rest, variables)?)),
            Some(other) if !is_path(repository) => return Err(unknown(other)),
            _ => Self::local(repository)?,
        };
        extended::apply(&mut location, extended)?;
        Ok(location)
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Local { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The scheme of the repository string.
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::S3(_) => "s3",
            Self::Gcs(_) => "gs",
            Self::Azure(_) => "azure",
            Self::Swift(_) => "swift",
            Self::B2(_) => "b2",
            Self::Rest(_) => "rest",
        }
    }

    /// Limits the requests at once; the service's own number stays when there is no limit.
    pub fn limit_connections(&mut self, limit: usize) {
        *self.connections_mut() = Some(limit);
    }

    fn connections_mut(&mut self) -> &mut Option<usize> {
        match self {
            Self::Local { connections, .. } => connections,
            Self::S3(options) => &mut options.connections,
            Self::Gcs(options) => &mut options.connections,
            Self::Azure(options) => &mut options.connections,
            Self::Swift(options) => &mut options.connections,
            Self::B2(options) => &mut options.connections,
            Self::Rest(options) => &mut options.connections,
        }
    }

    fn local(path: &str) -> Result<Self, SetupError> {
        if path.is_empty() {
            return Err(SetupError::new("the location of the repository is empty").with_hint(FORMS));
        }
        Ok(Self::Local {
            path: PathBuf::from(path),
            connections: None,
        })
    }
}

/// What is before the first colon, and what is after it.
fn scheme(repository: &str) -> (Option<&str>, &str) {
    match repository.split_once(':') {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, repository),
    }
}

/// Whether a colon in this text cannot be that of a scheme.
fn is_path(text: &str) -> bool {
    ["/", "./", "../"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// The rest of the text may hold a password and is not repeated.
fn unknown(scheme: &str) -> SetupError {
    match UNSUPPORTED.iter().find(|(name, _)| *name == scheme) {
        Some((name, hint)) => {
            SetupError::new(format!("repositories over `{name}:` are not supported"))
                .with_hint(*hint)
        }
        None => SetupError::new(format!(
            "`{}:` is no kind of repository",
            scheme.escape_default()
        ))
        .with_hint(FORMS),
    }
}
