//! What to correct when a store or a repository refuses what the Secret says.

use std::error::Error;

use api::secret::BackendSettings;
use backend::{BackendError, ErrorKind};
use repository::OpenError;

/// A clause to be put behind a message, empty where the Secret is not to blame.
pub(super) fn advice(error: &(dyn Error + 'static), settings: &BackendSettings) -> String {
    let secret = settings.secret_name();
    match refusal(error) {
        Some(Refusal::Password) => {
            format!("; put its password into RESTIC_PASSWORD of the Secret {secret}")
        }
        Some(Refusal::Keys) => {
            format!("; put keys that the backend accepts into the Secret {secret}")
        }
        Some(Refusal::Rights) => format!(
            "; let the keys of the Secret {secret} list, read, write and delete objects there"
        ),
        Some(Refusal::Trust) => format!(
            "; where the store has an authority of its own, put its certificate into CA_CERT_DATA of the Secret {secret}"
        ),
        None => String::new(),
    }
}

enum Refusal {
    Password,
    Keys,
    Rights,
    Trust,
}

/// The first refusal among an error and its sources.
fn refusal(error: &(dyn Error + 'static)) -> Option<Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(OpenError::WrongPassword { .. }) = error.downcast_ref() {
            return Some(Refusal::Password);
        }
        match error.downcast_ref::<BackendError>().map(|it| it.kind) {
            Some(ErrorKind::Untrusted) => return Some(Refusal::Trust),
            Some(ErrorKind::Unauthenticated) => return Some(Refusal::Keys),
            Some(ErrorKind::PermissionDenied) => return Some(Refusal::Rights),
            _ => next = error.source(),
        }
    }
    None
}
