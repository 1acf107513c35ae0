//! When a session that nobody works on any more is given up (decision 16).

use std::time::Duration;

use api::v1beta1::HostProgress;
use jiff::Timestamp;

/// How long a session waits for a first sign of its Pods, or for another Pod after the one that worked is gone.
/// Long enough for an image to be pulled and a Pod to move to another node.
pub const PATIENCE: Duration = Duration::from_mins(10);
/// How long a Pod that exists may be silent. It says something every 30 seconds; an API server may be away for minutes.
pub const SILENCE: Duration = Duration::from_mins(5);

/// What is known of the Pod behind a progress entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// The Pod of that name and uid exists and has not ended.
    Alive,
    /// It does not exist, or all its containers have ended for good.
    Gone,
}

/// Why a host is given up, or when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The host is being worked on, or may still be; look again at this moment.
    Wait(Timestamp),
    /// Nobody works on the host.
    Disrupted(String),
}

/// Judges a host that has not reported. `can_resume` says whether another Pod may take its place (a sidecar of a
/// workload that still runs); `waiting_since` is when the host was started or last known to be worked on.
pub fn judge(
    host: &str,
    progress: Option<(&HostProgress, PodState)>,
    can_resume: bool,
    waiting_since: Timestamp,
    now: Timestamp,
) -> Judgement {
    let limit = match progress {
        Some((_, PodState::Alive)) => SILENCE,
        Some((progress, PodState::Gone)) if !can_resume => {
            return Judgement::Disrupted(format!(
                "the Pod {} that worked for host {host} is gone",
                progress.pod
            ));
        }
        Some((_, PodState::Gone)) | None => PATIENCE,
    };
    let last = progress
        .and_then(|(progress, _)| progress.updated_at.as_ref())
        .map_or(waiting_since, |time| time.0.max(waiting_since));
    let end = last.checked_add(limit).unwrap_or(Timestamp::MAX);
    if now < end {
        return Judgement::Wait(end);
    }
    let minutes = limit.as_secs() / 60;
    Judgement::Disrupted(match progress {
        Some((progress, PodState::Alive)) => format!(
            "the Pod {} that works for host {host} has said nothing for {minutes} minutes",
            progress.pod
        ),
        Some((progress, PodState::Gone)) => format!(
            "the Pod {} that worked for host {host} is gone and no other took its place within {minutes} minutes",
            progress.pod
        ),
        None => format!("no Pod began to work for host {host} within {minutes} minutes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn progress(minute: i64) -> HostProgress {
        HostProgress {
            pod: "web-1".to_owned(),
            updated_at: Some(Time(at(minute))),
            ..HostProgress::default()
        }
    }

    #[test]
    fn a_silent_pod_and_a_missing_one_are_given_up_in_the_end() {
        let entry = progress(10);
        let alive = |now| {
            judge(
                "host-0",
                Some((&entry, PodState::Alive)),
                true,
                at(0),
                at(now),
            )
        };
        assert_eq!(alive(14), Judgement::Wait(at(15)));
        assert!(matches!(alive(15), Judgement::Disrupted(why) if why.contains("said nothing")));
        let gone = |now| {
            judge(
                "host-0",
                Some((&entry, PodState::Gone)),
                true,
                at(0),
                at(now),
            )
        };
        assert_eq!(gone(19), Judgement::Wait(at(20)));
        assert!(matches!(gone(20), Judgement::Disrupted(why) if why.contains("no other")));
        let none = |now| judge("host-0", None, true, at(0), at(now));
        assert_eq!(none(9), Judgement::Wait(at(10)));
        assert!(matches!(none(10), Judgement::Disrupted(why) if why.contains("no Pod began")));
    }

    #[test]
    fn a_job_whose_pod_is_gone_is_given_up_at_once() {
        let entry = progress(10);
        let gone = judge(
            "host-0",
            Some((&entry, PodState::Gone)),
            false,
            at(0),
            at(10),
        );
        assert!(matches!(gone, Judgement::Disrupted(why) if why.contains("web-1")));
    }
}
