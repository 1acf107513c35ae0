//! Where a Swift container is, and who we are there.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use crate::service::keys::clean_prefix;
use crate::variables::{SetupError, Variables};

/// A repository in a container of OpenStack Swift.
#[derive(Clone)]
pub struct SwiftOptions {
    pub(super) container: String,
    /// As restic has it: a slash at its begin is part of the names.
    pub(super) prefix: String,
    pub(super) form: Form,
    /// Region of the object store in the catalogue; the first when absent.
    pub(super) region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub(super) interface: String,
    /// Storage policy of a container that is created.
    pub(super) policy: Option<String>,
    /// Most requests at once.
    pub connections: Option<usize>,
}

/// The one way in which we say who we are.
#[derive(Clone)]
pub(super) enum Form {
    /// A token that somebody else got; it cannot be renewed.
    Token {
        storage_url: String,
        token: SecretString,
    },
    /// Version 1: user and key, at Swift itself.
    Version1 {
        url: String,
        user: String,
        key: SecretString,
    },
    /// Version 2 of Keystone.
    Version2 {
        url: String,
        username: String,
        password: SecretString,
        tenant: Option<Named>,
    },
    /// Version 3 of Keystone.
    Version3 {
        url: String,
        identity: Identity,
        project: Option<Project>,
    },
}

/// Something by its id or its name.
#[derive(Clone)]
pub(super) enum Named {
    Id(String),
    Name(String),
}

/// A user of version 3.
#[derive(Clone)]
pub(super) struct User {
    pub name: Named,
    pub domain: Option<Named>,
}

/// Who we are in version 3.
#[derive(Clone)]
pub(super) enum Identity {
    Password {
        user: User,
        password: SecretString,
    },
    /// An application credential by its id, or by its name and its user.
    Application {
        name: Named,
        user: Option<User>,
        secret: SecretString,
    },
}

/// What a token of version 3 is for.
#[derive(Clone)]
pub(super) struct Project {
    pub name: Named,
    pub domain: Option<Named>,
}

impl SwiftOptions {
    /// From what follows `swift:` in restic's repository string: `CONTAINER:/PREFIX`.
    ///
    /// Who we are is said by the first complete set of variables: `OS_STORAGE_URL` and `OS_AUTH_TOKEN`; an
    /// application credential; `ST_AUTH`, `ST_USER`, `ST_KEY`; `OS_AUTH_URL`, `OS_USERNAME`, `OS_PASSWORD`.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let malformed = || {
            SetupError::new("the place in Swift is malformed")
                .with_hint("Write it as `swift:CONTAINER:/FOLDER`.")
        };
        let (container, prefix) = text.split_once(':').ok_or_else(malformed)?;
        let prefix = prefix.strip_prefix('/').ok_or_else(malformed)?;
        if container.is_empty() || container.contains('/') {
            return Err(malformed());
        }
        let interface = variables
            .get("OS_INTERFACE")
            .or_else(|| variables.get("OS_ENDPOINT_TYPE"));
        let interface = interface.unwrap_or_else(|| "public".to_owned());
        Ok(Self {
            container: container.to_owned(),
            prefix: if prefix.starts_with('/') {
                format!("/{}", clean_prefix(prefix))
            } else {
                clean_prefix(prefix)
            },
            form: Form::choose(variables)?,
            region: variables.get("OS_REGION_NAME"),
            interface: interface.trim_end_matches("URL").to_owned(),
            policy: variables.get("SWIFT_DEFAULT_CONTAINER_POLICY"),
            connections: None,
        })
    }
}

impl Form {
    fn choose(variables: &Variables) -> Result<Self, SetupError> {
        if let Some((storage_url, token)) = variables
            .get("OS_STORAGE_URL")
            .zip(variables.secret("OS_AUTH_TOKEN"))
        {
            let storage_url = good_url(&storage_url, "OS_STORAGE_URL")?;
            return Ok(Self::Token { storage_url, token });
        }
        if let Some(secret) = variables.secret("OS_APPLICATION_CREDENTIAL_SECRET") {
            return Self::application(variables, secret);
        }
        if let Some(url) = variables.get("ST_AUTH") {
            let missing = || incomplete("ST_AUTH", "ST_USER and ST_KEY");
            return Ok(Self::Version1 {
                url: good_url(&url, "ST_AUTH")?,
                user: variables.get("ST_USER").ok_or_else(missing)?,
                key: variables.secret("ST_KEY").ok_or_else(missing)?,
            });
        }
        let url = variables.get("OS_AUTH_URL").ok_or_else(|| {
            SetupError::new("nothing says who we are at Swift").with_hint(
                "Set ST_AUTH, ST_USER and ST_KEY, or OS_AUTH_URL with OS_USERNAME and OS_PASSWORD, or an application \
                 credential, or OS_STORAGE_URL and OS_AUTH_TOKEN.",
            )
        })?;
        Self::by_password(variables, good_url(&url, "OS_AUTH_URL")?)
    }

    fn application(variables: &Variables, secret: SecretString) -> Result<Self, SetupError> {
        let missing = || {
            incomplete(
                "OS_APPLICATION_CREDENTIAL_SECRET",
                "OS_AUTH_URL and OS_APPLICATION_CREDENTIAL_ID, or OS_APPLICATION_CREDENTIAL_NAME with OS_USERNAME",
            )
        };
        let url = good_url(
            &variables.get("OS_AUTH_URL").ok_or_else(missing)?,
            "OS_AUTH_URL",
        )?;
        let (name, user) = match variables.get("OS_APPLICATION_CREDENTIAL_ID") {
            Some(id) => (Named::Id(id), None),
            None => {
                let name = variables
                    .get("OS_APPLICATION_CREDENTIAL_NAME")
                    .ok_or_else(missing)?;
                (
                    Named::Name(name),
                    Some(User::new(variables).ok_or_else(missing)?),
                )
            }
        };
        let identity = Identity::Application { name, user, secret };
        Ok(Self::Version3 {
            url: version_3(url),
            identity,
            project: None,
        })
    }

    fn by_password(variables: &Variables, url: String) -> Result<Self, SetupError> {
        let missing = || incomplete("OS_AUTH_URL", "OS_USERNAME and OS_PASSWORD");
        let user = User::new(variables).ok_or_else(missing)?;
        let password = variables.secret("OS_PASSWORD").ok_or_else(missing)?;
        let tenant = named(variables, "OS_TENANT_ID", "OS_TENANT_NAME");
        let names_version_3 = [
            "OS_USER_DOMAIN_NAME",
            "OS_USER_DOMAIN_ID",
            "OS_PROJECT_NAME",
            "OS_PROJECT_ID",
            "OS_PROJECT_DOMAIN_NAME",
        ]
        .iter()
        .any(|name| variables.has(name));
        let is_version_2 =
            url.contains("/v2") || (!url.contains("/v3") && tenant.is_some() && !names_version_3);
        if is_version_2 {
            let Named::Name(username) = user.name else {
                return Err(SetupError::new("version 2 of Keystone knows users by name")
                    .with_hint("Set OS_USERNAME."));
            };
            return Ok(Self::Version2 {
                url,
                username,
                password,
                tenant,
            });
        }
        let project = named(variables, "OS_PROJECT_ID", "OS_PROJECT_NAME").or(tenant);
        let domain = named(variables, "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME");
        Ok(Self::Version3 {
            url: version_3(url),
            identity: Identity::Password { user, password },
            project: project.map(|name| Project { name, domain }),
        })
    }
}

impl User {
    fn new(variables: &Variables) -> Option<Self> {
        let name = named(variables, "OS_USER_ID", "OS_USERNAME")?;
        let own = named(variables, "OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME");
        let domain = own.or_else(|| named(variables, "OS_DOMAIN_ID", "OS_DOMAIN_NAME"));
        Some(Self { name, domain })
    }
}

fn named(variables: &Variables, id: &str, name: &str) -> Option<Named> {
    let by_id = variables.get(id).map(Named::Id);
    by_id.or_else(|| variables.get(name).map(Named::Name))
}

fn incomplete(given: &str, missing: &str) -> SetupError {
    SetupError::new(format!(
        "the keys for Swift are not complete: {given} is there"
    ))
    .with_hint(format!("It also takes {missing}."))
}

fn good_url(text: &str, name: &str) -> Result<String, SetupError> {
    let is_good = Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_good {
        return Err(
            SetupError::new(format!("{name} is not an http or https URL"))
                .with_hint("Write it as https://host:5000/v3."),
        );
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The address of version 3, also where only the root of Keystone is given.
fn version_3(url: String) -> String {
    if url.ends_with("/v3") {
        url
    } else {
        format!("{url}/v3")
    }
}

impl fmt::Display for SwiftOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "swift:{}:/{}", self.container, self.prefix)
    }
}

impl fmt::Debug for SwiftOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("SwiftOptions")
            .field(&self.to_string())
            .finish()
    }
}
