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

/// How long after the begin of its last renewal a leader stops: others take over after [`lease::DURATION`].
const BELIEVED: Duration = lease::DURATION.saturating_sub(lease::RETRY);

/// What an attempt to take or renew the Lease came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It is ours.
    Ours,
    /// Somebody else holds it.
    Foreign,
    /// Somebody wrote it meanwhile, or the API server gave no answer.
    Unknown,
}

/// A candidate for leadership, and later the leader.
#[derive(Debug)]
pub struct Candidate {
    context: Arc<Context>,
    started: Instant,
    /// When the last attempt that made the Lease ours began.
    renewed: Instant,
    observed: Option<Observation>,
    /// The Lease as we wrote it last, if it has been ours since.
    held: Option<Lease>,
}

impl Candidate {
    /// Nothing has been looked at yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            started: Instant::now(),
            renewed: Instant::now(),
            observed: None,
            held: None,
        }
    }

    /// Waits until this process leads; `false` when told to stop before.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        tracing::info!(identity = self.context.options.identity, "waiting to lead");
        loop {
            if self.try_once(lease::RENEW).await == Attempt::Ours {
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
        let mut pause = lease::RENEW;
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
                () = tokio::time::sleep(pause.min(self.believed())) => {}
            }
            let attempt = self.try_once(lease::RENEW.min(self.believed())).await;
            pause = match attempt {
                Attempt::Ours => lease::RENEW,
                Attempt::Unknown if !self.believed().is_zero() => lease::RETRY,
                Attempt::Foreign | Attempt::Unknown => {
                    self.context.metrics.set_leading(false);
                    return Err(OperatorError::LeadershipLost {
                        lease: LEASE.to_owned(),
                    });
                }
            };
        }
    }

    /// How long nobody else takes over, if no renewal succeeds from now on.
    fn believed(&self) -> Duration {
        BELIEVED.saturating_sub(self.renewed.elapsed())
    }

    /// Takes or renews the lease within `limit`. Others count from when they see it; we do from before that.
    async fn try_once(&mut self, limit: Duration) -> Attempt {
        let began = Instant::now();
        match tokio::time::timeout(limit, self.attempt()).await {
            Ok(Ok(attempt)) => {
                if attempt == Attempt::Ours {
                    self.renewed = began;
                }
                attempt
            }
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "cannot use the Lease {LEASE}");
                Attempt::Unknown
            }
            Err(_) => {
                tracing::warn!("the API server did not answer about the Lease {LEASE} in time");
                Attempt::Unknown
            }
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, kube_client::Error> {
        let (leases, options) = (self.leases(), PostParams::default());
        if let Some(held) = self.held.take() {
            // Had anybody written it since, or removed it, this would be refused.
            let renewed = leases
                .replace(LEASE, &options, &self.written(Some(&held)))
                .await;
            match renewed {
                Err(error) if matches!(status_code(&error), Some(404 | 409)) => {}
                renewed => return self.accepted(renewed),
            }
        }
        let Some(present) = found(leases.get(LEASE).await)? else {
            let created = leases.create(&options, &self.written(None)).await;
            return self.accepted(created);
        };
        let now = self.started.elapsed();
        let observed = lease::observe(self.observed.take(), record(&present), now);
        let decision = lease::decide(&observed, &self.context.options.identity, now);
        self.observed = Some(observed);
        match decision {
            Decision::Wait => Ok(Attempt::Foreign),
            Decision::Take | Decision::Renew => {
                let lease = self.written(Some(&present));
                self.accepted(leases.replace(LEASE, &options, &lease).await)
            }
        }
    }

    /// Somebody who was faster is no error.
    fn accepted(
        &mut self,
        written: Result<Lease, kube_client::Error>,
    ) -> Result<Attempt, kube_client::Error> {
        match written {
            Ok(lease) => {
                self.held = Some(lease);
                Ok(Attempt::Ours)
            }
            Err(error) if status_code(&error) == Some(409) => Ok(Attempt::Unknown),
            Err(error) => Err(error),
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
