//! Sizes as restic's flags take them: a number with an optional unit of 1024.

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: a whole number, optionally followed by b, k, m, g or t")]
pub struct SizeError {
    /// The text.
    pub text: String,
}

/// Bytes from a text as `100`, `10k`, `5M`, `2g` or `1T`; below 2^63.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError {
        text: text.to_owned(),
    };
    let (number, unit) = match text
        .as_bytes()
        .last()
        .ok_or_else(error)?
        .to_ascii_lowercase()
    {
        b'b' => (&text[..text.len() - 1], 1),
        b'k' => (&text[..text.len() - 1], 1 << 10),
        b'm' => (&text[..text.len() - 1], 1 << 20),
        b'g' => (&text[..text.len() - 1], 1 << 30),
        b't' => (&text[..text.len() - 1], 1_u64 << 40),
        _ => (text, 1),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        let cases = [
            ("0", 0),
            ("17", 17),
            ("3b", 3),
            ("2k", 2048),
            ("1M", 1 << 20),
            ("5G", 5 << 30),
            ("1t", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "k",
            "1.5G",
            "-1",
            "1x",
            "9223372036854775808",
            "99999999999T",
            "1 k",
            "1ü",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
