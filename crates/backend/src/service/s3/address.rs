//! From bucket and key to a URL: the two ways of naming a bucket, and the hosts of Amazon's regions.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::location::Location;
use super::options::BucketLookup;

/// Where requests are signed for while nobody has said otherwise.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// Everything but what RFC 3986 calls unreserved.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const KEY: &AsciiSet = &VALUE.remove(b'/');

/// How a bucket's URLs are made.
#[derive(Debug)]
pub(super) struct Address {
    scheme: &'static str,
    authority: String,
    /// The parts of an Amazon host around its region.
    amazon: Option<AmazonHost>,
    bucket: String,
    is_bucket_in_host: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct AmazonHost {
    before: String,
    region: Option<String>,
    after: String,
}

impl Address {
    pub fn new(location: &Location, lookup: BucketLookup) -> Self {
        let host = host_of(&location.authority);
        let is_bucket_in_host = match lookup {
            BucketLookup::Dns => true,
            BucketLookup::Path => false,
            BucketLookup::Auto => {
                wants_bucket_in_host(host)
                    && fits_into_host(&location.bucket, location.is_plain_http)
            }
        };
        Self {
            scheme: location.scheme(),
            authority: location.authority.clone(),
            amazon: AmazonHost::of(&location.authority),
            bucket: location.bucket.clone(),
            is_bucket_in_host,
        }
    }

    /// The region that the host itself names.
    pub fn region(&self) -> Option<&str> {
        self.amazon.as_ref()?.region.as_deref()
    }

    pub const fn is_amazon(&self) -> bool {
        self.amazon.is_some()
    }

    /// Scheme, host and port of requests in a region.
    pub fn origin(&self, region: &str) -> String {
        let authority = match &self.amazon {
            Some(host) => host.in_region(region),
            None => self.authority.clone(),
        };
        if self.is_bucket_in_host {
            format!("{}://{}.{authority}", self.scheme, self.bucket)
        } else {
            format!("{}://{authority}", self.scheme)
        }
    }

    /// The URL of the bucket, or of an object in it.
    pub fn url(&self, region: &str, key: Option<&str>, query: &[(&str, &str)]) -> String {
        let mut url = self.origin(region);
        if !self.is_bucket_in_host {
            url.push('/');
            url.push_str(&self.bucket);
        }
        url.push('/');
        if let Some(key) = key {
            url.extend(utf8_percent_encode(key, KEY));
        }
        for (number, (name, value)) in query.iter().enumerate() {
            url.push(if number == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, VALUE));
        }
        url
    }
}

fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority;
    }
    authority.split(':').next().unwrap_or(authority)
}

/// The stores that want the bucket in the host: Amazon's and Alibaba's.
fn wants_bucket_in_host(host: &str) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com"]
        .iter()
        .any(|domain| host.ends_with(domain))
}

/// Whether the bucket can be a part of a host name, which a certificate covers only without dots.
fn fits_into_host(bucket: &str, is_plain_http: bool) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bucket.len() <= 63
        && bucket
            .bytes()
            .all(|byte| is_letter(byte) || byte == b'-' || (byte == b'.' && is_plain_http))
        && bucket.bytes().next().is_some_and(is_letter)
        && bucket.bytes().last().is_some_and(is_letter)
}

impl AmazonHost {
    /// `s3.amazonaws.com`, `s3.REGION.amazonaws.com`, `s3-REGION.…`, `s3.dualstack.REGION.…`, `s3-fips.REGION.…`.
    fn of(authority: &str) -> Option<Self> {
        let (name, after) = [".amazonaws.com", ".amazonaws.com.cn"]
            .iter()
            .find_map(|&domain| Some((authority.strip_suffix(domain)?, domain)))?;
        if name == "s3" {
            return Some(Self {
                before: "s3.".to_owned(),
                region: None,
                after: after.to_owned(),
            });
        }
        let prefixes = [
            ("s3.dualstack.", "s3.dualstack."),
            ("s3-fips.dualstack.", "s3-fips.dualstack."),
            ("s3-fips.", "s3-fips."),
            ("s3.", "s3."),
            ("s3-", "s3."),
        ];
        let (before, region) = prefixes.iter().find_map(|(prefix, modern)| {
            let region = name.strip_prefix(prefix)?;
            is_region(region).then_some((*modern, region))
        })?;
        Some(Self {
            before: before.to_owned(),
            region: Some(region.to_owned()),
            after: after.to_owned(),
        })
    }

    fn in_region(&self, region: &str) -> String {
        if self.region.is_none() && region == DEFAULT_REGION {
            return format!("s3{}", self.after);
        }
        format!("{}{region}{}", self.before, self.after)
    }
}

/// `eu-central-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    text.split('-').count() >= 3
        && text.ends_with(|letter: char| letter.is_ascii_digit())
        && is_harmless(text)
}

/// Whether what a server calls a region may stand in a host name.
pub(super) fn is_harmless(region: &str) -> bool {
    !region.is_empty()
        && region.len() <= 64
        && region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, lookup: BucketLookup) -> Address {
        Address::new(&Location::parse(text).unwrap(), lookup)
    }

    #[test]
    fn the_bucket_is_in_the_host_only_where_that_works() {
        for (text, origin) in [
            ("s3.amazonaws.com/buck", "https://buck.s3.amazonaws.com"),
            ("s3.amazonaws.com/buck.dot", "https://s3.amazonaws.com"),
            ("s3.amazonaws.com/Buck", "https://s3.amazonaws.com"),
            ("http://minio:9000/buck", "http://minio:9000"),
            ("https://[::1]:9000/buck", "https://[::1]:9000"),
            (
                "oss-eu-1.aliyuncs.com/buck",
                "https://buck.oss-eu-1.aliyuncs.com",
            ),
        ] {
            let address = address(text, BucketLookup::Auto);
            assert_eq!(address.origin(DEFAULT_REGION), origin, "{text}");
        }
        let forced = address("http://minio:9000/buck/p", BucketLookup::Dns);
        assert_eq!(
            forced.url("x", Some("p/c"), &[]),
            "http://buck.minio:9000/p/c"
        );
        let path = address("s3.amazonaws.com/buck", BucketLookup::Path);
        assert_eq!(
            path.url(DEFAULT_REGION, None, &[("prefix", "a/ä b+&")]),
            "https://s3.amazonaws.com/buck/?prefix=a%2F%C3%A4%20b%2B%26"
        );
    }

    #[test]
    fn the_hosts_of_amazon_follow_the_region_and_others_do_not() {
        for (host, names, in_ireland) in [
            ("s3.amazonaws.com", None, "s3.eu-west-1.amazonaws.com"),
            (
                "s3.us-west-2.amazonaws.com",
                Some("us-west-2"),
                "s3.eu-west-1.amazonaws.com",
            ),
            (
                "s3-us-west-2.amazonaws.com",
                Some("us-west-2"),
                "s3.eu-west-1.amazonaws.com",
            ),
            (
                "s3.dualstack.us-west-2.amazonaws.com",
                Some("us-west-2"),
                "s3.dualstack.eu-west-1.amazonaws.com",
            ),
            (
                "s3.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
                "s3.eu-west-1.amazonaws.com.cn",
            ),
            (
                "s3-accelerate.amazonaws.com",
                None,
                "s3-accelerate.amazonaws.com",
            ),
            ("s3.eu-1.example.com", None, "s3.eu-1.example.com"),
        ] {
            let address = address(&format!("{host}/buck"), BucketLookup::Path);
            assert_eq!(address.region(), names, "{host}");
            assert_eq!(
                address.origin("eu-west-1"),
                format!("https://{in_ireland}"),
                "{host}"
            );
        }
    }

    #[test]
    fn a_region_from_a_server_cannot_change_the_host() {
        for text in ["evil.com/", "a b", "", "x@y", "eu\u{e9}"] {
            assert!(!is_harmless(text), "{text}");
        }
        assert!(is_harmless("eu-central-1") && is_harmless("garage"));
    }
}
