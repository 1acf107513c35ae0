//! A cluster does what end-to-end tests rely on.

use std::fs;
use std::time::Duration;

use testkit::cluster::wait_for;
use testkit::{Cluster, Scratch};

const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn a_job_writes_to_a_claim_of_the_default_storage_class() {
    let Some(cluster) = Cluster::offered() else {
        return;
    };
    let namespace = cluster.create_namespace("claim");
    namespace.apply(&format!(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Mi}}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: writes}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: writes
          image: {}
          command: [sh, -c, echo stored >/data/file]
          volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
",
        cluster.busybox()
    ));
    namespace.wait_for_condition("job/writes", "complete", PATIENCE);
    if cluster.is_own() {
        let folder = cluster.volume(namespace.name(), "data");
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "stored\n");
    }
}

#[test]
fn files_of_a_claim_are_carried_by_a_pod_as_they_are_seen_on_the_node() {
    let Some(cluster) = Cluster::offered().filter(Cluster::is_own) else {
        return;
    };
    let namespace = cluster.create_namespace("files");
    namespace.apply(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
",
    );
    let (seen, carried) = (namespace.files("data"), namespace.files_by_pod("data"));
    carried.edit(|folder| {
        fs::write(folder.join("letter"), b"\xff\x00 bytes").unwrap();
        std::os::unix::fs::symlink("letter", folder.join("link")).unwrap();
    });
    seen.look(|folder| {
        assert_eq!(fs::read(folder.join("link")).unwrap(), b"\xff\x00 bytes");
    });
    seen.edit(|folder| fs::remove_file(folder.join("letter")).unwrap());
    carried.look(|folder| {
        assert!(!folder.join("letter").exists());
        assert_eq!(
            fs::read_link(folder.join("link")).unwrap().to_str(),
            Some("letter")
        );
    });
}

#[test]
fn what_is_mounted_on_the_node_is_seen_by_pods_and_by_nobody_else() {
    let Some(cluster) = Cluster::offered().filter(Cluster::is_own) else {
        return;
    };
    let namespace = cluster.create_namespace("mounted");
    let scratch = Scratch::new();
    let folder = scratch.path().display().to_string();
    let script = format!("mount -t tmpfs -o size=1m test {folder} && echo small >{folder}/file");
    let status = cluster.node_command("sh").args(["-ec", &script]).status();
    assert!(status.unwrap().success());
    namespace.apply(&format!(
        "
apiVersion: batch/v1
kind: Job
metadata: {{name: reads}}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: reads
          image: {}
          command: [grep, -x, small, /data/file]
          volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, hostPath: {{path: {folder}}}}}]
",
        cluster.busybox()
    ));
    namespace.wait_for_condition("job/reads", "complete", PATIENCE);
    assert!(!scratch.join("file").exists());
    let status = cluster
        .node_command("umount")
        .args(["--lazy", &folder])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_deployment_answers_to_its_service_name_and_to_exec() {
    let Some(cluster) = Cluster::offered() else {
        return;
    };
    let namespace = cluster.create_namespace("service");
    namespace.apply(&format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {}
          command: [sh, -c, 'mkdir /page; echo page >/page/index.html; echo serving; exec httpd -f -p 8080 -h /page']
          readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
",
        cluster.busybox()
    ));
    namespace.wait_for_rollout("deploy/web", PATIENCE);
    let page = wait_for("an answer of the Service", PATIENCE, || {
        let ask = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 web 80";
        let output = namespace.try_exec("deploy/web", "web", &["sh", "-c", ask]);
        (output.code == 0).then_some(output.stdout)
    });
    assert!(page.ends_with("\r\n\r\npage\n"), "{page}");
    let failed = namespace.try_exec("deploy/web", "", &["sh", "-c", "echo no >&2; exit 7"]);
    assert_eq!((failed.code, failed.stderr.contains("no\n")), (7, true));
    assert!(namespace.logs("deploy/web", "").starts_with("serving\n"));
}

#[test]
fn the_image_of_stash_runs_in_a_restricted_namespace() {
    let Some(cluster) = Cluster::offered() else {
        return;
    };
    let namespace = cluster.create_namespace("restricted");
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", namespace.name(), label]);
    namespace.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: stash}}
spec:
  restartPolicy: Never
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: stash
      image: {}
      args: [--version]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {{drop: [ALL]}}
",
        cluster.image()
    ));
    let phase = wait_for("the end of the Pod", PATIENCE, || {
        let phase = namespace.get("pods/stash")?["status"]["phase"]
            .as_str()?
            .to_owned();
        ["Succeeded", "Failed"]
            .contains(&phase.as_str())
            .then_some(phase)
    });
    assert_eq!(phase, "Succeeded", "{}", namespace.logs("stash", ""));
    assert!(namespace.logs("stash", "").starts_with("stash "));
}

#[test]
fn what_does_not_exist_is_no_object_and_a_refused_manifest_says_why() {
    let Some(cluster) = Cluster::offered() else {
        return;
    };
    let namespace = cluster.create_namespace("missing");
    assert!(namespace.get("configmaps/missing").is_none());
    assert!(cluster.get("", "clusterroles/no-such-role").is_none());
    let output = namespace.try_apply("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {}}");
    assert_ne!(output.code, 0);
    assert!(
        output.stderr.contains("spec.containers"),
        "{}",
        output.stderr
    );
}
