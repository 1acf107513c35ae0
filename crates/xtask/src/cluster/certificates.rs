//! Who is who in a cluster: its authority, the certificate of the API server, and a configuration for each client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::layout::{API_SERVICE, Layout, NODE, NODE_ADDRESS};
use crate::failure::Failure;
use crate::servers::authority::{Authority, Issued, Subject};
use crate::workspace::write_text;

const SERVER_NAMES: &[&str] = &[
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    NODE_ADDRESS,
    API_SERVICE,
];

/// Writes all of them below `tls` and `etc`.
pub fn write(layout: &Layout) -> Result<(), Failure> {
    generate(layout)
        .map_err(|error| Failure::Refused(format!("generating certificates: {error}")))?
}

fn generate(layout: &Layout) -> Result<Result<(), Failure>, rcgen::Error> {
    let authority = Authority::new("stash-test-cluster")?;
    let server = authority.issue(Subject::server("kube-apiserver", SERVER_NAMES))?;
    // Tokens of service accounts are signed with a key of their own.
    let accounts = Authority::new("service-accounts")?;
    let mut files = vec![
        ("tls/ca.crt".to_owned(), authority.certificate.clone()),
        ("tls/ca.key".to_owned(), authority.key.clone()),
        ("tls/apiserver.crt".to_owned(), server.certificate),
        ("tls/apiserver.key".to_owned(), server.key),
        ("tls/accounts.crt".to_owned(), accounts.certificate),
        ("tls/accounts.key".to_owned(), accounts.key),
    ];
    let node = format!("system:node:{NODE}");
    for (file, name, organization) in [
        ("admin", "admin", Some("system:masters")),
        ("controllers", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
        ("kubelet", node.as_str(), Some("system:nodes")),
        ("proxy", "system:kube-proxy", None),
    ] {
        let client = authority.issue(Subject::client(name, organization))?;
        files.push((
            format!("etc/{file}.conf"),
            kubeconfig(&authority.certificate, &client),
        ));
        files.push((format!("tls/{file}.crt"), client.certificate));
        files.push((format!("tls/{file}.key"), client.key));
    }
    Ok(files
        .iter()
        .try_for_each(|(name, text)| write_private(&layout.path(name), text)))
}

/// JSON is YAML, too.
fn kubeconfig(authority: &str, client: &Issued) -> String {
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stash", "cluster": {
            "server": format!("https://{NODE_ADDRESS}:6443"),
            "certificate-authority-data": encode(authority),
        }}],
        "users": [{"name": "stash", "user": {
            "client-certificate-data": encode(&client.certificate),
            "client-key-data": encode(&client.key),
        }}],
        "contexts": [{"name": "stash", "context": {"cluster": "stash", "user": "stash"}}],
        "current-context": "stash",
    })
    .to_string()
}

fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    write_text(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|source| Failure::Write {
        path: path.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_certificate_within_its_configuration() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        write(&layout).unwrap();
        let text = fs::read_to_string(layout.kubeconfig("kubelet")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let certificate = value["users"][0]["user"]["client-certificate-data"]
            .as_str()
            .unwrap();
        assert_eq!(
            BASE64_STANDARD.decode(certificate).unwrap(),
            fs::read(layout.path("tls/kubelet.crt")).unwrap()
        );
        let mode = fs::metadata(layout.path("tls/ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
