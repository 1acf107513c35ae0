//! Puts a part into the JSON of a workload, and takes it out again.

use serde_json::{Map, Value};

use crate::inject::compare::covers;
use crate::inject::{InjectError, Invoker, Part, describe, share};
use crate::pod_parts::Place;

/// The first argument of every container of ours.
const FIRST_ARGUMENT: &str = "agent";

/// Puts a part in. A workload that has it already stays byte for byte as it is.
pub(super) fn put(workload: &mut Value, part: &Part) -> Result<(), InjectError> {
    let place = part.place;
    if has_foreign(workload, place) {
        return Err(InjectError::NameTaken {
            workload: describe(workload),
            container: place.container_name(),
        });
    }
    let no_template = InjectError::NoTemplate {
        workload: describe(workload),
    };
    if !is_there(workload, part) {
        let Some(Value::Object(spec)) = workload.pointer_mut("/spec/template/spec") else {
            return Err(no_template);
        };
        put_container(spec, part);
        put_volumes(spec, part);
    }
    let [invoker, kind, hash] = place.annotations();
    let named = serde_json::to_string(&part.invoker).map_err(|source| InjectError::Encode {
        container: place.container_name(),
        source,
    })?;
    if carried(workload, place).as_ref() != Some(&part.invoker) {
        annotate(workload, "", invoker, Some(&named));
    }
    annotate(workload, "", kind, Some(&part.invoker.kind));
    annotate(workload, "/spec/template", hash, Some(&part.digest));
    Ok(())
}

/// Takes our container out with all that came with it.
pub(super) fn remove(workload: &mut Value, place: Place) {
    if has_foreign(workload, place) {
        return;
    }
    if has(workload, place)
        && let Some(Value::Object(spec)) = workload.pointer_mut("/spec/template/spec")
    {
        retain(spec, place.list(), |name| name != place.container_name());
        let rest = Value::Object(spec.clone());
        retain(spec, "volumes", |name| {
            !is_ours(name) || share::is_mounted(&rest, name, "")
        });
    }
    let [invoker, kind, hash] = place.annotations();
    annotate(workload, "", invoker, None);
    annotate(workload, "", kind, None);
    annotate(workload, "/spec/template", hash, None);
}

/// Whether a volume is one that comes with our containers.
fn is_ours(name: &str) -> bool {
    [Place::Beside, Place::Before]
        .iter()
        .any(|place| place.volume_names().contains(&name))
}

/// Whether the template holds our container.
pub(super) fn has(workload: &Value, place: Place) -> bool {
    container(workload, place).is_some() && !has_foreign(workload, place)
}

/// The invoker that the workload's annotation names.
pub(super) fn carried(workload: &Value, place: Place) -> Option<Invoker> {
    let [invoker, ..] = place.annotations();
    let text = workload
        .pointer("/metadata/annotations")?
        .get(invoker)?
        .as_str()?;
    serde_json::from_str(text).ok()
}

/// The digest that the template's annotation tells.
pub(super) fn digest(workload: &Value, place: Place) -> Option<&str> {
    let [.., hash] = place.annotations();
    workload
        .pointer("/spec/template/metadata/annotations")?
        .get(hash)?
        .as_str()
}

fn container(workload: &Value, place: Place) -> Option<&Value> {
    let list = workload.pointer("/spec/template/spec")?.get(place.list())?;
    list.as_array()?
        .iter()
        .find(|container| container["name"] == place.container_name())
}

/// Whether somebody else's container has our name: one without our digest that does not run our agent.
fn has_foreign(workload: &Value, place: Place) -> bool {
    digest(workload, place).is_none()
        && container(workload, place)
            .is_some_and(|container| container["args"][0].as_str() != Some(FIRST_ARGUMENT))
}

/// Whether the template holds the part already, as far as it can be told.
fn is_there(workload: &Value, part: &Part) -> bool {
    let place = part.place;
    let Some(template) = workload.pointer("/spec/template") else {
        return false;
    };
    let has_digest = digest(workload, place) == Some(part.digest.as_str());
    let entries = |list: &str| {
        let list = template["spec"].get(list).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    };
    let containers = entries(place.list());
    let position = containers
        .iter()
        .position(|container| container["name"] == part.container["name"]);
    let is_in_place = match place {
        Place::Beside => true,
        Place::Before => position == Some(0),
    };
    let wanted: Vec<&str> = part.volumes.iter().filter_map(name).collect();
    let has_volumes = part.volumes.iter().all(|volume| {
        let present = entries("volumes")
            .iter()
            .find(|present| present["name"] == volume["name"]);
        covers(present, volume)
    });
    let has_stale = entries("volumes").iter().filter_map(name).any(|name| {
        place.volume_names().contains(&name)
            && !wanted.contains(&name)
            && !share::is_mounted(&template["spec"], name, place.container_name())
    });
    has_digest
        && is_in_place
        && has_volumes
        && !has_stale
        && covers(
            position.and_then(|position| containers.get(position)),
            &part.container,
        )
}

/// The sidecar keeps its place among the containers or goes to the end; the init container is the first.
fn put_container(spec: &mut Map<String, Value>, part: &Part) {
    let list = list(spec, part.place.list());
    let position = list
        .iter()
        .position(|container| container["name"] == part.container["name"]);
    let wanted = match part.place {
        Place::Before => 0,
        Place::Beside => position.unwrap_or(list.len()),
    };
    if let Some(position) = position {
        list.remove(position);
    }
    list.insert(wanted, part.container.clone());
}

fn put_volumes(spec: &mut Map<String, Value>, part: &Part) {
    let ours = part.place.volume_names();
    let wanted: Vec<&str> = part.volumes.iter().filter_map(name).collect();
    let rest = Value::Object(spec.clone());
    retain(spec, "volumes", |name| {
        let is_shared = share::is_mounted(&rest, name, part.place.container_name());
        !ours.contains(&name) || wanted.contains(&name) || is_shared
    });
    let list = list(spec, "volumes");
    for volume in &part.volumes {
        match list
            .iter_mut()
            .find(|present| present["name"] == volume["name"])
        {
            Some(present) => *present = volume.clone(),
            None => list.push(volume.clone()),
        }
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}

/// A list of an object, made if it is not there.
pub(super) fn list<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Vec<Value> {
    let slot = object.entry(name).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("it was made a list above")
}

/// Keeps the entries whose names are wanted; a list that becomes empty goes.
pub(super) fn retain(
    object: &mut Map<String, Value>,
    list: &str,
    is_wanted: impl Fn(&str) -> bool,
) {
    let Some(Value::Array(entries)) = object.get_mut(list) else {
        return;
    };
    let before = entries.len();
    entries.retain(|entry| name(entry).is_none_or(&is_wanted));
    if entries.is_empty() && before > 0 {
        object.shift_remove(list);
    }
}

/// Sets or removes an annotation of the object at `pointer`; annotations that become empty go.
pub(super) fn annotate(workload: &mut Value, pointer: &str, name: &str, value: Option<&str>) {
    let Some(Value::Object(object)) = workload.pointer_mut(pointer) else {
        return;
    };
    if value.is_none() && object.get("metadata").is_none() {
        return;
    }
    let metadata = map(object, "metadata");
    match value {
        Some(value) => {
            map(metadata, "annotations").insert(name.to_owned(), Value::from(value));
        }
        None => {
            let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else {
                return;
            };
            // The order of the others stays, so that nothing seems to have changed.
            let is_removed = annotations.shift_remove(name).is_some();
            if is_removed && annotations.is_empty() {
                metadata.shift_remove("annotations");
            }
        }
    }
}

fn map<'a>(object: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let slot = object.entry(name).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("it was made an object above")
}
