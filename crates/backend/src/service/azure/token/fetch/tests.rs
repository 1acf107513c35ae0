use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::http::HttpOptions;

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
    }
}

fn client() -> HttpClient {
    HttpClient::new(&HttpOptions::default()).unwrap()
}

#[test]
fn the_life_of_a_token_is_read_in_every_spelling() {
    let life = |body: Value| {
        let grant = granted(&client(), &reply(200, &body.to_string())).unwrap();
        assert_eq!(grant.token.expose_secret(), "t");
        grant.life.as_secs()
    };
    assert_eq!(life(json!({"access_token": "t", "expires_in": 3599})), 3599);
    assert_eq!(
        life(json!({"access_token": "t", "expires_in": "3599", "expires_on": "1"})),
        3599
    );
    let end = Timestamp::now().as_second() + 1000;
    for end in [json!(end), json!(end.to_string())] {
        let found = life(json!({"access_token": "t", "expires_on": end}));
        assert!((990..=1000).contains(&found), "{found}");
    }
    assert_eq!(life(json!({"access_token": "t", "expires_on": 17})), 0);
    assert_eq!(life(json!({"access_token": "t"})), 600);
    assert_eq!(
        life(json!({"access_token": "t", "expires_in": u64::MAX})),
        86_400
    );
}

#[test]
fn an_answer_without_a_token_is_an_error() {
    for body in ["", "<html>", "{}", r#"{"access_token": ""}"#] {
        let failure = granted(&client(), &reply(200, body)).err().unwrap();
        assert_eq!(failure.kind, ErrorKind::Permanent, "{body}");
    }
}

#[test]
fn refusals_that_pass_are_told_from_those_that_stay() {
    let kind = |status: u16, body: &str| refused(&client(), &reply(status, body)).kind;
    let gone = r#"{"error": "invalid_request", "error_description": "Identity not found"}"#;
    assert_eq!(kind(400, gone), ErrorKind::Unauthenticated);
    assert_eq!(kind(401, "{}"), ErrorKind::Unauthenticated);
    assert_eq!(kind(404, ""), ErrorKind::Unauthenticated);
    assert_eq!(kind(410, ""), ErrorKind::Temporary);
    assert_eq!(kind(429, ""), ErrorKind::Temporary);
    assert_eq!(kind(503, "busy"), ErrorKind::Temporary);
    let busy = r#"{"error": "temporarily_unavailable"}"#;
    assert_eq!(kind(400, busy), ErrorKind::Temporary);
    let mut updating = reply(404, "");
    updating
        .headers
        .insert("server", "IMDS/150.870.65.854".parse().unwrap());
    assert_eq!(refused(&client(), &updating).kind, ErrorKind::Temporary);
}

#[tokio::test]
async fn a_machine_that_has_given_a_token_may_be_asked_again_later() {
    let place = Machine {
        url: "http://127.0.0.1:1/token?api-version=1".to_owned(),
        header: None,
        client_id: None,
        is_given: false,
    };
    let options = HttpOptions {
        use_proxies: false,
        ..HttpOptions::default()
    };
    let http = HttpClient::new(&options).unwrap();
    for (has_served, kind) in [
        (false, ErrorKind::Unauthenticated),
        (true, ErrorKind::Temporary),
    ] {
        let failure = of_machine(&http, &place, has_served).await.err().unwrap();
        assert_eq!(failure.kind, kind, "{failure:?}");
    }
}

#[test]
fn the_words_of_a_refusal_end_at_its_first_line() {
    let body = json!({
        "error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid client secret.\r\nTrace ID: 1\r\nTimestamp: now",
    });
    let failure = refused(&client(), &reply(401, &body.to_string()));
    assert_eq!(
        failure.source.to_string(),
        "the server answered 401 Unauthorized (invalid_client): AADSTS7000215: Invalid client secret."
    );
}
