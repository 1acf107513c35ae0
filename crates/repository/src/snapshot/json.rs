//! JSON as Go's `encoding/json` writes it: besides what JSON demands, `<`, `>`, `&` and the two Unicode line
//! separators are escaped. Snapshot files and group keys have this form.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The JSON of a value whose maps have string keys and whose own serialisation cannot fail.
pub(super) fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut out, GoFormatter))
        .expect("writing to memory does not fail, and the types here have no fallible parts");
    out
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (place, character) in fragment.char_indices() {
            if matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[plain..place])?;
                write!(writer, "\\u{:04x}", u32::from(character))?;
                plain = place + character.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}
