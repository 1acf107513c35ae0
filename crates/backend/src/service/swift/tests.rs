use secrecy::SecretString;

use super::SwiftOptions;
use super::options::{Form, Identity};
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

#[test]
fn the_first_complete_form_is_chosen() {
    let form = |values: &[(&str, &str)]| match parse("c:/", values).unwrap().form {
        Form::Token { .. } => "token".to_owned(),
        Form::Version1 { .. } => "v1".to_owned(),
        Form::Version2 { url, .. } => format!("v2 {url}"),
        Form::Version3 {
            url,
            identity: Identity::Password { .. },
            project,
        } => {
            format!(
                "v3 {url} {}",
                if project.is_some() {
                    "scoped"
                } else {
                    "unscoped"
                }
            )
        }
        Form::Version3 {
            url,
            identity: Identity::Application { .. },
            ..
        } => format!("app {url}"),
    };
    let with = |url: &'static str, more: &[(&'static str, &'static str)]| {
        let all: Vec<_> = [("OS_AUTH_URL", url)]
            .iter()
            .chain(&USER)
            .chain(more)
            .copied()
            .collect();
        form(&all)
    };
    assert_eq!(form(&V1), "v1");
    assert_eq!(
        form(&[("OS_STORAGE_URL", "http://h/v1/a"), ("OS_AUTH_TOKEN", "t")]),
        "token"
    );
    assert_eq!(with("http://h/v2.0/", &[]), "v2 http://h/v2.0");
    assert_eq!(with("http://h", &[("OS_TENANT_NAME", "t")]), "v2 http://h");
    assert_eq!(
        with("http://h/v3", &[("OS_TENANT_NAME", "t")]),
        "v3 http://h/v3 scoped"
    );
    assert_eq!(
        with("http://h:5000", &[("OS_PROJECT_NAME", "p")]),
        "v3 http://h:5000/v3 scoped"
    );
    assert_eq!(with("http://h/v3", &[]), "v3 http://h/v3 unscoped");
    let application = [
        ("OS_APPLICATION_CREDENTIAL_ID", "i"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", "s"),
    ];
    assert_eq!(with("http://h/v3", &application), "app http://h/v3");
}

#[test]
fn what_is_missing_is_named_without_the_secret() {
    for values in [
        vec![],
        vec![V1[0], V1[1]],
        vec![("OS_AUTH_URL", "http://h/v3"), USER[0]],
        vec![("OS_AUTH_URL", "hunter2"), USER[0], USER[1]],
        vec![("OS_APPLICATION_CREDENTIAL_SECRET", "hunter2")],
    ] {
        let error = parse("c:/", &values).unwrap_err();
        assert!(
            error.hint.is_some() && !error.to_string().contains("hunter2"),
            "{error}"
        );
    }
}
