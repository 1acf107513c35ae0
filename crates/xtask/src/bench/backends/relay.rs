//! A relay that makes a server look far away: each byte arrives later, and as many as before.
//!
//! It knows nothing of what it carries. Bytes wait with the time they are due, so reading goes on while others are under
//! way. Opening a connection costs a round trip, as it does over a real distance. As a proxy it leads every host a client
//! names to its one server. `testkit` has its like for tests; the task runner is built before that crate's dependencies.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks under way in each direction of a connection.
const MOST_CHUNKS: usize = 4096;
const MOST_HEAD_BYTES: usize = 8 << 10;

/// How clients reach the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They take the relay for the server.
    Server,
    /// They ask for a tunnel (`CONNECT`), as through a proxy.
    Proxy,
}

/// A relay in front of a server. Dropping it ends all its connections.
pub struct Relay {
    address: SocketAddr,
    line: Arc<Line>,
    accepting: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Line {
    upstream: SocketAddr,
    one_way: Duration,
    manner: Manner,
    is_closed: AtomicBool,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Each byte takes so long on its way there, and so long on its way back.
    pub fn start(upstream: SocketAddr, one_way: Duration, manner: Manner) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let line = Arc::new(Line {
            upstream,
            one_way,
            manner,
            is_closed: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let shared = Arc::clone(&line);
        let accepting = thread::Builder::new()
            .name("delay relay".to_owned())
            .spawn(move || shared.accept(&listener))?;
        Ok(Self {
            address,
            line,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that clients have sent through it.
    pub fn sent_bytes(&self) -> u64 {
        self.line.sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that clients have received through it.
    pub fn received_bytes(&self) -> u64 {
        self.line.received_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.line.is_closed.store(true, Ordering::SeqCst);
        self.line.close_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            // It cannot fail but by a panic, which has been told.
            drop(accepting.join());
        }
    }
}

impl Line {
    /// Carries every connection that is opened until the relay is dropped.
    fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for client in listener.incoming() {
                if self.is_closed.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(client) = client {
                    // A connection that fails ends; the client sees that.
                    scope.spawn(move || drop(self.connect(client)));
                }
            }
            self.close_all();
        });
    }

    fn connect(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        self.remember(&client)?;
        // The client counts as connected at once; over the distance it would first wait for the answer.
        let opened = Instant::now() + 2 * self.one_way;
        if self.manner == Manner::Proxy {
            answer_as_proxy(&mut client)?;
        }
        let server = TcpStream::connect(self.upstream)?;
        server.set_nodelay(true)?;
        self.remember(&server)?;
        thread::scope(|scope| {
            scope.spawn(|| self.carry(&client, &server, opened, &self.sent_bytes));
            self.carry(&server, &client, opened, &self.received_bytes);
        });
        // Others hold these sockets too, so dropping them would not close the connection.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        Ok(())
    }

    /// One direction of one connection, until it ends.
    fn carry(&self, from: &TcpStream, to: &TcpStream, opened: Instant, counter: &AtomicU64) {
        let (sender, receiver) = sync_channel(MOST_CHUNKS);
        thread::scope(|scope| {
            scope.spawn(|| leave(to, receiver));
            self.enter(from, &sender, opened, counter);
            drop(sender);
        });
    }

    fn enter(
        &self,
        mut from: &TcpStream,
        sender: &SyncSender<(Instant, Vec<u8>)>,
        opened: Instant,
        counter: &AtomicU64,
    ) {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now().max(opened) + self.one_way;
            counter.fetch_add(length as u64, Ordering::Relaxed);
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    }

    /// Keeps a connection so that it can be ended from outside.
    fn remember(&self, stream: &TcpStream) -> io::Result<()> {
        let copy = stream.try_clone()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended have no peer any more.
        open.retain(|stream| stream.peer_addr().is_ok());
        if self.is_closed.load(Ordering::SeqCst) {
            stream.shutdown(Shutdown::Both)?;
        }
        open.push(copy);
        Ok(())
    }

    fn close_all(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn leave(mut to: &TcpStream, receiver: Receiver<(Instant, Vec<u8>)>) {
    for (due, chunk) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            // Nobody will read what else comes: the other side shall see that.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Reads the request for a tunnel and grants it, wherever it is to lead.
fn answer_as_proxy(client: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > MOST_HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    if !head.starts_with(b"CONNECT ") {
        client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")?;
        return Err(io::ErrorKind::Unsupported.into());
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")
}

/// How long a server takes to answer anything at all, on a connection that is open already: the best of some attempts.
/// What it is sent is a request in plain HTTP; one that wants TLS refuses, which takes the same way.
pub fn round_trip(address: SocketAddr, manner: Manner) -> io::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        if manner == Manner::Proxy {
            stream.write_all(b"CONNECT server:443 HTTP/1.1\r\n\r\n")?;
            let mut granted = [0; 19];
            stream.read_exact(&mut granted)?;
        }
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        match stream.read(&mut [0]) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
            _ => best = best.min(begun.elapsed()),
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests;
