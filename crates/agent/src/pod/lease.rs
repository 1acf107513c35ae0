//! Taking turns: the Pods of one workload work one after the other, by a Lease that the operator has made.
//!
//! The rule is `session::lease`'s. A turn that is lost because the API server was away too long is no reason to stop:
//! what was begun is finished and reported.

use std::time::Instant;

use api::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube_client::Api;
use kube_client::api::PostParams;
use session::lease::{self, Decision, Observation, Record};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::client::{ApiError, call};
use super::{FIELD_MANAGER, PodAgent};

/// A turn that lasts until it is released, or until this process is gone for 15 seconds.
#[derive(Debug)]
pub(super) struct Turn {
    leases: Api<Lease>,
    name: String,
    me: String,
    stop: CancellationToken,
    renewal: AbortOnDropHandle<()>,
}

/// Waits for the turn; `None` when `cancel` came first.
pub(super) async fn take(agent: &PodAgent, name: &str, cancel: &CancellationToken) -> Option<Turn> {
    let leases: Api<Lease> = agent.here();
    let me = format!("{}/{}", agent.identity.pod, agent.identity.uid);
    let clock = Instant::now();
    let mut observed = None;
    loop {
        match try_take(&leases, name, &me, (&mut observed, clock)).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                let error = crate::backup::chain(&error);
                tracing::warn!(error, lease = name, "cannot take a Lease yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(lease::RETRY) => {}
            () = cancel.cancelled() => return None,
        }
    }
    tracing::info!(lease = name, "took the turn");
    let stop = CancellationToken::new();
    let renewal = tokio::spawn(renew(
        leases.clone(),
        name.to_owned(),
        me.clone(),
        stop.clone(),
    ));
    Some(Turn {
        leases,
        name: name.to_owned(),
        me,
        stop,
        renewal: AbortOnDropHandle::new(renewal),
    })
}

impl Turn {
    /// Lets the next one work. A Lease that cannot be given back is free after 15 seconds.
    pub async fn release(self) {
        self.stop.cancel();
        // It ends at once; whether it ended well does not matter any more.
        let _ = self.renewal.await;
        let released = write(&self.leases, &self.name, |record| {
            let is_mine = record.holder_identity.as_deref() == Some(self.me.as_str());
            if is_mine {
                record.holder_identity = Some(String::new());
                record.renew_time = Some(MicroTime(jiff::Timestamp::now()));
            }
            is_mine
        });
        if let Err(error) = released.await {
            let error = crate::backup::chain(&error);
            tracing::warn!(error, lease = self.name, "cannot give a Lease back");
        }
    }
}

async fn try_take(
    leases: &Api<Lease>,
    name: &str,
    me: &str,
    (observed, clock): (&mut Option<Observation>, Instant),
) -> Result<bool, ApiError> {
    let mut object = call(leases.get(name)).await?;
    let spec = object.spec.get_or_insert_default();
    let seen = lease::observe(observed.take(), record(spec), clock.elapsed());
    let decision = lease::decide(&seen, me, clock.elapsed());
    *observed = Some(seen);
    if decision == Decision::Wait {
        return Ok(false);
    }
    let now = MicroTime(jiff::Timestamp::now());
    if decision == Decision::Take {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
        spec.acquire_time = Some(now.clone());
    }
    spec.holder_identity = Some(me.to_owned());
    spec.lease_duration_seconds = i32::try_from(lease::DURATION.as_secs()).ok();
    spec.renew_time = Some(now);
    match call(leases.replace(name, &parameters(), &object)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn renew(leases: Api<Lease>, name: String, me: String, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(lease::RENEW) => {}
        }
        let mut is_mine = true;
        let renewed = write(&leases, &name, |record| {
            is_mine = record.holder_identity.as_deref() == Some(me.as_str());
            record.renew_time = Some(MicroTime(jiff::Timestamp::now()));
            is_mine
        });
        if let Err(error) = renewed.await {
            let error = crate::backup::chain(&error);
            tracing::warn!(error, lease = name, "cannot renew a Lease");
        }
        if !is_mine {
            tracing::warn!(
                lease = name,
                "somebody else has taken the turn; the work goes on"
            );
            return;
        }
    }
}

/// Reads, changes and writes; nothing is written when the change says so.
async fn write(
    leases: &Api<Lease>,
    name: &str,
    change: impl FnOnce(&mut LeaseSpec) -> bool,
) -> Result<(), ApiError> {
    let mut object = call(leases.get(name)).await?;
    if change(object.spec.get_or_insert_default()) {
        call(leases.replace(name, &parameters(), &object)).await?;
    }
    Ok(())
}

fn record(spec: &LeaseSpec) -> Record {
    let seconds = spec.lease_duration_seconds.unwrap_or(0);
    Record {
        holder: spec.holder_identity.clone(),
        renewed: spec.renew_time.as_ref().map(|time| time.0),
        duration: std::time::Duration::from_secs(seconds.unsigned_abs().into()),
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
