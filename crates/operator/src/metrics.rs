//! What the operator counts about itself, for Prometheus to pull (decision 12).

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Which controller, and how its pass went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

/// The counters and where they are registered.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<PassLabels, Counter>,
    durations: Family<ControllerLabels, Histogram>,
    leading: Gauge,
    sessions_created: Counter,
    tick_delay: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("stash_operator");
        let passes = Family::<PassLabels, Counter>::default();
        registry.register(
            "reconciles",
            "Passes over objects by controller and result",
            passes.clone(),
        );
        let durations = Family::<ControllerLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.002, 2.0, 14))
        });
        registry.register_with_unit(
            "reconcile_duration",
            "How long passes took",
            Unit::Seconds,
            durations.clone(),
        );
        let leading = Gauge::default();
        registry.register("leading", "Whether this process leads", leading.clone());
        let sessions_created = Counter::default();
        registry.register(
            "sessions_created",
            "BackupSessions created by schedules and retries",
            sessions_created.clone(),
        );
        let tick_delay = Gauge::<f64, AtomicU64>::default();
        registry.register_with_unit(
            "tick_delay",
            "From the last tick of a schedule to its session",
            Unit::Seconds,
            tick_delay.clone(),
        );
        Self {
            registry,
            passes,
            durations,
            leading,
            sessions_created,
            tick_delay,
        }
    }

    /// Counts a pass.
    pub fn passed(&self, controller: &'static str, is_good: bool, duration: Duration) {
        let result = if is_good { "success" } else { "error" };
        self.passes
            .get_or_create(&PassLabels { controller, result })
            .inc();
        self.durations
            .get_or_create(&ControllerLabels { controller })
            .observe(duration.as_secs_f64());
    }

    /// Notes whether this process leads.
    pub fn set_leading(&self, is_leading: bool) {
        self.leading.set(i64::from(is_leading));
    }

    /// Counts a session, created so long after its tick.
    pub fn created_session(&self, delay: Option<Duration>) {
        self.sessions_created.inc();
        if let Some(delay) = delay {
            self.tick_delay.set(delay.as_secs_f64());
        }
    }

    /// The text that Prometheus reads (OpenMetrics 1.0).
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::warn!(%error, "metrics could not be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_counted_by_controller_and_result() {
        let metrics = Metrics::new();
        metrics.passed("repository", true, Duration::from_millis(3));
        metrics.passed("repository", false, Duration::from_millis(3));
        metrics.set_leading(true);
        let text = metrics.text();
        assert!(
            text.contains(
                r#"stash_operator_reconciles_total{controller="repository",result="error"} 1"#
            ),
            "{text}"
        );
        assert!(text.contains("stash_operator_leading 1"), "{text}");
    }
}
