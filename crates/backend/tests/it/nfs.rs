//! The folder on a real NFS mount: this test program again, inside a machine that can mount NFS.

use testkit::servers::offered;
use testkit::uml;

use crate::results;

#[test]
fn the_folder_passes_its_tests_on_nfs() {
    let Some(nfs) = offered("nfs") else { return };
    let this = std::env::current_exe().unwrap();
    let script = "set -e
mount | grep ' /tmp/nfs type nfs4 '
TMPDIR=/tmp/nfs RUST_BACKTRACE=1 timeout 200 ./it local --test-threads 2
ls -A /tmp/nfs";
    let ended = uml::run(&nfs, &[(&this, "it")], "rw", script);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(ended.output.contains("vers=4.2"), "{}", ended.output);
    assert!(ended.output.contains("test result: ok"), "{}", ended.output);
    let name = "conformance::subjects::local::the_local_folder_conforms ... ok";
    assert!(ended.output.contains(name), "{}", ended.output);
    results::passed("local", &nfs.title(), "conformance");
}
