use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Authority, Validity, client_config};

/// Says one word from server to client over TLS; the client's error otherwise.
async fn shake_hands(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &'static str,
) -> Result<(), std::io::Error> {
    let (server_side, client_side) = tokio::io::duplex(64 * 1024);
    let serving = tokio::spawn(async move {
        let mut stream = TlsAcceptor::from(server).accept(server_side).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    });
    let name = ServerName::try_from(name).unwrap();
    let result = async {
        let mut stream = TlsConnector::from(client)
            .connect(name, client_side)
            .await?;
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.map(|_| ())
    }
    .await;
    let _ = serving.await.unwrap();
    result
}

fn reason(result: Result<(), std::io::Error>) -> CertificateError {
    let error = result.unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<rustls::Error>();
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_accepts_its_servers_by_name_and_address() {
    let authority = Authority::new();
    let server = authority.loopback().server_config();
    let client = client_config(&authority.pem(), None);
    for name in ["localhost", "127.0.0.1", "::1"] {
        shake_hands(server.clone(), client.clone(), name)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn each_wrong_certificate_is_refused_for_its_own_reason() {
    let authority = Authority::new();
    let client = client_config(&authority.pem(), None);
    let stranger = client_config(&Authority::new().pem(), None);
    let names = ["localhost"];
    let good = authority.server(&names).server_config();
    assert_eq!(
        reason(shake_hands(good.clone(), stranger, "localhost").await),
        CertificateError::UnknownIssuer
    );
    assert!(matches!(
        reason(shake_hands(good, client.clone(), "127.0.0.1").await),
        CertificateError::NotValidForNameContext { .. }
    ));
    let expired = authority.server_valid(&names, Validity::Expired);
    assert!(matches!(
        reason(shake_hands(expired.server_config(), client.clone(), "localhost").await),
        CertificateError::ExpiredContext { .. }
    ));
    let early = authority.server_valid(&names, Validity::NotYet);
    assert!(matches!(
        reason(shake_hands(early.server_config(), client, "localhost").await),
        CertificateError::NotValidYetContext { .. }
    ));
}

#[tokio::test]
async fn a_server_that_asks_for_client_certificates_takes_only_those_of_its_authority() {
    let authority = Authority::new();
    let clients = Authority::new();
    let server = authority.loopback().server_config_for(&clients);
    let known = client_config(&authority.pem(), Some(&clients.client("alice")));
    shake_hands(server.clone(), known, "localhost")
        .await
        .unwrap();
    let stranger = Authority::new().client("mallory");
    let late = clients.client_valid("bob", Validity::Expired);
    for own in [None, Some(&stranger), Some(&late)] {
        let client = client_config(&authority.pem(), own);
        shake_hands(server.clone(), client, "localhost")
            .await
            .unwrap_err();
    }
}
