use http::Request;
use secrecy::SecretString;

use super::options::Credential;
use super::{AzureBackend, AzureOptions, sign};
use crate::http::HttpOptions;
use crate::variables::{SetupError, Variables};
use crate::{Backend, ErrorKind};

fn variables(values: &[(&str, &str)]) -> Variables {
    let values = values.iter();
    Variables::new()
        .or(values.map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))))
}

fn parse(text: &str, values: &[(&str, &str)]) -> Result<AzureOptions, SetupError> {
    AzureOptions::parse(text, &variables(values))
}

const KEY: (&str, &str) = ("AZURE_ACCOUNT_KEY", "c2VjcmV0LWtleQ==");
const NAME: (&str, &str) = ("AZURE_ACCOUNT_NAME", "acct");

#[test]
fn places_are_read_as_restic_reads_them() {
    for (text, shown) in [
        ("c:/", "azure:c:/"),
        ("c", "azure:c:/"),
        ("c:/x//y/", "azure:c:/x/y"),
        ("c:x", "azure:c:/x"),
        ("c://x", "azure:c:/x"),
    ] {
        assert_eq!(
            parse(text, &[NAME, KEY]).unwrap().to_string(),
            shown,
            "{text}"
        );
    }
    let options = parse("c:/", &[NAME, KEY]).unwrap();
    assert_eq!(options.endpoint, "https://acct.blob.core.windows.net");
    let options = parse(
        "c:/",
        &[
            NAME,
            KEY,
            ("AZURE_ENDPOINT_SUFFIX", "core.chinacloudapi.cn"),
        ],
    )
    .unwrap();
    assert_eq!(options.endpoint, "https://acct.blob.core.chinacloudapi.cn");
    let options = parse(
        "c:/",
        &[NAME, KEY, ("AZURE_ENDPOINT", "http://127.0.0.1:1/acct/")],
    )
    .unwrap();
    assert_eq!(options.endpoint, "http://127.0.0.1:1/acct");
    let backend = AzureBackend::new(options, &HttpOptions::default()).unwrap();
    assert_eq!(backend.endpoint().as_deref(), Some("http://127.0.0.1:1"));
}

#[test]
fn one_way_to_say_who_we_are_is_chosen() {
    let chosen = |values: &[(&str, &str)]| {
        let all: Vec<_> = [NAME].iter().chain(values).copied().collect();
        match parse("c:/", &all).unwrap().credential {
            Credential::Key(_) => "key",
            Credential::Sas(_) => "sas",
            Credential::ClientSecret { .. } => "secret",
            Credential::Federated { .. } => "federated",
            Credential::Machine { header: None, .. } => "machine",
            Credential::Machine { .. } => "service",
        }
    };
    let application = [("AZURE_CLIENT_ID", "i"), ("AZURE_TENANT_ID", "t")];
    let with = |more: (&'static str, &'static str)| [application[0], application[1], more];
    assert_eq!(chosen(&[KEY]), "key");
    assert_eq!(chosen(&[("AZURE_ACCOUNT_SAS", "?sv=1&sig=abcd")]), "sas");
    assert_eq!(chosen(&with(("AZURE_CLIENT_SECRET", "s"))), "secret");
    assert_eq!(
        chosen(&with(("AZURE_FEDERATED_TOKEN_FILE", "/f"))),
        "federated"
    );
    assert_eq!(chosen(&[]), "machine");
    assert_eq!(
        chosen(&[("IDENTITY_ENDPOINT", "http://h"), ("IDENTITY_HEADER", "x")]),
        "service"
    );
}

#[test]
fn mistakes_are_named_without_the_secret() {
    for (text, values) in [
        ("", vec![NAME, KEY]),
        ("c:/", vec![KEY]),
        ("c:/", vec![NAME, ("AZURE_ACCOUNT_KEY", "hunter2!")]),
        ("c:/", vec![NAME, ("AZURE_ACCOUNT_SAS", "hunter2")]),
        ("c:/", vec![NAME, ("AZURE_CLIENT_SECRET", "hunter2")]),
        ("c:/", vec![NAME, KEY, ("AZURE_ENDPOINT", "hunter2")]),
        ("c:/", vec![NAME, ("AZURE_FORCE_CLI_CREDENTIAL", "true")]),
    ] {
        let error = parse(text, &values).unwrap_err();
        assert!(
            !error.to_string().contains("hunter2") && error.hint.is_some(),
            "{error}"
        );
    }
}

#[test]
fn a_header_of_the_service_tells_the_error_of_an_answer_without_a_body() {
    let options = parse("c:/", &[NAME, KEY]).unwrap();
    let backend = AzureBackend::new(options, &HttpOptions::default()).unwrap();
    let mut reply = crate::http::Reply {
        status: http::StatusCode::NOT_FOUND,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
    };
    assert_eq!(
        super::answers::failure(&backend.http, &reply).kind,
        ErrorKind::NotFound
    );
    reply
        .headers
        .insert("x-ms-error-code", "ContainerNotFound".parse().unwrap());
    assert_eq!(
        super::answers::failure(&backend.http, &reply).kind,
        ErrorKind::PlaceNotFound
    );
    reply.body = "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>No.\nRequestId:1</Message><AuthenticationErrorDetail>Request date header too old</AuthenticationErrorDetail></Error>".into();
    let failure = super::answers::failure(&backend.http, &reply);
    assert_eq!(failure.kind, ErrorKind::ClockSkew);
    assert!(
        failure
            .source
            .to_string()
            .ends_with("(AuthenticationFailed): No."),
        "{}",
        failure.source
    );
}

#[test]
fn a_signature_depends_on_everything_that_is_sent() {
    let key = SecretString::from("c2VjcmV0LWtleQ==");
    let signature = |uri: &str, header: &str, body: &'static str| {
        let request = Request::put(uri)
            .header("x-ms-date", header)
            .body(body.into())
            .unwrap();
        sign::shared_key("acct", &key, &request)
    };
    let base = signature("http://h/c/k?comp=list", "d", "x");
    assert!(base.starts_with("SharedKey acct:"));
    for other in [
        signature("http://h/c/l?comp=list", "d", "x"),
        signature("http://h/c/k?comp=lists", "d", "x"),
        signature("http://h/c/k?comp=list", "e", "x"),
        signature("http://h/c/k?comp=list", "d", "xy"),
    ] {
        assert_ne!(other, base);
    }
}
