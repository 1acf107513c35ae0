use std::hint::black_box;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn tag(k: &str, r: &str, nonce: &str, message: &str) -> String {
    let ciphers = Ciphers::new(&[1; 32], &bytes(k), &bytes(r));
    hex::encode(ciphers.tag(&bytes(nonce), &hex::decode(message).unwrap()))
}

/// Bernstein, "The Poly1305-AES message-authentication code", appendix B.
#[test]
fn tags_equal_the_vectors_published_with_poly1305_aes() {
    assert_eq!(
        tag(
            "ec074c835580741701425b623235add6",
            "851fc40c3467ac0be05cc20404f3f700",
            "fb447350c4e868c52ac3275cf9d4327e",
            "f3f6"
        ),
        "f4c633c3044fc145f84f335cb81953de"
    );
    assert_eq!(
        tag(
            "75deaa25c09f208e1dc4ce6b5cad3fbf",
            "a0f3080000f46400d0c7e9076c834403",
            "61ee09218d29b0aaed7e154a2c5509cc",
            ""
        ),
        "dd3fab2251f11ac759f0887129cc2ee7"
    );
    assert_eq!(
        tag(
            "6acb5f61a7176dd320c5c1eb2edcdc74",
            "48443d0bb0d21109c89a100b5ce2c208",
            "ae212a55399729595dea458bc621ff0e",
            "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136"
        ),
        "0ee1c16bb73f0f4fd19881753c01cdbe"
    );
    assert_eq!(
        tag(
            "e1a5668a4d5b66a5f68cc5424ed5982d",
            "12976a08c4426d0ce8a82407c4f48207",
            "9ae831e743978d3a23527c7128149e3a",
            "ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9"
        ),
        "5154ad0d2cb26e01274fc51148491f1b"
    );
}

/// NIST SP 800-38A, F.5.5.
#[test]
fn the_keystream_equals_nists_vectors_for_aes_256_in_counter_mode() {
    let key = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let nonce = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let plaintext = hex::decode(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    )
    .unwrap();
    let mut out = Vec::new();
    Ciphers::new(&key, &[1; 16], &[1; 16]).encrypt(&nonce, &plaintext, &mut out);
    assert_eq!(
        hex::encode(out),
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    );
}

#[test]
fn the_counter_carries_over_all_128_bits() {
    let ciphers = Ciphers::new(&[7; 32], &[1; 16], &[1; 16]);
    let mut nonce = [0xff; 16];
    let (mut long, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
    ciphers.encrypt(&nonce, &[0; 32], &mut long);
    ciphers.encrypt(&nonce, &[0; 16], &mut first);
    nonce = [0; 16];
    ciphers.encrypt(&nonce, &[0; 16], &mut second);
    assert_eq!(long, [first, second].concat());
}

#[test]
fn a_key_survives_its_json_form_and_shows_nothing_in_debug() {
    let json = br#"{"mac":{"k":"68Jf3A7dM9+1aLc/6Tt4Dg==","r":"xkaJ+Z/7ptyOVhhc8KjUKA=="},"encrypt":"l7sAzKzMyZkq5+agO71Hg90sf6PajUJXAdwJalzPPnY="}"#;
    let key = MasterKey::from_json(json).unwrap();
    assert_eq!(key.to_json()[..], json[..]);
    assert_eq!(format!("{key:?}"), "MasterKey(redacted)");
    assert_ne!(MasterKey::random(), MasterKey::random());
}

#[test]
fn malformed_keys_are_refused_by_part() {
    let zero = r#"{"mac":{"k":"AAAAAAAAAAAAAAAAAAAAAA==","r":"xkaJ+Z/7ptyOVhhc8KjUKA=="},"encrypt":"l7sAzKzMyZkq5+agO71Hg90sf6PajUJXAdwJalzPPnY="}"#;
    let error = |json: &str| {
        MasterKey::from_json(json.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(zero), "part mac.k of the master key is all zeros");
    assert_eq!(
        error(&zero.replace("xkaJ+Z/7ptyOVhhc8KjUKA==", "xkaJ")),
        "part mac.r of the master key is not 16 bytes in base64"
    );
    assert_eq!(error("{}"), "master key is not the expected JSON document");
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let key = MasterKey::random();
    let sealed = key.seal(b"what must not change, over a block");
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(key.open(&damaged), Err(CryptoError::Unauthenticated)),
            "bit {bit}"
        );
        let before = damaged.clone();
        assert!(key.open_in_place(&mut damaged).is_err());
        assert_eq!(damaged, before);
    }
    for bytes in 0..sealed.len() {
        assert!(key.open(&sealed[..bytes]).is_err(), "{bytes} bytes");
    }
    assert!(MasterKey::random().open(&sealed).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_sealed_opens_to_the_same_bytes(length in 0usize..40_000, fill: u8) {
        let plaintext: Vec<u8> = (0..length).map(|i| fill.wrapping_add(i.to_le_bytes()[0])).collect();
        let key = MasterKey::random();
        let mut sealed = b"before".to_vec();
        key.seal_into(&plaintext, &mut sealed);
        prop_assert_eq!(sealed.len(), 6 + length + OVERHEAD);
        prop_assert_eq!(&key.open(&sealed[6..]).unwrap(), &plaintext);
        let mut buffer = sealed[6..].to_vec();
        key.open_in_place(&mut buffer).unwrap();
        prop_assert_eq!(buffer, plaintext);
    }
}

/// Run with `cargo test -p repository --release -- --ignored --nocapture measure_`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure_sealing_and_opening() {
    let key = MasterKey::random();
    for size in [1 << 10, 64 << 10, 1 << 20, 8 << 20] {
        let plaintext = vec![5; size];
        let rounds = (1 << 30) / size;
        let mut out = Vec::with_capacity(size + OVERHEAD);
        let rate = |start: Instant| (size * rounds) as f64 / start.elapsed().as_secs_f64() / 1e9;
        let start = Instant::now();
        for _ in 0..rounds {
            out.clear();
            key.seal_into(black_box(&plaintext), &mut out);
        }
        let sealing = rate(start);
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(key.ciphers.tag(&[1; 16], black_box(&out)));
        }
        let tagging = rate(start);
        let mut buffer = Vec::with_capacity(size + OVERHEAD);
        let start = Instant::now();
        for _ in 0..rounds {
            buffer.clear();
            buffer.extend_from_slice(&out);
            key.open_in_place(&mut buffer).unwrap();
        }
        println!(
            "{size:>8} bytes: seal {sealing:.2} GB/s, tag alone {tagging:.2} GB/s, open {:.2} GB/s",
            rate(start)
        );
    }
}
