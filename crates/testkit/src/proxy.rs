//! A proxy in front of a real server that breaks what a test tells it to break.
//!
//! It understands HTTP/1.1 enough to pick requests and to cut messages at a chosen byte; everything else goes
//! through unchanged, the `Host` too, over which services sign. Messages are held whole in memory. Each request goes
//! to the server over a connection of its own, while the client's stays open. It runs on a thread of its own.

mod answer;
mod exchange;
mod fault;
mod message;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock, mpsc as blocking};

use parking_lot::Mutex;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::certificates::{Certificate, client_config};
use crate::serving::Serving;

pub use fault::{Answer, Effect, Fault, Injected};

/// How often an address is tried that a passing connection may have.
const RESERVE_ATTEMPTS: usize = 100;
/// The pause between two such attempts.
const RESERVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// Its query, empty where there is none.
    pub query: String,
    /// How much body came.
    pub body_bytes: usize,
    /// What was done to it besides waiting.
    pub effect: Option<Effect>,
    /// What the server answered, if it was asked and did.
    pub server_status: Option<u16>,
    /// What the client was told, as far as it got.
    pub status: Option<u16>,
}

/// Prepares a proxy.
#[derive(Debug)]
pub struct FaultProxyBuilder {
    upstream: Upstream,
    tls: Option<Arc<ServerConfig>>,
    is_rewriting: bool,
    host: IpAddr,
}

#[derive(Debug)]
struct Upstream {
    origin: String,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl FaultProxyBuilder {
    /// Speaks TLS to clients, with this certificate.
    #[must_use]
    pub fn tls(mut self, certificate: &Certificate) -> Self {
        self.tls = Some(certificate.server_config());
        self
    }

    /// Trusts a server with a certificate of this authority (PEM), as it must for `https`.
    #[must_use]
    pub fn trust(mut self, authority_pem: &str) -> Self {
        self.upstream.tls = Some(client_config(authority_pem, None));
        self
    }

    /// Puts the proxy's address wherever the server names its own in headers and texts, for services that tell
    /// their clients where to go on.
    #[must_use]
    pub fn rewriting(mut self) -> Self {
        self.is_rewriting = true;
        self
    }

    /// Listens on this address of the machine.
    #[must_use]
    pub fn on(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// Starts it on a free port, of `127.0.0.1` unless another address was asked for.
    pub fn start(self) -> FaultProxy {
        let is_secure = self.upstream.origin.starts_with("https:");
        assert_eq!(
            is_secure,
            self.upstream.tls.is_some(),
            "a server is trusted exactly when it speaks TLS"
        );
        let shared = Arc::new(Shared {
            upstream: self.upstream,
            tls: self.tls,
            is_rewriting: self.is_rewriting,
            address: OnceLock::new(),
            script: fault::Script::default(),
            log: Mutex::default(),
        });
        let (orders, ordered) = mpsc::unbounded_channel();
        let serving = Serving::start_on(self.host, "fault proxy", {
            let shared = shared.clone();
            move |listener| run(listener, ordered, shared)
        });
        shared.address.set(serving.address()).unwrap();
        FaultProxy {
            serving,
            shared,
            orders,
        }
    }
}

/// A proxy that breaks what it is told to. Stopped with all its connections when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    serving: Serving,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<(Order, blocking::SyncSender<()>)>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    tls: Option<Arc<ServerConfig>>,
    is_rewriting: bool,
    address: OnceLock<SocketAddr>,
    script: fault::Script,
    log: Mutex<Vec<Seen>>,
}

/// What becomes of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The next request may come.
    Keep,
    /// It ends in order.
    Close,
    /// It ends without a word.
    Cut,
    /// It is reset.
    Reset,
    /// It stays and nothing comes any more.
    Hold,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Refuse,
    Accept,
}

impl FaultProxy {
    /// Plain HTTP on both sides, in front of `http://HOST:PORT`.
    pub fn start(upstream: &str) -> Self {
        Self::before(upstream).start()
    }

    /// A proxy in front of `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn before(upstream: &str) -> FaultProxyBuilder {
        let origin = upstream.trim_end_matches('/');
        let (_, authority) = origin.split_once("://").unwrap();
        let (host, port) = authority.rsplit_once(':').unwrap();
        FaultProxyBuilder {
            upstream: Upstream {
                origin: origin.to_owned(),
                host: host.trim_matches(['[', ']']).to_owned(),
                port: port.parse().unwrap(),
                tls: None,
            },
            tls: None,
            is_rewriting: false,
            host: Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }

    /// Scheme, address and port, without a slash at the end.
    pub fn url(&self) -> String {
        self.shared.origin()
    }

    /// Adds a fault. When several apply to a request, all delays are waited and the first other effect wins.
    pub fn inject(&self, fault: Fault) -> Injected {
        self.shared.script.inject(fault)
    }

    /// Takes every fault away and accepts connections again.
    pub fn heal(&self) {
        self.shared.script.clear();
        self.accept();
    }

    /// Closes the port and every connection: connecting is refused from now on.
    pub fn refuse(&self) {
        self.order(Order::Refuse);
    }

    /// Accepts connections again.
    pub fn accept(&self) {
        self.order(Order::Accept);
    }

    fn order(&self, order: Order) {
        let (done, wait) = blocking::sync_channel(1);
        self.orders.send((order, done)).unwrap();
        wait.recv().unwrap();
    }

    /// Every request so far, in order of arrival.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.log.lock().clone()
    }

    /// How many requests of this method came whose path with query is like the pattern (`*` for any text).
    pub fn count(&self, method: &str, pattern: &str) -> usize {
        let log = self.shared.log.lock();
        log.iter()
            .filter(|seen| seen.method == method && fault::is_like(pattern, &seen.target()))
            .count()
    }
}

impl Seen {
    /// Path and query as they came.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        format!("{}?{}", self.path, self.query)
    }
}

impl Shared {
    fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.address.get().expect("it is set at the start");
        format!("{scheme}://{address}")
    }

    /// Writes a request into the log; the number is its place there.
    fn note(&self, method: &str, target: &str, effect: Option<Effect>) -> usize {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut log = self.log.lock();
        log.push(Seen {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body_bytes: 0,
            effect,
            server_status: None,
            status: None,
        });
        log.len() - 1
    }
}

async fn run(
    listener: TcpListener,
    mut orders: mpsc::UnboundedReceiver<(Order, blocking::SyncSender<()>)>,
    shared: Arc<Shared>,
) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    // Holds the port while nobody listens there.
    let mut reserved = None;
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            stream = accept(listener.as_ref()) => {
                clients.spawn(exchange::serve(stream, shared.clone()));
            }
            Some((order, done)) = orders.recv() => {
                match order {
                    Order::Refuse if listener.is_some() => {
                        drop(listener.take());
                        reserved = Some(reserve(address).await);
                        clients.shutdown().await;
                    }
                    Order::Accept if listener.is_none() => {
                        listener = reserved.take().map(|socket| socket.listen(1024).unwrap());
                    }
                    Order::Refuse | Order::Accept => {}
                }
                let _ = done.send(());
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Keeps the address while nobody listens at it. Somebody's outgoing connection may have the port for a moment.
async fn reserve(address: SocketAddr) -> TcpSocket {
    for _ in 0..RESERVE_ATTEMPTS {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let socket = socket.unwrap();
        socket.set_reuseaddr(true).unwrap();
        match socket.bind(address) {
            Ok(()) => return socket,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(RESERVE_PAUSE).await;
            }
            Err(error) => panic!("cannot keep {address}: {error}"),
        }
    }
    panic!("{address} is taken by somebody else");
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => loop {
            if let Ok((stream, _)) = listener.accept().await {
                return stream;
            }
        },
        None => std::future::pending().await,
    }
}
