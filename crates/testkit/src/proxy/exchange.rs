//! One connection of a client: request after request to the server and back, as the script has it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufStream};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxy::answer::{self, Wire};
use crate::proxy::fault::Effect;
use crate::proxy::message::{Framing, Head, frame, read_body, read_head};
use crate::proxy::{End, Shared};
use crate::serving::{Connection, secured};

const BUFFER_BYTES: usize = 64 * 1024;

type Client = BufStream<Box<dyn Connection>>;

pub async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let Some(stream) = secured(stream, shared.tls.clone()).await else {
        return;
    };
    let mut client = BufStream::with_capacity(BUFFER_BYTES, BUFFER_BYTES, stream);
    while let Ok(Some(head)) = read_head(&mut client).await {
        // An I/O error on either side is the end of the conversation.
        let end = exchange(&mut client, head, &shared).await;
        match end.unwrap_or(End::Cut) {
            End::Keep => {}
            End::Close => {
                let _ = client.shutdown().await;
                return;
            }
            End::Cut => return,
            End::Reset => return reset(&socket),
            End::Hold => return hold(client).await,
        }
    }
}

/// The last descriptor that closes sends the reset.
fn reset(socket: &OwnedFd) {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
}

/// Ends when the client does.
async fn hold(mut client: Client) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

async fn exchange(client: &mut Client, mut head: Head, shared: &Shared) -> io::Result<End> {
    let (method, target) = head.request()?;
    let (method, target) = (method.to_owned(), target.to_owned());
    let (wait, effect) = shared.script.apply(&method, &target);
    let number = shared.note(&method, &target, effect.clone());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    if head.header("expect").is_some() {
        head.remove("expect");
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        client.flush().await?;
    }
    let framing = head.request_framing()?;
    match effect {
        Some(Effect::CutRequest(most)) => return cut(client, &head, most, shared).await,
        Some(Effect::StallRequest(most)) => {
            read_body(client, framing, most).await?;
            return std::future::pending().await;
        }
        _ => {}
    }
    let body = read_body(client, framing, usize::MAX).await?;
    shared.log.lock()[number].body_bytes = body.len();
    let is_last = head.is_last();
    let wire = match effect {
        Some(Effect::Close) => return Ok(End::Cut),
        Some(Effect::Reset) => return Ok(End::Reset),
        Some(Effect::Hang) => return Ok(End::Hold),
        Some(Effect::Answer(answer)) => answer::invented(&answer, &method),
        effect => {
            let message = [head.to_bytes(), frame(body, framing, true)].concat();
            let mut answer = ask(&message, &method, shared).await?;
            shared.log.lock()[number].server_status = Some(answer.head.status()?);
            if effect == Some(Effect::LoseAcknowledgement) {
                return Ok(End::Cut);
            }
            if shared.is_rewriting {
                answer.rewrite(&shared.upstream.origin, &shared.origin());
            }
            answer.spoiled(effect.as_ref())?
        }
    };
    shared.log.lock()[number].status = wire.status;
    send(client, &wire).await?;
    Ok(match wire.end {
        End::Keep if is_last => End::Close,
        end => end,
    })
}

async fn send(client: &mut Client, wire: &Wire) -> io::Result<()> {
    match wire.pause {
        None => client.write_all(&wire.bytes).await?,
        Some(pause) => {
            for byte in &wire.bytes {
                client.write_all(&[*byte]).await?;
                client.flush().await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    client.flush().await
}

/// The server gets a part of the body and then the end of the connection.
async fn cut(client: &mut Client, head: &Head, most: usize, shared: &Shared) -> io::Result<End> {
    let framing = head.request_framing()?;
    if framing != Framing::Length(0) {
        let most = match framing {
            Framing::Length(length) => most.min(length - 1),
            _ => most,
        };
        let part = frame(read_body(client, framing, most).await?, framing, false);
        let mut server = connect(shared).await?;
        server.write_all(&head.to_bytes()).await?;
        server.write_all(&part).await?;
        server.flush().await?;
    }
    Ok(End::Reset)
}

/// Asks the server over a connection of its own, so that no earlier request has a say.
async fn ask(message: &[u8], method: &str, shared: &Shared) -> io::Result<answer::Relayed> {
    let (reading, mut writing) = tokio::io::split(connect(shared).await?);
    let mut reading = BufReader::with_capacity(BUFFER_BYTES, reading);
    let write = async {
        writing.write_all(message).await?;
        writing.flush().await
    };
    let read = async {
        loop {
            let head = read_head(&mut reading).await?;
            let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !matches!(head.status()?, 100..=199) {
                let framing = head.answer_framing(method)?;
                let body = read_body(&mut reading, framing, usize::MAX).await?;
                return Ok(answer::Relayed {
                    head,
                    framing,
                    body,
                });
            }
        }
    };
    tokio::pin!(read);
    // A server that refuses early answers before it has read everything, and may never read the rest.
    tokio::select! {
        answer = &mut read => answer,
        _ = write => read.await,
    }
}

async fn connect(shared: &Shared) -> io::Result<Box<dyn Connection>> {
    let upstream = &shared.upstream;
    let stream = TcpStream::connect((upstream.host.as_str(), upstream.port)).await?;
    stream.set_nodelay(true)?;
    match &upstream.tls {
        None => Ok(Box::new(stream)),
        Some(config) => {
            let name = ServerName::try_from(upstream.host.clone()).map_err(io::Error::other)?;
            let connector = TlsConnector::from(config.clone());
            Ok(Box::new(connector.connect(name, stream).await?))
        }
    }
}
