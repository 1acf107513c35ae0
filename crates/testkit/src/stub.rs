//! An HTTP/1.1 server whose answers are a closure of the test: token endpoints, metadata servers, and servers that
//! must say one exact thing.
//!
//! It runs on a thread of its own and remembers every request. Where the real product runs, use that instead.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;

use crate::serving::{Serving, secured};

type Answer = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
type Handler = dyn Fn(Request<Bytes>) -> Answer + Send + Sync;

/// A server of the test's own; stopped when dropped.
#[derive(Debug)]
pub struct StubServer {
    serving: Serving,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    is_tls: bool,
}

impl StubServer {
    /// Plain HTTP on a free port of `127.0.0.1`.
    pub fn start<Handle, Answering>(handler: Handle) -> Self
    where
        Handle: Fn(Request<Bytes>) -> Answering + Send + Sync + 'static,
        Answering: Future<Output = Response<Bytes>> + Send + 'static,
    {
        Self::run(None, Arc::new(move |request| Box::pin(handler(request))))
    }

    /// HTTPS on a free port of `127.0.0.1`, with a configuration of [`crate::certificates`].
    pub fn start_tls<Handle, Answering>(tls: Arc<ServerConfig>, handler: Handle) -> Self
    where
        Handle: Fn(Request<Bytes>) -> Answering + Send + Sync + 'static,
        Answering: Future<Output = Response<Bytes>> + Send + 'static,
    {
        Self::run(
            Some(tls),
            Arc::new(move |request| Box::pin(handler(request))),
        )
    }

    fn run(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let requests: Arc<Mutex<Vec<Request<Bytes>>>> = Arc::default();
        let record = requests.clone();
        let is_tls = tls.is_some();
        let serving = Serving::start("stub server", async move |listener| {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, record, handler) = (tls.clone(), record.clone(), handler.clone());
                tokio::spawn(async move {
                    let Some(stream) = secured(stream, tls).await else {
                        return;
                    };
                    let service = service_fn(move |request: Request<Incoming>| {
                        answer(request, record.clone(), handler.clone())
                    });
                    // A client that goes away is no matter for the server.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            serving,
            requests,
            is_tls,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// Scheme, address and port, without a slash at the end: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.requests.lock().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    record: Arc<Mutex<Vec<Request<Bytes>>>>,
    handler: Arc<Handler>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let request = Request::from_parts(parts, body);
    record.lock().push(request.clone());
    Ok(handler(request).await.map(Full::new))
}

/// An answer with a body and a content type.
pub fn reply(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(body.into())
        .unwrap()
}

/// An answer in JSON.
pub fn json(status: u16, body: &serde_json::Value) -> Response<Bytes> {
    reply(status, "application/json", body.to_string())
}

#[cfg(test)]
mod tests;
