//! The rules between the objects of a set of manifests.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;

use crate::manifest::{AnyObject, LoadOutcome, Manifest, ObjectKey};
use crate::problem::Problem;
use crate::rules::repository::is_use_allowed;
use crate::secret::check_secret;
use crate::suggest::nearest;
use crate::v1alpha1::{FromNamespaces, Repository};
use crate::v1beta1::{RepositoryRef, Snapshotter};

/// Every problem between the objects that were read: duplicates, missing Repositories and Secrets, Secrets that
/// lack keys, Repositories that may not be used.
///
/// References to objects that were refused for problems of their own are not reported a second time.
pub fn check_set(outcome: &LoadOutcome) -> Vec<Problem> {
    let set = Set::of(outcome);
    let mut problems = duplicates(&outcome.objects);
    for manifest in outcome.objects.iter().chain(&outcome.flawed) {
        let found = match &manifest.object {
            AnyObject::Secret(_) => Vec::new(),
            AnyObject::Repository(repository) => set.check_repository(manifest, repository),
            AnyObject::BackupConfiguration(configuration) => set.check_use(
                manifest,
                &configuration.spec.repository,
                configuration.spec.driver,
            ),
            AnyObject::RestoreSession(session) => {
                set.check_use(manifest, &session.spec.repository, session.spec.driver)
            }
            AnyObject::BackupSession(session) => {
                let invoker = &session.spec.invoker;
                let key = ObjectKey::new(&invoker.kind, manifest.object.namespace(), &invoker.name);
                set.missing("spec.invoker.name", &key)
                    .map(|problem| manifest.locate(problem))
                    .into_iter()
                    .collect()
            }
        };
        problems.extend(found);
    }
    // A Secret that two Repositories use lacks its password only once.
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.to_string()));
    problems
}

fn duplicates(manifests: &[Manifest]) -> Vec<Problem> {
    let mut first: BTreeMap<ObjectKey, &Manifest> = BTreeMap::new();
    let mut problems = Vec::new();
    for manifest in manifests {
        match first.get(&manifest.object.key()) {
            Some(earlier) => {
                let origin = &earlier.origin;
                let message = format!(
                    "the object exists already, in {}:{}",
                    origin.file, origin.line
                );
                let problem = Problem::new("metadata.name", message)
                    .with_value(manifest.object.name())
                    .with_fix("remove one of the two, or give it another name");
                problems.push(manifest.locate(problem));
            }
            None => {
                first.insert(manifest.object.key(), manifest);
            }
        }
    }
    problems
}

struct Set<'a> {
    objects: BTreeMap<ObjectKey, &'a Manifest>,
    refused: BTreeSet<&'a ObjectKey>,
}

impl<'a> Set<'a> {
    fn of(outcome: &'a LoadOutcome) -> Self {
        Self {
            // Of duplicates the first one counts.
            objects: outcome
                .objects
                .iter()
                .rev()
                .map(|manifest| (manifest.object.key(), manifest))
                .collect(),
            refused: outcome.refused.iter().collect(),
        }
    }

    /// A problem at `path` when the object is not in the set at all.
    fn missing(&self, path: &str, key: &ObjectKey) -> Option<Problem> {
        if self.objects.contains_key(key) || self.refused.contains(key) {
            return None;
        }
        let same_kind = || {
            let known = self.objects.keys().chain(self.refused.iter().copied());
            known.filter(|other| other.kind == key.kind)
        };
        let nearby = same_kind()
            .filter(|other| other.namespace == key.namespace)
            .map(|other| other.name.as_str());
        let elsewhere = same_kind().find(|other| other.name == key.name);
        let fix = match (nearest(&key.name, nearby), elsewhere) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(other)) => format!(
                "there is one in the namespace `{}`: name that namespace, or move it to `{}`",
                other.namespace, key.namespace
            ),
            (None, None) => format!("add a {} of that name to the manifests", key.kind),
        };
        let message = format!(
            "there is no {} of that name in the namespace `{}`",
            key.kind, key.namespace
        );
        Some(
            Problem::new(path, message)
                .with_value(&key.name)
                .with_fix(fix),
        )
    }

    fn check_repository(&self, manifest: &Manifest, repository: &Repository) -> Vec<Problem> {
        let backend = &repository.spec.backend;
        let Some(name) = &backend.storage_secret_name else {
            return Vec::new();
        };
        let key = ObjectKey::new("Secret", manifest.object.namespace(), name);
        if let Some(problem) = self.missing("spec.backend.storageSecretName", &key) {
            return vec![manifest.locate(problem)];
        }
        let Some((of_secret, secret)) = self.secret(&key) else {
            return Vec::new();
        };
        let providers = backend.providers();
        let problems = providers
            .iter()
            .flat_map(|provider| check_secret(provider, secret));
        problems.map(|problem| of_secret.locate(problem)).collect()
    }

    fn secret(&self, key: &ObjectKey) -> Option<(&'a Manifest, &'a Secret)> {
        let manifest = *self.objects.get(key)?;
        match &manifest.object {
            AnyObject::Secret(secret) => Some((manifest, secret)),
            _ => None,
        }
    }

    /// Whether the Repository an object names is there and may be used.
    fn check_use(
        &self,
        user: &Manifest,
        reference: &RepositoryRef,
        driver: Option<Snapshotter>,
    ) -> Vec<Problem> {
        if reference.name.is_empty() && driver == Some(Snapshotter::VolumeSnapshotter) {
            return Vec::new();
        }
        let namespace = user.object.namespace();
        let owner = reference
            .namespace
            .as_deref()
            .filter(|text| !text.is_empty())
            .unwrap_or(namespace);
        let key = ObjectKey::new("Repository", owner, &reference.name);
        if let Some(problem) = self.missing("spec.repository.name", &key) {
            return vec![user.locate(problem)];
        }
        let Some(AnyObject::Repository(repository)) =
            self.objects.get(&key).map(|manifest| &manifest.object)
        else {
            return Vec::new();
        };
        if is_use_allowed(repository, namespace, || None) {
            return Vec::new();
        }
        let allowed = repository
            .spec
            .usage_policy
            .as_ref()
            .and_then(|policy| policy.allowed_namespaces.as_ref());
        let message = match allowed.map(|allowed| allowed.from) {
            Some(FromNamespaces::Selector) => {
                "the Repository selects namespaces by their labels, which exist only in a cluster"
                    .to_owned()
            }
            _ => format!("the Repository does not allow the namespace `{namespace}` to use it"),
        };
        let problem = Problem::new("spec.repository", message)
            .with_value(format!("{owner}/{}", reference.name))
            .with_fix("set `spec.usagePolicy.allowedNamespaces.from` of the Repository to `All`, or use it from its own namespace");
        vec![user.locate(problem)]
    }
}
