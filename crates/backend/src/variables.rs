//! Named settings: the process environment, or a Secret laid over it.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Values by name, all of them treated as secret: nothing here is ever printed.
///
/// Layers are asked in the order in which they were added; an empty value counts as absent.
#[derive(Clone, Default)]
pub struct Variables {
    layers: Vec<BTreeMap<String, SecretString>>,
}

impl Variables {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer that is asked when the earlier ones have no value.
    #[must_use]
    pub fn or(mut self, values: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        self.layers.push(values.into_iter().collect());
        self
    }

    /// A value that is not confidential.
    pub fn get(&self, name: &str) -> Option<String> {
        self.find(name)
            .map(|value| value.expose_secret().to_owned())
    }

    /// A confidential value.
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.find(name).cloned()
    }

    /// Whether there is a value.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&SecretString> {
        self.layers
            .iter()
            .filter_map(|layer| layer.get(name))
            .find(|value| !value.expose_secret().is_empty())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.layers.iter().flat_map(BTreeMap::keys).collect();
        formatter.debug_tuple("Variables").field(&names).finish()
    }
}

/// Why options give no usable backend. Found without any I/O.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SetupError {
    /// What is wrong, in words, without any credential.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SetupError {
    /// A mistake in the options.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
