//! What to do about a Repository, decided from what was read.

use std::time::Duration;

use api::v1alpha1::{Repository, RepositoryStatus};
use kube_client::ResourceExt;

use crate::events::{EventKind, News, Repeats};
use crate::repository::observe::{Observation, WipeOut};
use crate::repository::place;

/// The published finalizer of Repositories.
pub const FINALIZER: &str = "stash";
/// How many users of a Repository are listed by name.
const MOST_NAMES: usize = 5;

/// When it is asked again who needs the data, and what keeps a Job from its Pod.
const LATER: Duration = Duration::from_secs(30);
/// When a Job without a Pod is looked at again.
const SOON: Duration = Duration::from_secs(5);

/// What is done about the finalizer and the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Nothing yet: somebody needs the data of whose end we do not hear.
    Wait(Duration),
    /// From now on a deletion waits for us.
    AddFinalizer,
    /// The object may go.
    RemoveFinalizer,
    /// The object may go, and its data stays.
    LetGo,
    /// The Job is made.
    StartWipeOut,
    /// The failed Job goes, so that a new one can be made.
    RemoveJob,
}

/// What to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The new status; `None` when it is as it should be.
    pub status: Option<RepositoryStatus>,
    /// The step.
    pub step: Step,
    /// What to tell.
    pub news: Vec<News>,
}

/// Decides.
pub fn plan(repository: &Repository, observation: &Observation) -> Plan {
    let before = repository.status.clone().unwrap_or_default();
    let after = RepositoryStatus {
        observed_generation: repository.metadata.generation,
        references: observation.references.clone(),
        ..before.clone()
    };
    let status = (after != before).then_some(after);
    let has_finalizer = repository.finalizers().iter().any(|it| it == FINALIZER);
    let wants = repository.spec.wipe_out;
    if repository.metadata.deletion_timestamp.is_none() {
        let step = match (wants, has_finalizer) {
            (true, false) => Step::AddFinalizer,
            (false, true) => Step::RemoveFinalizer,
            _ => Step::Nothing,
        };
        return Plan {
            status,
            step,
            news: Vec::new(),
        };
    }
    let (step, news) = match (has_finalizer, wants) {
        (false, _) => (Step::Nothing, None),
        (true, false) => (Step::RemoveFinalizer, None),
        (true, true) => deletion(repository, observation),
    };
    Plan {
        status,
        step,
        news: news.into_iter().collect(),
    }
}

fn deletion(repository: &Repository, observation: &Observation) -> (Step, Option<News>) {
    let name = repository.name_any();
    match &observation.wipe_out {
        WipeOut::Done => (
            Step::RemoveFinalizer,
            Some(News::normal(
                "WipeOutSucceeded",
                format!("the data of the Repository {name} was removed"),
            )),
        ),
        WipeOut::Running => (Step::Nothing, None),
        WipeOut::Starting => (Step::Wait(SOON), None),
        WipeOut::Refused(why) => (
            Step::Wait(LATER),
            Some(News::warning(
                "WipeOutFailed",
                format!(
                    "the data of the Repository {name} cannot be removed yet, because Kubernetes creates no Pod for it: {why}; set spec.wipeOut to false to keep the data and let the Repository go"
                ),
            )),
        ),
        WipeOut::Failed { why, .. } => (
            Step::RemoveJob,
            Some(News::warning(
                "WipeOutFailed",
                format!(
                    "the data of the Repository {name} could not be removed and it is tried again: {why}; set spec.wipeOut to false to keep the data and let the Repository go"
                ),
            )),
        ),
        WipeOut::NotStarted if users(observation).is_empty() => (
            Step::StartWipeOut,
            Some(News::normal(
                "WipeOutStarted",
                format!("the data of the Repository {name} is being removed"),
            )),
        ),
        // The namespace waits for the Repository, and in another one somebody may go on for ever.
        WipeOut::NotStarted
            if observation.is_namespace_ending && is_used_elsewhere(repository, observation) =>
        {
            (
                Step::LetGo,
                Some(News::warning(
                    "DataKept",
                    format!(
                        "the Repository {name} goes with its namespace, and its data stays in {}, because it is used by {}; make a Repository there in another namespace and name it, or remove the data by hand",
                        place::describe(repository),
                        users(observation)
                    ),
                )),
            )
        }
        WipeOut::NotStarted => (
            if observation.needed_by.is_empty() {
                Step::Nothing
            } else {
                Step::Wait(LATER)
            },
            Some(News {
                kind: EventKind::Warning,
                reason: "RepositoryInUse",
                message: format!(
                    "the data of the Repository {name} is kept as long as it is used by {}; delete them or name another Repository there, or set spec.wipeOut to false to keep the data and let the Repository go",
                    users(observation)
                ),
                repeats: Repeats::Never,
            }),
        ),
    }
}

/// What lies in the same namespace goes with it.
fn is_used_elsewhere(repository: &Repository, observation: &Observation) -> bool {
    let own = repository.namespace();
    let mut all = observation.references.iter().chain(&observation.needed_by);
    all.any(|it| it.namespace != own)
}

fn users(observation: &Observation) -> String {
    let all = observation.references.iter().chain(&observation.needed_by);
    let names: Vec<String> = all
        .clone()
        .take(MOST_NAMES)
        .map(|it| {
            let namespace = it.namespace.as_deref().unwrap_or_default();
            format!("{} {namespace}/{}", it.kind, it.name)
        })
        .collect();
    match all.count().saturating_sub(MOST_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use api::v1alpha1::TypedObjectReference;
    use serde_json::json;

    use super::*;

    fn repository(wipe_out: bool, has_finalizer: bool, is_deleted: bool) -> Repository {
        let mut object = json!({
            "metadata": { "name": "repo", "namespace": "shop", "generation": 1 },
            "spec": { "wipeOut": wipe_out, "backend": { "s3": { "endpoint": "e", "bucket": "b" } } },
            "status": { "observedGeneration": 1, "totalSize": "1 GiB" },
        });
        if has_finalizer {
            object["metadata"]["finalizers"] = json!([FINALIZER]);
        }
        if is_deleted {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(object).unwrap()
    }

    fn observation(wipe_out: WipeOut, users: usize) -> Observation {
        let user = |number| TypedObjectReference {
            api_group: None,
            kind: "BackupConfiguration".to_owned(),
            namespace: Some("shop".to_owned()),
            name: format!("home-{number}"),
        };
        Observation {
            references: (0..users).map(user).collect(),
            needed_by: Vec::new(),
            is_namespace_ending: false,
            wipe_out,
        }
    }

    #[test]
    fn only_a_repository_that_wipes_out_has_a_finalizer() {
        let nobody = observation(WipeOut::NotStarted, 0);
        let step = |repository: &Repository| plan(repository, &nobody).step;
        assert_eq!(step(&repository(true, false, false)), Step::AddFinalizer);
        assert_eq!(step(&repository(true, true, false)), Step::Nothing);
        assert_eq!(step(&repository(false, true, false)), Step::RemoveFinalizer);
        assert_eq!(step(&repository(false, true, true)), Step::RemoveFinalizer);
        assert_eq!(step(&repository(false, false, true)), Step::Nothing);
    }

    #[test]
    fn users_are_written_down_and_nothing_else_of_the_status_changes() {
        let result = plan(
            &repository(false, false, false),
            &observation(WipeOut::NotStarted, 1),
        );
        let status = result.status.unwrap();
        assert_eq!(status.references.len(), 1);
        assert_eq!(status.total_size.as_deref(), Some("1 GiB"));
        let none = plan(
            &repository(false, false, false),
            &observation(WipeOut::NotStarted, 0),
        );
        assert_eq!(none.status, None);
    }

    #[test]
    fn a_namespace_that_ends_does_not_wait_for_users_in_another_one() {
        let deleted = repository(true, true, true);
        let mut seen = observation(WipeOut::NotStarted, 1);
        seen.is_namespace_ending = true;
        // What uses it from within goes, too, and then it is as if nobody used it.
        assert_eq!(plan(&deleted, &seen).step, Step::Nothing);
        seen.references[0].namespace = Some("moved".to_owned());
        let let_go = plan(&deleted, &seen);
        assert_eq!(let_go.step, Step::LetGo);
        let message = &let_go.news[0].message;
        assert!(
            message.contains("its data stays in s3 e.shop b, because"),
            "{message}"
        );
        assert!(
            message.contains("BackupConfiguration moved/home-0"),
            "{message}"
        );
        seen.is_namespace_ending = false;
        assert_eq!(plan(&deleted, &seen).step, Step::Nothing);
    }

    #[test]
    fn data_is_removed_only_when_nobody_uses_the_repository() {
        let deleted = repository(true, true, true);
        let used = plan(&deleted, &observation(WipeOut::NotStarted, 7));
        assert_eq!(used.step, Step::Nothing);
        insta::assert_snapshot!(used.news[0].message);
        let mut shared = observation(WipeOut::NotStarted, 0);
        shared.needed_by = vec![TypedObjectReference {
            api_group: None,
            kind: "Repository".to_owned(),
            namespace: Some("moved".to_owned()),
            name: "repo".to_owned(),
        }];
        let waits = plan(&deleted, &shared);
        assert_eq!(waits.step, Step::Wait(LATER));
        assert!(waits.news[0].message.contains("Repository moved/repo"));
        let free = plan(&deleted, &observation(WipeOut::NotStarted, 0));
        assert_eq!(free.step, Step::StartWipeOut);
        let running = plan(&deleted, &observation(WipeOut::Running, 0));
        assert_eq!(running.step, Step::Nothing);
        let refused = WipeOut::Refused("exceeded quota".to_owned());
        let refused = plan(&deleted, &observation(refused, 0));
        assert_eq!(refused.step, Step::Wait(LATER));
        assert!(refused.news[0].message.contains("exceeded quota"));
        let failed = WipeOut::Failed {
            job: "uid".to_owned(),
            why: "no Secret".to_owned(),
        };
        let failed = plan(&deleted, &observation(failed, 0));
        assert_eq!(failed.step, Step::RemoveJob);
        insta::assert_snapshot!(failed.news[0].message);
        let done = plan(&deleted, &observation(WipeOut::Done, 0));
        assert_eq!(done.step, Step::RemoveFinalizer);
    }
}
