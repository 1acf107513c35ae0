//! Tests of the public interface of `api`.
#[test]
fn x() {
    for c in api::crd::crds() {
        std::fs::write(
            format!("/tmp/stash/api/{}.json", c.spec.names.kind),
            serde_json::to_string_pretty(&c).unwrap(),
        )
        .unwrap();
    }
}
