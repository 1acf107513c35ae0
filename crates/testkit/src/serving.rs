//! What the servers of the tests share: a thread of their own, so that they answer while the test itself blocks,
//! and connections with or without TLS.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A connection with or without TLS.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A server on a thread of its own; stopped with all its connections when dropped.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Listens on a free port of `127.0.0.1` and runs the work until it ends or the server is dropped.
    pub fn start<Work, Running>(name: &str, work: Work) -> Self
    where
        Work: FnOnce(TcpListener) -> Running + Send + 'static,
        Running: Future<Output = ()>,
    {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), name, work)
    }

    /// As [`Serving::start`], on another address of this machine.
    pub fn start_on<Work, Running>(host: IpAddr, name: &str, work: Work) -> Self
    where
        Work: FnOnce(TcpListener) -> Running + Send + 'static,
        Running: Future<Output = ()>,
    {
        let listener = std::net::TcpListener::bind((host, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let work = work(TcpListener::from_std(listener).unwrap());
                    tokio::select! {
                        () = work => {}
                        // Either a word or the end of the other side.
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            })
            .unwrap();
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server was printed by its thread and shows as a connection that ends.
            let _ = thread.join();
        }
    }
}

/// The server's side of TLS where there is one; nothing when the client does not come through it.
pub async fn secured(
    stream: tokio::net::TcpStream,
    tls: Option<Arc<ServerConfig>>,
) -> Option<Box<dyn Connection>> {
    match tls {
        None => Some(Box::new(stream)),
        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Some(Box::new(stream)),
            Err(_) => None,
        },
    }
}
