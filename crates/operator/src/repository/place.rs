//! Whether two Repositories name the same place, by what their backends say.
//!
//! The Secrets are not read: the same container in another account counts as the same place, which at worst keeps data.

use api::v1alpha1::{Backend, Repository};

/// Whether the data of one Repository is that of the other.
pub fn is_same(left: &Repository, right: &Repository) -> bool {
    let place = place(&left.spec.backend);
    place.is_some() && place == self::place(&right.spec.backend)
}

/// Service, server, container and folder. Local folders are never removed by us, and have none.
fn place(backend: &Backend) -> Option<[String; 4]> {
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
        host(server),
        container.to_owned(),
        folder,
    ])
}

/// Where the data lies, for messages; without credentials.
pub fn describe(repository: &Repository) -> String {
    match place(&repository.spec.backend) {
        Some(parts) => {
            let parts = parts.iter().map(|part| part.trim_matches('/'));
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            parts.join(" ")
        }
        None => "its volume".to_owned(),
    }
}

/// An address without its scheme, its user and its last slash; hosts are written in any case.
fn host(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.trim_matches('/');
    let host = host.to_lowercase();
    // The ports of http and https; one bucket has its name in every region of Amazon.
    let host = host.strip_suffix(":80").unwrap_or(&host);
    let host = host.strip_suffix(":443").unwrap_or(host);
    let host = if host.ends_with(".amazonaws.com") {
        "amazonaws.com"
    } else {
        host
    };
    format!("{host}/{path}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn repository(backend: &Value) -> Repository {
        let object = json!({ "metadata": { "name": "r" }, "spec": { "backend": backend } });
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
