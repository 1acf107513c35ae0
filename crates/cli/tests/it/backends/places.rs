//! Each backend's servers: what of the example becomes what.

use testkit::Scratch;
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json};

use super::cycle;
use super::place::{Place, at, edits, fresh};

#[test]
fn the_example_of_a_folder_runs() {
    let scratch = Scratch::new();
    let folder = scratch.join("backup").display().to_string();
    cycle(Place {
        backend: "local",
        server: "folder".to_owned(),
        edits: edits([("/srv/backup", folder.clone())]),
        more_keys: Vec::new(),
        ca: None,
        variables: Vec::new(),
        repository: folder,
        restic: Some(Vec::new()),
        secrets: Vec::new(),
    });
}

pub fn s3(server: &Server) -> Place {
    let bucket = fresh("stash");
    let (key, secret) = (
        server.value("access_key_id"),
        server.value("secret_access_key"),
    );
    let endpoint = server.has_https().unwrap_or_else(|| server.http());
    let region = server.has_value("region").unwrap_or("us-east-1");
    Place {
        edits: edits([
            ("https://s3.eu-central-1.amazonaws.com", endpoint.to_owned()),
            ("region: eu-central-1", format!("region: {region}")),
            ("stash-backups", bucket.clone()),
            ("AKIAIOSFODNN7EXAMPLE", key.to_owned()),
            ("the-secret-access-key", secret.to_owned()),
        ]),
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

#[test]
fn the_example_of_gcs_runs_against_fake_gcs_server() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    // This server asks nobody who they are: the token of the key's owner comes from a place of the test's own.
    let tokens = StubServer::start(|_| async {
        json(
            200,
            &serde_json::json!({"access_token": "the-access-token", "expires_in": 3600, "token_type": "Bearer"}),
        )
    });
    let bucket = fresh("stash");
    let key =
        include_str!("../../../../backend/src/service/gcs/token/test_key.pem").replace('\n', "\\n");
    let address = server.https().to_owned();
    cycle(Place {
        edits: edits([
            ("stash-backups", bucket.clone()),
            (
                "https://oauth2.googleapis.com/token",
                format!("{}/token", tokens.url()),
            ),
            (
                "-----BEGIN PRIVATE KEY-----\\nthe key\\n-----END PRIVATE KEY-----\\n",
                key,
            ),
        ]),
        variables: vec![
            ("STORAGE_EMULATOR_HOST", address),
            ("GOOGLE_ACCESS_TOKEN", "the-access-token".to_owned()),
            ("GOOGLE_PROJECT_ID", "my-project".to_owned()),
        ],
        repository: format!("gs:{bucket}:/demo/data"),
        secrets: vec!["the-access-token".to_owned(), "PRIVATE KEY".to_owned()],
        ..at("gcs", &server)
    });
    assert_eq!(
        tokens.requests().len(),
        4,
        "each run gets one token and keeps it"
    );
}

#[test]
fn the_example_of_azure_runs_against_azurite() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let container = fresh("stash");
    let (account, key) = (server.value("account"), server.value("key"));
    cycle(Place {
        edits: edits([
            ("stash-backups", container.clone()),
            ("stashbackups", account.to_owned()),
            ("dGhlLWFjY291bnQta2V5", key.to_owned()),
        ]),
        variables: vec![
            ("AZURE_ENDPOINT", format!("{}/{account}", server.https())),
            ("AZURE_ACCOUNT_NAME", account.to_owned()),
            ("AZURE_ACCOUNT_KEY", key.to_owned()),
            // For the rclone that restic starts.
            ("RCLONE_CA_CERT", server.ca().display().to_string()),
        ],
        repository: format!("azure:{container}:/demo/data"),
        restic: through_rclone(&server, &container),
        secrets: vec![key.to_owned()],
        ..at("azure", &server)
    });
}

/// No package of restic has Azure; rclone has, and restic speaks to it.
fn through_rclone(server: &Server, container: &str) -> Option<Vec<String>> {
    let rclone = offered("rclone")?;
    let (account, key) = (server.value("account"), server.value("key"));
    let remote = format!(
        "rclone::azureblob,account={account},key='{key}',endpoint='{}/{account}':{container}/demo/data",
        server.https()
    );
    Some(vec![
        "--option".to_owned(),
        format!("rclone.program={}", rclone.value("program")),
        "--repo".to_owned(),
        remote,
    ])
}

#[test]
fn the_example_of_swift_runs_against_swift_with_keystone() {
    let (Some(keystone), Some(server)) = (offered("keystone"), offered("swift-keystone")) else {
        return;
    };
    let container = fresh("stash");
    let auth_url = format!("{}{}", keystone.https(), keystone.value("auth_path"));
    let values = [
        (
            "OS_AUTH_URL",
            "https://keystone.example.com/v3",
            auth_url.as_str(),
        ),
        ("OS_REGION_NAME", "RegionOne", server.value("region")),
        ("OS_USERNAME", "stash", keystone.value("user")),
        ("OS_PASSWORD", "the-password", keystone.value("password")),
        (
            "OS_USER_DOMAIN_NAME",
            "Default",
            keystone.value("user_domain"),
        ),
        ("OS_PROJECT_NAME", "backups", keystone.value("project")),
        (
            "OS_PROJECT_DOMAIN_NAME",
            "Default",
            keystone.value("project_domain"),
        ),
    ];
    let mut edits: Vec<(String, String)> = values
        .iter()
        .map(|(name, from, to)| (format!("{name}: {from}"), format!("{name}: {to}")))
        .collect();
    edits.push((
        "container: stash-backups".to_owned(),
        format!("container: {container}"),
    ));
    cycle(Place {
        edits,
        variables: values
            .iter()
            .map(|(name, _, to)| (*name, (*to).to_owned()))
            .collect(),
        repository: format!("swift:{container}:/demo/data"),
        secrets: vec![keystone.value("password").to_owned()],
        ..at("swift", &server)
    });
}

#[test]
fn the_example_of_b2_runs_against_backblazes_simulator() {
    let Some(server) = offered("b2") else { return };
    let bucket = fresh("stash");
    let (id, key) = (server.value("key_id"), server.value("key"));
    cycle(Place {
        edits: edits([
            ("stash-backups", bucket.clone()),
            ("the-key-id", id.to_owned()),
            ("the-application-key", key.to_owned()),
        ]),
        variables: vec![
            ("B2_ENDPOINT", server.https().to_owned()),
            ("B2_ACCOUNT_ID", id.to_owned()),
            ("B2_ACCOUNT_KEY", key.to_owned()),
        ],
        repository: format!("b2:{bucket}:/demo/data"),
        // Its address for B2 is fixed; the tests of the service bring it to this server.
        restic: None,
        secrets: vec![key.to_owned()],
        ..at("b2", &server)
    });
}

#[test]
fn the_example_of_rest_runs_against_rest_server() {
    let Some(server) = offered("rest-server-auth") else {
        return;
    };
    let (user, password) = (server.value("username"), server.value("password"));
    let path = fresh("data");
    let url = format!("{}/{user}/{path}", server.https());
    cycle(Place {
        edits: edits([
            ("https://rest.example.com:8000/stash/data", url.clone()),
            (
                "REST_SERVER_USERNAME: stash",
                format!("REST_SERVER_USERNAME: {user}"),
            ),
            ("the-password", password.to_owned()),
        ]),
        variables: vec![
            ("RESTIC_REST_USERNAME", user.to_owned()),
            ("RESTIC_REST_PASSWORD", password.to_owned()),
        ],
        repository: format!("rest:{url}/"),
        secrets: vec![password.to_owned()],
        ..at("rest", &server)
    });
}
