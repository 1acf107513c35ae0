//! Reading extended attributes.

use std::os::fd::AsRawFd;

use repository::tree::ExtendedAttribute;
use rustix::io::{self, Errno};

use crate::metadata::Place;
use crate::path::child;

/// Most files have no attribute and most lists fit here.
const LIST_BYTES: usize = 512;

/// An attribute that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AttributeError {
    /// Not even their names.
    #[error("cannot list the extended attributes")]
    List(#[source] Errno),
    /// One of them.
    #[error("cannot read the extended attribute {name:?}")]
    Read {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The repository format has no place for it.
    #[error("the name of the extended attribute {name:?} is not UTF-8 and cannot be stored")]
    Name {
        /// Its name, readable.
        name: String,
    },
}

impl AttributeError {
    /// Whether permission is missing.
    pub fn is_permission(&self) -> bool {
        matches!(
            self,
            Self::List(Errno::ACCESS | Errno::PERM)
                | Self::Read {
                    source: Errno::ACCESS | Errno::PERM,
                    ..
                }
        )
    }
}

pub(super) fn read(place: Place<'_>) -> (Vec<ExtendedAttribute>, Option<AttributeError>) {
    let mut stack = [0; LIST_BYTES];
    let names = match list(place, &mut stack) {
        Ok(List::Fits(0)) | Err(Errno::NOTSUP | Errno::NODATA) => return (Vec::new(), None),
        Ok(List::Fits(length)) => stack[..length].to_vec(),
        Ok(List::Grown(names)) => names,
        Err(error) => return (Vec::new(), Some(AttributeError::List(error))),
    };
    let mut attributes = Vec::new();
    let mut failure = None;
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let Ok(text) = std::str::from_utf8(name) else {
            failure = Some(AttributeError::Name {
                name: String::from_utf8_lossy(name).into_owned(),
            });
            continue;
        };
        match grown(|buffer| get(place, text, buffer)) {
            Ok(value) => attributes.push(ExtendedAttribute {
                name: text.to_owned(),
                value,
            }),
            // Removed since it was listed.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(source) => {
                failure = Some(AttributeError::Read {
                    name: text.to_owned(),
                    source,
                });
            }
        }
    }
    (attributes, failure)
}

enum List {
    Fits(usize),
    Grown(Vec<u8>),
}

fn list(place: Place<'_>, stack: &mut [u8]) -> io::Result<List> {
    match list_into(place, stack) {
        Ok(length) => Ok(List::Fits(length)),
        Err(Errno::RANGE) => grown(|buffer| list_into(place, buffer)).map(List::Grown),
        Err(error) => Err(error),
    }
}

/// Asks again with more room until it suffices; Linux limits lists and values to 64 KiB.
fn grown(mut ask: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match ask(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                buffer.shrink_to_fit();
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 16 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

fn list_into(place: Place<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    match place {
        Place::File(file) => rustix::fs::flistxattr(file, buffer),
        Place::Name(directory, name, path) => {
            match rustix::fs::llistxattr(child(path, name), &mut *buffer) {
                Err(Errno::NAMETOOLONG) => {
                    rustix::fs::llistxattr(through_proc(directory, name), buffer)
                }
                done => done,
            }
        }
    }
}

fn get(place: Place<'_>, attribute: &str, buffer: &mut [u8]) -> io::Result<usize> {
    match place {
        Place::File(file) => rustix::fs::fgetxattr(file, attribute, buffer),
        Place::Name(directory, name, path) => {
            match rustix::fs::lgetxattr(child(path, name), attribute, &mut *buffer) {
                Err(Errno::NAMETOOLONG) => {
                    rustix::fs::lgetxattr(through_proc(directory, name), attribute, buffer)
                }
                done => done,
            }
        }
    }
}

/// A path below the limit of 4096 bytes for files deeper than that.
fn through_proc(directory: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> std::path::PathBuf {
    child(
        format!("/proc/self/fd/{}", directory.as_raw_fd()).as_ref(),
        name,
    )
}
