//! The webhooks: the same injection as the controller's at the moment a workload is written, and refusals for what
//! needs other objects to be judged.
//!
//! They fail open and nothing depends on them: what they miss the controllers do or say. Every replica serves them,
//! leading or not.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use kube_client::core::DynamicObject;
use kube_client::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, WebhookOptions};
use crate::failure::OperatorError;
use crate::stores::Stores;

mod authority;
mod certificate;
mod configuration;
mod listener;
mod mutate;
mod validate;

pub use certificate::SECRET as CERTIFICATE_SECRET;
pub use configuration::{MUTATE_PATH, VALIDATE_PATH, mutating, validating};

/// An update carries the object twice, and each may have 1.5 MiB in the store.
const BODY_BYTES: usize = 8 << 20;

/// What a request is answered from.
#[derive(Debug, Clone)]
struct Answering {
    context: Arc<Context>,
    stores: Arc<Stores>,
}

/// Serves until told to stop.
pub async fn serve(
    context: Arc<Context>,
    stores: Arc<Stores>,
    options: WebhookOptions,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    let address = options.address;
    let failed = |source| OperatorError::Listen {
        what: "webhooks",
        address,
        source,
    };
    let resolver = Arc::new(certificate::Resolver::default());
    let config = listener::config(Arc::clone(&resolver))
        .map_err(|error| OperatorError::Certificates(error.into()))?;
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(failed)?;
    let listener = listener::TlsListener::new(listener, config, stop.clone());
    let ended = stop.clone();
    let serving = axum::serve(
        listener,
        router(Answering {
            context: Arc::clone(&context),
            stores,
        }),
    )
    .with_graceful_shutdown(async move { ended.cancelled().await });
    let keeping = certificate::keep(&context, &options, &resolver, &stop);
    let (served, ()) = futures::join!(serving.into_future(), keeping);
    served.map_err(failed)
}

fn router(answering: Answering) -> Router {
    Router::new()
        .route(MUTATE_PATH, post(mutate_review))
        .route(VALIDATE_PATH, post(validate_review))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(answering)
}

type Review = Json<AdmissionReview<DynamicObject>>;
type Request = AdmissionRequest<DynamicObject>;

async fn mutate_review(State(answering): State<Answering>, Json(review): Review) -> Review {
    let request: Request = match review.try_into() {
        Ok(request) => request,
        Err(error) => return Json(AdmissionResponse::invalid(error).into_review()),
    };
    Json(mutate::answer(&request, &answering).into_review())
}

async fn validate_review(State(answering): State<Answering>, Json(review): Review) -> Review {
    let request: Request = match review.try_into() {
        Ok(request) => request,
        Err(error) => return Json(AdmissionResponse::invalid(error).into_review()),
    };
    Json(validate::answer(&request, &answering).await.into_review())
}
