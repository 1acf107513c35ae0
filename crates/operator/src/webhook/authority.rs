//! Makes the certificates: an authority of our own, and a certificate of the webhooks signed by it.

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// How long an authority is good.
const AUTHORITY_DAYS: i64 = 10 * 365;
/// How long a certificate is good.
const SERVING_DAYS: i64 = 365;
/// With so much left a new one is made.
const RENEWAL_DAYS: i64 = 90;
/// Clocks of others may be behind.
const BACK_DAYS: i64 = 1;

/// What is kept in the Secret. No `Debug`: it holds keys.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// The authority's certificate as PEM.
    pub authority: String,
    /// The authority's key as PEM.
    pub authority_key: String,
    /// The name of the authority.
    pub authority_name: String,
    /// When the authority ends.
    pub authority_ends: Timestamp,
    /// The certificate as PEM.
    pub certificate: String,
    /// Its key as PEM.
    pub key: String,
    /// When it ends.
    pub ends: Timestamp,
    /// The names it is for.
    pub names: Vec<String>,
}

/// What there should be, given what there is. The same comes back when nothing has to be done.
pub(super) fn renewed(
    kept: Option<Kept>,
    names: &[String],
    now: Timestamp,
) -> Result<Kept, rcgen::Error> {
    let is_good = |ends: Timestamp| days(now, RENEWAL_DAYS) < ends;
    match kept {
        Some(kept) if is_good(kept.authority_ends) => {
            if is_good(kept.ends) && kept.names == names {
                return Ok(kept);
            }
            // A key that cannot be read any more is replaced with all that was signed by it.
            let Ok(key) = KeyPair::from_pem(&kept.authority_key) else {
                return fresh(names, now);
            };
            let params = authority(&kept.authority_name, now, kept.authority_ends)?;
            serve(&Issuer::new(params, key), kept, names, now)
        }
        _ => fresh(names, now),
    }
}

fn fresh(names: &[String], now: Timestamp) -> Result<Kept, rcgen::Error> {
    let ends = days(now, AUTHORITY_DAYS);
    // The name is new as well, so that a client finds no issuer rather than a wrong signature.
    let name = format!("Stash webhooks {}", now.as_second());
    let params = authority(&name, now, ends)?;
    let key = KeyPair::generate()?;
    let authority_key = key.serialize_pem();
    let issuer = CertifiedIssuer::self_signed(params, key)?;
    let kept = Kept {
        authority: issuer.pem(),
        authority_key,
        authority_name: name,
        authority_ends: ends,
        certificate: String::new(),
        key: String::new(),
        ends,
        names: Vec::new(),
    };
    serve(&issuer, kept, names, now)
}

fn authority(
    name: &str,
    now: Timestamp,
    ends: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params(&[], now, ends)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn serve(
    issuer: &Issuer<'_, KeyPair>,
    kept: Kept,
    names: &[String],
    now: Timestamp,
) -> Result<Kept, rcgen::Error> {
    let ends = days(now, SERVING_DAYS).min(kept.authority_ends);
    let mut params = params(names, now, ends)?;
    let common = names.first().map_or("stash", String::as_str);
    params.distinguished_name.push(DnType::CommonName, common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Kept {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        ends,
        names: names.to_vec(),
        ..kept
    })
}

fn params(
    names: &[String],
    now: Timestamp,
    ends: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // The beginning of the day is exact enough for certificates.
    let (year, month, day) = date(days(now, -BACK_DAYS));
    params.not_before = date_time_ymd(year, month, day);
    let (year, month, day) = date(ends);
    params.not_after = date_time_ymd(year, month, day);
    Ok(params)
}

fn days(from: Timestamp, count: i64) -> Timestamp {
    from.checked_add((count * 24).hours())
        .unwrap_or(Timestamp::MAX)
}

fn date(moment: Timestamp) -> (i32, u8, u8) {
    let date = moment.to_zoned(TimeZone::UTC).date();
    let part = |number: i8| u8::try_from(number).unwrap_or(1);
    (i32::from(date.year()), part(date.month()), part(date.day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn certificates_are_renewed_in_time_and_the_authority_rarely() {
        let names = vec!["stash.default.svc".to_owned(), "127.0.0.1".to_owned()];
        let first = renewed(None, &names, at("2026-01-01T00:00:00Z")).unwrap();
        let same = renewed(Some(first.clone()), &names, at("2026-09-01T00:00:00Z")).unwrap();
        assert!(first == same, "nothing had to be done");
        let later = renewed(Some(first.clone()), &names, at("2026-11-01T00:00:00Z")).unwrap();
        assert!(later.certificate != first.certificate && later.authority == first.authority);
        let others = vec!["other.default.svc".to_owned()];
        let moved = renewed(Some(first.clone()), &others, at("2026-01-02T00:00:00Z")).unwrap();
        assert!(moved.certificate != first.certificate && moved.authority == first.authority);
        let much_later = renewed(Some(later), &names, at("2035-12-01T00:00:00Z")).unwrap();
        assert!(much_later.authority != first.authority);
    }
}
