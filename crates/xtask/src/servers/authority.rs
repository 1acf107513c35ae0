//! The certificate authority of a run, and the certificates it signs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::failure::Failure;
use crate::workspace::write_text;

/// Loopback, and the public names that tests pin to it because clients or peers cannot be told another.
const SERVER_NAMES: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "::1",
    "*.localhost",
    "*.blob.localhost",
    "*.s3.localhost",
    "api.backblazeb2.com",
    "*.backblazeb2.com",
    "storage.googleapis.com",
    "oauth2.googleapis.com",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "www.googleapis.com",
    "metadata.google.internal",
    "sts.amazonaws.com",
    "*.amazonaws.com",
    "*.us-east-1.amazonaws.com",
    "login.microsoftonline.com",
    "*.blob.core.windows.net",
];

/// The PEM files of a run. Keys are PKCS #8.
#[derive(Clone)]
pub struct Certificates {
    /// The authority's certificate: what clients must trust.
    pub ca: PathBuf,
    /// A certificate for all names a test server may have.
    pub server: PathBuf,
    pub server_key: PathBuf,
    /// A client certificate with the common name `stash`, signed by the same authority.
    pub client: PathBuf,
    pub client_key: PathBuf,
}

impl Certificates {
    /// The files below a run's folder; made when one is missing.
    pub fn offer(state: &Path) -> Result<Self, Failure> {
        let file = |name: &str| state.join("tls").join(name);
        let files = Self {
            ca: file("ca.pem"),
            server: file("server.pem"),
            server_key: file("server.key"),
            client: file("client.pem"),
            client_key: file("client.key"),
        };
        let all = [
            &files.ca,
            &files.server,
            &files.server_key,
            &files.client,
            &files.client_key,
        ];
        if !all.iter().all(|path| path.is_file()) {
            files
                .generate()
                .map_err(|error| Failure::Refused(format!("generating certificates: {error}")))??;
        }
        Ok(files)
    }

    fn generate(&self) -> Result<Result<(), Failure>, rcgen::Error> {
        let authority = Authority::new("Stash test authority")?;
        let server = authority.issue(Subject::server("localhost", SERVER_NAMES))?;
        let client = authority.issue(Subject::client("stash", None))?;
        Ok(write(&[
            (&self.server, server.certificate),
            (&self.server_key, server.key),
            (&self.client, client.certificate),
            (&self.client_key, client.key),
            // Last, so that an interruption leaves no authority without what it signed.
            (&self.ca, authority.certificate),
        ]))
    }
}

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate in PEM.
    pub certificate: String,
    /// Its key in PEM.
    pub key: String,
}

/// Whom a certificate is for.
pub struct Subject<'a> {
    name: &'a str,
    organization: Option<&'a str>,
    hosts: &'a [&'a str],
    purpose: ExtendedKeyUsagePurpose,
}

/// A certificate and its key, both in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new authority.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let key_pair = KeyPair::generate()?;
        let mut own = parameters(&[], name)?;
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = own.self_signed(&key_pair)?.pem();
        let key = key_pair.serialize_pem();
        Ok(Self {
            issuer: Issuer::new(own, key_pair),
            certificate,
            key,
        })
    }

    /// A new key and its certificate.
    pub fn issue(&self, subject: Subject<'_>) -> Result<Issued, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut own = parameters(subject.hosts, subject.name)?;
        if let Some(organization) = subject.organization {
            own.distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        own.extended_key_usages = vec![subject.purpose];
        own.use_authority_key_identifier_extension = true;
        own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(Issued {
            certificate: own.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl<'a> Subject<'a> {
    /// Something that answers under these names and addresses.
    pub fn server(name: &'a str, hosts: &'a [&'a str]) -> Self {
        Self {
            name,
            organization: None,
            hosts,
            purpose: ExtendedKeyUsagePurpose::ServerAuth,
        }
    }

    /// Somebody who asks.
    pub fn client(name: &'a str, organization: Option<&'a str>) -> Self {
        Self {
            name,
            organization,
            hosts: &[],
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
        }
    }
}

fn write(files: &[(&PathBuf, String)]) -> Result<(), Failure> {
    for (path, text) in files {
        write_text(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|source| {
            Failure::Write {
                path: PathBuf::clone(path),
                source,
            }
        })?;
    }
    Ok(())
}

fn parameters(names: &[&str], common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2049, 12, 31);
    Ok(parameters)
}
