use secrecy::{ExposeSecret, SecretString};

use super::RestOptions;
use crate::variables::Variables;

fn variables() -> Variables {
    Variables::new().or([
        (
            "RESTIC_REST_USERNAME".to_owned(),
            SecretString::from("alice"),
        ),
        (
            "RESTIC_REST_PASSWORD".to_owned(),
            SecretString::from("from-env"),
        ),
    ])
}

fn authorization(options: &RestOptions) -> Option<String> {
    options
        .authorization()
        .map(|text| text.expose_secret().to_owned())
}

#[test]
fn user_and_password_of_the_url_win_and_are_never_shown() {
    let options = RestOptions::parse("https://bob:p%40ss@host:8000/a/b", &variables()).unwrap();
    assert_eq!(options.to_string(), "rest:https://host:8000/a/b/");
    assert!(!format!("{options:?}").contains("p%40ss"));
    assert_eq!(
        authorization(&options).as_deref(),
        Some("Basic Ym9iOnBAc3M=")
    );
    assert_eq!(options.endpoint().as_deref(), Some("https://host:8000"));
    assert_eq!(options.url("config"), "https://host:8000/a/b/config");
}

#[test]
fn the_variables_are_used_when_the_url_names_nobody() {
    let options = RestOptions::parse("http://host/", &variables()).unwrap();
    assert_eq!(
        authorization(&options).as_deref(),
        Some("Basic YWxpY2U6ZnJvbS1lbnY=")
    );
    let nobody = RestOptions::parse("http://host", &Variables::new()).unwrap();
    assert_eq!(authorization(&nobody), None);
    assert_eq!(nobody.to_string(), "rest:http://host/");
}

#[test]
fn a_unix_socket_is_told_apart_from_the_path_on_it() {
    let options = RestOptions::parse("http+unix:///run/rest.sock:/r1/", &Variables::new()).unwrap();
    assert_eq!(
        options.unix_socket().unwrap().to_str(),
        Some("/run/rest.sock")
    );
    assert_eq!(options.url("keys/"), "http://localhost/r1/keys/");
    assert_eq!(options.to_string(), "rest:http+unix:///run/rest.sock:/r1/");
    assert_eq!(options.endpoint(), None);
}

#[test]
fn malformed_urls_are_refused_without_repeating_them() {
    for text in [
        "",
        "host:8000",
        "ftp://bob:secret@host/",
        "http://bob:secret@ho st/",
        "http+unix://run/x",
    ] {
        let error = RestOptions::parse(text, &Variables::new()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.hint.is_some(), "{text}: {error}");
    }
}
