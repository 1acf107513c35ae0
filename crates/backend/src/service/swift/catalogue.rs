//! The address of the object store among all that Keystone names.

use serde::Deserialize;
use serde_json::Value;

use crate::ErrorKind;
use crate::http::HttpFailure;
use crate::service::swift::options::SwiftOptions;

/// A service and where it listens, in the forms of versions 2 and 3.
#[derive(Deserialize)]
pub(super) struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Value>,
}

/// The object store in the region and by the interface that are asked for; without a region, the first.
/// What is missing is named, with what there is instead.
pub(super) fn object_store(
    catalogue: &[Service],
    options: &SwiftOptions,
) -> Result<String, HttpFailure> {
    let stores: Vec<&Value> = catalogue
        .iter()
        .filter(|service| service.kind == "object-store")
        .flat_map(|service| &service.endpoints)
        .collect();
    if stores.is_empty() {
        let mut kinds: Vec<&str> = catalogue.iter().map(|one| one.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let there_is = if kinds.is_empty() {
            "nothing at all; is the project named?".to_owned()
        } else {
            format!("only {}", kinds.join(", "))
        };
        return Err(missing(format!(
            "the catalogue of this project has no object store, {there_is}"
        )));
    }
    let wanted = options.region.as_deref();
    let in_region: Vec<&Value> = stores
        .iter()
        .copied()
        .filter(|endpoint| wanted.is_none_or(|wanted| region(endpoint) == Some(wanted)))
        .collect();
    if in_region.is_empty() {
        return Err(missing(format!(
            "the catalogue has no object store in the region {}, only in {}",
            wanted.unwrap_or_default(),
            listed(stores.iter().filter_map(|endpoint| region(endpoint)))
        )));
    }
    let interface = options.interface.as_str();
    in_region
        .iter()
        .find_map(|endpoint| address(endpoint, interface))
        .map(str::to_owned)
        .ok_or_else(|| {
            missing(format!(
                "the object store has no {interface} address in the catalogue, only {}",
                listed(in_region.iter().flat_map(|endpoint| interfaces(endpoint)))
            ))
        })
}

fn region(endpoint: &Value) -> Option<&str> {
    let name = endpoint["region"].as_str();
    name.or_else(|| endpoint["region_id"].as_str())
}

/// Version 3 has an entry for each interface, version 2 one entry with all.
fn address<'a>(endpoint: &'a Value, interface: &str) -> Option<&'a str> {
    match endpoint["interface"].as_str() {
        Some(of) => endpoint["url"].as_str().filter(|_| of == interface),
        None => endpoint[format!("{interface}URL")].as_str(),
    }
}

fn interfaces(endpoint: &Value) -> Vec<&'static str> {
    let all = ["public", "internal", "admin"].into_iter();
    all.filter(|interface| address(endpoint, interface).is_some())
        .collect()
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn missing(reason: String) -> HttpFailure {
    HttpFailure::new(ErrorKind::Permanent, reason)
}
