use serde_json::json;

use super::*;
use crate::machine::state::requests::Request;

const NOW: &str = "2026-01-02T03:04:05Z";

fn store() -> (tempfile::TempDir, StateStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = StateStore::open_owned(directory.path()).unwrap();
    (directory, store)
}

fn repository(size: &str) -> Value {
    json!({"kind": "Repository", "metadata": {"name": "r"}, "spec": {"size": size}})
}

#[test]
fn applying_keeps_identity_and_status_and_counts_generations() {
    let (_directory, store) = store();
    let key = Key::new("Repository", "default", "r");
    assert_eq!(
        store.apply(&repository("1"), NOW, "u1").unwrap(),
        Applied::Created
    );
    store
        .put_status(&key, &json!({"snapshotCount": 3}))
        .unwrap();
    assert_eq!(
        store.apply(&repository("1"), "later", "u2").unwrap(),
        Applied::Unchanged
    );
    assert_eq!(
        store.apply(&repository("2"), "later", "u2").unwrap(),
        Applied::Changed
    );

    let object = store.get(&key).unwrap().unwrap();
    assert_eq!(object["metadata"]["uid"], "u1");
    assert_eq!(object["metadata"]["creationTimestamp"], NOW);
    assert_eq!(object["metadata"]["generation"], 2);
    assert_eq!(object["spec"]["size"], "2");
    assert_eq!(object["status"]["snapshotCount"], 3);
}

#[test]
fn a_second_owner_is_refused_while_readers_are_welcome() {
    let (directory, store) = store();
    store.apply(&repository("1"), NOW, "u").unwrap();
    assert!(matches!(
        StateStore::open_owned(directory.path()),
        Err(StateError::Owned { .. })
    ));
    let reader = StateStore::open_shared(directory.path()).unwrap();
    assert_eq!(reader.list("Repository", None).unwrap().len(), 1);
    drop(store);
    StateStore::open_owned(directory.path()).unwrap();
}

#[test]
fn a_directory_where_nothing_ran_is_named() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        StateStore::open_shared(directory.path()),
        Err(StateError::Absent { .. })
    ));
}

#[test]
fn the_version_grows_with_every_change() {
    let (_directory, store) = store();
    let before = store.version().unwrap();
    store.apply(&repository("1"), NOW, "u").unwrap();
    assert!(store.version().unwrap() > before);
}

#[test]
fn a_repeated_event_is_counted() {
    let (_directory, store) = store();
    let key = Key::new("Repository", "default", "r");
    store
        .record_event(&key, EventKind::Warning, "Failed", "no space", NOW)
        .unwrap();
    store
        .record_event(&key, EventKind::Warning, "Failed", "no space", "later")
        .unwrap();
    let events = store.events(&key).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].count, events[0].last_seen.as_str()),
        (2, "later")
    );
}

#[test]
fn requests_wait_until_their_session_exists() {
    let (_directory, store) = store();
    let invoker = Key::new("BackupConfiguration", "default", "home");
    store.request(&invoker, "home-1", NOW).unwrap();
    assert_eq!(
        store.requests().unwrap(),
        [Request {
            invoker,
            session: "home-1".into()
        }]
    );
    store.drop_request("home-1").unwrap();
    assert!(store.requests().unwrap().is_empty());
}

#[test]
fn a_tick_belongs_to_its_schedule() {
    let (_directory, store) = store();
    let key = Key::new("BackupConfiguration", "default", "home");
    store.set_last_tick(&key, "@daily", NOW).unwrap();
    assert_eq!(
        store.last_tick(&key, "@daily").unwrap().as_deref(),
        Some(NOW)
    );
    assert_eq!(store.last_tick(&key, "@hourly").unwrap(), None);
}

#[test]
fn owned_objects_are_replaced_at_once() {
    let (_directory, store) = store();
    let snapshot = |name: &str, owner: &str| json!({"kind": "Snapshot", "metadata": {"name": name, "namespace": "default"}, "status": {"repository": owner}});
    for object in [
        snapshot("a-1", "a"),
        snapshot("a-2", "a"),
        snapshot("b-1", "b"),
    ] {
        store.put(&object).unwrap();
    }
    store
        .replace_owned(
            "Snapshot",
            "default",
            "/status/repository",
            "a",
            &[snapshot("a-3", "a")],
        )
        .unwrap();
    let names: Vec<_> = store
        .list("Snapshot", None)
        .unwrap()
        .iter()
        .map(|object| object["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["a-3", "b-1"]);
}
