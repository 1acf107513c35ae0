//! The JSON of trees, written by hand: it has to equal Go's byte for byte, and a backup writes one node per file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::quote::{write_json_string, write_name};
use super::{Node, Tree};
use crate::id::BlobId;
use crate::time::Time;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Bytes of a node without its content, about.
const NODE_BYTES: usize = 420;
/// Bytes of one blob id in quotes with its comma.
const ID_BYTES: usize = 67;

/// The JSON of a tree with its newline.
pub(super) fn tree(tree: &Tree) -> Vec<u8> {
    let blobs: usize = tree
        .nodes
        .iter()
        .filter_map(|node| node.content.as_ref())
        .map(Vec::len)
        .sum();
    let mut out = Vec::with_capacity(16 + tree.nodes.len() * NODE_BYTES + blobs * ID_BYTES);
    out.extend_from_slice(b"{\"nodes\":[");
    for (place, node) in tree.nodes.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_node(&mut out, node);
    }
    out.extend_from_slice(b"]}\n");
    out
}

/// Fields in restic's order; those that Go omits when empty are omitted.
fn write_node(out: &mut Vec<u8>, node: &Node) {
    out.extend_from_slice(b"{\"name\":");
    write_name(out, &node.name);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(node.kind.word().as_bytes());
    out.push(b'"');
    number_unless_zero(out, b",\"mode\":", u64::from(node.go_mode()));
    time(out, b",\"mtime\":\"", node.mtime.as_ref());
    time(out, b",\"atime\":\"", node.atime.as_ref());
    time(out, b",\"ctime\":\"", node.ctime.as_ref());
    number(out, b",\"uid\":", u64::from(node.uid));
    number(out, b",\"gid\":", u64::from(node.gid));
    text_unless_empty(out, b",\"user\":", node.user.as_bytes());
    text_unless_empty(out, b",\"group\":", node.group.as_bytes());
    number_unless_zero(out, b",\"inode\":", node.inode);
    number_unless_zero(out, b",\"device_id\":", node.device_id);
    number_unless_zero(out, b",\"size\":", node.size);
    number_unless_zero(out, b",\"links\":", node.links);
    text_unless_empty(out, b",\"linktarget\":", &node.link_target);
    if std::str::from_utf8(&node.link_target).is_err() {
        out.extend_from_slice(b",\"linktarget_raw\":");
        write_base64(out, &node.link_target);
    }
    write_attributes(out, node);
    number_unless_zero(out, b",\"device\":", node.device);
    out.extend_from_slice(b",\"content\":");
    match &node.content {
        None => out.extend_from_slice(b"null"),
        Some(blobs) => write_content(out, blobs),
    }
    if let Some(subtree) = &node.subtree {
        out.extend_from_slice(b",\"subtree\":");
        write_id(out, subtree);
    }
    out.push(b'}');
}

fn write_attributes(out: &mut Vec<u8>, node: &Node) {
    for (place, attribute) in node.extended_attributes.iter().enumerate() {
        let opening: &[u8] = if place == 0 {
            b",\"extended_attributes\":["
        } else {
            b","
        };
        out.extend_from_slice(opening);
        out.extend_from_slice(b"{\"name\":");
        write_attribute_name(out, &attribute.name);
        out.extend_from_slice(b",\"value\":");
        write_base64(out, &attribute.value);
        out.push(b'}');
    }
    if !node.extended_attributes.is_empty() {
        out.push(b']');
    }
    if let Some(attributes) = &node.generic_attributes {
        out.extend_from_slice(b",\"generic_attributes\":");
        out.extend_from_slice(attributes.as_bytes());
    }
}

/// restic escapes the replacement character where a name is no UTF-8, and such names are the likelier source of
/// one than a name that really holds it.
fn write_attribute_name(out: &mut Vec<u8>, name: &str) {
    if name.contains('\u{fffd}') {
        let parts: Vec<&[u8]> = name.split('\u{fffd}').map(str::as_bytes).collect();
        write_json_string(out, &parts.join(&0xff));
    } else {
        write_json_string(out, name.as_bytes());
    }
}

fn write_content(out: &mut Vec<u8>, blobs: &[BlobId]) {
    out.push(b'[');
    for (place, blob) in blobs.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_id(out, blob);
    }
    out.push(b']');
}

fn write_id(out: &mut Vec<u8>, id: &BlobId) {
    out.push(b'"');
    for &byte in id.as_bytes() {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
    out.push(b'"');
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn time(out: &mut Vec<u8>, name: &[u8], time: Option<&Time>) {
    out.extend_from_slice(name);
    time.unwrap_or(&Time::ZERO).write_to(out);
    out.push(b'"');
}

fn text_unless_empty(out: &mut Vec<u8>, name: &[u8], text: &[u8]) {
    if !text.is_empty() {
        out.extend_from_slice(name);
        write_json_string(out, text);
    }
}

fn number_unless_zero(out: &mut Vec<u8>, name: &[u8], value: u64) {
    if value > 0 {
        number(out, name, value);
    }
}

fn number(out: &mut Vec<u8>, name: &[u8], mut value: u64) {
    out.extend_from_slice(name);
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}
