//! Large objects: on the emulator, and in bad weather on a server that keeps Google's rules of resumable uploads.

use std::collections::VecDeque;
use std::sync::Arc;

use backend::{Backend, ErrorKind, FileKind, GcsBackend};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use md5::{Digest, Md5};
use parking_lot::Mutex;
use serde_json::{Value, json};
use testkit::proxy::{Effect, Fault, FaultProxy};
use testkit::servers::offered;
use testkit::stub::{StubServer, json, reply};
use testkit::{Calls, Random};

use super::{backend, fresh_bucket, object, shown};

/// Just above the size from which objects are sent in pieces; not a multiple of anything.
const SIZE: usize = 33 * 1024 * 1024 + 12_345;
const QUANTUM: usize = 256 * 1024;

fn large() -> Bytes {
    let mut random = Random::new(4);
    let mut data = Vec::with_capacity(SIZE + 8);
    while data.len() < SIZE {
        data.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    data.truncate(SIZE);
    data.into()
}

/// What happens to the next piece.
#[derive(Clone, Copy)]
enum Weather {
    /// It is stored, and the answer says so.
    Fine,
    /// Nothing of it arrives.
    Lost,
    /// So many quanta of it arrive, and then there is an error.
    Partly(usize),
    /// As much arrives, and the answer says so.
    SaidPartly(usize),
    /// The session ends.
    Gone,
    /// Somebody else's object came first.
    Taken,
}

#[derive(Default)]
struct Sessions {
    weather: VecDeque<Weather>,
    metadata: Value,
    data: Vec<u8>,
    is_done: bool,
    /// Pieces and questions, in order.
    ranges: Vec<String>,
}

struct Google {
    stub: StubServer,
    sessions: Arc<Mutex<Sessions>>,
}

impl Google {
    fn with(weather: &[Weather]) -> Self {
        let sessions = Arc::new(Mutex::new(Sessions {
            weather: weather.iter().copied().collect(),
            ..Sessions::default()
        }));
        let state = sessions.clone();
        let stub = StubServer::start(move |request| {
            let answer = state.lock().answer(&request);
            async move { answer }
        });
        Self { stub, sessions }
    }

    fn backend(&self) -> GcsBackend {
        on(&self.stub.url())
    }

    fn ranges(&self) -> Vec<String> {
        self.sessions.lock().ranges.clone()
    }

    fn assert_has(&self, data: &Bytes) {
        let sessions = self.sessions.lock();
        assert!(sessions.is_done && sessions.data == *data);
    }
}

fn on(url: &str) -> GcsBackend {
    backend("bucket:/", &[("STORAGE_EMULATOR_HOST", url)])
}

impl Sessions {
    fn answer(&mut self, request: &Request<Bytes>) -> Response<Bytes> {
        if *request.method() == Method::POST {
            let query = request.uri().query().unwrap();
            assert!(query.contains("uploadType=resumable&ifGenerationMatch=0"));
            self.metadata = serde_json::from_slice(request.body()).unwrap();
            self.data.clear();
            // The host is one that nobody may follow.
            let mut started = reply(200, "text/plain", "");
            let place = "https://elsewhere.example/upload/session?upload_id=secret-of-the-session";
            started
                .headers_mut()
                .insert("location", place.parse().unwrap());
            return started;
        }
        assert_eq!(
            request.uri(),
            "/upload/session?upload_id=secret-of-the-session"
        );
        let range = request.headers()["content-range"].to_str().unwrap();
        self.ranges.push(range.to_owned());
        let range = range.strip_prefix("bytes ").unwrap();
        let (place, total) = range.split_once('/').unwrap();
        assert_eq!(total.parse::<usize>().unwrap(), SIZE);
        if place == "*" {
            assert!(request.body().is_empty());
            return self.progress();
        }
        self.piece(place, request.body())
    }

    fn piece(&mut self, place: &str, body: &Bytes) -> Response<Bytes> {
        let (first, last) = place.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(body.len(), last + 1 - first);
        assert_eq!(first, self.data.len(), "a piece that does not fit");
        assert!(body.len().is_multiple_of(QUANTUM) || last + 1 == SIZE);
        match self.weather.pop_front().unwrap_or(Weather::Fine) {
            Weather::Fine => {
                self.data.extend_from_slice(body);
                self.progress()
            }
            Weather::Lost => json(503, &json!({})),
            Weather::Partly(quanta) => {
                self.data
                    .extend_from_slice(&body[..body.len().min(quanta * QUANTUM)]);
                json(500, &json!({}))
            }
            Weather::SaidPartly(quanta) => {
                self.data.extend_from_slice(&body[..quanta * QUANTUM]);
                self.progress()
            }
            Weather::Gone => reply(410, "text/plain", "secret-of-the-session is gone"),
            Weather::Taken => json(412, &json!({"error": {"message": "pre-condition"}})),
        }
    }

    fn progress(&mut self) -> Response<Bytes> {
        if self.data.len() == SIZE {
            self.is_done = true;
            let md5 = STANDARD.encode(Md5::digest(&self.data));
            assert_eq!(self.metadata["md5Hash"], md5, "Google would refuse this");
            return json(
                200,
                &json!({"kind": "storage#object", "name": self.metadata["name"],
                    "size": SIZE.to_string(), "md5Hash": md5, "generation": "7"}),
            );
        }
        let mut answer = reply(308, "text/plain", "");
        if let Some(last) = self.data.len().checked_sub(1) {
            let range = format!("bytes=0-{last}").parse().unwrap();
            answer.headers_mut().insert("range", range);
        }
        answer
    }
}

#[tokio::test]
async fn a_large_object_is_stored_on_the_emulator() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let pairs = [
        ("STORAGE_EMULATOR_HOST", server.http()),
        ("GOOGLE_PROJECT_ID", "project"),
    ];
    let backend = backend(&format!("{}:/", fresh_bucket()), &pairs);
    backend.create().await.unwrap();
    let (handle, data) = object(FileKind::Pack, large());
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(backend.stat(&handle).await.unwrap().size_bytes, SIZE as u64);
    let end = backend
        .read_range(&handle, SIZE as u64 - 10, 10)
        .await
        .unwrap();
    assert_eq!(end, data.slice(SIZE - 10..));
    assert!(backend.read(&handle).await.unwrap() == data);
    backend.remove(&handle).await.unwrap();
}

#[tokio::test]
async fn a_large_object_goes_in_pieces_to_the_service_alone() {
    let google = Google::with(&[]);
    let (handle, data) = object(FileKind::Pack, large());
    google.backend().write(&handle, data.clone()).await.unwrap();
    google.assert_has(&data);
    let ranges = google.ranges();
    assert_eq!(ranges.len(), 5, "{ranges:?}");
    assert_eq!(ranges[0], format!("bytes 0-8388607/{SIZE}"));
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut() {
    use Weather::{Fine, Lost, Partly, SaidPartly};
    let (handle, data) = object(FileKind::Pack, large());
    for weather in [
        vec![Lost],
        vec![Fine, Lost, Lost, Fine, Lost],
        vec![Fine, Partly(3), Fine, Partly(0)],
        vec![SaidPartly(5), SaidPartly(1), Fine],
        // All of the last piece arrives, and its answer is lost.
        vec![Fine, Fine, Fine, Fine, Partly(usize::MAX / QUANTUM)],
    ] {
        let google = Google::with(&weather);
        google.backend().write(&handle, data.clone()).await.unwrap();
        google.assert_has(&data);
    }
}

#[tokio::test]
async fn a_lost_last_answer_is_asked_for_over_a_broken_connection() {
    let google = Google::with(&[]);
    let proxy = FaultProxy::start(&google.stub.url());
    let (handle, data) = object(FileKind::Pack, large());
    for number in 1..=5 {
        google.sessions.lock().ranges.clear();
        let lost = Fault::new(Effect::LoseAcknowledgement).method("PUT");
        let lost = proxy.inject(lost.at(Calls::Nth(number)));
        on(&proxy.url()).write(&handle, data.clone()).await.unwrap();
        assert_eq!(lost.hits(), 1);
        google.assert_has(&data);
        let questions = google.ranges();
        let questions = questions
            .iter()
            .filter(|range| range.starts_with("bytes */"));
        assert_eq!(questions.count(), 1);
        proxy.heal();
    }
}

#[tokio::test]
async fn an_upload_that_cannot_go_on_fails_soon() {
    use Weather::{Fine, Gone, Lost, Taken};
    let (handle, data) = object(FileKind::Pack, large());
    for (weather, kind) in [
        (vec![Lost; 20], ErrorKind::Temporary),
        (vec![Weather::SaidPartly(0); 20], ErrorKind::Temporary),
        (vec![Fine, Taken], ErrorKind::AlreadyExists),
    ] {
        let google = Google::with(&weather);
        let error = google
            .backend()
            .write(&handle, data.clone())
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(google.ranges().len() <= 12, "{:?}", google.ranges());
    }
    let google = Google::with(&[Fine, Gone]);
    let error = google.backend().write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
    assert_eq!(google.ranges().len(), 2);
    let text = shown(&error);
    assert!(!text.contains("secret-of-the-session"), "{text}");
}
