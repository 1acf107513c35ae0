use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use secrecy::SecretString;
use testkit::servers::offered;

use super::credential::Credential;
use super::upload::Sizes;
use super::{AzureBackend, AzureOptions, failure, list, sign};
use crate::http::{HttpClient, HttpFailure, HttpOptions, Reply};
use crate::variables::{SetupError, Variables};
use crate::{Backend, ErrorKind, FileKind, Handle};

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
            Credential::Machine(machine) if machine.header.is_none() => "machine",
            Credential::Machine(_) => "service",
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
    assert_eq!(chosen(&[("AZURE_FORCE_CLI_CREDENTIAL", "0")]), "machine");
    // restic does not look at it either when there is a key.
    assert_eq!(
        chosen(&[("AZURE_FORCE_CLI_CREDENTIAL", "true"), KEY]),
        "key"
    );
    // One that is incomplete or wrong is no reason for another one.
    assert_eq!(
        chosen(&[KEY, ("AZURE_ACCOUNT_SAS", "?sv=1&sig=abcd")]),
        "key"
    );
    let both = [
        with(("AZURE_CLIENT_SECRET", "s")),
        with(("AZURE_FEDERATED_TOKEN_FILE", "/f")),
    ]
    .concat();
    assert_eq!(chosen(&both), "secret");
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
        ("c:/", vec![NAME, ("AZURE_ACCOUNT_SAS", "sv=1 sig=hunter2")]),
        (
            "c:/",
            vec![NAME, ("AZURE_ACCOUNT_SAS", "sv=1\n&sig=hunter2")],
        ),
        ("c:/", vec![("AZURE_ACCOUNT_NAME", "hunter2/x"), KEY]),
        ("c/d:/", vec![NAME, KEY]),
        ("c:/", vec![NAME, ("AZURE_CLIENT_SECRET", "hunter2")]),
        ("c:/", vec![NAME, KEY, ("AZURE_ENDPOINT", "hunter2")]),
        (
            "c:/",
            vec![NAME, KEY, ("AZURE_ENDPOINT", "https://me:hunter2@host/")],
        ),
        ("c:/", vec![NAME, ("AZURE_FORCE_CLI_CREDENTIAL", "true")]),
        (
            "c:/",
            vec![
                NAME,
                ("AZURE_CLIENT_SECRET", "hunter2"),
                ("AZURE_CLIENT_ID", "i"),
            ],
        ),
        (
            "c:/",
            vec![
                NAME,
                ("AZURE_CLIENT_SECRET", "hunter2"),
                ("AZURE_CLIENT_ID", "i"),
                ("AZURE_TENANT_ID", "../x"),
            ],
        ),
        (
            "c:/",
            vec![
                NAME,
                ("AZURE_CLIENT_SECRET", "hunter2"),
                ("AZURE_CLIENT_ID", "i"),
                ("AZURE_TENANT_ID", "t"),
                ("AZURE_AUTHORITY_HOST", "nowhere"),
            ],
        ),
        (
            "c:/",
            vec![NAME, ("IDENTITY_ENDPOINT", "http://localhost/x")],
        ),
        (
            "c:/",
            vec![NAME, ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "nowhere")],
        ),
    ] {
        let error = parse(text, &values).unwrap_err();
        assert!(
            !error.to_string().contains("hunter2") && error.hint.is_some(),
            "{error}"
        );
    }
}

#[test]
fn a_tier_is_spelled_as_the_service_does_and_an_unknown_one_is_refused() {
    let with = |tier: Option<&str>| {
        let mut options = parse("c:/", &[NAME, KEY]).unwrap();
        options.access_tier = tier.map(str::to_owned);
        AzureBackend::new(options, &HttpOptions::default()).map(|backend| backend.tier)
    };
    assert_eq!(with(None).unwrap(), None);
    assert_eq!(with(Some("cool")).unwrap(), Some("Cool"));
    assert_eq!(with(Some("ARCHIVE")).unwrap(), Some("Archive"));
    let error = with(Some("Glacier")).unwrap_err();
    assert!(error.message.contains("Glacier") && error.hint.is_some());
}

fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.into(),
    }
}

fn failed(reply: &Reply) -> HttpFailure {
    failure::of(&HttpClient::new(&HttpOptions::default()).unwrap(), reply)
}

#[test]
fn a_header_of_the_service_tells_the_error_of_an_answer_without_a_body() {
    let mut reply = reply(404, "");
    // Nobody knows whose word this is.
    assert_eq!(failed(&reply).kind, ErrorKind::Temporary);
    for (code, kind) in [
        ("BlobNotFound", ErrorKind::NotFound),
        ("ContainerNotFound", ErrorKind::PlaceNotFound),
    ] {
        reply
            .headers
            .insert("x-ms-error-code", code.parse().unwrap());
        assert_eq!(failed(&reply).kind, kind);
    }
}

/// An answer as the service gives it.
fn refusal(status: u16, code: &str, detail: &str) -> HttpFailure {
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
         <Message>Words.\nRequestId:1\nTime:now</Message>\
         <AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
    );
    failed(&reply(status, body))
}

#[test]
fn every_refusal_that_matters_has_its_kind() {
    use ErrorKind::{
        AlreadyExists, ClockSkew, NotFound, Permanent, PermissionDenied, PlaceNotFound, Temporary,
        TooShort, Unauthenticated,
    };
    for (status, code, kind) in [
        (404, "BlobNotFound", NotFound),
        (404, "ResourceNotFound", NotFound),
        (404, "ContainerNotFound", PlaceNotFound),
        (409, "BlobAlreadyExists", AlreadyExists),
        (412, "ConditionNotMet", AlreadyExists),
        (412, "SomethingNew", AlreadyExists),
        (416, "InvalidRange", TooShort),
        (416, "", TooShort),
        (403, "AuthenticationFailed", Unauthenticated),
        (400, "InvalidAuthenticationInfo", Unauthenticated),
        (401, "InvalidAuthenticationInfo", Unauthenticated),
        (401, "NoAuthenticationInformation", Unauthenticated),
        (401, "", Unauthenticated),
        (403, "AuthorizationFailure", PermissionDenied),
        (403, "AuthorizationPermissionMismatch", PermissionDenied),
        (403, "AuthorizationSourceIPMismatch", PermissionDenied),
        (403, "KeyBasedAuthenticationNotPermitted", PermissionDenied),
        (409, "BlobImmutableDueToPolicy", PermissionDenied),
        (409, "BlobImmutableDueToLegalHold", PermissionDenied),
        (409, "ContainerImmutableDueToPolicy", PermissionDenied),
        (412, "LeaseIdMissing", PermissionDenied),
        (409, "SnapshotsPresent", PermissionDenied),
        (409, "BlobArchived", Permanent),
        (409, "BlobBeingRehydrated", Permanent),
        (400, "InvalidResourceName", Permanent),
        (400, "Md5Mismatch", Temporary),
        (503, "ServerBusy", Temporary),
        (500, "OperationTimedOut", Temporary),
        (500, "InternalError", Temporary),
        (502, "", Temporary),
        (429, "", Temporary),
        (409, "ContainerBeingDeleted", Temporary),
        (409, "AccountBeingCreated", Temporary),
    ] {
        let failure = refusal(status, code, "");
        assert_eq!(failure.kind, kind, "{status} {code}");
        let words = failure.source.to_string();
        assert!(
            words.contains("Words.") && !words.contains("RequestId"),
            "{words}"
        );
    }
    let late = refusal(
        403,
        "AuthenticationFailed",
        "Request date header too old: 'Mon, 01 Jan 2024 00:00:00 GMT'",
    );
    assert_eq!(late.kind, ClockSkew);
    assert!(late.source.to_string().contains("too old"));
    let expired = refusal(
        403,
        "AuthenticationFailed",
        "Signature not valid in the specified time frame: Start [a] - Expiry [b] - Current [c]",
    );
    assert_eq!(expired.kind, Unauthenticated);
    assert!(expired.source.to_string().contains("Expiry [b]"));
    let wrong = refusal(
        403,
        "AuthenticationFailed",
        "The MAC signature found in the HTTP request 'abcd=' is not the same as any computed signature.",
    );
    assert!(!wrong.source.to_string().contains("abcd"));
}

#[test]
fn what_stays_refused_comes_with_advice() {
    for (code, word) in [
        ("BlobArchived", "tier"),
        ("BlobImmutableDueToPolicy", "retention policy"),
        ("BlobImmutableDueToLegalHold", "legal hold"),
        ("LeaseIdMissing", "lease"),
        ("AuthorizationPermissionMismatch", "role"),
        ("AuthorizationFailure", "firewall"),
    ] {
        let words = refusal(409, code, "").source.to_string();
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn a_page_holds_the_objects_of_its_kind_and_the_next_marker() {
    let name = "ab".repeat(32);
    let blob = |name: &str| {
        format!(
            "<Blob><Name>{name}</Name><Properties><Etag>0x1</Etag><Content-Length>17</Content-Length>\
             </Properties><OrMetadata /></Blob>"
        )
    };
    // Marks, entities, folders of hierarchical accounts and foreign files, in the order of the service.
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://h/\" \
         ContainerName=\"c\"><Prefix>a&amp;b/keys/</Prefix><Blobs>{}{}{}</Blobs><NextMarker>next&amp;one</NextMarker>\
         </EnumerationResults>",
        blob(&format!("a&amp;b/keys/{name}")),
        blob("a&amp;b/keys/notes.txt"),
        blob("a&amp;b/keys/folder"),
    );
    let (infos, next) = list::page(&reply(200, body), FileKind::Key, "a&b/keys/").unwrap();
    assert_eq!(infos.len(), 1);
    assert_eq!((infos[0].name.as_str(), infos[0].size_bytes), (&*name, 17));
    assert_eq!(next.as_deref(), Some("next&one"));

    let empty = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
    let (infos, next) = list::page(&reply(200, empty), FileKind::Key, "keys/").unwrap();
    assert!(infos.is_empty() && next.is_none());

    let elsewhere = format!(
        "<EnumerationResults><Blobs>{}</Blobs><NextMarker /></EnumerationResults>",
        blob(&format!("other/keys/{name}"))
    );
    for broken in [
        "",
        "<Error><Code>ServerBusy</Code></Error>",
        "<EnumerationResults><Blobs><Blob>",
        "<EnumerationResults><Blobs /></EnumerationResults>",
        elsewhere.as_str(),
        "{}",
    ] {
        let failure =
            list::page(&reply(200, broken.to_owned()), FileKind::Key, "keys/").unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Temporary, "{broken}");
    }
}

#[test]
fn names_keep_the_spaces_at_their_ends() {
    let name = "ab".repeat(32);
    let body = format!(
        "<EnumerationResults><Blobs><Blob><Name> a/keys/{name}</Name><Properties><Content-Length>17</Content-Length>\
         </Properties></Blob></Blobs><NextMarker> next </NextMarker></EnumerationResults>"
    );
    let (infos, next) = list::page(&reply(200, body), FileKind::Key, " a/keys/").unwrap();
    assert_eq!(infos.len(), 1);
    assert_eq!(next.as_deref(), Some(" next "));
}

#[test]
fn the_text_that_is_signed_has_every_part_in_its_place() {
    let request = Request::put("http://host:1/acct/c/a%20b?comp=block&blockid=QQ%3D%3D")
        .header("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT")
        .header("x-ms-version", "2021-12-02")
        .header("content-md5", "bWQ1")
        .header("content-type", "application/octet-stream")
        .header("if-none-match", "*")
        .body(Bytes::from_static(b"12345"))
        .unwrap();
    assert_eq!(
        sign::text_to_sign("acct", &request),
        "PUT\n\n\n5\nbWQ1\napplication/octet-stream\n\n\n\n*\n\n\n\
         x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2021-12-02\n\
         /acct/acct/c/a%20b\nblockid:QQ==\ncomp:block"
    );
    let request = Request::get("https://acct.blob.core.windows.net/c?restype=container&comp=list")
        .header("x-ms-date", "d")
        .body(Bytes::new())
        .unwrap();
    assert_eq!(
        sign::text_to_sign("acct", &request),
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:d\n/acct/c\ncomp:list\nrestype:container"
    );
}

/// A fresh container on Azurite, with other sizes than usual.
async fn small(name: &str) -> Option<AzureBackend> {
    let server = offered("azurite")?;
    let endpoint = format!("{}/{}", server.http(), server.value("account"));
    let values = [
        ("AZURE_ACCOUNT_NAME", server.value("account")),
        ("AZURE_ACCOUNT_KEY", server.value("key")),
        ("AZURE_ENDPOINT", &endpoint),
    ];
    let text = format!("{name}-{:016x}:/", rand::random::<u64>());
    let mut backend =
        AzureBackend::new(parse(&text, &values).unwrap(), &HttpOptions::default()).unwrap();
    backend.sizes = Sizes {
        single: 10_000,
        block: 4_000,
    };
    backend.page_size = 3;
    backend.create().await.unwrap();
    Some(backend)
}

#[tokio::test]
async fn a_large_object_is_made_of_blocks_and_replaces_nothing() {
    let Some(mut backend) = small("blocks").await else {
        return;
    };
    backend.tier = Some("Cool");
    let handle = |number: u8| Handle::new(FileKind::Pack, format!("{number:02x}").repeat(32));
    // On both sides of each border: one request, whole blocks, a last short block.
    for (number, size) in [10_000, 10_001, 12_000, 12_001, 23_456]
        .into_iter()
        .enumerate()
    {
        let handle = handle(number.try_into().unwrap());
        let data: Bytes = (0..=250_u8).cycle().take(size).collect();
        backend.write(&handle, data.clone()).await.unwrap();
        assert_eq!(backend.read(&handle).await.unwrap(), data);
        let other = Bytes::from(vec![7; 23_456]);
        let error = backend.write(&handle, other).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{size}: {error:?}");
        assert_eq!(backend.read(&handle).await.unwrap(), data);
    }
    // Two that write the same name at once: one wins, whole.
    let (one, two) = (vec![1; 50_000], vec![2; 50_000]);
    let handle = handle(99);
    let (first, second) = tokio::join!(
        backend.write(&handle, one.into()),
        backend.write(&handle, two.into())
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let winner = if first.is_ok() { 1 } else { 2 };
    assert_eq!(backend.read(&handle).await.unwrap(), vec![winner; 50_000]);
    let kind = first.err().or(second.err()).unwrap().kind;
    assert!(
        matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Temporary),
        "{kind:?}"
    );
}

#[tokio::test]
async fn a_listing_of_many_pages_is_complete() {
    let Some(backend) = small("pages").await else {
        return;
    };
    let handles: Vec<Handle> = (0..17_u8)
        .map(|number| Handle::new(FileKind::Index, format!("{number:02x}").repeat(32)))
        .collect();
    for (size, handle) in handles.iter().enumerate() {
        backend.write(handle, vec![0; size].into()).await.unwrap();
    }
    let mut infos = backend.list(FileKind::Index).await.unwrap();
    infos.sort_by(|one, other| one.name.cmp(&other.name));
    let found: Vec<(&str, u64)> = infos
        .iter()
        .map(|info| (info.name.as_str(), info.size_bytes))
        .collect();
    let expected: Vec<(&str, u64)> = handles.iter().map(Handle::name).zip(0..).collect();
    assert_eq!(found, expected);
}
