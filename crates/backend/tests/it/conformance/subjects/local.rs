//! A folder of this machine, always there.

use std::sync::Arc;

use backend::LocalBackend;
use testkit::Scratch;

use super::assert_none;
use crate::conformance::run;
use crate::conformance::subject::{Extent, Subject, Traits};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_folder_conforms() {
    let scratch = Scratch::new();
    let folder = scratch.join("places");
    let failures = run(Subject {
        backend: "local",
        server: "folder".to_owned(),
        title: "folder".to_owned(),
        traits: Traits {
            is_exclusive: true,
            has_places: false,
            is_self_naming: false,
            upload: ("", ""),
        },
        knows_keys: false,
        extent: Extent::Whole,
        skew: None,
        network: None,
        secrets: Vec::new(),
        folder: Some(folder.clone()),
        make: Box::new(move |place| Arc::new(LocalBackend::new(folder.join(&place.prefix)))),
    })
    .await;
    assert_none(&failures);
}
