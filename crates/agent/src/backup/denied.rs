//! Files that could not be read, by name, and what helps where the user of this Pod may not read them.

use archive::save::{BackupError, SourceError};

use crate::engine::EngineError;

/// How many files a message names.
const NAMED_FILES: usize = 3;
/// How the system says that a file belongs to others.
const DENIED: &str = "(os error 13)";

/// The first files with what is wrong with them.
pub fn named(errors: &[SourceError], count: u64) -> String {
    let mut named: Vec<String> = errors
        .iter()
        .take(NAMED_FILES)
        .map(|error| format!("{}: {}", error.path.display(), error.message))
        .collect();
    if count > NAMED_FILES as u64 {
        named.push("…".to_owned());
    }
    named.join(", ")
}

/// What of an error is not in its chain: the files for which nothing was saved.
pub fn of_error(error: &EngineError) -> Option<String> {
    let EngineError::Backup {
        source: BackupError::Empty { errors },
        ..
    } = error
    else {
        return None;
    };
    let count = u64::try_from(errors.len()).unwrap_or(u64::MAX);
    Some(named(errors, count)).filter(|named| !named.is_empty())
}

/// A message with the field to set, where the user of an agent in a Pod may not do what it has to.
pub fn with_remedy(message: String, user: u32, configuration: &str) -> String {
    if !message.contains(DENIED) {
        return message;
    }
    let remedy = if user == 0 {
        format!(
            "the agent runs as root without the right to pass over permissions; see spec.runtimeSettings.container.securityContext.capabilities of the BackupConfiguration {configuration}, and the volume's own rules"
        )
    } else {
        format!(
            "the agent runs as user {user}; set spec.runtimeSettings.container.securityContext.runAsUser of the BackupConfiguration {configuration} to the user who owns the files, or to 0"
        )
    };
    format!("{message}; {remedy}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use archive::save::During;

    use super::*;

    #[test]
    fn a_file_of_others_is_named_with_the_field_that_helps() {
        let message = "cannot open: Permission denied (os error 13)";
        let errors: Vec<SourceError> = ["a", "b", "c", "d"]
            .map(|name| SourceError {
                path: PathBuf::from(name),
                during: During::Archival,
                message: message.to_owned(),
            })
            .into();
        assert_eq!(named(&errors[..1], 1), format!("a: {message}"));
        assert!(named(&errors, 4).ends_with(", …"));
        let told = with_remedy(named(&errors[..1], 1), 65534, "home");
        assert!(told.starts_with("a: cannot open"), "{told}");
        assert!(told.contains("user 65534"), "{told}");
        assert!(told.contains("securityContext.runAsUser"), "{told}");
        assert!(!with_remedy(message.to_owned(), 0, "home").contains("runAsUser"));
    }

    #[test]
    fn other_trouble_is_not_explained_by_users() {
        let message = "cannot read: Input/output error (os error 5)".to_owned();
        assert_eq!(with_remedy(message.clone(), 65534, "home"), message);
    }
}
