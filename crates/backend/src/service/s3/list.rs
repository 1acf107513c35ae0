//! Listings: page by page, only finished objects of the kind.

use http::Method;

use super::S3Backend;
use super::answer::{self, Page};
use super::client::Call;
use crate::http::HttpFailure;
use crate::service::keys::name_of;
use crate::{ErrorKind, FileInfo, FileKind, Operation};

/// More pages than any repository has: a store that never ends its list must not hold us for ever.
const MOST_PAGES: usize = 1_000_000;

impl S3Backend {
    pub(super) async fn list_folder(&self, kind: FileKind) -> Result<Vec<FileInfo>, HttpFailure> {
        let prefix = self.options.location.key(&format!("{}/", kind.folder()));
        let mut found = Vec::new();
        let mut position: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = self.page(&prefix, position.as_deref()).await?;
            for (key, size_bytes) in page.objects() {
                let rest = key.strip_prefix(&prefix).ok_or_else(|| {
                    HttpFailure::new(
                        ErrorKind::Temporary,
                        format!("the listing is not that of `{prefix}`, which was asked for"),
                    )
                })?;
                match name_of(kind, rest) {
                    Some(name) => found.push(FileInfo {
                        name: name.to_owned(),
                        size_bytes,
                    }),
                    None => {
                        tracing::trace!(%key, "skipped an object that is not of the repository");
                    }
                }
            }
            let token = page.next_token().map(str::to_owned);
            if !page.is_truncated {
                if token.is_none() {
                    return Ok(found);
                }
                return Err(HttpFailure::new(
                    ErrorKind::Temporary,
                    "the listing says that it is at its end and that it goes on",
                ));
            }
            let next = if self.options.lists_version_1 {
                page.next_marker()
            } else {
                token
            };
            if next.is_none() || next == position {
                break;
            }
            position = next;
        }
        Err(HttpFailure::new(
            ErrorKind::Permanent,
            "the store's listing does not go on where it is cut off",
        ))
    }

    async fn page(&self, prefix: &str, position: Option<&str>) -> Result<Page, HttpFailure> {
        let is_version_1 = self.options.lists_version_1;
        let mut query = vec![("encoding-type", "url"), ("prefix", prefix)];
        if !is_version_1 {
            query.push(("list-type", "2"));
        }
        if let Some(position) = position {
            let name = if is_version_1 {
                "marker"
            } else {
                "continuation-token"
            };
            query.push((name, position));
        }
        let call = Call::on_bucket(Operation::List, Method::GET, &query);
        let reply = self.client.call(&call).await.map_err(|failure| {
            // There is nothing that could be missing but the bucket.
            let kind = match failure.kind {
                ErrorKind::NotFound => ErrorKind::PlaceNotFound,
                kind => kind,
            };
            HttpFailure { kind, ..failure }
        })?;
        answer::read(&reply, &["ListBucketResult"])
    }
}
