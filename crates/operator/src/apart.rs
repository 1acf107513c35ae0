//! Whether a repository on a volume lies in what is backed up: every backup would hold all that were made before it.

use api::v1alpha1::Repository;
use api::v1beta1::BackupTarget;
use kube_client::ResourceExt;
use serde_json::Value;
use session::model;

use api::k8s_openapi::api::core::v1::VolumeMount;

/// A backup would contain the backups before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path} holds the Repository {repository}, which {how}, so that every backup would contain all earlier ones; add {seen} to spec.target.exclude, name other folders in spec.target.paths, or {remedy}"
)]
pub struct RepositoryInData {
    /// What is backed up.
    path: String,
    /// The Repository.
    repository: String,
    /// How it comes there.
    how: String,
    /// Where the repository lies in the container.
    seen: String,
    /// What helps besides.
    remedy: &'static str,
}

/// Refuses paths that hold the repository. `volumes` are those of the Pod, of which `mounts` show some to our
/// container.
pub fn check(
    repository: &Repository,
    target: &BackupTarget,
    volumes: &[Value],
    mounts: &[VolumeMount],
) -> Result<(), RepositoryInData> {
    let Some(backend) = &repository.spec.backend.local else {
        return Ok(());
    };
    let source = serde_json::to_value(&backend.source).unwrap_or_default();
    let place = Place::of(&source, backend.sub_path.as_deref());
    let shared = mounts.iter().filter_map(|mount| {
        let volume = volumes.iter().find(|it| it["name"] == *mount.name)?;
        let is_plain = mount.sub_path_expr.is_none();
        let of_data = Place::of(volume, mount.sub_path.as_deref()).filter(|_| is_plain)?;
        let below = place.as_ref()?.below(&of_data)?;
        let seen = [parts(&mount.mount_path), below].concat();
        let how = format!("lies in the same {}", of_data.volume);
        Some((seen, how, of_data.remedy))
    });
    let mounted = (
        parts(&backend.mount_path),
        "is mounted there".to_owned(),
        "change the mountPath of the local backend",
    );
    let paths = model::backup_paths(target);
    for (seen, how, remedy) in shared.chain([mounted]) {
        let holds = |path: &String| seen.starts_with(&parts(path));
        if let Some(path) = paths.iter().find(|path| holds(path))
            && !target.exclude.iter().any(holds)
        {
            return Err(RepositoryInData {
                path: path.clone(),
                repository: repository.name_any(),
                how,
                seen: format!("/{}", seen.join("/")),
                remedy,
            });
        }
    }
    Ok(())
}

/// A folder of a volume, by which two mounts of it are told to be the same.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    volume: String,
    folder: Vec<String>,
    remedy: &'static str,
}

impl Place {
    /// `None` for volumes that nobody else has.
    fn of(volume: &Value, sub_path: Option<&str>) -> Option<Self> {
        let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
        let (volume, folder, remedy) = if let Some(claim) = text("/persistentVolumeClaim/claimName")
        {
            let remedy = "move the repository to a claim of its own";
            (format!("volume claim {claim}"), "", remedy)
        } else if let Some(path) = text("/hostPath/path") {
            let remedy = "move the repository to a folder of its own";
            ("folder of the node".to_owned(), path, remedy)
        } else {
            let remedy = "move the repository to a share of its own";
            let server = text("/nfs/server")?;
            (format!("share of {server}"), text("/nfs/path")?, remedy)
        };
        let folder = [folder, sub_path.unwrap_or_default()].map(parts).concat();
        Some(Self {
            volume,
            folder: folder.into_iter().map(str::to_owned).collect(),
            remedy,
        })
    }

    /// Where it lies in another.
    fn below(&self, other: &Self) -> Option<Vec<&str>> {
        let rest = self.folder.strip_prefix(other.folder.as_slice())?;
        let is_same = self.volume == other.volume;
        is_same.then(|| rest.iter().map(String::as_str).collect())
    }
}

fn parts(path: &str) -> Vec<&str> {
    let parts = path.split('/');
    parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is wrong with backing these paths up from the volume, mounted at `/data`.
    fn problem(
        backend: &Value,
        (volume, sub_path): (&Value, Option<&str>),
        (paths, exclude): (&[&str], &[&str]),
    ) -> Option<String> {
        let mut local = backend.clone();
        if local["mountPath"].is_null() {
            local["mountPath"] = json!("/safe");
        }
        let repository = json!({
            "metadata": { "name": "repo" }, "spec": { "backend": { "local": local } },
        });
        let target = json!({
            "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "paths": paths, "exclude": exclude,
        });
        let mut volume = volume.clone();
        volume["name"] = json!("data");
        let mount = json!({ "name": "data", "mountPath": "/data", "subPath": sub_path });
        let result = check(
            &serde_json::from_value(repository).unwrap(),
            &serde_json::from_value(target).unwrap(),
            &[volume],
            &[serde_json::from_value(mount).unwrap()],
        );
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn a_path_above_the_mount_of_the_backend_is_refused() {
        let own = json!({ "emptyDir": {} });
        let within = json!({ "emptyDir": {}, "mountPath": "/data/safe/" });
        assert_eq!(
            problem(&within, (&own, None), (&["/data/files", "/data"], &[])).unwrap(),
            "/data holds the Repository repo, which is mounted there, so that every backup would contain all earlier ones; add /data/safe to spec.target.exclude, name other folders in spec.target.paths, or change the mountPath of the local backend"
        );
        assert!(problem(&own, (&own, None), (&["/"], &[])).is_some());
        assert!(problem(&own, (&own, None), (&["/safe"], &[])).is_some());
        for (paths, exclude) in [
            (["/data/files"], &[] as &[&str]),
            (["/data"], &["/data/safe"]),
            (["/data/safest"], &[]),
        ] {
            assert_eq!(problem(&within, (&own, None), (&paths, exclude)), None);
        }
        // Two volumes of a Pod are never the same because both are its own.
        assert_eq!(problem(&own, (&own, None), (&["/data"], &[])), None);
    }

    #[test]
    fn a_folder_of_the_same_volume_is_refused() {
        let claim = json!({ "persistentVolumeClaim": { "claimName": "store" } });
        let mut folder = claim.clone();
        folder["subPath"] = json!("backups");
        let all: (&[&str], &[&str]) = (&["/data"], &[]);
        let said = problem(&folder, (&claim, None), all).unwrap();
        assert!(
            said.contains("lies in the same volume claim store"),
            "{said}"
        );
        assert!(
            said.contains("add /data/backups to spec.target.exclude"),
            "{said}"
        );
        assert_eq!(problem(&folder, (&claim, Some("files")), all), None);
        let other = json!({ "persistentVolumeClaim": { "claimName": "files" } });
        assert_eq!(problem(&folder, (&other, None), all), None);

        let node = |path: &str| json!({ "hostPath": { "path": path } });
        let said = problem(&node("/srv/safe"), (&node("/srv/"), None), all).unwrap();
        assert!(said.contains("/data/safe"), "{said}");
        let said = problem(&node("/srv/safe"), (&node("/"), Some("srv")), all).unwrap();
        assert!(said.contains("/data/safe"), "{said}");
        assert_eq!(
            problem(&node("/srv/safe"), (&node("/srv/files"), None), all),
            None
        );

        let share = |server: &str, path: &str| json!({ "nfs": { "server": server, "path": path } });
        let data = share("nas", "/export");
        assert!(problem(&share("nas", "/export/safe"), (&data, None), all).is_some());
        assert_eq!(
            problem(&share("tape", "/export/safe"), (&data, None), all),
            None
        );
    }
}
