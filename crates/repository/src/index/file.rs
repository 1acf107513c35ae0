//! Index files: the JSON that names packs and their blobs. Parsed one pack at a time and checked, because a
//! file that opens with the right key may still have been written by a faulty program.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::blob::{BlobHandle, BlobKind};
use crate::id::{BlobId, PackId};
use crate::index::IndexedPack;
use crate::pack::{PackedBlob, smallest_blob};

/// An index file while it is written.
#[derive(Debug, Default)]
pub(crate) struct IndexFile {
    packs: Vec<IndexedPack>,
    blobs: usize,
}

impl IndexFile {
    /// Adds a pack that is in storage.
    pub(crate) fn add(&mut self, pack: IndexedPack) {
        self.blobs += pack.blobs.len();
        self.packs.push(pack);
    }

    /// How many blobs it names.
    pub(crate) fn blob_count(&self) -> usize {
        self.blobs
    }

    /// Whether it names nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// What it names.
    pub(crate) fn packs(&self) -> &[IndexedPack] {
        &self.packs
    }

    /// The JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let packs = self.packs.iter().map(|pack| PackJson {
            id: pack.id,
            blobs: pack.blobs.iter().map(BlobJson::from).collect(),
        });
        let mut json = Vec::with_capacity(self.blobs * 170 + self.packs.len() * 90 + 16);
        json.extend_from_slice(b"{\"packs\":[");
        for (number, pack) in packs.enumerate() {
            if number > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &pack).expect("ids and numbers always serialise");
        }
        json.extend_from_slice(b"]}");
        json
    }
}

/// Parses an index file and hands over its packs one by one.
pub(crate) fn parse(
    json: &[u8],
    visit: &mut dyn FnMut(&IndexedPack),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    FileSeed { visit }.deserialize(&mut deserializer)?;
    deserializer.end()
}

#[derive(Serialize, Deserialize)]
struct PackJson {
    id: PackId,
    blobs: Vec<BlobJson>,
}

#[derive(Serialize, Deserialize)]
struct BlobJson {
    id: BlobId,
    #[serde(rename = "type")]
    kind: BlobKind,
    offset: u32,
    length: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uncompressed_length: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<&PackedBlob> for BlobJson {
    fn from(blob: &PackedBlob) -> Self {
        Self {
            id: blob.handle.id,
            kind: blob.handle.kind,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob
                .uncompressed_length
                .map_or(0, std::num::NonZeroU32::get),
        }
    }
}

impl BlobJson {
    fn checked<E: serde::de::Error>(self) -> Result<PackedBlob, E> {
        if self.length < smallest_blob() || self.offset.checked_add(self.length).is_none() {
            return Err(E::custom(format_args!(
                "blob {} has the impossible range {}+{}",
                self.id.short(),
                self.offset,
                self.length
            )));
        }
        Ok(PackedBlob {
            handle: BlobHandle {
                kind: self.kind,
                id: self.id,
            },
            offset: self.offset,
            length: self.length,
            uncompressed_length: std::num::NonZeroU32::new(self.uncompressed_length),
        })
    }
}

struct FileSeed<'a> {
    visit: &'a mut dyn FnMut(&IndexedPack),
}

impl<'de> DeserializeSeed<'de> for FileSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an index file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_packs = false;
        while let Some(field) = map.next_key::<String>()? {
            if field == "packs" {
                has_packs = true;
                map.next_value_seed(PacksSeed {
                    visit: &mut *self.visit,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_packs {
            Ok(())
        } else {
            Err(serde::de::Error::missing_field("packs"))
        }
    }
}

struct PacksSeed<'a> {
    visit: &'a mut dyn FnMut(&IndexedPack),
}

impl<'de> DeserializeSeed<'de> for PacksSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PacksSeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of packs")
    }

    /// restic writes `null` for no packs.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut packs: A) -> Result<(), A::Error> {
        while let Some(pack) = packs.next_element::<PackJson>()? {
            let blobs = pack
                .blobs
                .into_iter()
                .map(BlobJson::checked)
                .collect::<Result<_, A::Error>>()?;
            (self.visit)(&IndexedPack { id: pack.id, blobs });
        }
        Ok(())
    }
}
