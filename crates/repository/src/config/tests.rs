use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::crypto::MasterKey;

/// Written by `restic init` 0.19.1, with the master key that `restic cat masterkey` showed.
const SEALED: &[u8] = include_bytes!("../../tests/fixtures/restic-0.19.1/config");
const MASTER_KEY: &[u8] = include_bytes!("../../tests/fixtures/restic-0.19.1/masterkey.json");

#[test]
fn a_config_of_real_restic_is_read_and_written_back_byte_for_byte() {
    let json = MasterKey::from_json(MASTER_KEY)
        .unwrap()
        .open(SEALED)
        .unwrap();
    let config = Config::parse(&json).unwrap();
    assert_eq!(config.version(), 2);
    assert_eq!(
        config.id().to_hex(),
        "676c627874e8e1cc918aa96ae7a36c13fc74f19474905fccf6e5dd0c54d5eb4b"
    );
    assert_eq!(config.chunker_polynomial(), Polynomial(0x38_aa64_3101_0177));
    assert_eq!(config.to_json(), json);
}

#[test]
fn fresh_configs_are_valid_and_differ() {
    let mut rng = StdRng::seed_from_u64(1);
    let first = Config::create(2, &mut rng).unwrap();
    let second = Config::create(1, &mut rng).unwrap();
    assert_eq!(Config::parse(&first.to_json()).unwrap(), first);
    assert!(first.has_compression() && !second.has_compression());
    assert_ne!(first.id(), second.id());
    assert_ne!(first.chunker_polynomial(), second.chunker_polynomial());
    assert_eq!(second.with_version(2).unwrap().id(), second.id());
}

#[test]
fn unusable_configs_are_refused_with_what_is_wrong() {
    let id = "676c627874e8e1cc918aa96ae7a36c13fc74f19474905fccf6e5dd0c54d5eb4b";
    let error = |json: &str| Config::parse(json.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error(r#"{"version":3,"encryption":"new"}"#),
        "repository format version 3 is not supported, known are versions 1 and 2"
    );
    assert_eq!(
        error(&format!(
            r#"{{"version":0,"id":"{id}","chunker_polynomial":"38aa6431010177"}}"#
        )),
        "repository format version 0 is not supported, known are versions 1 and 2"
    );
    // Reducible, irreducible of a lower degree, of a higher degree.
    for polynomial in ["38aa6431010176", "11b", "ffffffffffffffff", "0"] {
        assert_eq!(
            error(&format!(
                r#"{{"version":2,"id":"{id}","chunker_polynomial":"{polynomial}"}}"#
            )),
            format!("chunker polynomial {polynomial} is not irreducible of degree 53")
        );
    }
    for json in [
        "",
        "{}",
        "[]",
        r#"{"version":-1}"#,
        r#"{"version":2,"id":"ab"}"#,
        r#"{"version":99999999999}"#,
    ] {
        assert_eq!(
            error(json),
            "config is not the expected JSON document",
            "{json}"
        );
    }
    assert!(matches!(
        Config::parse(&vec![b' '; 70_000]),
        Err(ConfigError::TooLong { bytes: 70_000 })
    ));
}
