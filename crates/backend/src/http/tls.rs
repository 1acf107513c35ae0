//! Whom we trust, and how we show who we are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret;

use crate::http::{ClientCertificate, HttpOptions};
use crate::variables::SetupError;

/// The TLS side of the options.
pub(crate) fn configuration(options: &HttpOptions) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::new(format!("cannot set up TLS: {error}")))?;
    let builder = if options.insecure_tls {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(options.ca_certificates.as_deref())?)
    };
    match &options.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(certificate) => {
            let (chain, key) = read(certificate)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                SetupError::new(format!("the client certificate is unusable: {error}"))
            })
        }
    }
}

/// The system's certificates and the user's. An image without any system certificates has those of Mozilla.
fn roots(own: Option<&str>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(pem) = own {
        for certificate in certificates(pem, "the CA certificates")? {
            roots.add(certificate).map_err(|error| {
                SetupError::new(format!("a CA certificate is unusable: {error}"))
            })?;
        }
    }
    Ok(roots)
}

fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| SetupError::new(format!("{what} are not readable as PEM: {error}")))?;
    if found.is_empty() {
        return Err(SetupError::new(format!("{what} hold no certificate"))
            .with_hint("Give PEM text with `-----BEGIN CERTIFICATE-----`."));
    }
    Ok(found)
}

fn read(
    certificate: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SetupError> {
    let chain = certificates(&certificate.chain_pem, "the client certificates")?;
    // The reason is left out: it could show a part of the key.
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose_secret().as_bytes())
        .map_err(|_| SetupError::new("the key of the client certificate is not readable as PEM"))?;
    Ok((chain, key))
}

/// Accepts every certificate, but still checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
