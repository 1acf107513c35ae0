//! Which operator leads: one Lease in the operator's namespace, by the rule of [`session::lease`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube_client::Api;
use kube_client::api::PostParams;
use session::lease::{self, Decision, Observation, Record};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::{OperatorError, chain, found, status_code};

/// Name of the Lease.
pub const LEASE: &str = "stash-operator";

/// A candidate for leadership, and later the leader.
#[derive(Debug)]
pub struct Candidate {
    context: Arc<Context>,
    started: Instant,
    observed: Option<Observation>,
}

impl Candidate {
    /// Nothing has been looked at yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            started: Instant::now(),
            observed: None,
        }
    }

    /// Waits until this process leads; `false` when told to stop before.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        tracing::info!(identity = self.context.options.identity, "waiting to lead");
        loop {
            if self.try_once().await {
                tracing::info!("leading");
                self.context.metrics.set_leading(true);
                return true;
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(lease::RETRY) => {}
            }
        }
    }

    /// Renews until leadership is lost, which is an error, or until told to stop, which gives it back.
    pub async fn keep(&mut self, stop: &CancellationToken) -> Result<(), OperatorError> {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
                () = tokio::time::sleep(lease::RENEW) => {}
            }
            if self.try_once().await {
                renewed = Instant::now();
            } else if renewed.elapsed() + lease::RETRY >= lease::DURATION {
                // Others may take over from now on.
                self.context.metrics.set_leading(false);
                return Err(OperatorError::LeadershipLost {
                    lease: LEASE.to_owned(),
                });
            }
        }
    }

    /// Whether the lease is ours after this attempt. No attempt outlasts the time in which others believe us.
    async fn try_once(&mut self) -> bool {
        match tokio::time::timeout(lease::RENEW, self.attempt()).await {
            Ok(Ok(is_ours)) => is_ours,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "cannot use the Lease {LEASE}");
                false
            }
            Err(_) => {
                tracing::warn!("the API server did not answer about the Lease {LEASE} in time");
                false
            }
        }
    }

    async fn attempt(&mut self) -> Result<bool, kube_client::Error> {
        let leases = self.leases();
        let Some(present) = found(leases.get(LEASE).await)? else {
            return accepted(
                leases
                    .create(&PostParams::default(), &self.written(None))
                    .await,
            );
        };
        let now = self.started.elapsed();
        let observed = lease::observe(self.observed.take(), record(&present), now);
        let decision = lease::decide(&observed, &self.context.options.identity, now);
        self.observed = Some(observed);
        match decision {
            Decision::Wait => Ok(false),
            Decision::Take | Decision::Renew => {
                let lease = self.written(Some(&present));
                accepted(leases.replace(LEASE, &PostParams::default(), &lease).await)
            }
        }
    }

    /// The lease as it is when we hold it. The version of what we saw makes the write fail if somebody was faster.
    fn written(&self, present: Option<&Lease>) -> Lease {
        let me = self.context.options.identity.clone();
        let before = present.and_then(|lease| lease.spec.as_ref());
        let is_renewal =
            before.and_then(|spec| spec.holder_identity.as_deref()) == Some(me.as_str());
        let now = MicroTime(jiff::Timestamp::now());
        let changes = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                namespace: Some(self.context.options.namespace.clone()),
                resource_version: present.and_then(|lease| lease.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(me),
                lease_duration_seconds: i32::try_from(lease::DURATION.as_secs()).ok(),
                acquire_time: if is_renewal {
                    before.and_then(|spec| spec.acquire_time.clone())
                } else {
                    Some(now.clone())
                },
                renew_time: Some(now),
                lease_transitions: Some(if is_renewal {
                    changes
                } else {
                    changes.saturating_add(1)
                }),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Lets the next one lead at once.
    async fn release(&self) {
        let leases = self.leases();
        let Ok(Ok(mut present)) = tokio::time::timeout(lease::RETRY, leases.get(LEASE)).await
        else {
            return;
        };
        let holder = present
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref());
        if holder != Some(self.context.options.identity.as_str()) {
            return;
        }
        present.spec.get_or_insert_default().holder_identity = None;
        let options = PostParams::default();
        let replaced = leases.replace(LEASE, &options, &present);
        if !matches!(
            tokio::time::timeout(lease::RETRY, replaced).await,
            Ok(Ok(_))
        ) {
            tracing::warn!(
                "the Lease {LEASE} could not be released; others wait until it runs out"
            );
        }
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.context.client(), &self.context.options.namespace)
    }
}

/// Somebody who was faster is no error.
fn accepted(result: Result<Lease, kube_client::Error>) -> Result<bool, kube_client::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if status_code(&error) == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|it| u64::try_from(it).ok());
    Record {
        holder: spec.holder_identity,
        renewed: spec.renew_time.map(|time| time.0),
        duration: seconds.map_or(lease::DURATION, Duration::from_secs),
    }
}
