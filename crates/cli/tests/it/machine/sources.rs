//! Two configurations in one Repository are one host: a restore that does not say whose data it means brings nothing.

use super::*;

/// A second configuration, of another folder.
fn write_other(machine: &Machine) -> PathBuf {
    let other = machine.path("other");
    std::fs::create_dir(&other).unwrap();
    write(&other, "letter", "dear reader");
    let all = std::fs::read_to_string(machine.path("manifests/all.yaml")).unwrap();
    let (_, configuration) = all.rsplit_once("---\n").unwrap();
    let configuration = configuration
        .replace("name: home", "name: other")
        .replace("/source]", "/other]");
    std::fs::write(machine.path("manifests/other.yaml"), configuration).unwrap();
    other
}

fn bring_back(machine: &Machine, name: &str, rules: &str) -> Output {
    machine.write_restore(name, rules);
    let file = format!("manifests/{name}.yaml");
    machine.run(&["run", "--once", "manifests/all.yaml", &file])
}

#[test]
fn what_two_configurations_stored_as_one_host_is_not_mixed_by_a_restore() {
    let machine = Machine::new();
    let other = write_other(&machine);
    machine.once();
    for (name, rules) in [("any", "[{}]"), ("latest", "[{snapshots: [latest]}]")] {
        let output = bring_back(&machine, name, rules);
        let said = both(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in [
            "backupconfiguration/demo/home",
            "backupconfiguration/demo/other",
            "snapshots of spec.target.rules",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!machine.path(name).exists(), "{said}");
    }

    // What only one of them stored needs no more than its path, and an id is exact.
    let rules = format!("[{{paths: [{}]}}]", other.display());
    let output = bring_back(&machine, "path", &rules);
    assert!(output.status.success(), "{}", both(&output));
    let folder = machine.path("path").join(other.strip_prefix("/").unwrap());
    assert_same_tree(&other, &folder, &CompareOptions::default());

    let of_other = machine.sessions().into_iter().find_map(|session| {
        let stats = &session["status"]["targets"][0]["stats"][0]["snapshots"][0];
        let is_other = stats["path"].as_str() == other.to_str();
        is_other.then(|| stats["name"].as_str().unwrap().to_owned())
    });
    let rules = format!("[{{snapshots: ['{}']}}]", of_other.unwrap());
    let output = bring_back(&machine, "id", &rules);
    assert!(output.status.success(), "{}", both(&output));
    let folder = machine.path("id").join(other.strip_prefix("/").unwrap());
    assert_same_tree(&other, &folder, &CompareOptions::default());
}
