//! Events: what users see in `kubectl describe`.
//!
//! An event's name follows from its object, reason and message, so the same news told twice, also by an operator that
//! started again, is one event. News that may return counts up.

use std::fmt;

use api::k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube_client::api::{Patch, PatchParams, PostParams};
use kube_client::{Api, Client};
use sha2::{Digest, Sha256};

use crate::FIELD_MANAGER;
use crate::failure::{chain, is_terminating, status_code};

/// Longest message that the API server takes.
const MESSAGE_BYTES: usize = 1024;
/// Where events about objects without a namespace lie.
const CLUSTER_NAMESPACE: &str = "default";

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// As expected.
    Normal,
    /// Somebody should look.
    Warning,
}

/// How often the same news is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Once in the life of the object, such as the end of a session.
    Never,
    /// Each time it happens again; the event counts.
    Counted,
}

/// One piece of news about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Whether somebody should look.
    pub kind: EventKind,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// What happened and what to do, without secrets.
    pub message: String,
    /// How often it is told.
    pub repeats: Repeats,
}

impl News {
    /// Something as expected, told once.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Normal,
            reason,
            message: message.into(),
            repeats: Repeats::Never,
        }
    }

    /// Something to look at, counted when it happens again.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Warning,
            reason,
            message: message.into(),
            repeats: Repeats::Counted,
        }
    }
}

/// Writes events. An event that cannot be written is logged and fails nothing.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: String,
}

impl fmt::Debug for Events {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Events")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Events {
    /// Writes in the name of this operator process.
    pub fn new(client: Client, instance: &str) -> Self {
        Self {
            client,
            instance: instance.to_owned(),
        }
    }

    /// Tells news about an object.
    pub async fn tell(&self, about: &ObjectReference, news: &News) {
        let event = self.event(about, news, jiff::Timestamp::now());
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let name = event.metadata.name.clone().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let created = events.create(&PostParams::default(), &event).await;
        let result = match created {
            Err(error) if status_code(&error) == Some(409) => match news.repeats {
                Repeats::Never => Ok(()),
                Repeats::Counted => count_up(&events, &name, &event).await,
            },
            other => other.map(|_| ()),
        };
        let result = match result {
            // Nobody would find it.
            Err(error) if is_terminating(&error) => Ok(()),
            result => result,
        };
        if let Err(error) = result {
            tracing::warn!(
                reason = news.reason,
                message = news.message,
                error = chain(&error),
                "an event could not be written"
            );
        }
    }

    fn event(&self, about: &ObjectReference, news: &News, now: jiff::Timestamp) -> Event {
        let type_ = match news.kind {
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        };
        let time = Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now));
        Event {
            metadata: ObjectMeta {
                name: Some(name(about, news)),
                namespace: Some(
                    about
                        .namespace
                        .clone()
                        .unwrap_or_else(|| CLUSTER_NAMESPACE.to_owned()),
                ),
                ..ObjectMeta::default()
            },
            involved_object: about.clone(),
            type_: Some(type_.to_owned()),
            reason: Some(news.reason.to_owned()),
            message: Some(limited(&news.message)),
            count: Some(1),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            source: Some(EventSource {
                component: Some(FIELD_MANAGER.to_owned()),
                host: None,
            }),
            reporting_component: FIELD_MANAGER.to_owned().into(),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

async fn count_up(
    events: &Api<Event>,
    name: &str,
    event: &Event,
) -> Result<(), kube_client::Error> {
    let present = events.get(name).await?;
    let patch = serde_json::json!({
        "count": present.count.unwrap_or(1).saturating_add(1),
        "lastTimestamp": event.last_timestamp,
    });
    events
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(|_| ())
}

/// The object's name with a digest of the news.
fn name(about: &ObjectReference, news: &News) -> String {
    let mut digest = Sha256::new();
    for part in [
        about.uid.as_deref().unwrap_or_default(),
        news.reason,
        &news.message,
    ] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let hex = hex::encode(&digest[..8]);
    let object = about.name.as_deref().unwrap_or("object");
    format!("{}.{hex}", session::names::shortened(object, 230))
}

fn limited(message: &str) -> String {
    if message.len() <= MESSAGE_BYTES {
        return message.to_owned();
    }
    let mut end = MESSAGE_BYTES - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(uid: &str) -> ObjectReference {
        ObjectReference {
            name: Some("home".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }
    }

    #[test]
    fn the_same_news_has_the_same_name_and_other_news_another() {
        let news = News::normal("BackupSucceeded", "done");
        assert_eq!(name(&about("1"), &news), name(&about("1"), &news));
        assert_ne!(name(&about("1"), &news), name(&about("2"), &news));
        let other = News::normal("BackupSucceeded", "done again");
        assert_ne!(name(&about("1"), &news), name(&about("1"), &other));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let cut = limited(&"ü".repeat(1000));
        assert!(
            cut.len() <= MESSAGE_BYTES && cut.ends_with('…'),
            "{}",
            cut.len()
        );
        assert_eq!(limited("short"), "short");
    }
}
