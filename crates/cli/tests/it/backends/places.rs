//! Each backend's servers: what of the example becomes what.

use testkit::Scratch;
use testkit::servers::{Server, offered};

use super::cycle;
use super::place::{Place, at, fresh};

#[test]
fn the_example_of_a_folder_runs() {
    let scratch = Scratch::new();
    let folder = scratch.join("backup").display().to_string();
    cycle(Place {
        backend: "local",
        server: "folder".to_owned(),
        edits: vec![("/srv/backup", folder.clone())],
        more_keys: Vec::new(),
        ca: None,
        variables: Vec::new(),
        repository: folder,
        restic: Some(Vec::new()),
        secrets: Vec::new(),
    });
}

fn s3(server: &Server) -> Place {
    let bucket = fresh("stash");
    let (key, secret) = (
        server.value("access_key_id"),
        server.value("secret_access_key"),
    );
    let endpoint = server.has_https().unwrap_or_else(|| server.http());
    let region = server.has_value("region").unwrap_or("us-east-1");
    Place {
        edits: vec![
            ("https://s3.eu-central-1.amazonaws.com", endpoint.to_owned()),
            ("region: eu-central-1", format!("region: {region}")),
            ("stash-backups", bucket.clone()),
            ("AKIAIOSFODNN7EXAMPLE", key.to_owned()),
            ("the-secret-access-key", secret.to_owned()),
        ],
        variables: vec![
            ("AWS_ACCESS_KEY_ID", key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("AWS_DEFAULT_REGION", region.to_owned()),
        ],
        repository: format!("s3:{endpoint}/{bucket}/demo/data"),
        secrets: vec![secret.to_owned()],
        ..at("s3", server)
    }
}

#[test]
fn the_example_of_s3_runs_against_minio() {
    let Some(server) = offered("minio") else {
        return;
    };
    cycle(s3(&server));
}

#[test]
fn the_example_of_s3_runs_against_ceph() {
    let Some(server) = offered("rgw") else { return };
    cycle(s3(&server));
}

#[test]
fn the_example_of_s3_runs_against_garage() {
    let Some(server) = offered("garage") else {
        return;
    };
    cycle(s3(&server));
}

#[test]
fn the_example_of_s3_runs_against_moto() {
    let Some(server) = offered("moto") else {
        return;
    };
    cycle(s3(&server));
}
