//! A proxy as companies have it: it wants a password, and passes on what it is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader, copy, copy_bidirectional,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens on loopback until dropped.
pub struct ForwardProxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ForwardProxy {
    /// Serves those who say this user and password.
    pub async fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // A connection that breaks shows at its client.
                    tokio::spawn(serve(stream, wanted.clone(), seen.clone()));
                }
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first line of each request that said the password.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, wanted: String, seen: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut client = BufReader::new(stream);
    let (first, headers) = read_head(&mut client).await?;
    let is_known = headers
        .iter()
        .any(|line| value_of(line, "proxy-authorization") == Some(&wanted));
    if !is_known {
        let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(answer).await;
    }
    seen.lock().push(first.clone());
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if method == "CONNECT" {
        let mut server = TcpStream::connect(target).await?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let rest = target.strip_prefix("http://");
    let (authority, path) = rest
        .and_then(|rest| rest.split_once('/'))
        .ok_or(io::ErrorKind::InvalidData)?;
    let (server, mut to_server) = TcpStream::connect(authority).await?.into_split();
    let (mut client, mut to_client) = tokio::io::split(client);
    to_server
        .write_all(&head(&format!("{method} /{path} {version}"), &headers))
        .await?;
    let answer = async {
        let mut server = BufReader::new(server);
        let (first, headers) = read_head(&mut server).await?;
        to_client.write_all(&head(&first, &headers)).await?;
        copy(&mut server, &mut to_client).await?;
        to_client.shutdown().await
    };
    let request = async {
        copy(&mut client, &mut to_server).await?;
        // The client waits for its answer, or is gone, which writing to it tells.
        std::future::pending().await
    };
    tokio::select! {
        done = answer => done,
        failed = request => failed,
    }
}

/// The first line and the headers.
async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<(String, Vec<String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    if lines.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((lines.remove(0), lines))
}

/// What is passed on: without what is between client and proxy, and with one request for each connection, as the
/// next one would have to be read as well.
fn head(first: &str, headers: &[String]) -> Vec<u8> {
    let mut text = format!("{first}\r\n");
    for line in headers.iter().filter(|line| !is_ours(line)) {
        text.push_str(&format!("{line}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    text.into_bytes()
}

fn is_ours(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    name.to_ascii_lowercase().starts_with("proxy-") || name.eq_ignore_ascii_case("connection")
}

fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found
        .eq_ignore_ascii_case(name)
        .then_some(value.trim_start())
}
