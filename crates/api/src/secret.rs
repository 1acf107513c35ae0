//! The Secret contract: which keys each backend needs, and what Repository and Secret together say about the
//! backend. Opening it is left to others.

mod keys;
mod settings;
mod url;

pub use keys::{CA_CERT_DATA, Need, RESTIC_PASSWORD, SecretKey, check_secret, keys_of};
pub use settings::{
    AzureKeys, B2Keys, BackendSettings, Location, Place, RestKeys, S3Keys, SettingsError,
    local_path_on_this_machine,
};
