//! Conditions: the type, every condition type and every reason, each text defined once.
//!
//! How conditions combine into a phase is a rule of a run and lives in the `session` crate.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::string_enum;

string_enum! {
    /// Whether a condition holds.
    ConditionStatus {
        /// The condition holds.
        True,
        /// The condition does not hold.
        False,
        /// It could not be found out whether the condition holds.
        Unknown,
    }
}

/// One observation about an object, with the reason for it and the time it last changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, in CamelCase, such as `RepositoryFound`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one word in CamelCase for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in words for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How bad it is that the condition does not hold: `Error`, `Warning` or `Info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The generation of the object the observation was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When status, reason or message last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

impl Condition {
    /// A condition without time and generation; [`set_condition`] fills the time in.
    pub fn new(
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            severity: None,
            observed_generation: None,
            last_transition_time: None,
        }
    }

    /// Whether the condition holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }

    /// Whether the condition is known not to hold.
    pub fn is_false(&self) -> bool {
        self.status == ConditionStatus::False
    }
}

/// The condition of that type, if it was set.
pub fn find_condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Sets a condition, stamping it with `now` when status, reason or message differ from what was there.
///
/// Returns whether anything changed. An unchanged condition keeps its time.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    mut condition: Condition,
    now: jiff::Timestamp,
) -> bool {
    let slot = conditions
        .iter_mut()
        .find(|present| present.type_ == condition.type_);
    if let Some(present) = &slot
        && present.status == condition.status
        && present.reason == condition.reason
        && present.message == condition.message
    {
        return false;
    }
    condition.last_transition_time.get_or_insert(Time(now));
    match slot {
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
    true
}

/// Defines the constants of one group of texts together with the list of them.
macro_rules! texts {
    ($($name:ident = $text:literal),+ $(,)?) => {
        $(#[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)+

        /// Every text of this group.
        pub const ALL: &[&str] = &[$($name),+];
    };
}

/// The condition types.
pub mod condition_type {
    texts! {
        REPOSITORY_FOUND = "RepositoryFound",
        BACKEND_SECRET_FOUND = "BackendSecretFound",
        VALIDATION_PASSED = "ValidationPassed",
        BACKUP_TARGET_FOUND = "BackupTargetFound",
        STASH_SIDECAR_INJECTED = "StashSidecarInjected",
        CRON_JOB_CREATED = "CronJobCreated",
        BACKEND_REPOSITORY_INITIALIZED = "BackendRepositoryInitialized",
        RETENTION_POLICY_APPLIED = "RetentionPolicyApplied",
        REPOSITORY_INTEGRITY_VERIFIED = "RepositoryIntegrityVerified",
        REPOSITORY_METRICS_PUSHED = "RepositoryMetricsPushed",
        WAITING = "Waiting",
        BACKUP_SKIPPED = "BackupSkipped",
        BACKUP_HISTORY_CLEANED = "BackupHistoryCleaned",
        METRICS_PUSHED = "MetricsPushed",
        DEADLINE_EXCEEDED = "DeadlineExceeded",
        GLOBAL_PRE_BACKUP_HOOK_SUCCEEDED = "GlobalPreBackupHookSucceeded",
        GLOBAL_POST_BACKUP_HOOK_SUCCEEDED = "GlobalPostBackupHookSucceeded",
        BACKUP_EXECUTOR_ENSURED = "BackupExecutorEnsured",
        PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED = "PreBackupHookExecutionSucceeded",
        POST_BACKUP_HOOK_EXECUTION_SUCCEEDED = "PostBackupHookExecutionSucceeded",
        BACKUP_DISRUPTED = "BackupDisrupted",
        RESTORE_TARGET_FOUND = "RestoreTargetFound",
        STASH_INIT_CONTAINER_INJECTED = "StashInitContainerInjected",
        RESTORE_JOB_CREATED = "RestoreJobCreated",
        RESTORE_EXECUTOR_ENSURED = "RestoreExecutorEnsured",
        RESTORE_COMPLETED = "RestoreCompleted",
        PRE_RESTORE_HOOK_EXECUTION_SUCCEEDED = "PreRestoreHookExecutionSucceeded",
        POST_RESTORE_HOOK_EXECUTION_SUCCEEDED = "PostRestoreHookExecutionSucceeded",
        GLOBAL_PRE_RESTORE_HOOK_SUCCEEDED = "GlobalPreRestoreHookSucceeded",
        GLOBAL_POST_RESTORE_HOOK_SUCCEEDED = "GlobalPostRestoreHookSucceeded",
    }
}

/// The reasons of conditions.
pub mod reason {
    texts! {
        REPOSITORY_AVAILABLE = "RepositoryAvailable",
        REPOSITORY_NOT_AVAILABLE = "RepositoryNotAvailable",
        UNABLE_TO_CHECK_REPOSITORY_AVAILABILITY = "UnableToCheckRepositoryAvailability",
        BACKEND_SECRET_AVAILABLE = "BackendSecretAvailable",
        BACKEND_SECRET_NOT_AVAILABLE = "BackendSecretNotAvailable",
        UNABLE_TO_CHECK_BACKEND_SECRET_AVAILABILITY = "UnableToCheckBackendSecretAvailability",
        RESOURCE_VALIDATION_PASSED = "ResourceValidationPassed",
        RESOURCE_VALIDATION_FAILED = "ResourceValidationFailed",
        TARGET_AVAILABLE = "TargetAvailable",
        TARGET_NOT_AVAILABLE = "TargetNotAvailable",
        UNABLE_TO_CHECK_TARGET_AVAILABILITY = "UnableToCheckTargetAvailability",
        SIDECAR_INJECTION_SUCCEEDED = "SidecarInjectionSucceeded",
        SIDECAR_INJECTION_FAILED = "SidecarInjectionFailed",
        CRON_JOB_CREATION_SUCCEEDED = "CronJobCreationSucceeded",
        CRON_JOB_CREATION_FAILED = "CronJobCreationFailed",
        BACKEND_REPOSITORY_FOUND = "BackendRepositoryFound",
        FAILED_TO_INITIALIZE_BACKEND_REPOSITORY = "FailedToInitializeBackendRepository",
        SUCCESSFULLY_APPLIED_RETENTION_POLICY = "SuccessfullyAppliedRetentionPolicy",
        FAILED_TO_APPLY_RETENTION_POLICY = "FailedToApplyRetentionPolicy",
        SUCCESSFULLY_VERIFIED_REPOSITORY_INTEGRITY = "SuccessfullyVerifiedRepositoryIntegrity",
        FAILED_TO_VERIFY_REPOSITORY_INTEGRITY = "FailedToVerifyRepositoryIntegrity",
        SUCCESSFULLY_PUSHED_REPOSITORY_METRICS = "SuccessfullyPushedRepositoryMetrics",
        FAILED_TO_PUSH_REPOSITORY_METRICS = "FailedToPushRepositoryMetrics",
        WAITS_FOR_BACKUP = "WaitsForBackup",
        WAITS_FOR_RESTORE = "WaitsForRestore",
        WAITS_FOR_WHAT_IT_NEEDS = "WaitsForWhatItNeeds",
        SKIPPED_TAKING_NEW_BACKUP = "SkippedTakingNewBackup",
        SUCCESSFULLY_CLEANED_BACKUP_HISTORY = "SuccessfullyCleanedBackupHistory",
        FAILED_TO_CLEAN_BACKUP_HISTORY = "FailedToCleanBackupHistory",
        SUCCESSFULLY_PUSHED_METRICS = "SuccessfullyPushedMetrics",
        FAILED_TO_PUSH_METRICS = "FailedToPushMetrics",
        FAILED_TO_COMPLETE_WITHIN_DEADLINE = "FailedToCompleteWithinDeadline",
        GLOBAL_PRE_BACKUP_HOOK_EXECUTED_SUCCESSFULLY = "GlobalPreBackupHookExecutedSuccessfully",
        GLOBAL_PRE_BACKUP_HOOK_EXECUTION_FAILED = "GlobalPreBackupHookExecutionFailed",
        GLOBAL_POST_BACKUP_HOOK_EXECUTED_SUCCESSFULLY = "GlobalPostBackupHookExecutedSuccessfully",
        GLOBAL_POST_BACKUP_HOOK_EXECUTION_FAILED = "GlobalPostBackupHookExecutionFailed",
        SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR = "SuccessfullyEnsuredBackupExecutor",
        FAILED_TO_ENSURE_BACKUP_EXECUTOR = "FailedToEnsureBackupExecutor",
        SUCCESSFULLY_EXECUTED_PRE_BACKUP_HOOK = "SuccessfullyExecutedPreBackupHook",
        FAILED_TO_EXECUTE_PRE_BACKUP_HOOK = "FailedToExecutePreBackupHook",
        SUCCESSFULLY_EXECUTED_POST_BACKUP_HOOK = "SuccessfullyExecutedPostBackupHook",
        FAILED_TO_EXECUTE_POST_BACKUP_HOOK = "FailedToExecutePostBackupHook",
        FAILED_TO_COMPLETE_DUE_TO_DISRUPTION = "FailedToCompleteDueToDisruption",
        INIT_CONTAINER_INJECTION_SUCCEEDED = "InitContainerInjectionSucceeded",
        INIT_CONTAINER_INJECTION_FAILED = "InitContainerInjectionFailed",
        RESTORE_SUPERSEDED = "RestoreSuperseded",
        RESTORE_JOB_CREATION_SUCCEEDED = "RestoreJobCreationSucceeded",
        RESTORE_JOB_CREATION_FAILED = "RestoreJobCreationFailed",
        SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR = "SuccessfullyEnsuredRestoreExecutor",
        FAILED_TO_ENSURE_RESTORE_EXECUTOR = "FailedToEnsureRestoreExecutor",
        POST_RESTORE_TASKS_EXECUTED = "PostRestoreTasksExecuted",
        POST_RESTORE_TASKS_NOT_EXECUTED = "PostRestoreTasksNotExecuted",
        SUCCESSFULLY_EXECUTED_PRE_RESTORE_HOOK = "SuccessfullyExecutedPreRestoreHook",
        FAILED_TO_EXECUTE_PRE_RESTORE_HOOK = "FailedToExecutePreRestoreHook",
        SUCCESSFULLY_EXECUTED_POST_RESTORE_HOOK = "SuccessfullyExecutedPostRestoreHook",
        FAILED_TO_EXECUTE_POST_RESTORE_HOOK = "FailedToExecutePostRestoreHook",
        GLOBAL_PRE_RESTORE_HOOK_EXECUTED_SUCCESSFULLY = "GlobalPreRestoreHookExecutedSuccessfully",
        GLOBAL_PRE_RESTORE_HOOK_EXECUTION_FAILED = "GlobalPreRestoreHookExecutionFailed",
        GLOBAL_POST_RESTORE_HOOK_EXECUTED_SUCCESSFULLY = "GlobalPostRestoreHookExecutedSuccessfully",
        GLOBAL_POST_RESTORE_HOOK_EXECUTION_FAILED = "GlobalPostRestoreHookExecutionFailed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_until_something_changes() {
        let mut conditions = Vec::new();
        let first = jiff::Timestamp::UNIX_EPOCH;
        let later = first + jiff::SignedDuration::from_secs(60);
        let found = || {
            Condition::new(
                condition_type::REPOSITORY_FOUND,
                ConditionStatus::True,
                reason::REPOSITORY_AVAILABLE,
                "found",
            )
        };
        assert!(set_condition(&mut conditions, found(), first));
        assert!(!set_condition(&mut conditions, found(), later));
        assert_eq!(conditions[0].last_transition_time, Some(Time(first)));
        let lost = Condition::new(
            condition_type::REPOSITORY_FOUND,
            ConditionStatus::False,
            reason::REPOSITORY_NOT_AVAILABLE,
            "gone",
        );
        assert!(set_condition(&mut conditions, lost, later));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Some(Time(later)));
    }

    #[test]
    fn no_text_is_defined_twice() {
        for group in [condition_type::ALL, reason::ALL] {
            let distinct: std::collections::BTreeSet<_> = group.iter().collect();
            assert_eq!(distinct.len(), group.len());
        }
    }
}
