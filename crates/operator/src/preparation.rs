//! What agents need before they begin, for a backup as for a restore.

use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::coordination::v1::Lease;
use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::context::Context;
use crate::failure::ReconcileError;
use crate::rbac::AccessObjects;
use crate::writing;

/// What agents need before they begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// Their rights.
    pub access: AccessObjects,
    /// By what they take turns.
    pub lease: Option<Lease>,
    /// Volume claims for interim data.
    pub claims: Vec<PersistentVolumeClaim>,
    /// The Jobs.
    pub jobs: Vec<Job>,
    /// Uid of the workload for whose init containers that is.
    pub workload: Option<String>,
}

/// Makes everything that is not there. What exists by its name is left as it is, but for the rights.
pub async fn prepare(context: &Context, preparation: Preparation) -> Result<(), ReconcileError> {
    let Preparation {
        access,
        lease,
        claims,
        jobs,
        workload: _,
    } = preparation;
    grant(context, &access).await?;
    if let Some(lease) = &lease {
        writing::create(context, lease).await?;
    }
    for claim in &claims {
        writing::create(context, claim).await?;
    }
    for job in &jobs {
        writing::create(context, job).await?;
    }
    Ok(())
}

async fn grant(context: &Context, access: &AccessObjects) -> Result<(), ReconcileError> {
    let AccessObjects {
        account,
        role,
        binding,
        foreign,
    } = access;
    if let Some(account) = account {
        writing::apply(context, account).await?;
    }
    writing::apply(context, role).await?;
    writing::apply(context, binding).await?;
    if let Some((role, binding)) = foreign {
        writing::apply(context, role).await?;
        writing::apply(context, binding).await?;
    }
    Ok(())
}
