//! A certificate authority of the tests' own, and certificates that are right or wrong in one chosen way.
//!
//! Nothing here is ever written to disk; give the PEM text to whoever shall trust it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// When a certificate is valid, seen from today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    Now,
    /// No longer.
    Expired,
    /// Not yet.
    NotYet,
}

/// Signs certificates. Each one is a stranger to every other.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a key of its own.
    #[expect(
        clippy::new_without_default,
        reason = "each one is different, which a default would hide"
    )]
    pub fn new() -> Self {
        // Names differ, so that a client finds no issuer rather than a wrong signature.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut params = params(&[], Validity::Now);
        params.distinguished_name.push(
            DnType::CommonName,
            format!("Test authority {}-{number}", std::process::id()),
        );
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer }
    }

    /// The authority's certificate as PEM: what a client trusts.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate of a server with these names; an IP address counts as one.
    pub fn server(&self, names: &[&str]) -> Certificate {
        self.server_valid(names, Validity::Now)
    }

    /// A certificate of a server on this machine: `localhost`, `127.0.0.1` and `::1`.
    pub fn loopback(&self) -> Certificate {
        self.server(&["localhost", "127.0.0.1", "::1"])
    }

    /// A certificate of a server that may be out of its time.
    pub fn server_valid(&self, names: &[&str], validity: Validity) -> Certificate {
        let common_name = names.first().copied().unwrap_or("nobody");
        self.sign(
            params(names, validity),
            common_name,
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A certificate of a client called so.
    pub fn client(&self, name: &str) -> Certificate {
        self.client_valid(name, Validity::Now)
    }

    /// A certificate of a client that may be out of its time.
    pub fn client_valid(&self, name: &str, validity: Validity) -> Certificate {
        self.sign(
            params(&[name], validity),
            name,
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        common_name: &str,
        usage: ExtendedKeyUsagePurpose,
    ) -> Certificate {
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            chain_pem: own.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn params(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let (from, until) = match validity {
        Validity::Now => (2020, 2120),
        Validity::Expired => (2020, 2021),
        Validity::NotYet => (2110, 2120),
    };
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, as PEM.
    pub chain_pem: String,
    /// Its private key, as PEM (PKCS 8).
    pub key_pem: String,
}

impl Certificate {
    /// The TLS side of a server that shows this certificate to anyone.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let builder = server_builder().with_no_client_auth();
        Arc::new(builder.with_single_cert(self.chain(), self.key()).unwrap())
    }

    /// The TLS side of a server that talks only to clients with a certificate of this authority.
    pub fn server_config_for(&self, clients: &Authority) -> Arc<ServerConfig> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(&clients.pem()).into(), provider())
                .build()
                .unwrap();
        let builder = server_builder().with_client_cert_verifier(verifier);
        Arc::new(builder.with_single_cert(self.chain(), self.key()).unwrap())
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        certificates(&self.chain_pem)
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }
}

/// The TLS side of a client that trusts only what this PEM text holds, and may show a certificate of its own.
pub fn client_config(trusted_pem: &str, own: Option<&Certificate>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(trusted_pem));
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(own.chain(), own.key())
            .unwrap(),
    })
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem) {
        roots.add(certificate).unwrap();
    }
    roots
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap()
}

#[cfg(test)]
mod tests;
