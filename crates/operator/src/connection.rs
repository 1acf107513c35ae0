//! The connection to the API server, and how long each answer is waited for: a machine that is powered off says nothing
//! at all, and nobody may wait for it for ever.

use std::time::Duration;

use kube_client::{Client, Config};
use kube_runtime::watcher;

use crate::failure::OperatorError;

/// How long the machine of the API server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may be without an answer. The API server itself gives up after a minute.
const ANSWER: Duration = Duration::from_secs(65);
/// After how many seconds the API server ends a watch, which is then gone on with; what is silent for longer is dead.
const WATCH_SECONDS: u32 = 120;
/// How long a watch may be silent.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// Clients of the API server.
#[derive(Clone)]
pub struct Connection {
    /// For requests that are answered at once.
    pub requests: Client,
    /// For watches, with [`watched`] as their settings.
    pub watches: Client,
}

impl std::fmt::Debug for Connection {
    /// Says nothing: clients hold credentials.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connection")
    }
}

/// A connection to the cluster that `KUBECONFIG` names or that this process runs in; tells the namespace it belongs to.
pub async fn connect() -> Result<(Connection, String), OperatorError> {
    let config = Config::infer()
        .await
        .map_err(|error| OperatorError::Configuration(error.into()))?;
    let namespace = config.default_namespace.clone();
    Ok((Connection::new(&config)?, namespace))
}

impl Connection {
    /// Prepares the clients; nothing is asked yet.
    fn new(config: &Config) -> Result<Self, OperatorError> {
        Ok(Self {
            requests: client(config, ANSWER)?,
            watches: client(config, SILENCE)?,
        })
    }
}

/// A client that gives a request up when nothing has come for so long.
fn client(config: &Config, silence: Duration) -> Result<Client, OperatorError> {
    let mut config = config.clone();
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(ANSWER);
    config.read_timeout = Some(silence);
    // What a connection has waited for its request does not count.
    config.reset_reader_on_write = true;
    // The client would repeat what is refused for minutes without a word. Delays are ours to choose: everything is
    // tried again here, and nothing waits long after the trouble has gone.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| OperatorError::Configuration(error.into()))
}

/// The settings of every watch.
pub fn watched() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

#[cfg(test)]
mod tests {
    use api::v1beta1::BackupConfiguration;
    use futures::StreamExt;
    use kube_client::Api;
    use kube_client::api::ListParams;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::time::{Instant, timeout};

    use super::*;

    const LIST: &str = r#"{"apiVersion":"stash.appscode.com/v1beta1","kind":"BackupConfigurationList","metadata":{"resourceVersion":"1"},"items":[]}"#;

    /// An API server that tells whether it was asked for a watch. It is switched off at once, or when it has answered a
    /// list and begun a watch.
    async fn server(answers: bool) -> (Connection, UnboundedReceiver<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers, tell.clone()));
            }
        });
        let connection = Connection::new(&Config::new(url.parse().unwrap())).unwrap();
        (connection, asked)
    }

    async fn serve(mut stream: TcpStream, answers: bool, tell: UnboundedSender<bool>) {
        let mut buffer = vec![0; 8192];
        while let Ok(size @ 1..) = stream.read(&mut buffer).await {
            let is_watch = String::from_utf8_lossy(&buffer[..size]).contains("watch=true");
            tell.send(is_watch).unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let answer = if is_watch {
                format!("{head}transfer-encoding: chunked\r\n\r\n")
            } else {
                format!("{head}content-length: {}\r\n\r\n{LIST}", LIST.len())
            };
            if answers {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_answered_ends() {
        let (connection, mut asked) = server(false).await;
        let api: Api<BackupConfiguration> = Api::all(connection.requests);
        let began = Instant::now();
        api.list(&ListParams::default()).await.unwrap_err();
        assert_eq!(asked.recv().await, Some(false));
        assert!(began.elapsed() <= ANSWER + CONNECT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_says_nothing_any_more_is_begun_again() {
        for (answers, expected) in [(false, [false, false]), (true, [true, true])] {
            let (connection, mut asked) = server(answers).await;
            let api: Api<BackupConfiguration> = Api::all(connection.watches);
            let changes = watcher::watcher(api, watched());
            let following = tokio::spawn(changes.for_each(async |_| ()));
            if answers {
                assert_eq!(asked.recv().await, Some(false));
            }
            let began = Instant::now();
            for is_watch in expected {
                let next = timeout(SILENCE * 2, asked.recv()).await;
                assert_eq!(next, Ok(Some(is_watch)));
            }
            assert!(began.elapsed() <= SILENCE * 2, "{:?}", began.elapsed());
            following.abort();
        }
    }
}
