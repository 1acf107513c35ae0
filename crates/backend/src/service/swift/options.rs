//! Where a Swift container is, and what is asked of it.

use std::fmt;

use crate::service::keys::clean_prefix;
use crate::service::swift::form::Form;
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

impl SwiftOptions {
    /// From what follows `swift:` in restic's repository string: `CONTAINER:/PREFIX`.
    ///
    /// Who we are is said by one set of variables, which must be complete: `OS_STORAGE_URL` and `OS_AUTH_TOKEN`;
    /// `OS_AUTH_URL` with an application credential or with `OS_USERNAME` and `OS_PASSWORD`; `ST_AUTH`, `ST_USER` and
    /// `ST_KEY`.
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
        Ok(Self {
            container: container.to_owned(),
            prefix: if prefix.starts_with('/') {
                format!("/{}", clean_prefix(prefix))
            } else {
                clean_prefix(prefix)
            },
            form: Form::choose(variables)?,
            region: variables.get("OS_REGION_NAME"),
            interface: interface(variables)?,
            policy: variables.get("SWIFT_DEFAULT_CONTAINER_POLICY"),
            connections: None,
        })
    }
}

/// Which of a service's addresses is meant; both spellings of both variables are in use.
fn interface(variables: &Variables) -> Result<String, SetupError> {
    let text = variables
        .get("OS_INTERFACE")
        .or_else(|| variables.get("OS_ENDPOINT_TYPE"));
    let text = text.unwrap_or_else(|| "public".to_owned());
    let name = text.strip_suffix("URL").unwrap_or(&text);
    if ["public", "internal", "admin"].contains(&name) {
        return Ok(name.to_owned());
    }
    Err(SetupError::new("OS_INTERFACE is no interface of OpenStack")
        .with_hint("Set it to public, internal or admin."))
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
