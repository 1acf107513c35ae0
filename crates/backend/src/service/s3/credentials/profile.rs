//! A named profile in the files of Amazon's tools.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use super::{Keys, keys};
use crate::ErrorKind;
use crate::http::HttpFailure;
use crate::variables::Variables;

/// Settings that say who we are.
const WHO_WE_ARE: [&str; 9] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "role_arn",
    "source_profile",
    "credential_source",
    "credential_process",
    "web_identity_token_file",
    "login_session",
];

/// A profile with keys in it.
#[derive(Debug, Clone)]
pub(in crate::service::s3) struct Profile {
    name: String,
    /// `credentials`, where sections are called as the profile.
    credentials_file: Option<String>,
    /// `config`, where they are called `profile NAME`.
    config_file: Option<String>,
}

impl Profile {
    /// The profile or file that the variables name.
    pub fn named(variables: &Variables) -> Option<Self> {
        let name = variables
            .get("AWS_PROFILE")
            .or_else(|| variables.get("AWS_DEFAULT_PROFILE"));
        let file = variables.get("AWS_SHARED_CREDENTIALS_FILE");
        (name.is_some() || file.is_some()).then(|| Self::of(variables, name))
    }

    /// The profile `default` in the user's home.
    pub fn of_home(variables: &Variables) -> Option<Self> {
        variables.has("HOME").then(|| Self::of(variables, None))
    }

    fn of(variables: &Variables, name: Option<String>) -> Self {
        let home = variables.get("HOME");
        let in_home = |file: &str| home.as_ref().map(|home| format!("{home}/.aws/{file}"));
        Self {
            name: name.unwrap_or_else(|| "default".to_owned()),
            credentials_file: variables
                .get("AWS_SHARED_CREDENTIALS_FILE")
                .or_else(|| in_home("credentials")),
            config_file: variables
                .get("AWS_CONFIG_FILE")
                .or_else(|| in_home("config")),
        }
    }

    /// Whether the files say under this name who we are, be it in a way that is not supported. Settings of another
    /// nature, as a region, do not.
    pub async fn is_there(&self) -> Result<bool, HttpFailure> {
        let section = self.section().await?;
        Ok(section
            .keys()
            .any(|setting| WHO_WE_ARE.contains(&setting.as_str()) || setting.starts_with("sso_")))
    }

    /// The files are read each time: tools that renew keys replace them.
    pub async fn load(&self) -> Result<Keys, HttpFailure> {
        let mut section = self.section().await?;
        if section.is_empty() {
            return Err(refused("there is no such profile in the files"));
        }
        let mut take = |name: &str| section.remove(name).unwrap_or_default();
        let (id, secret, token) = (
            take("aws_access_key_id"),
            take("aws_secret_access_key"),
            take("aws_session_token"),
        );
        if id.is_empty() || secret.is_empty() {
            return Err(refused(
                "it has no aws_access_key_id and aws_secret_access_key; other kinds of profiles are not supported",
            ));
        }
        keys(id, secret, Some(token), None)
    }

    /// What both files say about the profile; `credentials` wins.
    async fn section(&self) -> Result<BTreeMap<String, String>, HttpFailure> {
        let mut found = BTreeMap::new();
        let in_config = if self.name == "default" {
            "default".to_owned()
        } else {
            format!("profile {}", self.name)
        };
        for (file, section) in [
            (&self.config_file, in_config.as_str()),
            (&self.credentials_file, self.name.as_str()),
        ] {
            let Some(file) = file else { continue };
            match tokio::fs::read_to_string(file).await {
                Ok(text) => found.extend(read_section(&text, section)),
                Err(error) if is_absent(&error, file).await => {}
                Err(error) => return Err(refused(&format!("cannot read {file}: {error}"))),
            }
        }
        Ok(found)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the profile {}", self.name)?;
        match &self.credentials_file {
            Some(file) => write!(formatter, " of {file}"),
            None => Ok(()),
        }
    }
}

/// Whether there is no such file for us, as far as can be seen: in a container `HOME` may well be a folder that
/// another user owns.
async fn is_absent(error: &io::Error, file: &str) -> bool {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => true,
        io::ErrorKind::PermissionDenied => {
            let Some(folder) = Path::new(file).parent() else {
                return false;
            };
            let folder = tokio::fs::metadata(folder).await;
            folder.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        }
        _ => false,
    }
}

fn refused(why: &str) -> HttpFailure {
    HttpFailure::new(ErrorKind::Unauthenticated, why)
}

/// The settings of one section. Lines that are indented belong to a setting of their own level and are skipped.
pub(super) fn read_section(text: &str, wanted: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut is_wanted = false;
    for line in text.lines() {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            let words: Vec<&str> = name.split_whitespace().collect();
            is_wanted = words.join(" ").replace('"', "") == wanted;
        } else if let Some((name, value)) = line.split_once('=')
            && is_wanted
            && !is_indented
        {
            found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}
