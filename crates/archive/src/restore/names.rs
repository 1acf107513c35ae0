//! The numbers that this machine gives to user and group names.

use std::collections::HashMap;

/// Looks names up once each.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<String, Option<u32>>,
    groups: HashMap<String, Option<u32>>,
}

impl Names {
    /// The user of this name, if this machine knows one.
    pub(super) fn user(&mut self, name: &str) -> Option<u32> {
        lookup(&mut self.users, name, |name| {
            nix::unistd::User::from_name(name)
                .ok()
                .flatten()
                .map(|user| user.uid.as_raw())
        })
    }

    /// The group of this name, if this machine knows one.
    pub(super) fn group(&mut self, name: &str) -> Option<u32> {
        lookup(&mut self.groups, name, |name| {
            nix::unistd::Group::from_name(name)
                .ok()
                .flatten()
                .map(|group| group.gid.as_raw())
        })
    }
}

fn lookup(
    known: &mut HashMap<String, Option<u32>>,
    name: &str,
    find: impl Fn(&str) -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    if let Some(id) = known.get(name) {
        return *id;
    }
    let id = find(name);
    known.insert(name.to_owned(), id);
    id
}
