//! Retention, check and numbers of a repository.

use api::v1beta1::RetentionPolicy;
use repository::SnapshotId;
use repository::check::{self, CheckOptions};
use repository::forget::{EmptiedGroups, ForgetPlan, ForgetPolicy};
use repository::lock::{Lock, LockKind};
use repository::prune::{self, PruneOptions};
use repository::snapshot::{self, GroupBy, Snapshot, SnapshotFilter};
use repository::time::Time;

use super::{Engine, EngineError, until_stopped, work_token};
use crate::stop::Stop;

/// What retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionResult {
    /// Snapshots of the invoker that stay.
    pub kept: usize,
    /// Snapshots that went, or would go in a dry run.
    pub removed: usize,
    /// Whether nothing was touched.
    pub is_dry_run: bool,
}

impl RetentionResult {
    /// Snapshots that are really gone.
    pub const fn removed_now(&self) -> usize {
        if self.is_dry_run { 0 } else { self.removed }
    }
}

/// The numbers of a repository.
#[derive(Debug)]
pub struct Census {
    /// All snapshots, oldest first.
    pub snapshots: Vec<(SnapshotId, Snapshot)>,
    /// When the first of them was taken.
    pub first_snapshot: Option<jiff::Timestamp>,
    /// Bytes of all blobs as stored.
    pub stored_bytes: u64,
}

impl Engine {
    /// Applies a policy to the snapshots that carry the invoker's tag, and to no other (decision 8).
    pub async fn apply_retention(
        &self,
        policy: &RetentionPolicy,
        tag: &str,
        stop: &Stop,
    ) -> Result<RetentionResult, EngineError> {
        if policy.dry_run {
            let plan = until_stopped(stop, self.plan(policy, tag)).await?;
            return Ok(result(&plan, true));
        }
        // Planning needs no lock: most sessions remove nothing, and then nobody else has to wait.
        let preview = until_stopped(stop, self.plan(policy, tag)).await?;
        if preview.removals().is_empty() {
            return Ok(result(&preview, false));
        }
        self.with_lock(
            LockKind::Exclusive,
            "lock the repository to remove snapshots",
            stop,
            async |lock| {
                let plan = self.plan(policy, tag).await?;
                let result = result(&plan, false);
                let summary = plan
                    .execute(&self.repository, lock)
                    .await
                    .map_err(EngineError::Forget)?;
                let count = summary.failed.len();
                if let Some((id, source)) = summary.failed.into_iter().next() {
                    return Err(EngineError::ForgetSome {
                        count,
                        first: id.short(),
                        source,
                    });
                }
                if policy.prune {
                    self.prune(lock, stop).await?;
                }
                Ok(result)
            },
        )
        .await
    }

    async fn plan(&self, policy: &RetentionPolicy, tag: &str) -> Result<ForgetPlan, EngineError> {
        let mut snapshots = snapshot::load_all(&self.repository)
            .await
            .map_err(EngineError::Snapshots)?;
        let mine = SnapshotFilter {
            tags: vec![vec![tag.to_owned()]],
            ..SnapshotFilter::default()
        };
        snapshots.retain(|(_, snapshot)| mine.matches(snapshot));
        let now = Time::new(jiff::Timestamp::now(), jiff::tz::Offset::UTC);
        let policy = forget_policy(policy);
        ForgetPlan::new(
            snapshots,
            GroupBy::default(),
            &policy,
            EmptiedGroups::Refuse,
            now,
        )
        .map_err(EngineError::Policy)
    }

    async fn prune(&self, lock: &Lock, stop: &Stop) -> Result<(), EngineError> {
        let indexed = self
            .repository
            .load_index()
            .await
            .map_err(EngineError::Index)?;
        let (token, _watch) = work_token(stop, lock);
        let pruning = async {
            let plan = prune::plan(&indexed, &[], &PruneOptions::default()).await?;
            plan.execute(lock, &|_| {}).await
        };
        // Prune is safe at any kill, so a session that has to stop simply drops it.
        tokio::select! {
            pruned = pruning => pruned.map(|_| ()).map_err(EngineError::Prune),
            () = token.cancelled() => Err(EngineError::Stopped),
        }
    }

    /// Checks the structure of the repository as it is stored, past the cache, and returns what is wrong with it, each
    /// in a sentence.
    pub async fn check(&self, stop: &Stop) -> Result<Vec<String>, EngineError> {
        self.with_lock(
            LockKind::Shared,
            "lock the repository for the check",
            stop,
            async |lock| {
                let (token, _watch) = work_token(stop, lock);
                let options = CheckOptions::default();
                let stored = self.repository.past_cache();
                let report = check::check(&stored, &options, &check::NoCheckProgress, &token)
                    .await
                    .map_err(EngineError::Check)?;
                Ok(report.errors.iter().map(ToString::to_string).collect())
            },
        )
        .await
    }

    /// Reads all snapshots and the size of what is stored.
    pub async fn census(&self, stop: &Stop) -> Result<Census, EngineError> {
        until_stopped(stop, self.count()).await
    }

    async fn count(&self) -> Result<Census, EngineError> {
        let snapshots = snapshot::load_all(&self.repository)
            .await
            .map_err(EngineError::Snapshots)?;
        let indexed = self
            .repository
            .load_index()
            .await
            .map_err(EngineError::Index)?;
        let first_snapshot = snapshots
            .first()
            .map(|(_, snapshot)| snapshot.time.timestamp());
        Ok(Census {
            first_snapshot,
            stored_bytes: indexed
                .index()
                .iter()
                .map(|(_, location)| u64::from(location.length))
                .sum(),
            snapshots,
        })
    }
}

fn result(plan: &ForgetPlan, is_dry_run: bool) -> RetentionResult {
    let kept = plan.groups.iter().map(|group| group.keep.len()).sum();
    RetentionResult {
        kept,
        removed: plan.removals().len(),
        is_dry_run,
    }
}

fn forget_policy(policy: &RetentionPolicy) -> ForgetPolicy {
    let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
    ForgetPolicy {
        last: count(policy.keep_last),
        hourly: count(policy.keep_hourly),
        daily: count(policy.keep_daily),
        weekly: count(policy.keep_weekly),
        monthly: count(policy.keep_monthly),
        yearly: count(policy.keep_yearly),
        tags: policy
            .keep_tags
            .iter()
            .map(|list| snapshot::parse_tag_list(list))
            .collect(),
        ..ForgetPolicy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_of_a_policy_keeps_its_meaning() {
        let policy = RetentionPolicy {
            keep_last: 1,
            keep_hourly: 2,
            keep_daily: 3,
            keep_weekly: 4,
            keep_monthly: 5,
            keep_yearly: 6,
            keep_tags: vec!["a,b".to_owned(), "c".to_owned()],
            ..RetentionPolicy::default()
        };
        let expected = ForgetPolicy {
            last: 1,
            hourly: 2,
            daily: 3,
            weekly: 4,
            monthly: 5,
            yearly: 6,
            tags: vec![vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]],
            ..ForgetPolicy::default()
        };
        assert_eq!(forget_policy(&policy), expected);
    }
}
