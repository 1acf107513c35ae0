//! Repository and Secret put together.

use api::manifest::AnyObject;
use api::secret::{BackendSettings, Place, SettingsError, check_secret};
use secrecy::ExposeSecret;

use crate::load;

fn settings(backend: &str, keys: &str, place: Place) -> Result<BackendSettings, SettingsError> {
    let outcome = load(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData: {{RESTIC_PASSWORD: pw, {keys}}}\n---\n\
         apiVersion: stash.appscode.com/v1alpha1\nkind: Repository\nmetadata: {{name: repo}}\n\
         spec: {{backend: {{storageSecretName: key, {backend}}}}}\n"
    ));
    assert_eq!(outcome.problems, []);
    let (AnyObject::Secret(secret), AnyObject::Repository(repository)) =
        (&outcome.objects[0].object, &outcome.objects[1].object)
    else {
        panic!("a Secret and a Repository are expected");
    };
    BackendSettings::new(repository, secret, place)
}

fn url(backend: &str, keys: &str) -> String {
    settings(backend, keys, Place::Machine)
        .unwrap()
        .repository_url()
        .expose_secret()
        .to_owned()
}

#[test]
fn locations_are_spelled_as_restic_spells_them() {
    let s3_keys = "AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY: b";
    let cases = [
        (
            "s3: {endpoint: s3.amazonaws.com, bucket: b, prefix: /x//y/}",
            s3_keys,
            "s3:s3.amazonaws.com/b/x/y",
        ),
        (
            "s3: {endpoint: 'http://minio:9000/', bucket: b}",
            "",
            "s3:http://minio:9000/b",
        ),
        ("gcs: {bucket: b, prefix: /x}", "", "gs:b:/"),
        ("azure: {container: c, prefix: x/}", "", "azure:c:/x/"),
        (
            "swift: {container: c, prefix: x}",
            "ST_AUTH: a, ST_USER: b, ST_KEY: c",
            "swift:c:/x",
        ),
        (
            "b2: {bucket: b}",
            "B2_ACCOUNT_ID: i, B2_ACCOUNT_KEY: k",
            "b2:b:/",
        ),
        (
            "rest: {url: 'http://host:8000/me'}",
            "",
            "rest:http://host:8000/me",
        ),
        (
            "rest: {url: 'https://host/me'}",
            "REST_SERVER_USERNAME: me",
            "rest:https://me@host/me",
        ),
        (
            "rest: {url: 'https://host/me'}",
            "REST_SERVER_USERNAME: me, REST_SERVER_PASSWORD: 'a/b'",
            "rest:https://me:a%2Fb@host/me",
        ),
    ];
    for (backend, keys, expected) in cases {
        let expected = if backend.starts_with("gcs") {
            "gs:b://x"
        } else {
            expected
        };
        assert_eq!(url(backend, keys), expected, "{backend}");
    }
}

#[test]
fn a_local_backend_is_the_host_path_on_a_machine_and_the_mount_path_in_a_pod() {
    let backend = "local: {mountPath: /data, subPath: a/b, hostPath: {path: /mnt/disk/}}";
    let on_machine = settings(backend, "", Place::Machine).unwrap();
    assert_eq!(
        on_machine.local_path().unwrap().to_str(),
        Some("/mnt/disk/a/b")
    );
    assert_eq!(on_machine.provider(), "local");
    assert_eq!(on_machine.password().expose_secret(), "pw");
    let in_pod = settings(backend, "", Place::Pod).unwrap();
    assert_eq!(in_pod.local_path().unwrap().to_str(), Some("/data"));
}

#[test]
fn another_volume_needs_a_cluster() {
    let error = settings(
        "local: {mountPath: /data, nfs: {server: s, path: /x}}",
        "",
        Place::Machine,
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("exists only in a cluster"),
        "{error}"
    );
}

#[test]
fn missing_keys_are_named_for_every_provider() {
    let cases = [
        (
            "s3: {endpoint: e, bucket: b}",
            "AWS_ACCESS_KEY_ID: a",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            "azure: {container: c}",
            "AZURE_ACCOUNT_KEY: a",
            "AZURE_ACCOUNT_NAME",
        ),
        ("b2: {bucket: b}", "B2_ACCOUNT_ID: a", "B2_ACCOUNT_KEY"),
        (
            "rest: {url: 'http://h/'}",
            "REST_SERVER_PASSWORD: a",
            "REST_SERVER_USERNAME",
        ),
        (
            "swift: {container: c}",
            "OS_AUTH_URL: a",
            "no complete set of keys",
        ),
    ];
    for (backend, keys, expected) in cases {
        let error = settings(backend, keys, Place::Pod).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_empty_key_of_credentials_is_named_and_never_passes_for_none() {
    let s3 = "s3: {endpoint: e, bucket: b}";
    let azure = "azure: {container: c}";
    for (backend, keys, name) in [
        (
            s3,
            "AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: ''",
            "AWS_ACCESS_KEY_ID",
        ),
        (
            s3,
            "AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: ''",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            azure,
            "AZURE_ACCOUNT_NAME: a, AZURE_ACCOUNT_KEY: ''",
            "AZURE_ACCOUNT_KEY",
        ),
        (
            "gcs: {bucket: b}",
            "GOOGLE_SERVICE_ACCOUNT_JSON_KEY: ''",
            "GOOGLE_SERVICE_ACCOUNT_JSON_KEY",
        ),
    ] {
        let error = settings(backend, keys, Place::Pod).unwrap_err();
        let path = format!("data.{name}");
        let told: Vec<_> = error
            .problems
            .iter()
            .filter(|problem| problem.path == path)
            .collect();
        assert_eq!(told.len(), 1, "{error}");
    }
}

#[test]
fn keys_become_the_variables_that_restic_reads() {
    let names = |backend: &str, keys: &str| {
        let settings = settings(backend, keys, Place::Pod).unwrap();
        let names: Vec<_> = settings.variables().iter().map(|(name, _)| *name).collect();
        (names.join(" "), settings.has_credentials())
    };
    let s3 = "s3: {endpoint: e, bucket: b, region: r, insecureTLS: true}";
    let static_keys = "AWS_ACCESS_KEY_ID: a, AWS_SECRET_ACCESS_KEY: b, AWS_SESSION_TOKEN: c";
    let expected = "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_REGION";
    assert_eq!(names(s3, static_keys), (expected.to_owned(), true));
    assert_eq!(names(s3, ""), ("AWS_DEFAULT_REGION".to_owned(), false));
    assert!(settings(s3, "", Place::Pod).unwrap().is_insecure());
    let gcs = "gcs: {bucket: b, maxConnections: 7}";
    assert_eq!(
        names(gcs, "GOOGLE_PROJECT_ID: p"),
        ("GOOGLE_PROJECT_ID".to_owned(), false)
    );
    assert_eq!(
        settings(gcs, "", Place::Pod).unwrap().connections(),
        Some(7)
    );
    let azure = "azure: {container: c}";
    let (shown, has_credentials) = names(azure, "AZURE_ACCOUNT_NAME: a, AZURE_ACCOUNT_SAS: s");
    assert_eq!(
        (shown.as_str(), has_credentials),
        ("AZURE_ACCOUNT_NAME AZURE_ACCOUNT_SAS", true)
    );
    assert!(!names(azure, "AZURE_ACCOUNT_NAME: a, AZURE_CLIENT_ID: i").1);
}

/// The variables that a Secret with these keys becomes; whatever it holds is read.
fn passed_on(backend: &str, keys: &[&str]) -> Vec<&'static str> {
    let pairs: Vec<String> = keys.iter().map(|key| format!("{key}: of-{key}")).collect();
    let settings = settings(backend, &pairs.join(", "), Place::Pod).unwrap();
    for (name, value) in settings.variables() {
        assert_eq!(value.expose_secret(), format!("of-{name}"));
    }
    settings.variables().iter().map(|(name, _)| *name).collect()
}

#[test]
fn every_key_of_a_user_of_swift_reaches_the_service() {
    let by_ids = [
        "OS_AUTH_URL",
        "OS_REGION_NAME",
        "OS_PASSWORD",
        "OS_USER_ID",
        "OS_PROJECT_ID",
    ];
    let by_domains = [
        "OS_AUTH_URL",
        "OS_USERNAME",
        "OS_PASSWORD",
        "OS_USER_DOMAIN_ID",
        "OS_PROJECT_NAME",
        "OS_PROJECT_DOMAIN_ID",
    ];
    let by_trust = ["OS_AUTH_URL", "OS_PASSWORD", "OS_USER_ID", "OS_TRUST_ID"];
    let by_name = [
        "OS_AUTH_URL",
        "OS_USER_ID",
        "OS_APPLICATION_CREDENTIAL_NAME",
        "OS_APPLICATION_CREDENTIAL_SECRET",
    ];
    let with_settings = [
        "ST_AUTH",
        "ST_USER",
        "ST_KEY",
        "OS_IDENTITY_API_VERSION",
        "ST_AUTH_VERSION",
        "OS_INTERFACE",
        "OS_ENDPOINT_TYPE",
        "SWIFT_DEFAULT_CONTAINER_POLICY",
    ];
    for keys in [
        &by_ids[..],
        &by_domains,
        &by_trust,
        &by_name,
        &with_settings,
    ] {
        let mut given = passed_on("swift: {container: c}", keys);
        let mut expected = keys.to_vec();
        given.sort_unstable();
        expected.sort_unstable();
        assert_eq!(given, expected);
    }
}

#[test]
fn a_user_of_swift_without_a_way_to_prove_it_is_told_the_sets() {
    for keys in [
        "OS_AUTH_URL: a, OS_USER_ID: u",
        "OS_AUTH_URL: a, OS_USER_ID: u, OS_APPLICATION_CREDENTIAL_NAME: name",
        "OS_PROJECT_ID: p, OS_TRUST_ID: t",
    ] {
        let error = settings("swift: {container: c}", keys, Place::Pod).unwrap_err();
        let fix = &error.problems[0].fix;
        assert!(fix.contains("OS_USER_ID"), "{keys}: {error} {fix}");
    }
}

#[test]
fn roles_tokens_and_other_clouds_reach_the_services() {
    let role = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "RESTIC_AWS_ASSUME_ROLE_ARN",
        "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME",
        "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID",
        "RESTIC_AWS_ASSUME_ROLE_POLICY",
        "RESTIC_AWS_ASSUME_ROLE_REGION",
        "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT",
    ];
    assert_eq!(passed_on("s3: {endpoint: e, bucket: b}", &role), role);
    let token = ["GOOGLE_PROJECT_ID", "GOOGLE_ACCESS_TOKEN"];
    assert_eq!(passed_on("gcs: {bucket: b}", &token), token);
    let other_cloud = [
        "AZURE_ACCOUNT_NAME",
        "AZURE_CLIENT_ID",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_AUTHORITY_HOST",
        "AZURE_ENDPOINT_SUFFIX",
        "AZURE_ENDPOINT",
    ];
    assert_eq!(
        passed_on("azure: {container: c}", &other_cloud),
        other_cloud
    );
}

#[test]
fn what_only_a_pod_knows_of_itself_is_not_read_from_a_secret() {
    for (provider, key) in [
        ("s3", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("azure", "AZURE_FEDERATED_TOKEN_FILE"),
        ("gcs", "GOOGLE_APPLICATION_CREDENTIALS"),
    ] {
        let outcome = load(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\n\
             stringData: {{RESTIC_PASSWORD: pw, {key}: /file}}\n"
        ));
        let AnyObject::Secret(secret) = &outcome.objects[0].object else {
            panic!("a Secret is expected")
        };
        let problems = check_secret(provider, secret);
        let warned = problems.iter().any(|problem| {
            !problem.is_error()
                && problem.path == format!("data.{key}")
                && problem.message.contains("does not read this key")
        });
        assert!(warned, "{provider}: {problems:?}");
    }
}

#[test]
fn two_ways_to_say_who_we_are_are_refused() {
    for (backend, keys) in [
        (
            "azure: {container: c}",
            "AZURE_ACCOUNT_NAME: a, AZURE_ACCOUNT_KEY: k, AZURE_ACCOUNT_SAS: s",
        ),
        (
            "gcs: {bucket: b}",
            "GOOGLE_SERVICE_ACCOUNT_JSON_KEY: k, GOOGLE_ACCESS_TOKEN: t",
        ),
    ] {
        let error = settings(backend, keys, Place::Pod).unwrap_err();
        assert!(
            error.to_string().contains("only one can be used"),
            "{error}"
        );
    }
}

#[test]
fn a_line_break_behind_the_password_is_pointed_out() {
    let outcome = load(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\ndata: {RESTIC_PASSWORD: cHcK}\n",
    );
    let AnyObject::Secret(secret) = &outcome.objects[0].object else {
        panic!("a Secret is expected")
    };
    let problems = check_secret("local", secret);
    assert_eq!(problems.len(), 1);
    assert!(!problems[0].is_error() && problems[0].message.contains("ends with a line break"));
}

#[test]
fn debug_of_settings_shows_no_key() {
    let shown = format!(
        "{:?}",
        settings(
            "rest: {url: 'http://u:hunter2@h/'}",
            "REST_SERVER_USERNAME: hunter2",
            Place::Pod
        )
        .unwrap()
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("pw"),
        "{shown}"
    );
}
