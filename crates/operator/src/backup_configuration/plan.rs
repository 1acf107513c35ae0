//! What to write about a BackupConfiguration, decided from what was read.

use api::conditions::{Condition, ConditionStatus, find_condition, reason};
use api::v1beta1::{BackupConfiguration, BackupConfigurationStatus, BackupInvokerPhase};
use jiff::Timestamp;
use session::phase;

use crate::backup_configuration::conditions::conditions;
use crate::backup_configuration::observe::{Observation, Presence};
use crate::backup_configuration::schedule::{Ticks, ticks};
use crate::backup_configuration::validate::validate;
use crate::events::News;

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The new status; `None` when it is as it should be.
    pub status: Option<BackupConfigurationStatus>,
    /// What changed for the worse.
    pub news: Vec<News>,
    /// Sessions and what is remembered of them.
    pub ticks: Ticks,
    /// Whether something is missing that nobody tells us of when it appears.
    pub has_to_ask_again: bool,
}

/// Decides.
pub fn plan(
    configuration: &BackupConfiguration,
    observation: &Observation,
    now: Timestamp,
) -> Plan {
    let problems = validate(configuration, observation);
    let conditions = conditions(configuration, observation, &problems, now);
    let phase = phase::invoker(&conditions, true);
    let before = configuration.status.clone().unwrap_or_default();
    let news = news(&before.conditions, &conditions);
    let status = BackupConfigurationStatus {
        observed_generation: configuration.metadata.generation,
        conditions,
        phase: Some(phase),
    };
    let is_missing = |presence: Option<&Presence>| {
        presence.is_some_and(|presence| *presence != Presence::Present)
    };
    Plan {
        ticks: ticks(configuration, phase == BackupInvokerPhase::Ready, now),
        has_to_ask_again: is_missing(observation.secret.as_ref())
            || is_missing(observation.target.as_ref()),
        status: (status != before).then_some(status),
        news,
    }
}

/// A condition that no longer holds, or for another reason than before, is an event.
fn news(before: &[Condition], after: &[Condition]) -> Vec<News> {
    after
        .iter()
        .filter(|condition| condition.status != ConditionStatus::True)
        .filter(|condition| {
            find_condition(before, &condition.type_).is_none_or(|before| {
                before.status != condition.status || before.message != condition.message
            })
        })
        .filter_map(|condition| {
            let reason = known_reason(condition.reason.as_deref()?)?;
            Some(News::warning(
                reason,
                condition.message.clone().unwrap_or_default(),
            ))
        })
        .collect()
}

fn known_reason(text: &str) -> Option<&'static str> {
    reason::ALL.iter().copied().find(|known| *known == text)
}

#[cfg(test)]
mod tests;
