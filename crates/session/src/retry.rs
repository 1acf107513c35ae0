//! Whether and when a failed session is tried again.

use std::time::Duration;

use api::v1beta1::{BackupSessionPhase, RetryConfig};
use jiff::Timestamp;

/// What follows a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing.
    None,
    /// Another session at this moment.
    At(Timestamp),
}

/// Retries that a first session has.
pub fn retries(config: Option<&RetryConfig>) -> i32 {
    config.map_or(0, |config| config.max_retry.max(0))
}

/// What follows a session that ended in this phase at this moment.
pub fn after(
    phase: BackupSessionPhase,
    retries_left: i32,
    was_retried: bool,
    config: Option<&RetryConfig>,
    ended: Timestamp,
) -> Retry {
    let Some(config) = config else {
        return Retry::None;
    };
    if phase != BackupSessionPhase::Failed || retries_left <= 0 || was_retried {
        return Retry::None;
    }
    let delay = config
        .delay
        .and_then(api::duration::GoDuration::to_std)
        .unwrap_or(Duration::ZERO);
    // A delay beyond the calendar never comes.
    ended
        .checked_add(jiff::SignedDuration::try_from(delay).unwrap_or(jiff::SignedDuration::MAX))
        .map_or(Retry::None, Retry::At)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_session_with_retries_left_is_tried_again() {
        let config = RetryConfig {
            max_retry: 2,
            delay: Some(api::duration::GoDuration::from_std(Duration::from_secs(90))),
        };
        let ended = Timestamp::UNIX_EPOCH;
        let at = Retry::At("1970-01-01T00:01:30Z".parse().unwrap());
        assert_eq!(
            after(BackupSessionPhase::Failed, 2, false, Some(&config), ended),
            at
        );
        assert_eq!(
            after(BackupSessionPhase::Failed, 0, false, Some(&config), ended),
            Retry::None
        );
        assert_eq!(
            after(BackupSessionPhase::Failed, 2, true, Some(&config), ended),
            Retry::None
        );
        assert_eq!(
            after(
                BackupSessionPhase::Succeeded,
                2,
                false,
                Some(&config),
                ended
            ),
            Retry::None
        );
        assert_eq!(
            after(BackupSessionPhase::Failed, 2, false, None, ended),
            Retry::None
        );
        assert_eq!(retries(None), 0);
        assert_eq!(retries(Some(&config)), 2);
    }
}
