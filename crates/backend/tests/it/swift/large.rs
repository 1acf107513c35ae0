//! Objects above the cluster's limit, which is low on the test server.

use backend::{Backend, ErrorKind, FileKind, Handle};
use bytes::Bytes;
use testkit::Random;
use testkit::servers::offered;

use super::server::{Account, Place, name_of, version_1};

fn content(seed: u64, size: usize) -> Bytes {
    let mut random = Random::new(seed);
    let mut data = Vec::with_capacity(size + 8);
    while data.len() < size {
        data.extend_from_slice(&random.next_u64().to_le_bytes());
    }
    data.truncate(size);
    data.into()
}

#[tokio::test]
async fn a_large_object_is_made_of_segments_that_go_with_it() {
    let Some(server) = offered("swift") else {
        return;
    };
    let limit: usize = server.value("max_file_size").parse().unwrap();
    let place = Place::new(version_1(&server, "user"));
    let segments = format!("{}_segments", place.container);
    let backend = place.backend();
    backend.create().await.unwrap();
    let account = Account::enter(&place.settings).await;
    let [large, whole, second] =
        [1, 2, 3].map(|number| Handle::new(FileKind::Pack, name_of(number)));
    let data = content(1, limit + 12_345);
    backend.write(&large, data.clone()).await.unwrap();
    backend.write(&whole, data.slice(..limit)).await.unwrap();
    assert_eq!(account.names(&segments).await.len(), 2);

    assert!(backend.read(&large).await.unwrap() == data);
    assert_eq!(
        backend.stat(&large).await.unwrap().size_bytes,
        data.len() as u64
    );
    let part = backend
        .read_range(&large, limit as u64 - 5, 10)
        .await
        .unwrap();
    assert_eq!(part, data.slice(limit - 5..limit + 5));
    let error = backend
        .read_range(&large, limit as u64, 20_000)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooShort, "{error:?}");
    let mut sizes: Vec<u64> = backend
        .list(FileKind::Pack)
        .await
        .unwrap()
        .iter()
        .map(|info| info.size_bytes)
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [limit as u64, data.len() as u64]);

    for other in [data.clone(), content(2, limit + 1)] {
        let error = backend.write(&large, other).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error:?}");
    }
    assert!(backend.read(&large).await.unwrap() == data);
    assert_eq!(account.names(&segments).await.len(), 2);

    backend.write(&second, content(3, limit + 1)).await.unwrap();
    // Another backend has to find out that there are segments.
    let other = place.backend();
    other.remove(&second).await.unwrap();
    assert_eq!(account.names(&segments).await.len(), 2);
    let failed = place.backend().remove_many(&[large, whole]).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(account.names(&segments).await, Vec::<String>::new());
    assert_eq!(account.names(&place.container).await, Vec::<String>::new());
}
