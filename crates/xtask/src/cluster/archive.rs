//! Container images as docker-archive tarballs, which `ctr images import` reads: one layer, its configuration
//! and a manifest. The same content gives the same bytes.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::failure::Failure;

/// How containers of an image start, unless their Pod says otherwise.
#[derive(Default)]
pub struct Start<'a> {
    pub entrypoint: &'a [&'a str],
    /// `UID:GID` in digits; root when empty.
    pub user: &'a str,
}

/// The files of an image.
pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// A folder, with all permission bits. Folders above a file need not be added.
    pub fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.append(EntryType::Directory, path, mode, &[])
    }

    /// A file with this content.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.append(EntryType::Regular, path, mode, content)
    }

    /// The program or library at `from`.
    pub fn copy(&mut self, from: &Path, path: &str) -> Result<(), Failure> {
        let failed = |source| Failure::Read {
            path: from.to_path_buf(),
            source,
        };
        let mode = fs::metadata(from).map_err(failed)?.permissions().mode() & 0o755;
        let content = fs::read(from).map_err(failed)?;
        self.file(path, mode, &content).map_err(failed)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.0.append_link(&mut header, path, target)
    }

    fn append(&mut self, kind: EntryType, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let mut header = header(kind, mode, content.len() as u64);
        self.0.append_data(&mut header, path, content)
    }

    /// Writes the image; the file appears whole or not at all.
    pub fn write(self, image: &str, start: &Start<'_>, file: &Path) -> Result<(), Failure> {
        let fresh = file.with_extension("new");
        self.write_to(image, start, &fresh)
            .and_then(|()| fs::rename(&fresh, file))
            .map_err(|source| Failure::Write {
                path: file.to_path_buf(),
                source,
            })
    }

    fn write_to(self, image: &str, start: &Start<'_>, file: &Path) -> io::Result<()> {
        let layer = self.0.into_inner()?;
        let digest = digest(&layer);
        let configuration = configuration(start, &digest).to_string();
        let configuration_name = format!("{}.json", self::digest(configuration.as_bytes()));
        let layer_name = format!("{digest}/layer.tar");
        let manifest = json!([{
            "Config": configuration_name,
            "RepoTags": [image],
            "Layers": [layer_name],
        }])
        .to_string();

        let mut archive = Builder::new(fs::File::create(file)?);
        for (name, content) in [
            (configuration_name.as_str(), configuration.as_bytes()),
            (layer_name.as_str(), layer.as_slice()),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
            archive.append_data(&mut header, name, content)?;
        }
        archive.into_inner()?.flush()
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn configuration(start: &Start<'_>, layer: &str) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut config = json!({
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/sbin"],
        "WorkingDir": "/",
    });
    if !start.entrypoint.is_empty() {
        config["Entrypoint"] = json!(start.entrypoint);
    }
    if !start.user.is_empty() {
        config["User"] = json!(start.user);
    }
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask cluster image"}],
    })
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    fn image(folder: &Path) -> Vec<u8> {
        let mut layer = Layer::new();
        layer.folder("tmp", 0o1777).unwrap();
        layer.file("etc/passwd", 0o644, b"root").unwrap();
        layer.file("bin/busybox", 0o755, b"program").unwrap();
        layer.link("bin/sh", "busybox").unwrap();
        let start = Start {
            entrypoint: &["/bin/sh", "-c"],
            user: "65534:65534",
        };
        let file = folder.join("image.tar");
        layer.write("registry.local/a:1", &start, &file).unwrap();
        fs::read(file).unwrap()
    }

    fn files(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().display().to_string();
                let mode = entry.header().mode().unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                if let Some(target) = entry.link_name().unwrap() {
                    content = target.display().to_string().into_bytes();
                }
                (name, (mode, content))
            })
            .collect()
    }

    #[test]
    fn an_image_names_its_layer_and_configuration_by_their_digests() {
        let scratch = tempfile::tempdir().unwrap();
        let files = files(&image(scratch.path()));
        let manifest: Value = serde_json::from_slice(&files["manifest.json"].1).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["registry.local/a:1"]));
        let name = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(name, format!("{}.json", digest(&files[name].1)));
        let configuration: Value = serde_json::from_slice(&files[name].1).unwrap();
        assert_eq!(
            configuration["config"]["Entrypoint"],
            json!(["/bin/sh", "-c"])
        );
        assert_eq!(configuration["config"]["User"], "65534:65534");
        let layer = &files[manifest[0]["Layers"][0].as_str().unwrap()].1;
        assert_eq!(
            configuration["rootfs"]["diff_ids"][0],
            format!("sha256:{}", digest(layer))
        );
    }

    #[test]
    fn a_layer_has_modes_links_and_contents() {
        let scratch = tempfile::tempdir().unwrap();
        let outer = files(&image(scratch.path()));
        let (_, (_, layer)) = outer
            .iter()
            .find(|(name, _)| name.ends_with("layer.tar"))
            .unwrap();
        let files = files(layer);
        assert_eq!(files["tmp"].0, 0o1777);
        assert_eq!(files["bin/busybox"], (0o755, b"program".to_vec()));
        assert_eq!(files["bin/sh"].1, b"busybox");
    }

    #[test]
    fn the_same_files_make_the_same_image() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(image(one.path()), image(other.path()));
    }
}
