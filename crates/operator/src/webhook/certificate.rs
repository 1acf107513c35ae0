//! Keeps the certificates in a Secret of the operator's namespace, shared by all replicas, uses them, and tells the
//! API server whom to trust.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api::k8s_openapi::ByteString;
use api::k8s_openapi::api::core::v1::Secret;
use api::k8s_openapi::api::rbac::v1::ClusterRole;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use jiff::Timestamp;
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, Resource, ResourceExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use session::labels;
use tokio_util::sync::CancellationToken;

use crate::FIELD_MANAGER;
use crate::context::{Context, WebhookOptions};
use crate::failure::{ReconcileError, chain, found};
use crate::webhook::authority::{Kept, renewed};
use crate::webhook::configuration::{mutating, validating};

/// The Secret with the certificates.
pub const SECRET: &str = "stash-webhook-certificate";
/// How often it is looked at: another replica may have made new ones.
const PERIOD: Duration = Duration::from_mins(10);
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY_NAME: &str = "stash.appscode.com/authority-name";
const AUTHORITY_ENDS: &str = "stash.appscode.com/authority-ends";
const ENDS: &str = "stash.appscode.com/certificate-ends";
const NAMES: &str = "stash.appscode.com/certificate-names";

/// Why there are no certificates to use.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error(transparent)]
    Api(#[from] ReconcileError),
    #[error("cannot make certificates")]
    Make(#[source] rcgen::Error),
    #[error(
        "cannot read the certificate of the Secret {SECRET}; delete the Secret to get a new one"
    )]
    Read(#[source] rustls::pki_types::pem::Error),
    #[error("cannot use the key of the Secret {SECRET}; delete the Secret to get a new one")]
    Use(#[source] rustls::Error),
}

/// The certificate in use; none at first.
#[derive(Default)]
pub(super) struct Resolver(RwLock<Option<Arc<CertifiedKey>>>);

impl Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Makes, renews and uses certificates until told to stop. Trouble is tried again; meanwhile the API server goes on
/// without us.
pub(super) async fn keep(
    context: &Context,
    options: &WebhookOptions,
    resolver: &Resolver,
    stop: &CancellationToken,
) {
    loop {
        let delay = match Box::pin(once(context, options, resolver)).await {
            Ok(()) => {
                context.delays.forget(SECRET);
                PERIOD
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the webhooks cannot be reached for now; the controllers do their work"
                );
                context.delays.after_failure(SECRET)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

async fn once(
    context: &Context,
    options: &WebhookOptions,
    resolver: &Resolver,
) -> Result<(), CertificateError> {
    let namespace = &context.options.namespace;
    let secrets: Api<Secret> = Api::namespaced(context.client(), namespace);
    let object = || format!("Secret {namespace}/{SECRET}");
    let present =
        found(secrets.get(SECRET).await).map_err(ReconcileError::api("read", object()))?;
    let before = present.as_ref().and_then(parse);
    let after = renewed(before.clone(), &names(options, namespace), Timestamp::now())
        .map_err(CertificateError::Make)?;
    if before.as_ref() != Some(&after) {
        let version = present.and_then(|it| it.metadata.resource_version);
        let secret = secret(&after, namespace, version.clone());
        let post = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        // Of two replicas one is faster; the other reads what it wrote at its next try.
        match version {
            None => secrets.create(&post, &secret).await,
            Some(_) => secrets.replace(SECRET, &post, &secret).await,
        }
        .map_err(ReconcileError::api("write", object()))?;
        tracing::info!(ends = %after.ends, "made a certificate for the webhooks");
    }
    install(resolver, &after)?;
    let authority = after.authority.as_str();
    let owners = owners(context, options).await?;
    let mut mutating = mutating(options, namespace, authority);
    mutating.metadata.owner_references.clone_from(&owners);
    apply(context, &mutating).await?;
    let mut validating = validating(options, namespace, authority);
    validating.metadata.owner_references = owners;
    apply(context, &validating).await?;
    Ok(())
}

/// With what the configurations are removed. Without it they are not written: it may just have gone.
async fn owners(
    context: &Context,
    options: &WebhookOptions,
) -> Result<Option<Vec<OwnerReference>>, ReconcileError> {
    let Some(name) = &options.owner else {
        return Ok(None);
    };
    let owner = Api::<ClusterRole>::all(context.client())
        .get(name)
        .await
        .map_err(ReconcileError::api("read", format!("ClusterRole {name}")))?;
    Ok(owner.owner_ref(&()).map(|it| vec![it]))
}

fn install(resolver: &Resolver, kept: &Kept) -> Result<(), CertificateError> {
    let chain = CertificateDer::pem_slice_iter(kept.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(CertificateError::Read)?;
    let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes()).map_err(CertificateError::Read)?;
    let key =
        rustls::crypto::ring::sign::any_supported_type(&key).map_err(CertificateError::Use)?;
    let certified = CertifiedKey::new(chain, key);
    *resolver.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
    Ok(())
}

/// The names under which the API server calls us.
fn names(options: &WebhookOptions, namespace: &str) -> Vec<String> {
    match &options.url {
        Some(url) => vec![host(url).to_owned()],
        None => {
            let service = format!("{}.{namespace}.svc", options.service);
            vec![service.clone(), format!("{service}.cluster.local")]
        }
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// A Secret that lacks something counts as none, and is written anew.
fn parse(secret: &Secret) -> Option<Kept> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    let annotations = secret.annotations();
    let time = |key: &str| annotations.get(key)?.parse().ok();
    let names = annotations.get(NAMES)?;
    Some(Kept {
        authority: text(AUTHORITY)?,
        authority_key: text(AUTHORITY_KEY)?,
        authority_name: annotations.get(AUTHORITY_NAME)?.clone(),
        authority_ends: time(AUTHORITY_ENDS)?,
        certificate: text(CERTIFICATE)?,
        key: text(KEY)?,
        ends: time(ENDS)?,
        names: names.split(',').map(str::to_owned).collect(),
    })
}

fn secret(kept: &Kept, namespace: &str, version: Option<String>) -> Secret {
    let data = [
        (AUTHORITY, &kept.authority),
        (AUTHORITY_KEY, &kept.authority_key),
        (CERTIFICATE, &kept.certificate),
        (KEY, &kept.key),
    ];
    let annotations = [
        (AUTHORITY_NAME, kept.authority_name.clone()),
        (AUTHORITY_ENDS, kept.authority_ends.to_string()),
        (ENDS, kept.ends.to_string()),
        (NAMES, kept.names.join(",")),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: version,
            labels: Some(BTreeMap::from([(
                labels::MANAGED_BY.to_owned(),
                labels::MANAGER.to_owned(),
            )])),
            annotations: Some(
                annotations
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
            ),
            ..ObjectMeta::default()
        },
        data: Some(
            data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
                .into(),
        ),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    }
}

async fn apply<K>(context: &Context, object: &K) -> Result<(), ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let options = PatchParams::apply(FIELD_MANAGER).force();
    let name = object.name_any();
    Api::<K>::all(context.client())
        .patch(&name, &options, &Patch::Apply(object))
        .await
        .map(|_| ())
        .map_err(ReconcileError::api(
            "apply",
            format!("{} {name}", K::kind(&())),
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_what_is_broken_is_not() {
        let names = vec!["127.0.0.1".to_owned()];
        let kept = renewed(None, &names, Timestamp::UNIX_EPOCH).unwrap();
        let mut secret = secret(&kept, "stash", None);
        assert!(parse(&secret) == Some(kept));
        secret.data.as_mut().unwrap().remove(KEY);
        assert!(parse(&secret).is_none());
    }

    #[test]
    fn the_certificate_is_for_the_host_of_the_url() {
        assert_eq!(host("https://127.0.0.1:8443"), "127.0.0.1");
        assert_eq!(host("https://[::1]:8443/x"), "::1");
        assert_eq!(host("https://stash.example"), "stash.example");
    }
}
