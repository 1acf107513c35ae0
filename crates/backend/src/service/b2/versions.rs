//! Versions of a name: all are found, none is left behind.
//!
//! B2 stores a second version where other stores refuse or replace. A name has one version here, and removing it
//! removes whatever there is of it, markers that hide included.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::json;

use super::account::{Account, DELETION};
use super::answers::{Done, Page, Version};
use super::upload::Stored;
use crate::http::HttpFailure;
use crate::{ErrorKind, Operation};

/// More in one page count as a further call.
pub(super) const PAGE: usize = 1000;

/// What is to be done after an upload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    /// Somebody else's contents were first.
    pub has_lost: bool,
    /// Places in the list of versions, in the order in which to delete.
    pub superfluous: Vec<usize>,
}

/// Judges the versions (newest first) of a name after an upload of ours.
///
/// Two uploads of the same contents at once each see the other; both keep the newest, so that one stays whatever
/// the order. Contents that differ are a name that was taken in the meantime: the older version stays. `is_unique`
/// says that a newer one is withdrawn also when its writer did not do so, because it may have crashed.
pub(super) fn settle(versions: &[Version], ours: &Stored, is_unique: bool) -> Settlement {
    let is_ours = |version: &Version| version.file_id.as_deref() == Some(ours.file_id.as_str());
    let is_same = |version: &Version| {
        is_ours(version)
            || version.content_length == Some(ours.bytes)
                && version.sha1() == Some(ours.sha1.as_str())
    };
    let nothing = Settlement {
        has_lost: false,
        superfluous: Vec::new(),
    };
    let Some(place) = versions.iter().position(is_ours) else {
        // Removed by somebody since; what is unique only by a writer that was first.
        return Settlement {
            has_lost: is_unique,
            ..nothing
        };
    };
    if versions.iter().take(place).any(|newer| newer.is("hide")) {
        return nothing;
    }
    let older = versions.iter().skip(place + 1);
    let mut visible = older.take_while(|version| !version.is("hide"));
    if visible.any(|version| version.is("upload") && !is_same(version)) {
        return Settlement {
            has_lost: true,
            superfluous: vec![place],
        };
    }
    let newest = versions
        .iter()
        .position(|version| version.is("upload") && is_same(version))
        .unwrap_or(place);
    // A marker goes when nothing is left that it hides.
    let hides_others = |marker: usize| {
        let below = versions.iter().skip(marker + 1);
        below
            .filter(|version| version.is("upload"))
            .any(|version| !is_same(version))
    };
    let is_superfluous = |(index, version): (usize, &Version)| {
        let goes = if version.is("hide") {
            index > newest && !hides_others(index)
        } else if version.is("upload") {
            (index > newest && is_same(version))
                || (is_unique && index < place && !is_same(version))
        } else {
            false
        };
        goes.then_some(index)
    };
    let mut superfluous: Vec<usize> = versions
        .iter()
        .enumerate()
        .filter_map(is_superfluous)
        .collect();
    superfluous.reverse();
    Settlement {
        has_lost: false,
        superfluous,
    }
}

impl Account {
    /// All versions of a name, newest first.
    pub async fn versions(
        &self,
        operation: Operation,
        key: &str,
    ) -> Result<Vec<Version>, HttpFailure> {
        let mut found = Vec::new();
        let mut next: Option<(String, Option<String>)> = None;
        loop {
            let start = next.as_ref().map_or(key, |(name, _)| name.as_str());
            let file = next.as_ref().and_then(|(_, id)| id.as_deref());
            let page = self.page_of_versions(operation, start, (key, file)).await?;
            found.extend(page.files.into_iter().filter(|file| file.file_name == key));
            match page.next_file_name {
                Some(name) if name == key => next = Some((name, page.next_file_id)),
                _ => return Ok(found),
            }
        }
    }

    async fn page_of_versions(
        &self,
        operation: Operation,
        start: &str,
        (prefix, file): (&str, Option<&str>),
    ) -> Result<Page, HttpFailure> {
        let mut wish = json!({
            "bucketId": self.bucket_id(operation).await?,
            "prefix": prefix, "startFileName": start, "maxFileCount": PAGE,
        });
        if let (Some(file), Some(wish)) = (file, wish.as_object_mut()) {
            wish.insert("startFileId".to_owned(), json!(file));
        }
        let call = ("b2_list_file_versions", "listFiles");
        self.call(operation, call, wish).await
    }

    /// Deletes a version for good. One that is gone already is no error.
    pub async fn delete_version(
        &self,
        operation: Operation,
        version: &Version,
    ) -> Result<(), HttpFailure> {
        let wish = json!({"fileName": version.file_name, "fileId": version.file_id});
        let call = (DELETION, "deleteFiles");
        match self.call::<Done>(operation, call, wish).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes versions of one name, given newest first. The oldest goes first, so that an interruption lets
    /// nothing reappear that was hidden.
    pub async fn delete_versions(&self, versions: &[Version]) -> Result<(), HttpFailure> {
        for version in versions.iter().rev() {
            self.delete_version(Operation::Remove, version).await?;
        }
        Ok(())
    }
}

/// Finds the versions of many names with few calls: a page that begins at one name often holds the next ones too.
pub(super) struct Search {
    account: Arc<Account>,
    /// Sorted as the server sorts.
    waiting: VecDeque<String>,
}

/// The versions of a name, newest first, or why they are not known.
pub(super) type Found = (String, Result<Vec<Version>, HttpFailure>);

impl Search {
    pub fn new(account: Arc<Account>, keys: impl IntoIterator<Item = String>) -> Self {
        let mut waiting: Vec<String> = keys.into_iter().collect();
        waiting.sort_unstable();
        waiting.dedup();
        Self {
            account,
            waiting: waiting.into(),
        }
    }

    /// One name after the other, in the order in which they are settled.
    pub fn into_stream(self) -> BoxStream<'static, Found> {
        stream::unfold(self, |mut search| async move {
            let batch = search.next().await?;
            Some((stream::iter(batch), search))
        })
        .flatten()
        .boxed()
    }

    /// The next names that are settled; nothing at the end.
    async fn next(&mut self) -> Option<Vec<Found>> {
        let first = self.waiting.front()?.clone();
        // A key may be limited to exactly this, slash included.
        let root = self.account.options.root();
        let page = self
            .account
            .page_of_versions(Operation::Remove, &first, (&root, None))
            .await;
        let page = match page {
            Ok(page) => page,
            Err(failure) => return Some(self.give_up(&failure)),
        };
        let end = page.next_file_name;
        let is_whole = |key: &String| end.as_ref().is_none_or(|end| key < end);
        if !is_whole(&first) {
            // So many versions that they fill the page.
            self.waiting.pop_front();
            let versions = self.account.versions(Operation::Remove, &first).await;
            return Some(vec![(first, versions)]);
        }
        let mut by_name: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        for file in page.files {
            by_name
                .entry(file.file_name.clone())
                .or_default()
                .push(file);
        }
        let mut found = Vec::new();
        while let Some(key) = self.waiting.pop_front_if(|key| is_whole(key)) {
            let versions = by_name.remove(&key).unwrap_or_default();
            found.push((key, Ok(versions)));
        }
        Some(found)
    }

    fn give_up(&mut self, failure: &HttpFailure) -> Vec<Found> {
        let again = || HttpFailure {
            kind: failure.kind,
            retry_after: failure.retry_after,
            source: failure.source.to_string().into(),
        };
        let rest = std::mem::take(&mut self.waiting);
        rest.into_iter().map(|key| (key, Err(again()))).collect()
    }
}
