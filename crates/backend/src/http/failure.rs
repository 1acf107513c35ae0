//! From a failed exchange or a refusing answer to the kinds that callers tell apart.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use rustls::{AlertDescription, CertificateError};

use crate::http::resolve::ResolveFailure;
use crate::http::{HttpClient, Reply};
use crate::{BackendError, ErrorKind, Operation};

/// An exchange that gave no answer, or an answer that means a failure.
#[derive(Debug)]
pub(crate) struct HttpFailure {
    pub kind: ErrorKind,
    pub retry_after: Option<Duration>,
    pub source: Box<dyn Error + Send + Sync>,
}

impl HttpFailure {
    /// A failure found by a service, in words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            retry_after: None,
            source: message.into().into(),
        }
    }

    pub(super) fn stalled(limit: Duration) -> Self {
        Self::new(
            ErrorKind::Temporary,
            format!("nothing moved for {} seconds", limit.as_secs_f32()),
        )
    }

    /// The URL is left out: its query may hold a signature.
    pub(super) fn of_reqwest(error: reqwest::Error, what: &'static str) -> Self {
        let error = error.without_url();
        let cause = Cause::of(&error);
        let kind = match &cause {
            Cause::UnknownHost(_) => ErrorKind::Permanent,
            Cause::Certificate(_) | Cause::NotTls(_) | Cause::CertificateOfOurs(_) => {
                ErrorKind::Untrusted
            }
            Cause::Other(_) if error.is_builder() => ErrorKind::Permanent,
            Cause::Other(_) => ErrorKind::Temporary,
        };
        Self::new(kind, format!("{what}: {cause}"))
    }

    /// Says what was being done, on what and where.
    pub fn into_error(
        self,
        operation: Operation,
        object: impl Into<String>,
        location: impl Into<String>,
    ) -> BackendError {
        BackendError {
            kind: self.kind,
            operation,
            object: object.into(),
            location: location.into(),
            retry_after: self.retry_after,
            source: Some(self.source),
        }
    }
}

/// Why there was no answer.
enum Cause {
    UnknownHost(String),
    Certificate(String),
    CertificateOfOurs(String),
    NotTls(String),
    Other(String),
}

impl Cause {
    fn of(error: &reqwest::Error) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(cause) = Self::recognise(error) {
                return cause;
            }
            let text = error.to_string();
            // Many layers repeat the text of what they wrap.
            texts.retain(|known| !known.contains(&text));
            texts.push(text);
            next = error.source();
        }
        Self::Other(texts.join(": "))
    }

    fn recognise(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(failure) = error.downcast_ref::<ResolveFailure>() {
            let reason = failure
                .source()
                .map(ToString::to_string)
                .unwrap_or_default();
            let text = format!("{failure}: {reason}");
            return Some(if failure.is_temporary {
                Self::Other(text)
            } else {
                Self::UnknownHost(text)
            });
        }
        // An I/O error hides what it wraps from `source`, and may wrap another one.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(inner) = inner {
            return Self::recognise(inner);
        }
        let tls = error.downcast_ref::<rustls::Error>()?;
        Some(Self::of_tls(tls))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => {
                Self::Certificate(certificate_words(reason))
            }
            rustls::Error::AlertReceived(alert) if is_about_our_certificate(*alert) => {
                Self::CertificateOfOurs(format!(
                    "the server refuses the client certificate or the lack of one ({alert:?})"
                ))
            }
            rustls::Error::InvalidMessage(_) => Self::NotTls(
                "the server does not speak TLS; is it http instead of https?".to_owned(),
            ),
            rustls::Error::AlertReceived(alert) if is_about_the_way(*alert) => {
                Self::NotTls(format!("no common way of TLS: {error}"))
            }
            rustls::Error::PeerIncompatible(_) => {
                Self::NotTls(format!("no common way of TLS: {error}"))
            }
            // Any other alert ends this connection and says nothing of the next: a server that is overloaded, restarts
            // or is an old one behind a balancer.
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Why a handshake failed, in words.
pub(crate) fn tls_words(error: &io::Error) -> String {
    Cause::recognise(error).map_or_else(|| error.to_string(), |cause| cause.to_string())
}

fn certificate_words(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by an authority that is not known here".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is the clock right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another name: {reason}")
        }
        _ => format!("the server's certificate is not accepted: {reason}"),
    }
}

const fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
    )
}

/// Whether the server has no certificate of this name, or no version, cipher or protocol in common with us.
const fn is_about_the_way(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnrecognisedName
            | AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol
    )
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost(text)
            | Self::Certificate(text)
            | Self::CertificateOfOurs(text)
            | Self::NotTls(text)
            | Self::Other(text) => formatter.write_str(text),
        }
    }
}

/// An answer that refuses, in the service's own words.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: Option<String>,
    message: Option<String>,
}

impl Refusal {
    /// Takes what the service says; anything hidden is blanked.
    pub fn new(
        client: &HttpClient,
        reply: &Reply,
        code: Option<&str>,
        message: Option<&str>,
    ) -> Self {
        let shown = |text: Option<&str>| {
            text.map(|text| client.presentable(text))
                .filter(|text| !text.is_empty())
        };
        Self {
            status: reply.status,
            code: shown(code),
            message: shown(message),
        }
    }

    /// Makes a failure of it.
    pub fn into_failure(self, kind: ErrorKind, reply: &Reply) -> HttpFailure {
        HttpFailure {
            kind,
            retry_after: reply.retry_after(),
            source: Box::new(self),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the server answered {}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(formatter, " {reason}")?;
        }
        if let Some(code) = &self.code {
            write!(formatter, " ({code})")?;
        }
        match &self.message {
            Some(message) => write!(formatter, ": {message}"),
            None => Ok(()),
        }
    }
}

impl Error for Refusal {}

/// What a status means where the service says nothing more precise.
pub(crate) fn kind_of_status(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        404 | 410 => ErrorKind::NotFound,
        507 => ErrorKind::NoSpace,
        // What the server cannot do at all, or not in this version of the protocol.
        501 | 505 => ErrorKind::Permanent,
        // Fronts have numbers of their own for a server behind them that is away.
        408 | 425 | 429 | 500..=599 => ErrorKind::Temporary,
        _ => ErrorKind::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_server_passes_unless_it_says_that_it_cannot() {
        for status in 500..=599 {
            let kind = kind_of_status(StatusCode::from_u16(status).unwrap());
            let expected = match status {
                501 | 505 => ErrorKind::Permanent,
                507 => ErrorKind::NoSpace,
                _ => ErrorKind::Temporary,
            };
            assert_eq!(kind, expected, "{status}");
        }
    }

    #[test]
    fn only_alerts_about_certificates_and_ways_are_not_worth_another_attempt() {
        use AlertDescription as Alert;
        for (alert, is_lasting) in [
            (Alert::CertificateRequired, true),
            (Alert::CertificateRevoked, true),
            (Alert::UnrecognisedName, true),
            (Alert::ProtocolVersion, true),
            (Alert::HandshakeFailure, true),
            (Alert::InternalError, false),
            (Alert::UserCanceled, false),
            (Alert::BadRecordMac, false),
            (Alert::DecodeError, false),
            (Alert::UnexpectedMessage, false),
        ] {
            let cause = Cause::of_tls(&rustls::Error::AlertReceived(alert));
            assert_eq!(!matches!(cause, Cause::Other(_)), is_lasting, "{alert:?}");
        }
    }
}
