//! The objects of the manifests in the store, and what is known of them.

use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::v1alpha1::{RepositoryStatus, TypedObjectReference};
use api::v1beta1::{BackupConfiguration, BackupConfigurationStatus};
use jiff::Timestamp;
use serde_json::Value;

use super::{Controller, Mode, key_of};
use crate::failure::Failure;
use crate::machine::desired::RepositoryKey;
use crate::machine::state::{Applied, EventKind, Key};

/// Whether a configuration opted to tolerate files that cannot be read.
pub fn tolerates_unreadable(configuration: &BackupConfiguration) -> bool {
    let annotations = configuration.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(session::labels::TOLERATE_UNREADABLE))
        .is_some_and(|value| value == "true")
}

/// A random identity for a new object, in the form of a UUID version 4.
pub fn new_uid() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Controller {
    /// Stores the manifests and what can be said of each before anything runs. A controller that stays forgets
    /// configurations whose manifests are no longer given; their sessions and snapshots stay.
    pub(super) fn apply_desired(&self, mode: Mode) -> Result<(), Failure> {
        let store = &self.inner.store;
        let desired = &self.inner.desired;
        for object in store.list("BackupConfiguration", None)? {
            let key = Key::of(&object);
            if mode == Mode::Forever && !desired.has(&key) {
                store.delete(&key)?;
            }
        }
        for repository in desired.repositories.values() {
            let before = store.get(&repository.key.to_key())?.unwrap_or_default();
            self.apply(&serde_json::to_value(&repository.object)?)?;
            // What is known of one place says nothing about another.
            let has_moved = before["status"]["location"]
                .as_str()
                .is_some_and(|location| location != repository.location());
            let mut status = if has_moved {
                RepositoryStatus::default()
            } else {
                self.repository_status(&repository.key)?
            };
            status.observed_generation = self.generation(&repository.key.to_key())?;
            status.references = self.references(&repository.key);
            store.put_status(
                &repository.key.to_key(),
                &with_location(&status, &repository.location())?,
            )?;
        }
        for configuration in &desired.configurations {
            self.apply(&serde_json::to_value(configuration)?)?;
            self.observe(configuration)?;
        }
        for restore in &desired.restores {
            self.apply(&serde_json::to_value(restore)?)?;
        }
        Ok(())
    }

    fn apply(&self, object: &Value) -> Result<(), Failure> {
        let now = Timestamp::now();
        let applied = self.inner.store.apply(
            object,
            &super::reporter::second(now).to_string(),
            &new_uid(),
        )?;
        let key = Key::of(object);
        let reason = match applied {
            Applied::Created => "Created",
            Applied::Changed => "SpecChanged",
            Applied::Unchanged => return Ok(()),
        };
        let message = format!("{key} is taken from its manifest");
        Ok(self.inner.store.record_event(
            &key,
            EventKind::Normal,
            reason,
            &message,
            &now.to_string(),
        )?)
    }

    fn generation(&self, key: &Key) -> Result<Option<i64>, Failure> {
        Ok(self
            .inner
            .store
            .get(key)?
            .and_then(|object| object["metadata"]["generation"].as_i64()))
    }

    fn references(&self, repository: &RepositoryKey) -> Vec<TypedObjectReference> {
        let users = self
            .inner
            .desired
            .configurations
            .iter()
            .filter(|configuration| {
                self.inner
                    .desired
                    .repository_of(configuration)
                    .is_ok_and(|used| used.key == *repository)
            });
        users
            .map(|configuration| TypedObjectReference {
                api_group: Some("stash.appscode.com".to_owned()),
                kind: "BackupConfiguration".to_owned(),
                namespace: configuration.metadata.namespace.clone(),
                name: configuration.metadata.name.clone().unwrap_or_default(),
            })
            .collect()
    }

    /// Conditions and phase of a configuration. Its manifests have passed validation, so what can still be missing
    /// is the data itself.
    fn observe(&self, configuration: &BackupConfiguration) -> Result<(), Failure> {
        let key = key_of(configuration);
        let now = Timestamp::now();
        let stored = self.inner.store.get(&key)?.unwrap_or_default();
        let mut status: BackupConfigurationStatus =
            serde_json::from_value(stored["status"].clone()).unwrap_or_default();
        let repository = self.inner.desired.repository_of(configuration)?;
        let holds = |type_: &str, reason: &str, message: String| {
            Condition::new(type_, ConditionStatus::True, reason, message)
        };
        let missing = missing_paths(configuration);
        let target = if missing.is_empty() {
            holds(
                condition_type::BACKUP_TARGET_FOUND,
                reason::TARGET_AVAILABLE,
                "every path exists".to_owned(),
            )
        } else {
            Condition::new(
                condition_type::BACKUP_TARGET_FOUND,
                ConditionStatus::False,
                reason::TARGET_NOT_AVAILABLE,
                format!("not there now: {}", missing.join(", ")),
            )
        };
        let conditions = [
            holds(
                condition_type::REPOSITORY_FOUND,
                reason::REPOSITORY_AVAILABLE,
                format!(
                    "Repository {} stores into {}",
                    repository.key.name,
                    repository.location()
                ),
            ),
            holds(
                condition_type::BACKEND_SECRET_FOUND,
                reason::BACKEND_SECRET_AVAILABLE,
                "the Secret holds what the backend needs".to_owned(),
            ),
            holds(
                condition_type::VALIDATION_PASSED,
                reason::RESOURCE_VALIDATION_PASSED,
                "the manifests are valid".to_owned(),
            ),
            target,
            holds(
                condition_type::CRON_JOB_CREATED,
                reason::CRON_JOB_CREATION_SUCCEEDED,
                "`stash run` keeps the schedule itself".to_owned(),
            ),
        ];
        for condition in conditions {
            set_condition(&mut status.conditions, condition, now);
        }
        status.observed_generation = self.generation(&key)?;
        status.phase = Some(session::phase::invoker(&status.conditions, true));
        Ok(self
            .inner
            .store
            .put_status(&key, &serde_json::to_value(&status)?)?)
    }

    /// What is known of a repository.
    pub(super) fn repository_status(
        &self,
        repository: &RepositoryKey,
    ) -> Result<RepositoryStatus, Failure> {
        let object = self
            .inner
            .store
            .get(&repository.to_key())?
            .unwrap_or_default();
        Ok(serde_json::from_value(object["status"].clone()).unwrap_or_default())
    }
}

/// The status of a repository with the place it stores into, which the wide table shows.
pub fn with_location(status: &RepositoryStatus, location: &str) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(status)?;
    value["location"] = location.into();
    Ok(value)
}

fn missing_paths(configuration: &BackupConfiguration) -> Vec<String> {
    let paths = configuration
        .spec
        .target
        .iter()
        .flat_map(|target| &target.paths);
    paths
        .filter(|path| std::fs::symlink_metadata(path).is_err())
        .cloned()
        .collect()
}
