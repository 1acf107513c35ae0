//! Namespaces: tells the other controllers when the labels of one change, by which Repositories allow their use, or
//! when it is being deleted, and what they are. Nothing is done to them.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Namespace;
use futures::FutureExt;
use futures::future::BoxFuture;
use kube_client::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::known;
use crate::stores::{Stores, Touched};

/// The watch, until told to stop.
pub fn controller(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()> {
    let stores = Arc::clone(stores);
    known::follow::<Namespace, _, _>(
        Api::all(context.watching()),
        stop.clone(),
        |namespace| {
            let is_deleted = namespace.metadata.deletion_timestamp.is_some();
            (
                namespace.name_any(),
                (namespace.labels().clone(), is_deleted),
            )
        },
        move |name, now| {
            stores.namespaces.note(&name, now.map(|(labels, _)| labels));
            stores.tell(Touched::Namespace(name));
        },
    )
    .boxed()
}
