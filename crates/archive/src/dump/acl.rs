//! Access control lists as text: Linux keeps them as binary attributes, tar archives as lines.

/// The attribute of a file's own list.
pub(super) const ACCESS: &str = "system.posix_acl_access";
/// The attribute of the list that new files in a directory get.
pub(super) const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;

/// The long text form, users and groups by number because the archive may be unpacked elsewhere.
/// None when the attribute is not of the form that Linux writes.
pub(super) fn text(binary: &[u8]) -> Option<String> {
    let (version, entries) = binary.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let mut text = String::new();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let permissions = u16::from_le_bytes([entry[2], entry[3]]);
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        let (word, has_id) = match tag {
            0x01 => ("user", false),
            0x02 => ("user", true),
            0x04 => ("group", false),
            0x08 => ("group", true),
            0x10 => ("mask", false),
            0x20 => ("other", false),
            _ => return None,
        };
        let id = if has_id {
            id.to_string()
        } else {
            String::new()
        };
        let letter = |bit: u16, letter: char| if permissions & bit == 0 { '-' } else { letter };
        let rights: String = [letter(4, 'r'), letter(2, 'w'), letter(1, 'x')]
            .iter()
            .collect();
        text.extend([word, ":", &id, ":", &rights, "\n"]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
        [
            &tag.to_le_bytes()[..],
            &permissions.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    }

    #[test]
    fn a_list_becomes_one_line_per_entry() {
        let mut binary = VERSION.to_le_bytes().to_vec();
        binary.extend(entry(0x01, 6, u32::MAX));
        binary.extend(entry(0x02, 4, 1000));
        binary.extend(entry(0x04, 5, u32::MAX));
        binary.extend(entry(0x10, 7, u32::MAX));
        binary.extend(entry(0x20, 0, u32::MAX));
        assert_eq!(
            text(&binary).unwrap(),
            "user::rw-\nuser:1000:r--\ngroup::r-x\nmask::rwx\nother::---\n"
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(text(b""), None);
        assert_eq!(text(&[1, 0, 0, 0]), None);
        assert_eq!(text(&[2, 0, 0, 0, 1]), None);
        let unknown = [&VERSION.to_le_bytes()[..], &entry(0x40, 7, 0)].concat();
        assert_eq!(text(&unknown), None);
    }
}
