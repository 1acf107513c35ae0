//! Health, readiness and metrics over plain HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::failure::OperatorError;

/// The type that Prometheus expects of OpenMetrics text.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the operator can do its work, as `/readyz` tells.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it can.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves until told to stop.
pub async fn serve(
    context: Arc<Context>,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    let address = context.options.metrics_address;
    let failed = |source| OperatorError::Listen {
        what: "health and metrics",
        address,
        source,
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(failed)?;
    axum::serve(listener, router(context, readiness))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .map_err(failed)
}

fn router(context: Arc<Context>, readiness: Readiness) -> Router {
    let ready = move || async move {
        if readiness.is_set() {
            (StatusCode::OK, "ready\n")
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the API server has not been reached yet\n",
            )
        }
    };
    let metrics = move || async move {
        (
            [(header::CONTENT_TYPE, METRICS_TYPE)],
            context.metrics.text(),
        )
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}
