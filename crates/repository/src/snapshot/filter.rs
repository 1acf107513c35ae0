//! Which snapshots a command is about, by host, path and tag.

use super::Snapshot;

/// Conditions on snapshots; those of different kinds must all hold, and an empty list demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// The host is one of these.
    pub hosts: Vec<String>,
    /// All of these are among the snapshot's paths, letter by letter; callers make them absolute first.
    pub paths: Vec<String>,
    /// The snapshot has all tags of at least one of these lists. The list of one empty tag means: no tags.
    pub tags: Vec<Vec<String>>,
}

impl SnapshotFilter {
    /// Whether nothing is demanded.
    pub const fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.paths.is_empty() && self.tags.is_empty()
    }

    /// Whether the snapshot fulfils all conditions.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(&snapshot.hostname))
            && (self.tags.is_empty() || self.tags.iter().any(|tags| snapshot.has_tags(tags)))
            && self.paths.iter().all(|path| snapshot.paths.contains(path))
    }
}

impl std::fmt::Display for SnapshotFilter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags: Vec<_> = self
            .tags
            .iter()
            .map(|list| format!("[{}]", list.join(", ")))
            .collect();
        let parts = [
            ("hosts", self.hosts.join(", ")),
            ("paths", self.paths.join(", ")),
            ("tags", tags.join(" or ")),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name} {text}"))
            .collect();
        formatter.write_str(&parts.join(", "))
    }
}

/// The tags of one `--tag` or `--keep-tag`: separated by commas, blanks around each dropped.
pub fn parse_tag_list(text: &str) -> Vec<String> {
    text.split(',').map(|tag| tag.trim().to_owned()).collect()
}
