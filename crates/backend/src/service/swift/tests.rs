use secrecy::SecretString;

use super::SwiftOptions;
use super::catalogue::{Service, object_store};
use super::form::{Form, Identity, Named, Scope};
use crate::variables::{SetupError, Variables};

fn parse(text: &str, values: &[(&str, &str)]) -> Result<SwiftOptions, SetupError> {
    let values = values.iter();
    let values = values.map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)));
    SwiftOptions::parse(text, &Variables::new().or(values))
}

const V1: [(&str, &str); 3] = [
    ("ST_AUTH", "http://h/auth/v1.0"),
    ("ST_USER", "u"),
    ("ST_KEY", "k"),
];
const USER: [(&str, &str); 2] = [("OS_USERNAME", "u"), ("OS_PASSWORD", "hunter2")];

#[test]
fn a_slash_behind_the_first_one_is_part_of_the_prefix() {
    for (text, prefix) in [
        ("c:/", ""),
        ("c:/x", "x"),
        ("c:/x/", "x"),
        ("c://x", "/x"),
        ("c://", "/"),
        ("c:/x//y", "x/y"),
    ] {
        let options = parse(text, &V1).unwrap();
        assert_eq!(
            (options.container.as_str(), options.prefix.as_str()),
            ("c", prefix),
            "{text}"
        );
    }
    for text in ["", "c", "c:x", ":/x", "a/b:/x"] {
        assert!(parse(text, &V1).unwrap_err().hint.is_some(), "{text}");
    }
}

/// The form in a few words.
fn form(values: &[(&str, &str)]) -> String {
    let text = |named: &Named| match named {
        Named::Id(id) => format!("#{id}"),
        Named::Name(name) => name.clone(),
    };
    let domain = |domain: &Option<Named>| domain.as_ref().map_or("-".to_owned(), text);
    match parse("c:/", values).unwrap().form {
        Form::Token { storage_url, .. } => format!("token {storage_url}"),
        Form::Version1 { url, user, .. } => format!("v1 {url} {user}"),
        Form::Version2 {
            url,
            username,
            tenant,
            ..
        } => format!(
            "v2 {url} {username} {}",
            tenant.as_ref().map_or("-".to_owned(), text)
        ),
        Form::Version3 {
            url,
            identity,
            scope,
        } => {
            let identity = match identity {
                Identity::Password { user, .. } => {
                    format!("{}@{}", text(&user.name), domain(&user.domain))
                }
                Identity::Application { name, user, .. } => {
                    let user = user
                        .map(|user| format!(" of {}@{}", text(&user.name), domain(&user.domain)));
                    format!("app {}{}", text(&name), user.unwrap_or_default())
                }
            };
            let scope = match scope {
                Scope::Own => "own".to_owned(),
                Scope::Project { name, domain: of } => format!("{}@{}", text(&name), domain(&of)),
                Scope::Trust(id) => format!("trust {id}"),
            };
            format!("v3 {url} {identity} {scope}")
        }
    }
}

#[test]
fn the_form_is_found_by_the_address_and_by_what_is_set() {
    let with = |url: &'static str, more: &[(&'static str, &'static str)]| {
        let all = [("OS_AUTH_URL", url)].into_iter().chain(USER);
        form(&all.chain(more.iter().copied()).collect::<Vec<_>>())
    };
    assert_eq!(form(&V1), "v1 http://h/auth/v1.0 u");
    assert_eq!(
        form(&[("OS_STORAGE_URL", "http://h/v1/a/"), ("OS_AUTH_TOKEN", "t")]),
        "token http://h/v1/a"
    );
    for (url, more, expected) in [
        ("http://h/v2.0/", vec![], "v2 http://h/v2.0 u -"),
        (
            "http://h",
            vec![("OS_TENANT_NAME", "t")],
            "v2 http://h/v2.0 u t",
        ),
        (
            "http://h/v2.0",
            vec![("OS_TENANT_ID", "t")],
            "v2 http://h/v2.0 u #t",
        ),
        (
            "http://h/v3",
            vec![("OS_TENANT_NAME", "t")],
            "v3 http://h/v3 u@- t@-",
        ),
        ("http://h/id/v3/", vec![], "v3 http://h/id/v3 u@- own"),
        ("http://v2.h:5000", vec![], "v3 http://v2.h:5000/v3 u@- own"),
        ("http://h/auth/v1.0", vec![], "v1 http://h/auth/v1.0 u"),
        (
            "http://h",
            vec![("OS_IDENTITY_API_VERSION", "2.0")],
            "v2 http://h/v2.0 u -",
        ),
        (
            "http://h:5000",
            vec![("OS_PROJECT_NAME", "p"), ("OS_USER_DOMAIN_NAME", "d")],
            "v3 http://h:5000/v3 u@d p@d",
        ),
        (
            "http://h/v3",
            vec![
                ("OS_USER_ID", "i"),
                ("OS_PROJECT_ID", "p"),
                ("OS_PROJECT_NAME", "n"),
                ("OS_PROJECT_DOMAIN_ID", "e"),
            ],
            "v3 http://h/v3 #i@- #p@#e",
        ),
        (
            "http://h/v3",
            vec![("OS_TRUST_ID", "t")],
            "v3 http://h/v3 u@- trust t",
        ),
        (
            "http://h/v3",
            vec![
                ("OS_APPLICATION_CREDENTIAL_ID", "i"),
                ("OS_APPLICATION_CREDENTIAL_SECRET", "s"),
            ],
            "v3 http://h/v3 app #i own",
        ),
        (
            "http://h",
            vec![
                ("OS_APPLICATION_CREDENTIAL_NAME", "n"),
                ("OS_APPLICATION_CREDENTIAL_SECRET", "s"),
                ("OS_USER_DOMAIN_NAME", "d"),
            ],
            "v3 http://h/v3 app n of u@d own",
        ),
        // As with restic, the keys of Keystone come first.
        ("http://h/v3", V1.to_vec(), "v3 http://h/v3 u@- own"),
        (
            "http://h/v3",
            vec![("OS_STORAGE_URL", "http://h")],
            "v3 http://h/v3 u@- own",
        ),
    ] {
        assert_eq!(with(url, &more), expected);
    }
}

#[test]
fn other_settings_are_read_and_checked() {
    let with = |more: &[(&'static str, &'static str)]| {
        let all = V1.into_iter().chain(more.iter().copied());
        parse("c:/", &all.collect::<Vec<_>>())
    };
    let options = with(&[
        ("OS_REGION_NAME", "r"),
        ("OS_ENDPOINT_TYPE", "internalURL"),
        ("SWIFT_DEFAULT_CONTAINER_POLICY", "p"),
    ])
    .unwrap();
    assert_eq!(options.region.as_deref(), Some("r"));
    assert_eq!(options.interface, "internal");
    assert_eq!(options.policy.as_deref(), Some("p"));
    assert_eq!(with(&[]).unwrap().interface, "public");
    assert!(
        with(&[("OS_INTERFACE", "private")])
            .unwrap_err()
            .hint
            .is_some()
    );
}

#[test]
fn what_is_missing_is_named_without_the_secret() {
    for values in [
        vec![],
        vec![V1[0], V1[1]],
        vec![("OS_AUTH_URL", "http://h/v3"), USER[0]],
        vec![("OS_AUTH_URL", "hunter2"), USER[0], USER[1]],
        vec![("OS_APPLICATION_CREDENTIAL_SECRET", "hunter2")],
        vec![("OS_AUTH_TOKEN", "hunter2")],
        vec![("OS_STORAGE_URL", "http://h/hunter2")],
        vec![
            ("OS_AUTH_URL", "http://h/v3"),
            ("OS_APPLICATION_CREDENTIAL_ID", "i"),
            USER[0],
            USER[1],
        ],
        vec![("OS_AUTH_URL", "http://h/v3"), V1[0], V1[1], V1[2]],
    ] {
        let error = parse("c:/", &values).unwrap_err();
        assert!(
            error.hint.is_some() && !format!("{error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[test]
fn the_catalogue_gives_the_address_or_what_there_is_instead() {
    let catalogue: Vec<Service> = serde_json::from_value(serde_json::json!([
        {"type": "identity", "endpoints": [{"interface": "public", "region": "a", "url": "http://i"}]},
        {"type": "object-store", "endpoints": [
            {"interface": "internal", "region": "a", "url": "http://a-in"},
            {"interface": "public", "region_id": "a", "url": "http://a"},
            {"interface": "public", "region": "b", "url": "http://b"},
        ]},
    ]))
    .unwrap();
    let find = |catalogue: &[Service], more: &[(&'static str, &'static str)]| {
        let all = V1.into_iter().chain(more.iter().copied());
        let options = parse("c:/", &all.collect::<Vec<_>>()).unwrap();
        object_store(catalogue, &options).map_err(|failure| failure.source.to_string())
    };
    assert_eq!(find(&catalogue, &[]).unwrap(), "http://a");
    assert_eq!(
        find(&catalogue, &[("OS_REGION_NAME", "b")]).unwrap(),
        "http://b"
    );
    assert_eq!(
        find(&catalogue, &[("OS_INTERFACE", "internal")]).unwrap(),
        "http://a-in"
    );
    for (catalogue, more, words) in [
        (
            catalogue.as_slice(),
            vec![("OS_REGION_NAME", "c")],
            "only in a, b",
        ),
        (
            &catalogue,
            vec![("OS_INTERFACE", "admin")],
            "only internal, public",
        ),
        (&catalogue[..1], vec![], "only identity"),
        (&[], vec![], "is the project named?"),
    ] {
        let reason = find(catalogue, &more).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }
}
