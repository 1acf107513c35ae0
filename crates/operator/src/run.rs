//! The operator from its start to its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::v1beta1::BackupConfiguration;
use futures::future::{self, Either};
use kube_client::Api;
use kube_client::api::ListParams;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::context::{Context, OperatorOptions};
use crate::failure::{OperatorError, chain, status_code};
use crate::leader::Candidate;
use crate::servers::{self, Readiness};
use crate::stores::Stores;
use crate::{touch, webhook};

/// How long a new operator waits at most before it asks again for an API server.
const LONGEST: Duration = Duration::from_secs(10);

/// A controller at work.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs until told to stop. Servers answer at once; controllers work while this process leads. Losing the lead is an
/// error: the process ends and is started again by whoever runs it.
pub async fn run(
    connection: Connection,
    options: OperatorOptions,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    let context = Arc::new(Context::new(connection, options));
    let readiness = Readiness::default();
    let ended = stop.child_token();
    let (stores, following) = Stores::start(context.watching(), ended.clone());
    let serving = serve(&context, &stores, &readiness, &ended);
    let working = async {
        let working = async {
            let worked = work(&context, &stores, &readiness, &ended).await;
            ended.cancel();
            worked
        };
        future::join(working, following).await.0
    };
    let result = match future::select(Box::pin(serving), Box::pin(working)).await {
        Either::Left((served, working)) => {
            ended.cancel();
            let worked = working.await;
            served.and(worked)
        }
        Either::Right((worked, serving)) => {
            ended.cancel();
            let served = serving.await;
            worked.and(served)
        }
    };
    if result.is_ok() && !stop.is_cancelled() {
        return Err(OperatorError::Ended {
            part: "the operator",
        });
    }
    result
}

/// Everything that answers requests, by every replica.
async fn serve(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    let health = servers::serve(Arc::clone(context), readiness.clone(), stop.clone());
    let webhooks = async {
        match context.options.webhook.clone() {
            Some(options) => {
                let (context, stores) = (Arc::clone(context), Arc::clone(stores));
                webhook::serve(context, stores, options, stop.clone()).await
            }
            None => {
                stop.cancelled().await;
                Ok(())
            }
        }
    };
    future::try_join(health, webhooks).await.map(|_| ())
}

async fn work(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    check_definitions(context, stop).await?;
    readiness.set();
    let mut candidate = Candidate::new(Arc::clone(context));
    if !context.options.elects_leader {
        context.metrics.set_leading(true);
        control(context, stores, stop).await;
        return Ok(());
    }
    if !candidate.wait(stop).await {
        return Ok(());
    }
    // Controllers stop before the Lease is given back, so that two leaders never overlap.
    let leading = stop.child_token();
    let keep_until = CancellationToken::new();
    let controlling = async {
        control(context, stores, &leading).await;
        keep_until.cancel();
    };
    let keeping = candidate.keep(&keep_until);
    match future::select(Box::pin(controlling), Box::pin(keeping)).await {
        Either::Left(((), keeping)) => keeping.await,
        // Others lead now: what is under way ends where it is, and is gone on with by them.
        Either::Right((kept, _)) => kept,
    }
}

/// Waits for the API server, and refuses to go on where our kinds are not defined.
async fn check_definitions(
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    let configurations: Api<BackupConfiguration> = Api::all(context.client());
    loop {
        match configurations
            .list_metadata(&ListParams::default().limit(1))
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if status_code(&error) == Some(404) => {
                return Err(OperatorError::NoDefinition {
                    kind: "BackupConfiguration",
                });
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the API server cannot be used yet");
            }
        }
        let delay = context.delays.after_failure("API server").min(LONGEST);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// All controllers, until told to stop. A controller ends only then; should one break, the others stop as well.
async fn control(context: &Arc<Context>, stores: &Arc<Stores>, stop: &CancellationToken) {
    let stop = stop.child_token();
    let mut running: JoinSet<()> = controllers(context, stores, &stop).into_iter().collect();
    let (of_touch, until) = (Arc::clone(context), stop.clone());
    running.spawn(async move { touch::keep(&of_touch, &until).await });
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a controller broke; the operator stops");
        }
        stop.cancel();
    }
}

/// The controllers; each is described in its own module.
fn controllers(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> Vec<Work> {
    let mut all: Vec<Work> = Vec::new();
    all.extend(crate::workload::controllers(context, stores, stop));
    all.push(crate::claims::controller(context, stores, stop));
    all.push(crate::namespaces::controller(context, stores, stop));
    all.push(crate::backup_configuration::controller(
        context, stores, stop,
    ));
    all.push(crate::repository::controller(context, stores, stop));
    all.push(crate::backup_session::controller(context, stores, stop));
    all.push(crate::restore_session::controller(context, stores, stop));
    all.push(crate::rbac::early_rights(context, stores, stop));
    all.push(crate::rbac::sweeper(context, stores, stop));
    all.push(crate::rbac::workload_sweeper(context, stores, stop));
    all.extend(crate::builtin::controllers(context, stop));
    all
}
