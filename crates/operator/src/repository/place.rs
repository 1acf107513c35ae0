//! Whether two Repositories name the same place, by what their backends say.
//!
//! The Secrets are not read: the same container in another account counts as the same place, which at worst keeps data.

use api::v1alpha1::Repository;
use kube_client::ResourceExt;

/// Whether the data of one Repository is that of the other.
pub fn is_same(left: &Repository, right: &Repository) -> bool {
    let place = place(left);
    place.is_some() && place == self::place(right)
}

/// Service, server, container and folder. Local folders are never removed by us, and have none.
fn place(repository: &Repository) -> Option<[String; 4]> {
    let backend = &repository.spec.backend;
    let own = repository.namespace().unwrap_or_default();
    let (service, server, container, folder) = if let Some(s3) = &backend.s3 {
        (
            "s3",
            s3.endpoint.as_str(),
            &*s3.bucket,
            s3.prefix.as_deref(),
        )
    } else if let Some(gcs) = &backend.gcs {
        ("gcs", "", &*gcs.bucket, gcs.prefix.as_deref())
    } else if let Some(azure) = &backend.azure {
        ("azure", "", &*azure.container, azure.prefix.as_deref())
    } else if let Some(swift) = &backend.swift {
        ("swift", "", &*swift.container, swift.prefix.as_deref())
    } else if let Some(b2) = &backend.b2 {
        ("b2", "", &*b2.bucket, b2.prefix.as_deref())
    } else if let Some(rest) = &backend.rest {
        ("rest", rest.url.as_deref().unwrap_or_default(), "", None)
    } else {
        return None;
    };
    let folder = folder.unwrap_or_default().trim_matches('/').to_owned();
    Some([
        service.to_owned(),
        host(server, &own),
        container.to_owned(),
        folder,
    ])
}

/// Where the data lies, for messages; without credentials.
pub fn describe(repository: &Repository) -> String {
    match place(repository) {
        Some(parts) => {
            let parts = parts.iter().map(|part| part.trim_matches('/'));
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            parts.join(" ")
        }
        None => "its volume".to_owned(),
    }
}

/// An address without its scheme, its user and its last slash; hosts are written in any case, and Services of the
/// cluster in several ways.
fn host(address: &str, own: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.trim_matches('/');
    let host = host.to_lowercase();
    // The ports of http and https.
    let host = host.strip_suffix(":80").unwrap_or(&host);
    let host = host.strip_suffix(":443").unwrap_or(host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => {
            (name, format!(":{port}"))
        }
        _ => (host, String::new()),
    };
    format!("{}{port}/{path}", server(name, own))
}

/// The name of a server. One without a dot is a Service of the Repository's own namespace.
fn server(name: &str, own: &str) -> String {
    let labels: Vec<&str> = name.split('.').collect();
    match labels.as_slice() {
        // One bucket has its name in every region of Amazon.
        _ if name.ends_with(".amazonaws.com") => "amazonaws.com".to_owned(),
        [""] => String::new(),
        [service] if !service.contains(':') => format!("{service}.{own}"),
        [service, namespace, "svc", ..] => format!("{service}.{namespace}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn repository(backend: &Value) -> Repository {
        let metadata = json!({ "name": "r", "namespace": "shop" });
        let object = json!({ "metadata": metadata, "spec": { "backend": backend } });
        serde_json::from_value(object).unwrap()
    }

    fn same(left: &Value, right: &Value) -> bool {
        is_same(&repository(left), &repository(right))
    }

    #[test]
    fn the_same_folder_is_found_however_it_is_written() {
        let s3 = |endpoint: &str, prefix: &str| {
            json!({ "storageSecretName": prefix, "s3": {
                "endpoint": endpoint, "bucket": "b", "prefix": prefix,
            } })
        };
        let one = s3("https://Minio:9000", "of/home");
        assert!(same(&one, &s3("minio:9000/", "/of/home/")));
        assert!(!same(&one, &s3("minio:9000", "of/home-2")));
        assert!(!same(&one, &s3("other:9000", "of/home")));
        for service in [
            "minio.shop:9000",
            "minio.shop.svc:9000",
            "minio.shop.svc.cluster.local:9000",
        ] {
            assert!(same(&one, &s3(service, "of/home")), "{service}");
        }
        assert!(!same(&one, &s3("minio.other.svc:9000", "of/home")));
        assert!(!same(&one, &s3("minio.shop.svc:9001", "of/home")));
        let address = s3("http://[fd00::1]:9000", "of/home");
        assert!(same(&address, &s3("[FD00::1]:9000", "of/home")));
        assert!(!same(&address, &s3("[fd00::2]:9000", "of/home")));
        let amazon = s3("s3.amazonaws.com", "of/home");
        assert!(same(
            &amazon,
            &s3("https://s3.eu-west-1.amazonaws.com:443", "of/home")
        ));
        assert!(!same(
            &amazon,
            &s3("s3.cn-north-1.amazonaws.com.cn", "of/home")
        ));
        let rest = |url: &str| json!({ "rest": { "url": url } });
        let one = rest("https://user:word@Store:8000/home/");
        assert!(same(&one, &rest("http://store:8000/home")));
        assert!(!same(&one, &rest("https://store:8000/Home")));
        let gcs = json!({ "gcs": { "bucket": "b", "prefix": "of/home" } });
        assert!(!same(&gcs, &s3("", "of/home")));
        assert!(same(&gcs, &gcs));
    }
}
