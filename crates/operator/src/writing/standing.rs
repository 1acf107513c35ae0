//! Whose an object is that has the name of one that is to be created.

use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use session::labels;

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the one that was to be created.
    Ours,
    /// It belonged to an earlier object of the owner's name, or is being deleted: its name is free soon.
    Leaving,
    /// Somebody else's, who is described.
    Others(String),
}

/// Compares the owner of what is there with the owner of what is wanted; without owners, who made it.
pub fn standing(wanted: &ObjectMeta, present: &ObjectMeta) -> Standing {
    if present.deletion_timestamp.is_some() {
        return Standing::Leaving;
    }
    let Some(owner) = owner(wanted) else {
        return unowned(wanted, present);
    };
    let owners = present.owner_references.as_deref().unwrap_or_default();
    if owners.iter().any(|it| it.uid == owner.uid) {
        return Standing::Ours;
    }
    // The garbage collector removes what belongs to an object that is gone.
    if owners
        .iter()
        .any(|it| it.kind == owner.kind && it.name == owner.name)
    {
        return Standing::Leaving;
    }
    // A Lease that lost its owner, because the workload was deleted without what belongs to it, serves as well.
    let is_kept = owner.controller != Some(true) && owners.is_empty();
    if is_kept && manager(present) == Some(labels::MANAGER) {
        return Standing::Ours;
    }
    Standing::Others(match self::owner(present) {
        Some(other) => format!("the {} {}", other.kind, other.name),
        None => "nobody, as its owner references say".to_owned(),
    })
}

fn owner(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = metadata.owner_references.as_deref()?;
    let controller = owners.iter().find(|it| it.controller == Some(true));
    controller.or_else(|| owners.first())
}

fn manager(metadata: &ObjectMeta) -> Option<&str> {
    let labels = metadata.labels.as_ref()?;
    labels.get(labels::MANAGED_BY).map(String::as_str)
}

/// Volume claims outlive the restore that made them, which they name.
fn unowned(wanted: &ObjectMeta, present: &ObjectMeta) -> Standing {
    let maker = |metadata: &ObjectMeta| {
        let annotations = metadata.annotations.as_ref()?;
        annotations.get(labels::MADE_BY_RESTORE).cloned()
    };
    if maker(wanted) == maker(present) {
        return Standing::Ours;
    }
    Standing::Others("others, who may have data in it".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn metadata(value: &Value) -> ObjectMeta {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn owned(kind: &str, name: &str, uid: &str) -> ObjectMeta {
        metadata(&json!({ "name": "a", "ownerReferences": [
            { "apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": true },
        ] }))
    }

    #[test]
    fn what_is_there_belongs_to_the_same_owner_or_an_earlier_one_or_to_others() {
        let wanted = owned("RestoreSession", "back", "2");
        let of = |present: &ObjectMeta| standing(&wanted, present);
        assert_eq!(of(&wanted), Standing::Ours);
        assert_eq!(of(&owned("RestoreSession", "back", "1")), Standing::Leaving);
        assert_eq!(
            of(&owned("RestoreSession", "other", "3")),
            Standing::Others("the RestoreSession other".to_owned())
        );
        let Standing::Others(_) = of(&metadata(&json!({ "name": "a" }))) else {
            panic!("an object without an owner is not ours");
        };
        let mut deleted = wanted.clone();
        deleted.deletion_timestamp = metadata(&json!({
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        }))
        .deletion_timestamp;
        assert_eq!(of(&deleted), Standing::Leaving);
    }

    #[test]
    fn a_lease_of_ours_without_an_owner_is_used() {
        let lease = |owners: Value| {
            metadata(&json!({
                "name": "a", "labels": { labels::MANAGED_BY: labels::MANAGER },
                "ownerReferences": owners,
            }))
        };
        let owner =
            json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1" }]);
        let wanted = lease(owner);
        assert_eq!(standing(&wanted, &lease(json!([]))), Standing::Ours);
    }

    #[test]
    fn a_claim_is_of_the_restore_that_it_names() {
        let made_by = |uid: &str| {
            metadata(&json!({ "name": "a", "annotations": { labels::MADE_BY_RESTORE: uid } }))
        };
        let wanted = made_by("2");
        assert_eq!(standing(&wanted, &made_by("2")), Standing::Ours);
        for present in [made_by("1"), metadata(&json!({ "name": "a" }))] {
            let Standing::Others(_) = standing(&wanted, &present) else {
                panic!("{present:?}");
            };
        }
    }
}
