//! The ways to say who we are, and which of them a set of variables means.

use secrecy::SecretString;
use url::Url;

use crate::variables::{SetupError, Variables};

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
        scope: Scope,
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
pub(super) enum Scope {
    /// What the user or credential has as its own.
    Own,
    Project {
        name: Named,
        domain: Option<Named>,
    },
    /// What another user has entrusted to ours.
    Trust(String),
}

/// Where a token comes from.
struct Door {
    url: Url,
    /// The address as it was given, without a slash at the end.
    text: String,
    /// The variable that says so: the others of its set belong to it.
    variable: &'static str,
}

/// Keys that only version 3 has.
const ONLY_VERSION_3: [&str; 6] = [
    "OS_USER_ID",
    "OS_USER_DOMAIN_NAME",
    "OS_USER_DOMAIN_ID",
    "OS_PROJECT_NAME",
    "OS_PROJECT_ID",
    "OS_TRUST_ID",
];

impl Form {
    /// Finds the form: a token with its address, else what belongs to `OS_AUTH_URL`, else what belongs to `ST_AUTH`.
    /// A set that is begun must be complete; another one never stands in for it.
    pub fn choose(variables: &Variables) -> Result<Self, SetupError> {
        let storage_url = variables.get("OS_STORAGE_URL");
        if let Some((storage_url, token)) = storage_url.zip(variables.secret("OS_AUTH_TOKEN")) {
            check_url(&storage_url, "OS_STORAGE_URL")?;
            let storage_url = storage_url.trim_end_matches('/').to_owned();
            return Ok(Self::Token { storage_url, token });
        }
        let door = Door::find(variables)?;
        let is_application = ["ID", "NAME", "SECRET"]
            .iter()
            .any(|part| variables.has(&format!("OS_APPLICATION_CREDENTIAL_{part}")));
        if is_application && door.variable == "OS_AUTH_URL" {
            return Self::application(&door, variables);
        }
        let (user, key) = match door.variable {
            "ST_AUTH" => ("ST_USER", "ST_KEY"),
            _ => ("OS_USERNAME", "OS_PASSWORD"),
        };
        let missing = || incomplete(door.variable, &format!("{user} and {key}"));
        let name = variables.get(user);
        let password = variables.secret(key).ok_or_else(missing)?;
        match door.version(variables) {
            1 => Ok(Self::Version1 {
                url: door.text.clone(),
                user: name.ok_or_else(missing)?,
                key: password,
            }),
            2 => Ok(Self::Version2 {
                url: door.of_version(2),
                username: name.ok_or_else(missing)?,
                password,
                tenant: project(variables),
            }),
            _ => {
                let user = User::new(name, variables).ok_or_else(missing)?;
                Ok(Self::Version3 {
                    url: door.of_version(3),
                    scope: Scope::new(&user, variables),
                    identity: Identity::Password { user, password },
                })
            }
        }
    }

    fn application(door: &Door, variables: &Variables) -> Result<Self, SetupError> {
        let missing = || {
            incomplete(
                "an application credential",
                "OS_APPLICATION_CREDENTIAL_SECRET with OS_APPLICATION_CREDENTIAL_ID, or with \
                 OS_APPLICATION_CREDENTIAL_NAME, OS_USERNAME and OS_USER_DOMAIN_NAME",
            )
        };
        let secret = variables.secret("OS_APPLICATION_CREDENTIAL_SECRET");
        let secret = secret.ok_or_else(missing)?;
        let (name, user) = if let Some(id) = variables.get("OS_APPLICATION_CREDENTIAL_ID") {
            (Named::Id(id), None)
        } else {
            let name = variables.get("OS_APPLICATION_CREDENTIAL_NAME");
            let user = User::new(variables.get("OS_USERNAME"), variables);
            (
                Named::Name(name.ok_or_else(missing)?),
                Some(user.ok_or_else(missing)?),
            )
        };
        Ok(Self::Version3 {
            url: door.of_version(3),
            identity: Identity::Application { name, user, secret },
            scope: Scope::Own,
        })
    }

    /// What must not be shown.
    pub fn secret(&self) -> &SecretString {
        match self {
            Self::Token { token, .. } => token,
            Self::Version1 { key, .. } => key,
            Self::Version2 { password, .. } => password,
            Self::Version3 { identity, .. } => match identity {
                Identity::Password { password, .. } => password,
                Identity::Application { secret, .. } => secret,
            },
        }
    }

    /// The address that is asked first.
    pub fn url(&self) -> &str {
        match self {
            Self::Token { storage_url, .. } => storage_url,
            Self::Version1 { url, .. }
            | Self::Version2 { url, .. }
            | Self::Version3 { url, .. } => url,
        }
    }
}

impl Door {
    fn find(variables: &Variables) -> Result<Self, SetupError> {
        let found = ["OS_AUTH_URL", "ST_AUTH"]
            .into_iter()
            .find_map(|variable| Some((variable, variables.get(variable)?)));
        let Some((variable, text)) = found else {
            for (given, other) in [
                ("OS_STORAGE_URL", "OS_AUTH_TOKEN"),
                ("OS_AUTH_TOKEN", "OS_STORAGE_URL"),
            ] {
                if variables.has(given) {
                    return Err(incomplete(given, other));
                }
            }
            return Err(SetupError::new("nothing says who we are at Swift").with_hint(
                "Set ST_AUTH, ST_USER and ST_KEY, or OS_AUTH_URL with OS_USERNAME and OS_PASSWORD, or OS_AUTH_URL \
                 with an application credential, or OS_STORAGE_URL and OS_AUTH_TOKEN.",
            ));
        };
        Ok(Self {
            url: check_url(&text, variable)?,
            text: text.trim_end_matches('/').to_owned(),
            variable,
        })
    }

    /// The version that a part of the address names, as in `/v3`, `/v2.0` and `/auth/v1.0`.
    fn named_version(&self) -> Option<u8> {
        self.url.path_segments()?.find_map(|part| {
            match part.split_once('.').map_or(part, |(v, _)| v) {
                "v1" => Some(1),
                "v2" => Some(2),
                "v3" => Some(3),
                _ => None,
            }
        })
    }

    /// As [`Self::named_version`]; else what the other variables are of.
    fn version(&self, variables: &Variables) -> u8 {
        let said = ["OS_IDENTITY_API_VERSION", "ST_AUTH_VERSION"]
            .iter()
            .find_map(|name| variables.get(name));
        let said = said.and_then(|text| text.get(..1)?.parse().ok());
        self.named_version().or(said).unwrap_or_else(|| {
            let has_tenant = variables.has("OS_TENANT_ID") || variables.has("OS_TENANT_NAME");
            match self.variable {
                "ST_AUTH" => 1,
                _ if has_tenant && !ONLY_VERSION_3.iter().any(|name| variables.has(name)) => 2,
                _ => 3,
            }
        })
    }

    /// The address of a version, also where only the root of Keystone is given.
    fn of_version(&self, version: u8) -> String {
        match (self.named_version(), version) {
            (Some(_), _) => self.text.clone(),
            (None, 2) => format!("{}/v2.0", self.text),
            (None, version) => format!("{}/v{version}", self.text),
        }
    }
}

impl User {
    fn new(username: Option<String>, variables: &Variables) -> Option<Self> {
        let id = variables.get("OS_USER_ID").map(Named::Id);
        Some(Self {
            name: id.or_else(|| username.map(Named::Name))?,
            domain: named(variables, "OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME"),
        })
    }
}

impl Scope {
    /// A project that is named without a domain is of the user's.
    fn new(user: &User, variables: &Variables) -> Self {
        if let Some(trust) = variables.get("OS_TRUST_ID") {
            return Self::Trust(trust);
        }
        let domain = named(variables, "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME");
        match project(variables) {
            Some(name) => Self::Project {
                name,
                domain: domain.or_else(|| user.domain.clone()),
            },
            None => Self::Own,
        }
    }
}

fn project(variables: &Variables) -> Option<Named> {
    let id = variables.get("OS_PROJECT_ID");
    let id = id.or_else(|| variables.get("OS_TENANT_ID"));
    let name = || {
        let name = variables.get("OS_PROJECT_NAME");
        name.or_else(|| variables.get("OS_TENANT_NAME"))
    };
    id.map(Named::Id).or_else(|| name().map(Named::Name))
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

fn check_url(text: &str, variable: &str) -> Result<Url, SetupError> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            SetupError::new(format!("{variable} is not an http or https URL"))
                .with_hint("Write it as https://host:5000/v3.")
        })
}
