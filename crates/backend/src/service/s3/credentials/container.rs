//! The endpoint that gives a container its role: ECS, and EKS pod identity.

use std::fmt;

use bytes::Bytes;
use http::{Request, header};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::instance::{get, read_document};
use super::{Keys, read_secret_file};
use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure};
use crate::variables::{SetupError, Variables};

/// Where relative addresses lie.
const ECS: &str = "http://169.254.170.2";

/// The role of the container.
#[derive(Clone)]
pub(in crate::service::s3) struct Container {
    url: Url,
    token: Token,
}

#[derive(Debug, Clone)]
enum Token {
    None,
    Value(SecretString),
    File(String),
}

impl Container {
    pub fn from_variables(variables: &Variables) -> Result<Option<Self>, SetupError> {
        let (name, text) =
            if let Some(path) = variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
                (
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                    format!("{ECS}/{}", path.trim_start_matches('/')),
                )
            } else if let Some(url) = variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
            } else {
                return Ok(None);
            };
        let url = Url::parse(&text)
            .map_err(|error| SetupError::new(format!("{name} is not a URL: {error}")))?;
        if !is_trusted(&url) {
            return Err(SetupError::new(format!(
                "{name} is neither https nor an address of this machine"
            ))
            .with_hint("A token would go over the network in the clear."));
        }
        let token = match variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Token::File(file),
            None => variables
                .secret("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map_or(Token::None, Token::Value),
        };
        Ok(Some(Self { url, token }))
    }

    pub async fn load(&self, http: &HttpClient) -> Result<Keys, HttpFailure> {
        let mut request = Request::builder().uri(self.url.as_str());
        let token = match &self.token {
            Token::None => None,
            Token::Value(value) => Some(value.clone()),
            Token::File(file) => Some(read_secret_file(file, "the token file").await?),
        };
        if let Some(token) = token {
            http.hide(&token);
            request = request.header(header::AUTHORIZATION, token.expose_secret());
        }
        let request = request.body(Bytes::new()).map_err(|_| {
            HttpFailure::new(
                ErrorKind::Unauthenticated,
                "the authorization token cannot be sent in a header",
            )
        })?;
        read_document(http, &get(http, request).await?)
    }
}

/// Over https to anyone; in the clear only to this machine and the addresses that never leave it.
fn is_trusted(url: &Url) -> bool {
    if url.scheme() == "https" {
        return true;
    }
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Ipv4(address)) => {
                address.is_loopback()
                    || [[169, 254, 170, 2], [169, 254, 170, 23]].contains(&address.octets())
            }
            Some(Host::Ipv6(address)) => {
                address.is_loopback() || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]
            }
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// The path and query of the address are a secret: who knows them may get the keys.
impl fmt::Debug for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Container")
            .field("origin", &self.url.origin().ascii_serialization())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the role of the container at {}",
            self.url.origin().ascii_serialization()
        )
    }
}
