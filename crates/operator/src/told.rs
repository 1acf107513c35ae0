//! Which news of a status has been told, so that it is told once although nobody knows who wrote the status.
//!
//! Events have names that follow from what they say, so that an operator that starts again tells nothing twice. What
//! ended long ago is not told again: its events may be gone from the cluster for good reason.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::events::News;

/// News of sessions that ended longer ago are old.
const OLD: SignedDuration = SignedDuration::from_mins(10);
/// What is remembered of objects that nobody asked about for so long is dropped.
const FORGET: Duration = Duration::from_hours(1);

/// Memory of news by the uid of the object.
#[derive(Debug, Default)]
pub struct Told {
    objects: Mutex<HashMap<String, Object>>,
}

#[derive(Debug)]
struct Object {
    news: HashSet<String>,
    asked: std::time::Instant,
}

impl Told {
    /// What of these news is to be told now. `ended` is when the object's story was over.
    pub fn unknown(&self, uid: &str, news: Vec<News>, ended: Option<Timestamp>) -> Vec<News> {
        let now = Timestamp::now();
        if ended.is_some_and(|ended| now.duration_since(ended) > OLD) {
            return Vec::new();
        }
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.len() > 1000 {
            objects.retain(|_, object| object.asked.elapsed() < FORGET);
        }
        let object = objects.entry(uid.to_owned()).or_insert_with(|| Object {
            news: HashSet::new(),
            asked: std::time::Instant::now(),
        });
        object.asked = std::time::Instant::now();
        news.into_iter()
            .filter(|news| {
                object
                    .news
                    .insert(format!("{} {}", news.reason, news.message))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once_for_each_object_and_old_ones_never() {
        let told = Told::default();
        let news = || vec![News::normal("BackupSucceeded", "done")];
        assert_eq!(told.unknown("a", news(), None).len(), 1);
        assert_eq!(told.unknown("a", news(), None).len(), 0);
        assert_eq!(told.unknown("b", news(), Some(Timestamp::now())).len(), 1);
        let old = Timestamp::now() - SignedDuration::from_hours(1);
        assert_eq!(told.unknown("c", news(), Some(old)).len(), 0);
    }
}
