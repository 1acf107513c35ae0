use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::id::Id;

fn named(name: &[u8]) -> Node {
    Node::new(name, NodeKind::File)
}

fn json_of(node: Node) -> String {
    String::from_utf8(Tree { nodes: vec![node] }.to_json()).unwrap()
}

#[test]
fn an_empty_directory_is_written_as_restic_writes_it() {
    assert_eq!(Tree::default().to_json(), b"{\"nodes\":[]}\n");
    assert_eq!(
        Tree::from_json(b"{\"nodes\":null}").unwrap(),
        Tree::default()
    );
}

#[test]
fn names_are_quoted_and_then_escaped() {
    let cases: [(&[u8], &str); 8] = [
        (b"plain name", "plain name"),
        (b"a<b>&c", r"a\u003cb\u003e\u0026c"),
        (b"quote\" back\\", r#"quote\\\" back\\\\"#),
        (b"\x01\x07\n\x7f", r"\\x01\\a\\n\\x7f"),
        (b"\xff\xe2\x82", r"\\xff\\xe2\\x82"),
        ("ä€😀".as_bytes(), "ä€😀"),
        (
            "\u{a0}\u{200b}\u{2028}\u{ad}".as_bytes(),
            r"\\u00a0\\u200b\\u2028\\u00ad",
        ),
        ("\u{e0001}\u{fffd}".as_bytes(), "\\\\U000e0001\u{fffd}"),
    ];
    for (name, written) in cases {
        let json = json_of(named(name));
        assert!(
            json.starts_with(&format!("{{\"nodes\":[{{\"name\":\"{written}\",")),
            "{json}"
        );
        assert_eq!(
            Tree::from_json(json.as_bytes()).unwrap().nodes[0].name,
            name
        );
    }
}

#[test]
fn a_link_target_that_is_not_utf8_is_kept_raw() {
    let mut node = Node::new("link", NodeKind::Symlink);
    node.link_target = b"a\xff\xe2\x82<\x08\x7f".to_vec();
    let json = json_of(node.clone());
    assert!(json.contains("\"linktarget\":\"a\\ufffd\\ufffd\\ufffd\\u003c\\b\u{7f}\",\"linktarget_raw\":\"Yf/igjwIfw==\""));
    assert_eq!(Tree::from_json(json.as_bytes()).unwrap().nodes[0], node);
}

#[test]
fn modes_are_those_of_go() {
    let cases = [
        (NodeKind::File, 0o644, 0o644),
        (NodeKind::Dir, 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (NodeKind::File, 0o6755, 1 << 23 | 1 << 22 | 0o755),
        (NodeKind::CharDev, 0o666, 1 << 26 | 1 << 21 | 0o666),
        (NodeKind::Socket, 0o700, 1 << 24 | 0o700),
    ];
    for (kind, mode, go) in cases {
        let mut node = Node::new("x", kind);
        node.mode = mode;
        assert_eq!(node.go_mode(), go);
        assert_eq!(unix_mode(go), mode);
    }
    assert!(!json_of(named(b"mode 0000")).contains("\"mode\":"));
}

#[test]
fn hostile_nodes_can_be_listed_but_are_not_valid() {
    for name in ["", ".", "..", "a/b", "/", "../x"] {
        let json = format!("{{\"nodes\":[{{\"name\":\"{name}\",\"type\":\"file\"}}]}}");
        let tree = Tree::from_json(json.as_bytes()).unwrap();
        assert_eq!(
            tree.problems(),
            [TreeProblem::Name {
                name: name.to_owned()
            }]
        );
    }
    let tree = Tree::from_json(br#"{"nodes":[{"name":"nul\\x00","type":"file"}]}"#).unwrap();
    assert!(matches!(tree.problems()[..], [TreeProblem::Name { .. }]));
    let mut huge = named(b"huge");
    huge.size = u64::MAX;
    assert!(matches!(huge.validate(), Err(TreeProblem::Size { .. })));
    assert!(matches!(
        Node::new("d", NodeKind::Dir).validate(),
        Err(TreeProblem::NoSubtree { .. })
    ));
}

#[test]
fn unsorted_and_repeated_names_are_reported() {
    let tree = Tree {
        nodes: vec![named(b"b"), named(b"a"), named(b"a")],
    };
    let [
        TreeProblem::Unsorted { name: first },
        TreeProblem::Duplicate { name: second },
    ] = &tree.problems()[..]
    else {
        panic!("{:?}", tree.problems());
    };
    assert_eq!((first.as_str(), second.as_str()), ("a", "a"));
}

#[test]
fn damaged_json_is_an_error() {
    for json in [
        "",
        "{",
        "[]",
        "{\"nodes\":[{\"name\":1}]}",
        "{\"nodes\":[{\"size\":-1}]}",
        "{\"nodes\":[{\"size\":18446744073709551616}]}",
        "{\"nodes\":[{\"size\":1e3}]}",
        "{\"nodes\":[{\"uid\":-1}]}",
        "{\"nodes\":[{\"mode\":4294967296}]}",
        "{\"nodes\":[{\"subtree\":\"12\"}]}",
        "{\"nodes\":[{\"content\":[\"zz\"]}]}",
        "{\"nodes\":[{\"name\":\"\\\\\"}]}",
        "{\"nodes\":[{\"name\":\"\\\\q\"}]}",
        "{\"nodes\":[{\"name\":\"a\\\"b\"}]}",
        "{\"nodes\":[{\"name\":\"\\\\x4\"}]}",
        "{\"nodes\":[{\"name\":\"\\\\ud800\"}]}",
        "{\"nodes\":[{\"name\":\"\\\\777\"}]}",
        "{\"nodes\":[{\"linktarget_raw\":\"?\"}]}",
        "{\"nodes\":[{\"mtime\":\"yesterday\"}]}",
    ] {
        assert!(Tree::from_json(json.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn deep_nesting_overflows_no_stack() {
    for field in ["later", "generic_attributes", "name", "content"] {
        let deep = format!(
            "{{\"nodes\":[{{\"{field}\":{}{}}}]}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let _ = Tree::from_json(deep.as_bytes());
    }
}

#[test]
fn unknown_kinds_and_missing_fields_are_tolerated() {
    let tree =
        Tree::from_json(br#"{"nodes":[{"name":"x","type":"wormhole","later":{}}],"more":1}"#)
            .unwrap();
    assert_eq!(tree.nodes, [Node::new("x", NodeKind::Irregular)]);
}

fn any_kind() -> impl Strategy<Value = NodeKind> {
    use NodeKind::{CharDev, Dev, Dir, Fifo, File, Irregular, Socket, Symlink};
    prop::sample::select(vec![
        File, Dir, Symlink, Dev, CharDev, Fifo, Socket, Irregular,
    ])
}

fn any_time() -> impl Strategy<Value = Option<Time>> {
    let time = (any::<i64>(), 0_u32..1_000_000_000, -1439_i32..=1439).prop_map(
        |(seconds, nanoseconds, minutes)| {
            let offset = jiff::tz::Offset::from_seconds(minutes * 60).unwrap();
            Time::from_unix(seconds, nanoseconds, offset)
        },
    );
    prop::option::of(time)
}

fn any_id() -> impl Strategy<Value = BlobId> {
    any::<[u8; 32]>().prop_map(|bytes| BlobId(Id::from_bytes(bytes)))
}

prop_compose! {
    fn any_node()(
        (name, kind, mode) in (vec(any::<u8>(), 0..20), any_kind(), 0_u32..0o10000),
        times in [any_time(), any_time(), any_time()],
        (uid, gid, user, group) in any::<(u32, u32, String, String)>(),
        (inode, device_id, size, links, device) in any::<(u64, u64, u64, u64, u64)>(),
        link_target in vec(any::<u8>(), 0..20),
        attributes in vec(any::<(String, Vec<u8>)>(), 0..3),
        content in prop::option::of(vec(any_id(), 0..3)),
        subtree in prop::option::of(any_id()),
    ) -> Node {
        let [mtime, atime, ctime] = times;
        let extended_attributes =
            attributes.into_iter().map(|(name, value)| ExtendedAttribute { name, value }).collect();
        Node {
            name, kind, mode, mtime, atime, ctime, uid, gid, user, group, inode, device_id, size, links,
            link_target, extended_attributes, generic_attributes: None, device, content, subtree,
        }
    }
}

proptest! {
    #[test]
    fn trees_survive_a_round_trip(nodes in vec(any_node(), 0..4)) {
        let tree = Tree { nodes };
        let json = tree.to_json();
        let read = Tree::from_json(&json).unwrap();
        prop_assert_eq!(&read, &tree);
        prop_assert_eq!(read.to_json(), json);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Tree::from_json(&bytes);
    }

    #[test]
    fn names_in_memory_are_valid_json_whatever_they_hold(name in vec(any::<u8>(), 0..60)) {
        let json = json_of(named(&name));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert!(value["nodes"][0]["name"].is_string());
    }
}
