//! A relay that makes a server look far away: each byte arrives later, and as many as before.
//!
//! It knows nothing of what it carries. Opening a connection costs a round trip, as it does over a real distance.
//! It runs on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::serving::Serving;

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks under way per direction of a connection: 64 MiB, more than the window of any real connection.
const MOST_CHUNKS: usize = 1024;

/// A relay in front of a server. Stopped with all its connections when dropped.
#[derive(Debug)]
pub struct DelayRelay {
    serving: Serving,
}

impl DelayRelay {
    /// Each byte takes so long on its way there, and so long on its way back.
    pub fn start(upstream: SocketAddr, latency: Duration) -> Self {
        Self::run(upstream, latency, None)
    }

    /// As well, so many bytes per second go each way, for all connections together.
    pub fn start_limited(upstream: SocketAddr, latency: Duration, bytes_per_second: u64) -> Self {
        Self::run(upstream, latency, Some(bytes_per_second))
    }

    fn run(upstream: SocketAddr, latency: Duration, rate: Option<u64>) -> Self {
        let serving = Serving::start("delay relay", async move |listener| {
            serve(
                listener,
                upstream,
                Line::new(latency, rate),
                Line::new(latency, rate),
            )
            .await;
        });
        Self { serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }
}

async fn serve(listener: TcpListener, upstream: SocketAddr, there: Line, back: Line) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connect(client, upstream, there.clone(), back.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(client: TcpStream, upstream: SocketAddr, there: Line, back: Line) {
    // The client counts as connected at once; over the distance it would first wait for the answer.
    let opened = Instant::now() + there.latency + back.latency;
    let Ok(server) = TcpStream::connect(upstream).await else {
        tokio::time::sleep_until(opened).await;
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        carry(from_client, to_server, there, opened),
        carry(from_server, to_client, back, opened),
    );
}

/// One direction of one connection, until it ends.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, line: Line, opened: Instant) {
    let (sender, receiver) = mpsc::channel(MOST_CHUNKS);
    tokio::join!(enter(from, sender, line, opened), leave(to, receiver));
}

async fn enter(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Bytes)>,
    line: Line,
    opened: Instant,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        let Ok(1..) = from.read_buf(&mut buffer).await else {
            return;
        };
        let chunk = buffer.split().freeze();
        let sent = line.send(chunk.len(), opened);
        if sender.send((sent + line.latency, chunk)).await.is_err() {
            return;
        }
        if line.rate.is_some() {
            tokio::time::sleep_until(sent).await;
        }
    }
}

async fn leave(mut to: OwnedWriteHalf, mut receiver: mpsc::Receiver<(Instant, Bytes)>) {
    while let Some((due, chunk)) = receiver.recv().await {
        tokio::time::sleep_until(due).await;
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// One direction of the distance, shared by all connections.
#[derive(Debug, Clone)]
struct Line {
    latency: Duration,
    rate: Option<u64>,
    /// When the bytes before have entered.
    free: Arc<Mutex<Option<Instant>>>,
}

impl Line {
    fn new(latency: Duration, rate: Option<u64>) -> Self {
        Self {
            latency,
            rate,
            free: Arc::default(),
        }
    }

    /// When so many bytes have entered the line.
    fn send(&self, bytes: usize, opened: Instant) -> Instant {
        let now = Instant::now().max(opened);
        let Some(rate) = self.rate else {
            return now;
        };
        let mut free = self.free.lock();
        let start = free.map_or(now, |free| free.max(now));
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        let end = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        *free = Some(end);
        end
    }
}

#[cfg(test)]
mod tests;
