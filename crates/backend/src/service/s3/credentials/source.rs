//! The choice of a source, from what is configured.

use std::fmt;

use secrecy::SecretString;

use super::container::Container;
use super::instance::Instance;
use super::profile::Profile;
use super::sts::{StsPlace, WebIdentity};
use super::{Clients, Keys, failed};
use crate::http::HttpFailure;
use crate::variables::{SetupError, Variables};

/// Where credentials come from.
#[derive(Debug, Clone)]
pub(in crate::service::s3) enum Source {
    Static(Keys),
    WebIdentity(WebIdentity),
    Profile(Profile),
    Container(Container),
    Instance(Instance),
    /// The profile `default` of the user's own file if it is there, or else another source.
    OwnProfileOr(Profile, Box<Source>),
    /// Nothing is configured, and the instance must not be asked.
    Nothing,
}

/// Names that keys may have: Amazon's, their old forms, and MinIO's.
const KEY_NAMES: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_ACCESS_KEY", "AWS_SECRET_KEY"),
    ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"),
];

impl Source {
    /// Keys, web identity, profile, container, instance: the first that is configured.
    pub fn choose(variables: &Variables, sts: &StsPlace) -> Result<Self, SetupError> {
        if let Some(keys) = static_keys(variables)? {
            return Ok(Self::Static(keys));
        }
        if let Some(identity) = WebIdentity::from_variables(variables, sts)? {
            return Ok(Self::WebIdentity(identity));
        }
        if let Some(profile) = Profile::named(variables) {
            return Ok(Self::Profile(profile));
        }
        let last = if let Some(container) = Container::from_variables(variables)? {
            Self::Container(container)
        } else if variables
            .get("AWS_EC2_METADATA_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
        {
            Self::Nothing
        } else {
            Self::Instance(Instance::from_variables(variables)?)
        };
        Ok(match Profile::of_home(variables) {
            Some(profile) => Self::OwnProfileOr(profile, Box::new(last)),
            None => last,
        })
    }

    /// Asks the source; a failure names it.
    pub(super) async fn load(&self, clients: &Clients) -> Result<Keys, HttpFailure> {
        if let Self::OwnProfileOr(profile, _) = self {
            let of_profile = |failure| failed(profile, failure);
            if profile.is_there().await.map_err(of_profile)? {
                return profile.load().await.map_err(of_profile);
            }
        }
        let keys = self.ask(clients).await;
        keys.map_err(|failure| failed(self, failure))
    }

    async fn ask(&self, clients: &Clients) -> Result<Keys, HttpFailure> {
        let source = match self {
            Self::OwnProfileOr(_, other) => other,
            source => source,
        };
        match source {
            Self::Static(keys) => Ok(keys.clone()),
            Self::WebIdentity(identity) => identity.load(&clients.services).await,
            Self::Profile(profile) => profile.load().await,
            Self::Container(container) => container.load(&clients.machine).await,
            Self::Instance(instance) => instance.load(&clients.machine).await,
            Self::OwnProfileOr(..) | Self::Nothing => Err(HttpFailure::new(
                crate::ErrorKind::Unauthenticated,
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(_) => formatter.write_str("the access key"),
            Self::WebIdentity(identity) => identity.fmt(formatter),
            Self::Profile(profile) => profile.fmt(formatter),
            Self::Container(container) => container.fmt(formatter),
            Self::Instance(instance) => instance.fmt(formatter),
            Self::OwnProfileOr(profile, other) => {
                write!(formatter, "{other} (there is nothing in {profile})")
            }
            Self::Nothing => formatter.write_str("no credentials"),
        }
    }
}

fn static_keys(variables: &Variables) -> Result<Option<Keys>, SetupError> {
    for (id_name, secret_name) in KEY_NAMES {
        let (id, secret) = (variables.get(id_name), variables.secret(secret_name));
        let missing = match (id, secret) {
            (None, None) => continue,
            (Some(id), Some(secret)) => {
                return Ok(Some(Keys {
                    id: id.trim().to_owned(),
                    secret: trimmed(&secret),
                    token: variables
                        .secret("AWS_SESSION_TOKEN")
                        .filter(|_| id_name.starts_with("AWS"))
                        .map(|token| trimmed(&token)),
                    expires: None,
                }));
            }
            (Some(_), None) => secret_name,
            (None, Some(_)) => id_name,
        };
        return Err(
            SetupError::new(format!("half of an access key is missing: {missing}"))
                .with_hint(format!("Set both {id_name} and {secret_name}, or neither.")),
        );
    }
    Ok(None)
}

/// Values of a Secret often end in a line break.
fn trimmed(secret: &SecretString) -> SecretString {
    use secrecy::ExposeSecret;
    SecretString::from(secret.expose_secret().trim())
}
