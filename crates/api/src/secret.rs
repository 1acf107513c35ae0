//! The Secret contract: which keys each backend needs, and what Repository and Secret together say about the
//! backend. Opening it is left to others.

mod keys;
mod settings;
mod url;

pub use keys::{
    CA_CERT_DATA, Need, RESTIC_PASSWORD, SecretKey, TLS_CLIENT_CERT_DATA, check_secret, keys_of,
};
pub use settings::{BackendSettings, Place, SettingsError, local_path_on_this_machine};
