//! Strings in trees. Every text is JSON as Go's `encoding/json` writes it; a node's name is besides quoted
//! as by Go's `strconv.Quote` before, which is how names that are no UTF-8 survive.

use super::printable::is_printable;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD each.
pub(super) fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let mut plain = 0;
        let valid = chunk.valid();
        for (place, character) in valid.char_indices() {
            if is_plain_in_json(character) {
                continue;
            }
            out.extend_from_slice(&valid.as_bytes()[plain..place]);
            write_json_escape(out, character);
            plain = place + character.len_utf8();
        }
        out.extend_from_slice(&valid.as_bytes()[plain..]);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Appends a node's name as a JSON string with its quotes.
pub(super) fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'"');
    if name.iter().all(|&byte| is_plain_in_name(byte)) {
        out.extend_from_slice(name);
    } else {
        for chunk in name.utf8_chunks() {
            for character in chunk.valid().chars() {
                write_name_character(out, character);
            }
            for &byte in chunk.invalid() {
                write_hex(out, b"\\\\x", u32::from(byte), 2);
            }
        }
    }
    out.push(b'"');
}

/// The bytes of a node's name from its quoted form (the JSON string already decoded); `None` when it is none.
pub(super) fn unquote_name(quoted: &str) -> Option<Vec<u8>> {
    let bytes = quoted.as_bytes();
    if bytes.iter().any(|byte| matches!(byte, b'"' | b'\n')) {
        return unquote_slowly(bytes);
    }
    if bytes.contains(&b'\\') {
        unquote_slowly(bytes)
    } else {
        Some(bytes.to_vec())
    }
}

fn unquote_slowly(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'"' | b'\n' => return None,
            b'\\' => rest = unescape(rest, &mut name)?,
            byte => name.push(byte),
        }
    }
    Some(name)
}

/// Reads what follows a backslash and returns what follows that.
fn unescape<'a>(rest: &'a [u8], name: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&letter, rest) = rest.split_first()?;
    let simple = match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => letter,
        b'x' => {
            let (code, rest) = number(rest, 2, 16)?;
            name.push(u8::try_from(code).ok()?);
            return Some(rest);
        }
        b'u' | b'U' => {
            let (code, rest) = number(rest, if letter == b'u' { 4 } else { 8 }, 16)?;
            name.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        b'0'..=b'7' => {
            let (code, rest) = number(rest, 2, 8)?;
            name.push(u8::try_from(u32::from(letter - b'0') * 64 + code).ok()?);
            return Some(rest);
        }
        _ => return None,
    };
    name.push(simple);
    Some(rest)
}

fn number(text: &[u8], digits: usize, radix: u32) -> Option<(u32, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let mut code: u32 = 0;
    for &byte in head {
        code = code
            .checked_mul(radix)?
            .checked_add(char::from(byte).to_digit(radix)?)?;
    }
    Some((code, rest))
}

/// Bytes that neither quoting nor JSON changes.
const fn is_plain_in_name(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn is_plain_in_json(character: char) -> bool {
    !matches!(
        character,
        '\0'..'\u{20}' | '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}'
    )
}

fn write_json_escape(out: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => return write_hex(out, b"\\u", u32::from(character), 4),
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// One character of a name, quoted and then escaped.
fn write_name_character(out: &mut Vec<u8>, character: char) {
    let quoted: &[u8] = match character {
        '"' => br#"\\\""#,
        '\\' => br"\\\\",
        '\u{7}' => br"\\a",
        '\u{8}' => br"\\b",
        '\u{c}' => br"\\f",
        '\n' => br"\\n",
        '\r' => br"\\r",
        '\t' => br"\\t",
        '\u{b}' => br"\\v",
        _ if is_printable(character) => {
            if is_plain_in_json(character) {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                write_json_escape(out, character);
            }
            return;
        }
        '\0'..='\u{7f}' => return write_hex(out, br"\\x", u32::from(character), 2),
        '\u{80}'..='\u{ffff}' => return write_hex(out, br"\\u", u32::from(character), 4),
        _ => return write_hex(out, br"\\U", u32::from(character), 8),
    };
    out.extend_from_slice(quoted);
}

fn write_hex(out: &mut Vec<u8>, prefix: &[u8], code: u32, digits: u32) {
    out.extend_from_slice(prefix);
    for place in (0..digits).rev() {
        out.push(HEX[(code >> (4 * place)) as usize & 0xf]);
    }
}
