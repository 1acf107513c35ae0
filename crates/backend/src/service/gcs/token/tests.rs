use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::assertion::assertion;
use super::*;

/// Made for these tests and used nowhere else.
const KEY_PEM: &str = include_str!("test_key.pem");

fn der() -> Vec<u8> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY_PEM.as_bytes()).unwrap();
    key.secret_pkcs8_der().to_vec()
}

/// The same key in the older form: what is inside the newer one after its 26 bytes about the algorithm.
fn older_pem() -> String {
    let text = STANDARD.encode(&der()[26..]);
    format!("-----BEGIN RSA PRIVATE KEY-----\n{text}\n-----END RSA PRIVATE KEY-----\n")
}

fn account(pem: &str) -> credentials::ServiceAccount {
    let text = json!({
        "type": "service_account",
        "client_email": "robot@project.example",
        "private_key_id": "key-1",
        "private_key": pem,
        "token_uri": "https://token.example/token",
    });
    match Credentials::parse(&SecretString::from(text.to_string())) {
        Ok(Credentials::ServiceAccount(account)) => account,
        _ => panic!("this is a key of a service account"),
    }
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn an_assertion_is_signed_and_says_who_asks_whom_for_what_and_when() {
    let public = RsaKeyPair::from_pkcs8(&der()).unwrap();
    let public = UnparsedPublicKey::new(
        &RSA_PKCS1_2048_8192_SHA256,
        public.public().as_ref().to_vec(),
    );
    for pem in [KEY_PEM.to_owned(), older_pem()] {
        let token = assertion(&account(&pem), "scope", 1_000_000).unwrap();
        let (signed, signature) = token.expose_secret().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        assert_eq!(
            decoded(header),
            json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"})
        );
        assert_eq!(
            decoded(claims),
            json!({
                "iss": "robot@project.example",
                "scope": "scope",
                "aud": "https://token.example/token",
                "iat": 999_990,
                "exp": 1_003_590,
            })
        );
    }
}

#[test]
fn a_key_that_cannot_sign_is_named_without_showing_it() {
    let broken = KEY_PEM.replace("MII", "AAA");
    let cut = KEY_PEM.lines().take(5).collect::<Vec<_>>().join("\n");
    for pem in ["", "hidden", &broken, &cut] {
        let reason = assertion(&account(&format!("{pem} ")), "scope", 0).unwrap_err();
        assert!(reason.contains("private key"), "{reason}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_in_the_last_part_of_its_life() {
    let lifetimes = [(3600, 3375), (200, 150), (0, 0), (u64::MAX, 86_400 - 225)];
    for (seconds, until_renewal) in lifetimes {
        let before = Instant::now();
        let token = Token::new(&Grant {
            token: SecretString::from("token"),
            lifetime: Duration::from_secs(seconds),
        });
        let wait = token.renew - before;
        let expected = Duration::from_secs(until_renewal);
        assert!(wait >= expected, "{seconds}: {wait:?}");
        assert!(
            wait < expected + Duration::from_mins(1),
            "{seconds}: {wait:?}"
        );
        assert!(token.end >= token.renew);
    }
}
