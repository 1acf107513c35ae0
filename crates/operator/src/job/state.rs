//! What Jobs and Pods say about their end, or why they do not begin.

use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::core::v1::{Event, Pod};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use api::v1beta1::HostProgress;
use jiff::{SignedDuration, Timestamp};
use kube_client::ResourceExt;
use session::disruption::PodState;
use session::labels;

/// The field manager of agents.
const AGENT: &str = "stash-agent";

/// A Pod that said so a moment ago works; it is not asked for. Pods say so every 30 seconds.
pub const FRESH: SignedDuration = SignedDuration::from_secs(75);

/// How long Kubernetes may refuse the Pod of a Job before the Job is given up.
const REFUSAL: SignedDuration = SignedDuration::from_secs(30);

/// What Kubernetes says about a Job without a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The Job.
    pub job: String,
    /// Why it has no Pod.
    pub message: String,
}

impl Refusal {
    /// Whether waiting does not help: what admission refuses today it refuses tomorrow. A quota becomes free, and a
    /// webhook that is away comes back.
    fn is_final(&self) -> bool {
        let is_refused = ["is forbidden: ", "is invalid: "]
            .iter()
            .any(|word| self.message.contains(word));
        is_refused && !self.message.contains("exceeded quota")
    }

    /// In a sentence.
    pub fn describe(&self) -> String {
        format!(
            "Kubernetes creates no Pod for the Job {}, see spec.runtimeSettings: {}",
            self.job, self.message
        )
    }
}

/// Why a Job never gets its Pod; `None` while that is not certain.
pub fn refused(job: &Job, refusals: &[Refusal], now: Timestamp) -> Option<String> {
    let name = job.name_any();
    let refusal = refusals.iter().find(|refusal| refusal.job == name)?;
    let is_certain = refusal.is_final() && settled(job).is_some_and(|moment| moment <= now);
    is_certain.then(|| refusal.describe())
}

/// When a Job that has no Pod yet is to be looked at again.
pub fn look_at(job: &Job, now: Timestamp) -> Option<Timestamp> {
    let status = job.status.as_ref();
    let has_pod = status.and_then(|it| it.active).is_some_and(|it| it > 0);
    settled(job).filter(|moment| !has_pod && *moment > now)
}

/// When it is known whether a Job gets a Pod.
fn settled(job: &Job) -> Option<Timestamp> {
    let created = job.metadata.creation_timestamp.as_ref()?;
    created.0.checked_add(REFUSAL).ok()
}

/// When a Pod said last that it works.
pub fn updated(entry: &HostProgress) -> Option<Timestamp> {
    entry.updated_at.as_ref().map(|time| time.0)
}

/// Whether a Pod said a moment ago that it works.
pub fn is_fresh(entry: &HostProgress, now: Timestamp) -> bool {
    updated(entry).is_some_and(|updated| now.duration_since(updated) < FRESH)
}

/// Whether fewer Pods show that they work than hosts are missing.
pub fn needs_look(progress: &[HostProgress], reported: usize, total: i32, now: Timestamp) -> bool {
    let working = progress.iter().filter(|entry| is_fresh(entry, now)).count();
    let missing = usize::try_from(total).unwrap_or(0).saturating_sub(reported);
    working < missing.max(1)
}

/// Whether the Pod of an entry is there. One that said so a moment ago is.
pub fn state(entry: &HostProgress, pods: &[Pod], now: Timestamp) -> PodState {
    if is_fresh(entry, now) || is_alive(entry, pods) {
        PodState::Alive
    } else {
        PodState::Gone
    }
}

/// Whether the Pod of an entry is among these and has not ended.
pub fn is_alive(entry: &HostProgress, pods: &[Pod]) -> bool {
    pods.iter()
        .any(|pod| pod.metadata.uid.as_deref() == Some(entry.pod_uid.as_str()) && !has_ended(pod))
}

/// Waits no longer than until what an agent said is old.
pub fn while_fresh(moment: Timestamp, entry: &HostProgress, now: Timestamp) -> Timestamp {
    let fresh = updated(entry).and_then(|it| it.checked_add(FRESH).ok());
    fresh
        .filter(|fresh| *fresh > now)
        .map_or(moment, |fresh| fresh.min(moment))
}

/// Whether a Job has ended, well or not.
pub fn is_over(job: &Job) -> bool {
    let conditions = job
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|it| it.status == "True" && matches!(it.type_.as_str(), "Complete" | "Failed"))
}

/// Names of the Jobs that have not ended. The others keep their logs.
pub fn unended(jobs: &[Job]) -> Vec<String> {
    let unended = jobs.iter().filter(|job| !is_over(job));
    unended.map(ResourceExt::name_any).collect()
}

/// When an agent last wrote the session's status: the API server notes it.
pub fn last_report(session: &ObjectMeta) -> Option<Timestamp> {
    let fields = session.managed_fields.iter().flatten();
    let of_agents = fields.filter(|field| field.manager.as_deref() == Some(AGENT));
    of_agents
        .filter_map(|field| field.time.as_ref().map(|time| time.0))
        .max()
}

/// The host that a Job works as.
pub fn host_of(job: &Job) -> Option<String> {
    job.annotations().get(labels::HOST).cloned()
}

/// Whether a Pod has ended for good.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Why a Job is over, as its Pod and Kubernetes say.
pub fn why_over(job: &Job, pods: &[Pod]) -> String {
    let name = job.name_any();
    let of_job = pods.iter().find(|pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.name == name)
    });
    let conditions = job
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let of_kubernetes = conditions
        .into_iter()
        .find(|it| it.status == "True" && it.type_ == "Failed")
        .and_then(|it| it.message.clone());
    let why = of_job.and_then(ending).or(of_kubernetes);
    match why {
        Some(why) => format!("the Job {name} ended before its host had reported: {why}"),
        None => format!("the Job {name} ended before its host had reported"),
    }
}

/// Why a Pod ended: evicted, killed, or by its own exit code.
fn ending(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    if let Some(reason) = &status.reason {
        let message = status.message.clone().unwrap_or_default();
        let text = format!("the Pod {name} was ended by Kubernetes ({reason}) {message}");
        return Some(text.trim_end().to_owned());
    }
    let containers = status.container_statuses.iter().flatten();
    let ended = containers
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref())
        .find(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().unwrap_or("Error");
    Some(format!(
        "the Pod {name} ended with the exit code {} ({reason})",
        ended.exit_code
    ))
}

/// Whether a Pod has its node, and its containers wait for their volumes or images.
pub fn is_being_created(pod: &Pod) -> bool {
    let containers = pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    containers
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .any(|waiting| waiting.reason.as_deref() == Some("ContainerCreating"))
}

/// Why the volumes of a Pod cannot be mounted, as the last of its events about that says.
pub fn why_unmounted(pod: &str, events: Vec<Event>) -> Option<String> {
    let reasons = ["FailedMount", "FailedAttachVolume", "FailedMapVolume"];
    let about_mounts = events.into_iter().filter(|event| {
        let reason = event.reason.as_deref().unwrap_or_default();
        reasons.contains(&reason)
    });
    let last = about_mounts.max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0))?;
    // The commands that were run are told in many lines.
    let message = last.message.unwrap_or_default();
    let words: Vec<&str> = message.split_whitespace().collect();
    let (reason, message) = (last.reason.unwrap_or_default(), words.join(" "));
    Some(format!("the Pod {pod} waits ({reason}) {message}"))
}

/// Why Pods do not begin, with what Kubernetes says about their volumes first.
pub fn why_waiting(unmounted: &[String], pods: &[Pod], refusals: &[Refusal]) -> Option<String> {
    let unmounted = unmounted.first().cloned();
    unmounted
        .or_else(|| pods.iter().find_map(trouble))
        .or_else(|| refusals.first().map(Refusal::describe))
}

/// Why a Pod does not begin.
pub fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let text = |reason: &str, message: Option<&String>| {
        let message = message.map(String::as_str).unwrap_or_default();
        let text = format!("the Pod {name} waits ({reason}) {message}");
        text.trim_end().to_owned()
    };
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = unscheduled {
        let reason = condition.reason.as_deref().unwrap_or("Unschedulable");
        return Some(text(reason, condition.message.as_ref()));
    }
    let containers = status.container_statuses.iter().flatten();
    let waiting = containers
        .into_iter()
        .find_map(|container| container.state.as_ref()?.waiting.as_ref())?;
    let reason = waiting.reason.as_deref().unwrap_or("Waiting");
    Some(text(reason, waiting.message.as_ref()))
}

#[cfg(test)]
mod tests {
    use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn job() -> Job {
        Job {
            metadata: ObjectMeta {
                name: Some("a".to_owned()),
                creation_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
                ..ObjectMeta::default()
            },
            ..Job::default()
        }
    }

    #[test]
    fn the_last_event_about_a_volume_says_why_a_pod_waits() {
        let event = |reason: &str, message: &str, second: i64| Event {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_timestamp: Some(Time(Timestamp::from_second(second).unwrap())),
            ..Event::default()
        };
        let events = vec![
            event("FailedMount", "mount failed: exit\n  status 32", 3),
            event("FailedMount", "earlier", 2),
            event("BackOff", "another story", 4),
        ];
        assert_eq!(
            why_unmounted("a-x", events).as_deref(),
            Some("the Pod a-x waits (FailedMount) mount failed: exit status 32")
        );
        assert_eq!(
            why_unmounted("a-x", vec![event("BackOff", "another story", 4)]),
            None
        );
    }

    #[test]
    fn a_job_whose_pod_is_forbidden_is_given_up_and_one_that_may_come_is_not() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let said = |message: &str| {
            vec![Refusal {
                job: "a".to_owned(),
                message: message.to_owned(),
            }]
        };
        let forbidden = said(r#"Error creating: pods "a-x" is forbidden: violates PodSecurity"#);
        assert_eq!(refused(&job(), &forbidden, at(29)), None);
        let why = refused(&job(), &forbidden, at(30)).unwrap();
        assert!(
            why.contains("Job a") && why.contains("PodSecurity"),
            "{why}"
        );
        let quota = said(r#"pods "a-x" is forbidden: exceeded quota: small"#);
        assert_eq!(refused(&job(), &quota, at(300)), None);
        let away = said("Internal error occurred: failed calling webhook");
        assert_eq!(refused(&job(), &away, at(300)), None);
        assert_eq!(refused(&job(), &[], at(300)), None);
        assert_eq!(look_at(&job(), at(3)), Some(at(30)));
        assert_eq!(look_at(&job(), at(30)), None);
    }
}
