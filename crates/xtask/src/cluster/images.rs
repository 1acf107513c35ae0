//! The images of a cluster: what Kubernetes itself needs, a shell, `stash`, and MinIO where its program is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive::{Layer, Start};
use super::programs;
use crate::command;
use crate::failure::Failure;
use crate::servers;

pub const PAUSE: &str = "registry.local/pause:1";
pub const BUSYBOX: &str = "registry.local/busybox:1";
pub const COREDNS: &str = "registry.local/coredns:1";
pub const STASH: &str = "registry.local/stash:1";
pub const MINIO: &str = "registry.local/minio:1";

/// Who `stash` is in its image: the user that owns nothing. `deploy/docker/Dockerfile` has the same.
const STASH_USER: &str = "65534:65534";
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// To be counted up when what is in the images below changes.
const RECIPE: u32 = 1;

/// The images that never change: made once, kept beside the programs.
pub fn base(programs: &Path) -> Result<Vec<PathBuf>, Failure> {
    let folder = programs::installer()?.part(&format!("images-{RECIPE}"), |fresh| {
        fs::create_dir_all(fresh).map_err(writing(fresh))?;
        pause(fresh)?;
        busybox(&fresh.join("busybox.tar"))?;
        let program = programs.join("coredns");
        one_program(&program, COREDNS, "/coredns", &fresh.join("coredns.tar"))
    })?;
    Ok(["pause", "busybox", "coredns"]
        .iter()
        .map(|name| folder.join(format!("{name}.tar")))
        .collect())
}

/// MinIO's image, when its program has been installed (`cargo xtask servers up minio`).
pub fn minio() -> Result<Option<PathBuf>, Failure> {
    let Some((program, version)) = servers::minio_program()? else {
        return Ok(None);
    };
    let name = format!("minio-{version}-{RECIPE}");
    let folder = programs::installer()?.part(&name, |fresh| {
        fs::create_dir_all(fresh).map_err(writing(fresh))?;
        one_program(&program, MINIO, "/minio", &fresh.join("minio.tar"))
    })?;
    Ok(Some(folder.join("minio.tar")))
}

fn pause(folder: &Path) -> Result<(), Failure> {
    let source = folder.join("pause.c");
    let program = folder.join("pause");
    crate::workspace::write_text(&source, include_str!("pause.c"))?;
    command::run(
        Command::new("cc")
            .args(["-static", "-Os", "-s", "-o"])
            .arg(&program)
            .arg(&source),
    )?;
    one_program(&program, PAUSE, "/pause", &folder.join("pause.tar"))?;
    fs::remove_file(&program)
        .and_then(|()| fs::remove_file(&source))
        .map_err(writing(folder))
}

/// A static program alone.
fn one_program(program: &Path, image: &str, entrypoint: &str, file: &Path) -> Result<(), Failure> {
    let mut layer = Layer::new();
    layer.folder("tmp", 0o1777).map_err(writing(file))?;
    layer.copy(program, entrypoint.trim_start_matches('/'))?;
    let start = Start {
        entrypoint: &[entrypoint],
        ..Start::default()
    };
    layer.write(image, &start, file)
}

/// A shell with the usual tools.
fn busybox(file: &Path) -> Result<(), Failure> {
    let program = Path::new("/bin/busybox");
    let tools = command::output(Command::new(program).arg("--list"))?;
    let mut layer = users(Layer::new()).map_err(writing(file))?;
    layer.copy(program, "bin/busybox")?;
    for tool in tools.lines().filter(|tool| *tool != "busybox") {
        layer
            .link(&format!("bin/{tool}"), "busybox")
            .map_err(writing(file))?;
    }
    layer.write(BUSYBOX, &Start::default(), file)
}

/// The image of `stash`: the program with the libraries it was linked to, and the authorities of the machine.
pub fn stash(program: &Path, file: &Path) -> Result<(), Failure> {
    let stripped = file.with_extension("program");
    command::run(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    let mut layer = users(Layer::new()).map_err(writing(file))?;
    layer.copy(&stripped, "stash")?;
    fs::remove_file(&stripped).map_err(writing(file))?;
    let libraries = command::output(Command::new("ldd").arg(program))?;
    for library in libraries_in(&libraries) {
        layer.copy(Path::new(library), library.trim_start_matches('/'))?;
    }
    if Path::new(AUTHORITIES).is_file() {
        layer.copy(Path::new(AUTHORITIES), AUTHORITIES.trim_start_matches('/'))?;
    }
    let start = Start {
        entrypoint: &["/stash"],
        user: STASH_USER,
    };
    layer.write(STASH, &start, file)
}

/// What programs expect of any system: root and nobody, names from the file before DNS, a place for temporary files.
fn users(mut layer: Layer) -> std::io::Result<Layer> {
    layer.folder("tmp", 0o1777)?;
    layer.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    )?;
    layer.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    Ok(layer)
}

/// The files that `ldd` names: the libraries and the loader. The kernel's own page has no file.
fn libraries_in(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let (place, _) = line.rsplit_once(" (")?;
            let path = place.split_once(" => ").map_or(place, |(_, path)| path);
            path.starts_with('/').then_some(path)
        })
        .collect()
}

fn writing(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    |source| Failure::Write {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn libraries_and_loader_are_taken_from_what_ldd_says() {
        let text = "\tlinux-vdso.so.1 (0x00007f)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            libraries_in(text),
            [
                "/lib/x86_64-linux-gnu/libgcc_s.so.1",
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn a_static_program_has_no_libraries() {
        assert!(libraries_in("\tstatically linked\n").is_empty());
    }

    #[test]
    fn the_image_for_users_is_as_the_one_for_tests() {
        let dockerfile = include_str!("../../../../deploy/docker/Dockerfile");
        assert!(dockerfile.contains(&format!("\nUSER {STASH_USER}\n")));
        assert!(dockerfile.contains("\nENTRYPOINT [\"/stash\"]\n"));
    }

    const RECIPE: &str = include_str!("../../../../deploy/docker/Dockerfile");

    /// Unpacks the layer of the image that is made of a program.
    fn made_here(program: &Path, scratch: &Path) -> (serde_json::Value, PathBuf) {
        let file = scratch.join("stash.tar");
        stash(program, &file).unwrap();
        let unpack = |archive: &Path, to: &Path| {
            fs::create_dir_all(to).unwrap();
            let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
            archive.set_preserve_permissions(true);
            archive.unpack(to).unwrap();
        };
        let image = scratch.join("image");
        unpack(&file, &image);
        let json = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(image.join(name)).unwrap()).unwrap()
        };
        let manifest = json("manifest.json");
        let configuration = json(manifest[0]["Config"].as_str().unwrap());
        let files = scratch.join("here");
        let layer = manifest[0]["Layers"][0].as_str().unwrap();
        unpack(&image.join(layer), &files);
        (configuration["config"].clone(), files)
    }

    /// Does what the recipe of the image does once the program is built.
    fn made_by_recipe(program: &Path, scratch: &Path) -> PathBuf {
        let files = scratch.join("recipe");
        let steps = RECIPE.split("\nRUN ").nth(2).unwrap();
        let end = steps.find("\n\n").unwrap();
        let steps = steps[..end]
            .replace("/image", files.to_str().unwrap())
            .replace("target/release/stash", program.to_str().unwrap());
        let status = Command::new("sh").args(["-ec", &steps]).status().unwrap();
        assert!(status.success());
        files
    }

    /// Every file with its permissions and its content.
    fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o755;
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                found.insert(name, (mode, fs::read(&path).unwrap()));
            }
        }
        found
    }

    #[test]
    fn the_recipe_for_users_makes_the_same_image() {
        let scratch = tempfile::tempdir().unwrap();
        let program = Path::new("/bin/true");
        let (configuration, here) = made_here(program, scratch.path());
        let recipe = made_by_recipe(program, scratch.path());
        let (here, recipe) = (tree(&here), tree(&recipe));
        assert!(here.len() > 5, "{:?}", here.keys());
        assert_eq!(
            here.keys().collect::<Vec<_>>(),
            recipe.keys().collect::<Vec<_>>()
        );
        assert!(here == recipe, "a file has another content or other rights");
        assert!(RECIPE.contains(&format!("\nUSER {STASH_USER}\n")));
        assert_eq!(configuration["User"], STASH_USER);
        assert_eq!(configuration["Entrypoint"], serde_json::json!(["/stash"]));
        assert!(RECIPE.contains("\nENTRYPOINT [\"/stash\"]\n"));
        let path = configuration["Env"][0].as_str().unwrap();
        assert!(RECIPE.contains(&format!("\nENV {path}\n")), "{path}");
    }
}
