//! What may be wrong with a tree that can be read: a repository's content is not trusted.

use std::cmp::Ordering;

use super::{Node, NodeKind, Tree};

/// Something in a tree that no honest writer makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeProblem {
    /// The name is empty, `.` or `..`, or holds a slash or a NUL: as a path it would lead elsewhere.
    #[error("the node name `{name}` is not the name of a file")]
    Name {
        /// The name, escaped for people.
        name: String,
    },
    /// The size is beyond what any file can have.
    #[error("the size {size} of node `{name}` is impossible")]
    Size {
        /// The node.
        name: String,
        /// The size in bytes.
        size: u64,
    },
    /// A directory without a tree.
    #[error("the directory node `{name}` names no tree")]
    NoSubtree {
        /// The node.
        name: String,
    },
    /// A node that comes before a smaller name.
    #[error("the node `{name}` is not in the order of names")]
    Unsorted {
        /// The node.
        name: String,
    },
    /// Two neighbouring nodes of the same name.
    #[error("the node name `{name}` occurs twice")]
    Duplicate {
        /// The name.
        name: String,
    },
}

impl Node {
    /// Whether the node may be restored: its name is one component of a path and its size can be a file's.
    pub fn validate(&self) -> Result<(), TreeProblem> {
        let is_file_name = !matches!(self.name.as_slice(), b"" | b"." | b"..")
            && !self.name.iter().any(|byte| matches!(byte, b'/' | 0));
        if !is_file_name {
            return Err(TreeProblem::Name {
                name: shown(&self.name),
            });
        }
        if i64::try_from(self.size).is_err() {
            return Err(TreeProblem::Size {
                name: shown(&self.name),
                size: self.size,
            });
        }
        if self.kind == NodeKind::Dir && self.subtree.is_none() {
            return Err(TreeProblem::NoSubtree {
                name: shown(&self.name),
            });
        }
        Ok(())
    }
}

impl Tree {
    /// Everything wrong with the nodes and their order, first things first; empty for an honest tree.
    pub fn problems(&self) -> Vec<TreeProblem> {
        let mut problems: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| node.validate().err())
            .collect();
        for pair in self.nodes.windows(2) {
            match pair[0].name.cmp(&pair[1].name) {
                Ordering::Less => {}
                Ordering::Equal => problems.push(TreeProblem::Duplicate {
                    name: shown(&pair[1].name),
                }),
                Ordering::Greater => problems.push(TreeProblem::Unsorted {
                    name: shown(&pair[1].name),
                }),
            }
        }
        problems
    }
}

fn shown(name: &[u8]) -> String {
    name.escape_ascii().take(200).map(char::from).collect()
}
