use super::*;

/// Written by `restic init` 0.19.1 with the password `geheim`.
const KEY_FILE: &[u8] = include_bytes!("../../tests/fixtures/restic-0.19.1/key.json");
const MASTER_KEY: &[u8] = include_bytes!("../../tests/fixtures/restic-0.19.1/masterkey.json");

fn password(text: &str) -> SecretString {
    text.to_owned().into()
}

fn fresh() -> (MasterKey, KeyFile) {
    let master = MasterKey::random();
    let created = "2026-11-22T20:10:42.266339325Z".parse().unwrap();
    let file = KeyFile::create(
        &master,
        &password("x"),
        ScryptParams::FAST_FOR_TESTS,
        ("root", "vm"),
        created,
    )
    .unwrap();
    (master, file)
}

#[test]
fn a_key_file_of_real_restic_opens_and_is_written_back_byte_for_byte() {
    let file = KeyFile::parse(KEY_FILE).unwrap();
    assert_eq!(
        (file.username.as_str(), file.hostname.as_str()),
        ("root", "vm")
    );
    assert_eq!(file.to_json(), KEY_FILE);
    let master = file.unlock(&password("geheim")).unwrap();
    assert_eq!(master, MasterKey::from_json(MASTER_KEY).unwrap());
    assert!(
        file.unlock(&password("Geheim"))
            .unwrap_err()
            .is_wrong_password()
    );
}

#[test]
fn a_fresh_key_file_opens_with_its_password_only() {
    let (master, file) = fresh();
    let file = KeyFile::parse(&file.to_json()).unwrap();
    assert_eq!(file.created, "2026-11-22T20:10:42.266339325Z");
    assert_eq!(file.unlock(&password("x")).unwrap(), master);
    assert!(matches!(
        file.unlock(&password("")),
        Err(KeyError::WrongPassword)
    ));
}

#[test]
fn damaged_and_foreign_key_files_are_told_from_a_wrong_password() {
    let (_, file) = fresh();
    let unlock = |file: KeyFile| file.unlock(&password("x")).unwrap_err();
    let short = KeyFile {
        data: vec![1; 31],
        ..file.clone()
    };
    assert!(matches!(
        unlock(short),
        KeyError::Damaged(CryptoError::TooShort { bytes: 31 })
    ));
    let foreign = KeyFile {
        kdf: "argon2id".to_owned(),
        ..file.clone()
    };
    assert_eq!(
        unlock(foreign).to_string(),
        "key derivation \"argon2id\" is not supported, only scrypt is"
    );
    let hostile = KeyFile {
        n: 1 << 40,
        ..file.clone()
    };
    assert!(matches!(
        unlock(hostile),
        KeyError::Params(ScryptParamsError::Excessive { .. })
    ));
    let unsalted = KeyFile {
        salt: vec![],
        ..file.clone()
    };
    assert!(matches!(unlock(unsalted), KeyError::Salt { bytes: 0 }));
    let no_master_key = KeyFile {
        data: derive(&password("x"), &file.salt, ScryptParams::FAST_FOR_TESTS)
            .unwrap()
            .seal(b"{}"),
        ..file
    };
    assert!(matches!(
        unlock(no_master_key),
        KeyError::Damaged(CryptoError::KeyFormat(_))
    ));
}

#[test]
fn texts_that_are_no_key_file_are_refused() {
    for json in [
        "",
        "{}",
        "null",
        r#"{"kdf":"scrypt","N":-1,"r":8,"p":1,"salt":"","data":""}"#,
    ] {
        assert!(
            matches!(KeyFile::parse(json.as_bytes()), Err(KeyError::Format(_))),
            "{json}"
        );
    }
    let not_base64 = String::from_utf8(KEY_FILE.to_vec())
        .unwrap()
        .replace("\"salt\":\"", "\"salt\":\"*");
    assert!(matches!(
        KeyFile::parse(not_base64.as_bytes()),
        Err(KeyError::Format(_))
    ));
    assert!(matches!(
        KeyFile::parse(&vec![b' '; 70_000]),
        Err(KeyError::TooLong { bytes: 70_000 })
    ));
}
