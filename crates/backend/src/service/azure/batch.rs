//! Removing many objects with one request.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/blob-batch>

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use crate::http::{HttpFailure, Reply};
use crate::service::azure::client::{Client, Draft};
use crate::service::azure::failure;
use crate::{ErrorKind, Operation};

/// As many as one request may remove.
pub(super) const LIMIT: usize = 256;

/// What became of each object of a batch; nothing for those that the answer does not tell of.
pub(super) type Outcome = Vec<Option<Result<(), HttpFailure>>>;

/// Removes these objects; nothing where there are no batches, or none for us. Objects that are not there are as good
/// as removed.
pub(super) async fn remove(
    client: &Client,
    keys: &[String],
) -> Result<Option<Outcome>, HttpFailure> {
    let boundary = format!("batch_{:032x}", rand::random::<u128>());
    let token = client.token().await?;
    let mut body = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let draft = Draft::blob(Method::DELETE, key);
        let part = client.request(&draft, token.as_ref(), None)?;
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Type: application/http\r\n\
                 Content-Transfer-Encoding: binary\r\nContent-ID: {number}\r\n\r\n"
            )
            .as_bytes(),
        );
        write_part(&mut body, &part);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let draft = Draft::container(Method::POST, "&comp=batch")
        .header(
            "content-type",
            format!("multipart/mixed; boundary={boundary}"),
        )
        .body(body);
    let reply = client.exchange(Operation::Remove, &draft).await?;
    if !reply.status.is_success() {
        let failure = failure::of(&client.http, &reply);
        if !is_not_offered(&reply, failure.kind) {
            return Err(failure);
        }
        tracing::debug!(reason = %failure.source, "many objects cannot be removed at once here");
        return Ok(None);
    }
    let mut outcome: Outcome = keys.iter().map(|_| None).collect();
    for (number, part) in read_parts(&reply)? {
        if let Some(place) = outcome.get_mut(number) {
            *place = judge(client, &part);
        }
    }
    Ok(Some(outcome))
}

/// Azurite's word for a batch in a container with a signature of the account is 500.
fn is_not_offered(reply: &Reply, kind: ErrorKind) -> bool {
    let is_refused = matches!(
        kind,
        ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::Permanent
    );
    let has_code = reply.headers.contains_key("x-ms-error-code");
    is_refused || (reply.status == StatusCode::INTERNAL_SERVER_ERROR && !has_code)
}

fn judge(client: &Client, part: &Reply) -> Option<Result<(), HttpFailure>> {
    if part.status == StatusCode::ACCEPTED {
        return Some(Ok(()));
    }
    if part.status.is_success() {
        return None;
    }
    let failure = failure::of(&client.http, part);
    match failure.kind {
        ErrorKind::NotFound => Some(Ok(())),
        // The token may have been renewed for the batch, but not for its parts.
        ErrorKind::Unauthenticated => None,
        _ => Some(Err(failure)),
    }
}

fn write_part(body: &mut Vec<u8>, part: &Request<Bytes>) {
    let path = part
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    body.extend_from_slice(format!("{} {path} HTTP/1.1\r\n", part.method()).as_bytes());
    for (name, value) in part.headers() {
        body.extend_from_slice(format!("{name}: ").as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"content-length: 0\r\n\r\n");
}

/// The answers in an answer, with the numbers of what they answer.
fn read_parts(reply: &Reply) -> Result<Vec<(usize, Reply)>, HttpFailure> {
    let broken = || {
        HttpFailure::new(
            ErrorKind::Temporary,
            "the answer to many removals at once cannot be read",
        )
    };
    let boundary = reply
        .header("content-type")
        .and_then(|text| text.split_once("boundary="))
        .map(|(_, text)| text.split(';').next().unwrap_or_default().trim_matches('"'))
        .filter(|text| !text.is_empty())
        .ok_or_else(broken)?;
    let body = std::str::from_utf8(&reply.body).map_err(|_| broken())?;
    let border = format!("--{boundary}");
    let parts = body.split(&border).skip(1);
    Ok(parts.filter_map(read_part).collect())
}

fn read_part(text: &str) -> Option<(usize, Reply)> {
    let (outer, answer) = text.split_once("\r\n\r\n")?;
    let number = headers(outer)
        .get("content-id")?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let (first, rest) = head
        .trim_start()
        .split_once("\r\n")
        .unwrap_or((head.trim_start(), ""));
    let status = first.strip_prefix("HTTP/")?.split(' ').nth(1)?;
    let reply = Reply {
        status: StatusCode::from_bytes(status.as_bytes()).ok()?,
        headers: headers(rest),
        body: Bytes::copy_from_slice(body.trim().as_bytes()),
    };
    Some((number, reply))
}

fn headers(text: &str) -> HeaderMap {
    let pairs = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_a_batch_is_told_with_its_number() {
        let body = "--b_1\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\nHTTP/1.1 404 The blob.\r\n\
                    x-ms-error-code: BlobNotFound\r\n\r\n<Error><Code>BlobNotFound</Code></Error>\r\n\
                    --b_1\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\
                    x-ms-version: 2021-12-02\r\n\r\n--b_1--\r\n";
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("multipart/mixed; boundary=b_1"),
        );
        let mut reply = Reply {
            status: StatusCode::ACCEPTED,
            headers,
            body: body.into(),
        };
        let parts = read_parts(&reply).unwrap();
        let numbers: Vec<_> = parts
            .iter()
            .map(|(number, part)| (*number, part.status.as_u16(), part.body.len()))
            .collect();
        assert_eq!(numbers, [(1, 404, 40), (0, 202, 0)]);
        assert_eq!(parts[0].1.header("x-ms-error-code"), Some("BlobNotFound"));
        reply.headers.clear();
        assert_eq!(read_parts(&reply).unwrap_err().kind, ErrorKind::Temporary);
    }
}
