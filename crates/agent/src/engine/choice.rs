//! Which snapshots of a host a restore takes, of all that there are: pure, and never a mixture of several sources.

use repository::SnapshotId;
use repository::snapshot::Snapshot;
use session::restore::Selection;
use session::source::{self, Verdict};

use super::EngineError;

/// A snapshot with its id.
pub(super) type Found = (SnapshotId, Snapshot);

/// How many newer ones a reference passes over: `latest` none, `latest~2` two. `None` when it is an id.
pub(super) fn age(reference: &str) -> Option<usize> {
    match reference.strip_prefix("latest")? {
        "" => Some(0),
        age => age.strip_prefix('~')?.parse().ok(),
    }
}

/// Of each set of paths the newest, or the one that is `age` older; the newest comes last. `all` is of the host, oldest
/// first.
pub(super) fn of_each_path(
    all: &[Found],
    selection: &Selection,
    age: usize,
) -> Result<Vec<Found>, EngineError> {
    let all = of_one_source(all.to_vec(), selection)?;
    let mut paths: Vec<&Vec<String>> = all.iter().map(|(_, snapshot)| &snapshot.paths).collect();
    paths.sort();
    paths.dedup();
    let of_paths = |paths: &Vec<String>| {
        let newest = all.iter().rev();
        let mut of_paths = newest.filter(|(_, snapshot)| snapshot.paths == *paths);
        of_paths.nth(age).cloned()
    };
    let mut latest: Vec<Found> = paths.into_iter().filter_map(of_paths).collect();
    if latest.is_empty() {
        return Err(none(selection, None));
    }
    // One may lie within another, of a time when other paths were saved: the newest has the last word.
    latest.sort_by_key(|(_, snapshot)| snapshot.time);
    Ok(latest)
}

/// The newest that holds each path. Where it is known whose data is wanted, that is judged once for all paths: what one
/// source lacks is not taken from another.
pub(super) fn of_paths(
    all: &[Found],
    selection: &Selection,
    paths: &[String],
) -> Result<Vec<Found>, EngineError> {
    let is_wanted = |found: &&Found| paths.iter().any(|path| holds(found, path));
    let mut wanted: Vec<Found> = all.iter().filter(is_wanted).cloned().collect();
    if selection.target.is_some() {
        wanted = of_one_source(wanted, selection)?;
    }
    paths
        .iter()
        .map(|path| of_path(&wanted, selection, path))
        .collect()
}

fn holds((_, snapshot): &Found, path: &str) -> bool {
    snapshot.paths.iter().any(|it| it == path)
}

/// The newest that holds a path.
fn of_path(all: &[Found], selection: &Selection, path: &str) -> Result<Found, EngineError> {
    let with_path = all.iter().filter(|found| holds(found, path));
    let mut with_path = of_one_source(with_path.cloned().collect(), selection)?;
    with_path.pop().ok_or_else(|| none(selection, Some(path)))
}

fn of_one_source(all: Vec<Found>, selection: &Selection) -> Result<Vec<Found>, EngineError> {
    let tags: Vec<&[String]> = all.iter().map(|(_, it)| it.tags.as_slice()).collect();
    match source::judge(&tags, selection.target.as_deref()) {
        Verdict::Take(taken) => {
            let all = all.into_iter().zip(taken);
            Ok(all
                .filter_map(|(found, is_taken)| is_taken.then_some(found))
                .collect())
        }
        Verdict::Ambiguous(sources) => Err(EngineError::Ambiguous {
            host: selection.source_host.clone(),
            sources: sources.join(", "),
        }),
    }
}

fn none(selection: &Selection, path: Option<&str>) -> EngineError {
    EngineError::NoSnapshot {
        host: selection.source_host.clone(),
        path: path.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use session::restore::select;

    use super::*;

    /// Snapshots at one second after another: path and tags of each.
    fn all(snapshots: &[(&str, &[&str])]) -> Vec<Found> {
        let snapshots = snapshots.iter().enumerate();
        let found = snapshots.map(|(number, (path, tags))| {
            let object = serde_json::json!({
                "time": format!("2026-01-02T10:00:{number:02}Z"),
                "tree": format!("{number:064x}"),
                "paths": [path], "hostname": "host-0", "tags": tags,
            });
            let id: SnapshotId = format!("{number:064x}").parse().unwrap();
            (id, serde_json::from_value(object).unwrap())
        });
        found.collect()
    }

    fn selection(target: Option<&str>) -> Selection {
        Selection {
            target: target.map(str::to_owned),
            ..select(&[], "host-0")
        }
    }

    /// Where the chosen ones stand.
    fn chosen(all: &[Found], found: Result<Vec<Found>, EngineError>) -> Vec<usize> {
        let place = |(id, _): &Found| all.iter().position(|(it, _)| it == id).unwrap();
        found.unwrap().iter().map(place).collect()
    }

    const WEB: &[&str] = &["stash-invoker=b/n/web", "stash-target=deployment/n/web"];
    const DB: &[&str] = &["stash-invoker=b/n/db", "stash-target=deployment/n/db"];

    #[test]
    fn latest_is_the_newest_of_every_set_of_paths() {
        let all = all(&[
            ("/a", WEB),
            ("/b", WEB),
            ("/a", WEB),
            ("/c", WEB),
            ("/b", WEB),
        ]);
        let any = selection(None);
        assert_eq!(chosen(&all, of_each_path(&all, &any, 0)), [2, 3, 4]);
        assert_eq!(chosen(&all, of_each_path(&all, &any, 1)), [0, 1]);
        assert!(matches!(
            of_each_path(&all, &any, 2),
            Err(EngineError::NoSnapshot { .. })
        ));
        assert_eq!(of_path(&all, &any, "/a").unwrap().0, all[2].0);
    }

    #[test]
    fn the_newest_of_another_workload_is_not_taken() {
        let all = all(&[("/data", WEB), ("/data", DB)]);
        let web = selection(Some("stash-target=deployment/n/web"));
        assert_eq!(chosen(&all, of_each_path(&all, &web, 0)), [0]);
        assert_eq!(of_path(&all, &web, "/data").unwrap().0, all[0].0);
        let error = of_each_path(&all, &selection(None), 0).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("deployment/n/db, deployment/n/web"), "{said}");
        assert!(said.contains("snapshots of spec.target.rules"), "{said}");
        assert!(of_path(&all, &selection(None), "/data").is_err());
    }

    #[test]
    fn paths_that_one_source_alone_has_need_no_choice() {
        let all = all(&[("/web", WEB), ("/db", DB)]);
        assert_eq!(of_path(&all, &selection(None), "/web").unwrap().0, all[0].0);
    }

    #[test]
    fn what_others_made_is_restored_as_before() {
        let all = all(&[("/data", &[]), ("/data", &["mine"])]);
        let web = selection(Some("stash-target=deployment/n/web"));
        assert_eq!(chosen(&all, of_each_path(&all, &web, 0)), [1]);
    }

    #[test]
    fn an_id_is_no_latest() {
        assert_eq!(age("latest"), Some(0));
        assert_eq!(age("latest~3"), Some(3));
        assert_eq!(age("1a2b3c4d"), None);
        assert_eq!(age("latest-x"), None);
    }

    #[test]
    fn what_one_source_lacks_is_not_taken_from_another() {
        let all = all(&[("/a", WEB), ("/b", DB), ("/a", DB)]);
        let paths = ["/a".to_owned(), "/b".to_owned()];
        let web = selection(Some("stash-target=deployment/n/web"));
        assert!(of_paths(&all, &web, &paths).is_err());
        assert_eq!(chosen(&all, of_paths(&all, &web, &paths[..1])), [0]);
        let db = selection(Some("stash-target=deployment/n/db"));
        assert_eq!(chosen(&all, of_paths(&all, &db, &paths)), [2, 1]);
    }
}
