//! All trees of all snapshots and the blobs they name.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::blob::{BlobHandle, BlobKind};
use crate::check::files::{reason, remedy};
use crate::check::report::{CheckError, DamagedObject, Findings, Remedy};
use crate::check::{CheckAdvance, CheckStep};
use crate::id::{BlobId, SnapshotId};
use crate::index::Index;
use crate::indexed::IndexedRepository;
use crate::repository::LoadError;
use crate::used::{self, TreeFindings, TreePath, TreeVisit, UsedBlobs};

/// What the walk leaves behind beside its findings.
pub(super) struct Walked {
    /// Whether every tree was read, so that what is not marked is not used.
    pub(super) is_complete: bool,
}

/// Reads every tree once.
///
/// With index files lost, blobs that are missing are a consequence: they are counted, not listed.
pub(super) async fn check(
    repository: &IndexedRepository,
    used: &Arc<UsedBlobs>,
    roots: Vec<(SnapshotId, BlobId)>,
    is_index_whole: bool,
    findings: &mut Findings<'_>,
) -> Walked {
    let total = repository.index().blob_count(BlobKind::Tree) as u64;
    let mut walk = Walk {
        repository,
        is_index_whole,
        is_complete: findings.report.error_count == 0,
        consequences: 0,
        findings,
    };
    used::walk(repository, used, roots, &mut |visit| {
        walk.visit(&visit);
        let done = walk.findings.report.counts.trees;
        walk.findings
            .advance(CheckAdvance::new(CheckStep::Trees, done, total.max(done)));
        ControlFlow::Continue(())
    })
    .await;
    if walk.consequences > 0 {
        let note = format!(
            "{} trees and blobs that snapshots use are named by no readable index file",
            walk.consequences
        );
        walk.findings.note(note);
    }
    Walked {
        is_complete: walk.is_complete,
    }
}

struct Walk<'a, 'b> {
    repository: &'a IndexedRepository,
    is_index_whole: bool,
    is_complete: bool,
    consequences: u64,
    findings: &'a mut Findings<'b>,
}

impl Walk<'_, '_> {
    fn visit(&mut self, visit: &TreeVisit) {
        self.findings.report.counts.trees += 1;
        match &visit.result {
            Ok(found) => self.visit_read(visit, found),
            Err(LoadError::NotInIndex { .. }) if !self.is_index_whole => {
                self.is_complete = false;
                self.consequences += 1;
            }
            Err(error) => {
                self.is_complete = false;
                let remedy = remedy(error, Remedy::DamagedPack, Remedy::MissingPack);
                self.error(visit, None, reason(error), remedy);
            }
        }
    }

    fn visit_read(&mut self, visit: &TreeVisit, found: &TreeFindings) {
        for problem in &found.problems {
            self.error(visit, None, problem.clone(), Remedy::Tree);
        }
        for of_node in found.missing.chunk_by(|left, right| left.0 == right.0) {
            let Some((name, first)) = of_node.first() else {
                continue;
            };
            self.is_complete = false;
            if !self.is_index_whole {
                self.consequences += of_node.len() as u64;
                continue;
            }
            let more = match of_node.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let problem = format!("`{name}` needs {first}{more}, which the index does not name");
            self.error(visit, Some(name), problem, Remedy::MissingData);
        }
        for odd in &found.odd_sizes {
            self.findings.single_note(|| {
                format!(
                    "`{}` in snapshot {} has {} bytes by its tree and {} by its blobs, as very old versions of restic left files that changed while they were read",
                    visit.path.join(&odd.name),
                    visit.path.snapshot().short(),
                    odd.stated_bytes,
                    odd.stored_bytes
                )
            });
        }
    }

    fn error(&mut self, visit: &TreeVisit, name: Option<&str>, problem: String, remedy: Remedy) {
        let mut error = CheckError::new(DamagedObject::Tree(visit.id), problem, remedy);
        let tree = BlobHandle {
            kind: BlobKind::Tree,
            id: visit.id,
        };
        error.pack = self.repository.lookup(&tree).map(|place| place.pack);
        error.snapshot = Some(visit.path.snapshot());
        error.path =
            Some(name.map_or_else(|| visit.path.to_string(), |name| visit.path.join(name)));
        self.findings.error(error);
    }
}

/// How much no snapshot uses.
pub(super) fn report_unused(index: &Index, used: &UsedBlobs, findings: &mut Findings<'_>) {
    let (mut count, mut bytes) = (0_u64, 0_u64);
    for group in index.groups().filter(|group| !used.is_used(group.start)) {
        count += 1;
        bytes += group
            .map(|position| u64::from(index.entry(position).1.length))
            .sum::<u64>();
    }
    if count > 0 {
        findings.report.suggests_prune = true;
        findings.note(format!(
            "{count} blobs of {bytes} stored bytes are used by no snapshot; `prune` removes them"
        ));
    }
}

impl TreePath {
    /// The path of a node in this tree.
    fn join(&self, name: &str) -> String {
        let folder = self.to_string();
        format!("{}/{name}", folder.trim_end_matches('/'))
    }
}
