use super::*;

fn only(text: &str) -> Node {
    let mut documents = parse(text);
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).content.unwrap().unwrap()
}

#[test]
fn values_know_where_they_stand() {
    let node = only("a: 1\nb:\n  - x\n  - y: z\n");
    let NodeValue::Mapping(entries) = &node.value else {
        panic!("a mapping is expected")
    };
    assert_eq!((entries[1].line, entries[1].column), (2, 1));
    let NodeValue::Sequence(items) = &entries[1].value.value else {
        panic!("a list is expected")
    };
    assert_eq!((items[0].line, items[0].column), (3, 5));
    assert_eq!((items[1].line, items[1].column), (4, 5));
}

#[test]
fn plain_scalars_mean_what_kubectl_takes_them_for() {
    let json = only("[yes, off, 12, -3, 0644, 0x1f, 1.5, 1e3, ~, abc, '12', 1h, 12Gi, 2024-01-01]")
        .to_json();
    let expected = serde_json::json!([
        true,
        false,
        12,
        -3,
        420,
        31,
        1.5,
        1000.0,
        null,
        "abc",
        "12",
        "1h",
        "12Gi",
        "2024-01-01"
    ]);
    assert_eq!(json, expected);
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let documents = parse("a: 1\n---\nb: [1, 2\n---\nc: 3\n");
    assert_eq!(documents.len(), 3);
    let error = documents[1].content.as_ref().unwrap_err();
    assert!(error.line >= 3 && error.line <= 4, "{error:?}");
    assert!(documents[2].content.as_ref().unwrap().is_some());
}

#[test]
fn comments_and_empty_documents_are_no_objects() {
    let documents = parse("# a licence\n---\n---\na: 1\n---\n# nothing\n");
    let contents: Vec<bool> = documents
        .iter()
        .map(|document| document.content.as_ref().unwrap().is_some())
        .collect();
    assert_eq!(contents, [false, true, false]);
    assert_eq!(documents[1].index, 2);
    assert!(parse("")[0].content.as_ref().unwrap().is_none());
}

#[test]
fn aliases_and_merges_are_expanded() {
    let json = only("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\nsame: *b\n").to_json();
    assert_eq!(json["more"], serde_json::json!({"y": 3, "x": 1}));
    assert_eq!(json["same"], serde_json::json!({"x": 1, "y": 2}));
}

#[test]
fn a_document_that_grows_without_end_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    assert!(parse(&text)[0].content.is_err());
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(parse(&deep)[0].content.is_err());
}

#[test]
fn block_scalars_keep_their_text() {
    assert_eq!(only("a: |\n  x\n  y\n").to_json()["a"], "x\ny\n");
}
