//! What a user can say about a repository in S3: place, credentials, and how objects are kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::credentials::{AssumeRole, Source, StsPlace};
use super::location::Location;
use crate::variables::{SetupError, Variables};

/// A repository in a bucket.
#[derive(Clone)]
pub struct S3Options {
    pub(super) location: Location,
    pub(super) source: Source,
    pub(super) role: Option<AssumeRole>,
    /// The region that requests are signed for; found out when it is not given.
    pub region: Option<String>,
    /// Where the bucket is named.
    pub bucket_lookup: BucketLookup,
    /// The class that packs of file contents are stored in; everything else has the bucket's own, so that an archive
    /// class leaves snapshots and folders readable.
    pub storage_class: Option<String>,
    /// List with the first version of the API, for old stores.
    pub lists_version_1: bool,
    /// Most requests at once.
    pub connections: Option<usize>,
    /// Send no credentials at all.
    pub is_anonymous: bool,
    /// How the store encrypts objects, in addition to the repository's own encryption.
    pub encryption: ServerEncryption,
    /// How long new objects cannot be removed, in buckets with object lock.
    pub retention: Option<Retention>,
}

/// Where a request names the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BucketLookup {
    /// As the store is known to want it: in the host for Amazon and Alibaba, in the path elsewhere.
    #[default]
    Auto,
    /// In the host name.
    Dns,
    /// In the path.
    Path,
}

/// Encryption by the store.
#[derive(Debug, Clone, Default)]
pub enum ServerEncryption {
    /// As the bucket is set.
    #[default]
    BucketDefault,
    /// With keys of the store, `AES256`.
    StoreKeys,
    /// With a key of the key management service, the account's own one unless it is named.
    Kms(Option<String>),
    /// With a key of ours that goes along with every request: 32 bytes as base64.
    CustomerKey(SecretString),
}

/// Protection of new objects against removal and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Who may lift it.
    pub mode: RetentionMode,
    /// Days from the moment of writing.
    pub days: u32,
}

/// Who may lift a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Those with a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

impl S3Options {
    /// From what follows `s3:` in restic's repository string, and the variables of restic and Amazon's tools.
    ///
    /// Which credentials are used is decided here, from what is configured, in this order: keys, web identity,
    /// profile, container, instance. The chosen source is never replaced by another one.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let location = Location::parse(text)?;
        let region = variables
            .get("AWS_DEFAULT_REGION")
            .or_else(|| variables.get("AWS_REGION"));
        let sts = StsPlace::from_variables(variables, region.as_deref());
        Ok(Self {
            location,
            source: Source::choose(variables, &sts)?,
            role: AssumeRole::from_variables(variables, &sts),
            region,
            bucket_lookup: BucketLookup::Auto,
            storage_class: None,
            lists_version_1: false,
            connections: None,
            is_anonymous: false,
            encryption: ServerEncryption::BucketDefault,
            retention: None,
        })
    }

    /// One `-o s3.NAME=VALUE` of the command line. Besides restic's names: `server-side-encryption` (`AES256`,
    /// `aws:kms`), `kms-key-id`, `customer-key`, `retention-mode` (`governance`, `compliance`), `retention-days`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SetupError> {
        match name {
            "region" => self.region = Some(value.to_owned()),
            "storage-class" => self.storage_class = Some(value.to_owned()),
            "connections" => self.connections = Some(number(name, value)?),
            "list-objects-v1" => self.lists_version_1 = yes_or_no(name, value)?,
            "unsafe-anonymous-auth" => self.is_anonymous = yes_or_no(name, value)?,
            "bucket-lookup" => {
                self.bucket_lookup = match value {
                    "auto" => BucketLookup::Auto,
                    "dns" => BucketLookup::Dns,
                    "path" => BucketLookup::Path,
                    _ => return Err(not_one_of(name, "`auto`, `dns` or `path`")),
                }
            }
            "server-side-encryption" => {
                self.encryption = match value {
                    "AES256" => ServerEncryption::StoreKeys,
                    "aws:kms" => ServerEncryption::Kms(self.encryption.kms_key()),
                    _ => return Err(not_one_of(name, "`AES256` or `aws:kms`")),
                }
            }
            "kms-key-id" => self.encryption = ServerEncryption::Kms(Some(value.to_owned())),
            "customer-key" => {
                self.encryption = ServerEncryption::CustomerKey(SecretString::from(value));
            }
            "retention-mode" => {
                let mode = match value.to_ascii_lowercase().as_str() {
                    "governance" => RetentionMode::Governance,
                    "compliance" => RetentionMode::Compliance,
                    _ => return Err(not_one_of(name, "`governance` or `compliance`")),
                };
                let days = self.retention.map_or(0, |retention| retention.days);
                self.retention = Some(Retention { mode, days });
            }
            "retention-days" => {
                let days = number(name, value)?;
                let mode = self
                    .retention
                    .map_or(RetentionMode::Governance, |retention| retention.mode);
                self.retention = Some(Retention { mode, days });
            }
            _ => return Err(SetupError::new(format!("there is no option `s3.{name}`"))),
        }
        Ok(())
    }

    /// What only shows when everything has been said.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        if self.retention.is_some_and(|retention| retention.days == 0) {
            return Err(
                SetupError::new("a retention of objects has no number of days")
                    .with_hint("Set `s3.retention-days`."),
            );
        }
        if self.connections == Some(0) {
            return Err(SetupError::new("`s3.connections` is 0"));
        }
        if let ServerEncryption::CustomerKey(key) = &self.encryption {
            let bytes = STANDARD.decode(key.expose_secret()).unwrap_or_default();
            if bytes.len() != 32 {
                return Err(SetupError::new(
                    "the customer key of server-side encryption is not 32 bytes as base64",
                ));
            }
            if self.location.is_plain_http {
                return Err(SetupError::new(
                    "a customer key of server-side encryption would go over the network in the clear",
                )
                .with_hint("Use an https endpoint."));
            }
        }
        Ok(())
    }
}

impl ServerEncryption {
    fn kms_key(&self) -> Option<String> {
        match self {
            Self::Kms(key) => key.clone(),
            _ => None,
        }
    }
}

impl RetentionMode {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, SetupError> {
    value
        .parse()
        .map_err(|_| SetupError::new(format!("`s3.{name}` is not a whole number")))
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, SetupError> {
    match value {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(not_one_of(name, "`true` or `false`")),
    }
}

fn not_one_of(name: &str, values: &str) -> SetupError {
    SetupError::new(format!("`s3.{name}` is not {values}"))
}

impl fmt::Display for S3Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(formatter)
    }
}

impl fmt::Debug for S3Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Options")
            .field("location", &self.to_string())
            .field("region", &self.region)
            .field("source", &self.source.to_string())
            .finish_non_exhaustive()
    }
}
