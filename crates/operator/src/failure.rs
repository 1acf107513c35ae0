//! Why a pass over an object, or the operator itself, stopped.

use kube_client::Error as ApiError;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No client could be made.
    #[error("cannot find out how to reach the API server; set KUBECONFIG, or run in a Pod")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server does not answer, or not as one.
    #[error("cannot {doing}")]
    Api {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<ApiError>,
    },
    /// The definitions of our kinds are not installed.
    #[error(
        "the API server does not know {kind}; install the definitions with `stash crds | kubectl apply --server-side -f -`"
    )]
    NoDefinition {
        /// The kind.
        kind: &'static str,
    },
    /// Nobody said which image Pods run, and it cannot be found out.
    #[error(
        "cannot find out which image the Pods of backups run from the Pod {pod}; set --image, or STASH_IMAGE"
    )]
    NoImage {
        /// The operator's own Pod, or what stands for it.
        pod: String,
        /// Why it says nothing, if it was asked.
        #[source]
        source: Option<Box<ApiError>>,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Certificates for the webhooks cannot be made or kept.
    #[error("cannot prepare the certificates of the webhooks")]
    Certificates(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process leads now.
    #[error(
        "the Lease {lease} was lost; another operator leads, this one stops so that two never work at once"
    )]
    LeadershipLost {
        /// The Lease.
        lease: String,
    },
    /// A part that runs for ever has ended.
    #[error("{part} has ended unexpectedly")]
    Ended {
        /// Which one.
        part: &'static str,
    },
}

/// Why one pass over an object stopped. The pass is repeated after a growing delay; mistakes of users are no
/// failures of a pass, they are conditions and wait for a change.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused or did not answer.
    #[error("cannot {doing} {object}")]
    Api {
        /// What was tried, such as `update the status of`.
        doing: &'static str,
        /// On what, such as `BackupSession demo/home-1700000000`.
        object: String,
        /// Why it failed.
        #[source]
        source: Box<ApiError>,
    },
    /// An earlier object of the same name is not gone yet.
    #[error(
        "{object} of an earlier owner of the same name is still being deleted; if it stays, look at its finalizers"
    )]
    Leaving {
        /// What was to be created.
        object: String,
    },
    /// The name belongs to somebody else.
    #[error("{object} exists already and belongs to {whose}; delete or rename it")]
    Taken {
        /// What was to be created.
        object: String,
        /// Whose the present one is.
        whose: String,
    },
    /// An object of ours lacks what every stored object has.
    #[error("{object} has no {field}")]
    Malformed {
        /// The object.
        object: String,
        /// What is missing.
        field: &'static str,
    },
    /// Something that the operator itself wrote cannot be written as JSON.
    #[error("cannot encode {object}")]
    Encode {
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ReconcileError {
    /// For `map_err`: what was being done, and on what.
    pub fn api(doing: &'static str, object: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
        let object = object.into();
        move |source| Self::Api {
            doing,
            object,
            source: Box::new(source),
        }
    }

    /// Whether somebody has to do something before it can work.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Api { source, .. } => matches!(status_code(source), Some(400 | 403 | 422)),
            Self::Taken { .. } => true,
            _ => false,
        }
    }

    /// Says that something cannot be made which a `backup` or `restore` needs.
    pub fn refused(&self, what: &str) -> String {
        let why = chain(self);
        match self {
            Self::Taken { .. } | Self::Leaving { .. } => {
                format!("what the {what} needs cannot be made: {why}")
            }
            _ => format!("the API server refuses what the {what} needs: {why}"),
        }
    }

    /// Whether something is in the way that goes by itself.
    pub fn is_leaving(&self) -> bool {
        matches!(self, Self::Leaving { .. })
    }

    /// Whether the operator lacks a right, which is also what an API server says that has just started and does not
    /// know them yet.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api { source, .. } if status_code(source) == Some(403))
    }

    /// Whether the namespace is going away, and with it whatever this was about.
    pub fn is_too_late(&self) -> bool {
        matches!(self, Self::Api { source, .. } if is_terminating(source))
    }

    /// Whether somebody else changed the object in between: looked at again at once, and nobody needs to know.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if status_code(source) == Some(409))
    }
}

/// The HTTP status of a refusal.
pub fn status_code(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether nothing can be created any more because the namespace is going away.
pub fn is_terminating(error: &ApiError) -> bool {
    let ApiError::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

/// `None` for an object that does not exist.
pub fn found<T>(result: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if status_code(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The messages of an error and its sources, joined once, for logs and conditions.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(code: u16, cause: &str) -> ReconcileError {
        let status = serde_json::from_value(json!({
            "status": "Failure", "code": code, "reason": "Forbidden", "message": "no",
            "details": { "causes": [{ "reason": cause, "message": "why" }] },
        }));
        ReconcileError::api("create", "Role demo/home")(ApiError::Api(Box::new(status.unwrap())))
    }

    #[test]
    fn what_a_namespace_refuses_that_goes_away_is_too_late() {
        let late = refused(403, "NamespaceTerminating");
        assert!(late.is_too_late() && late.is_forbidden() && late.is_refusal());
        let forbidden = refused(403, "");
        assert!(!forbidden.is_too_late() && forbidden.is_forbidden() && forbidden.is_refusal());
        assert!(!refused(422, "").is_forbidden());
    }
}
