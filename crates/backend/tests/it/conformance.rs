//! The conformance suite: every backend behaves the same, on its real server, in good and in bad weather.
//!
//! A [`Subject`] tells how to reach a fresh repository on one server; [`run`] puts it through every check, each with
//! a deadline, and writes what came out as a JSON line into the file that `STASH_TEST_REPORT` names. What only one
//! service has (its forms of authentication, its traps) is tested beside, in a file per service.

mod clocks;
mod concurrency;
mod connection;
mod faults;
mod forward;
mod listing;
mod objects;
mod proxies;
mod report;
mod retries;
mod secrets;
mod subject;
mod subjects;
mod writes;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use report::{Group, Outcome, Results};
use subject::{Extent, Subject};

/// How a check ended that did not fail by panicking.
pub enum Verdict {
    Passed,
    /// The backend has no such thing, or the server cannot show it.
    Skipped(&'static str),
}

type Check = fn(Arc<Subject>) -> Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// A check: its column, its name, in which extents besides the whole it is run, and itself.
type Entry = (Group, &'static str, &'static [Extent], Check);

macro_rules! checks {
    ($($group:ident $module:ident: $($name:ident $(($($extent:ident)+))?),+;)+) => {
        &[$($((
            Group::$group,
            stringify!($name),
            &[$($(Extent::$extent),+)?],
            |subject| Box::pin($module::$name(subject)),
        )),+),+]
    };
}

const CHECKS: &[Entry] = checks! {
    Conformance objects: create_can_be_repeated_and_keeps_what_is_there (Variant AppendOnly),
        every_kind_is_written_read_listed_and_removed (Variant),
        every_kind_lies_where_restic_looks_for_it (Variant AppendOnly),
        objects_of_every_size_come_back_as_written (Variant),
        objects_that_look_like_something_else_are_read,
        ranges_are_exact_or_too_short (Variant AppendOnly),
        a_missing_place_is_told_from_a_missing_object (Variant);
    Conformance writes: a_second_write_of_a_name_never_mixes (Variant AppendOnly),
        concurrent_writers_of_one_name_leave_one_whole_object (AppendOnly),
        a_reader_beside_the_writer_sees_all_or_nothing (AppendOnly),
        locks_go_and_all_else_stays_where_nothing_may_be_removed (AppendOnly);
    Conformance listing: many_objects_are_listed_with_their_sizes,
        foreign_files_are_not_listed (AppendOnly),
        many_are_removed_and_missing_ones_do_not_matter (Variant);
    Conformance concurrency: thirty_two_tasks_do_not_disturb_each_other (Variant);
    Conformance connection: an_unknown_host_ends_within_seconds,
        a_refused_connection_ends_within_seconds,
        certificates_are_verified (Variant),
        servers_are_reached_over_ipv6 (Variant);
    Conformance proxies: proxies_of_the_environment_are_obeyed (Variant AppendOnly);
    Conformance clocks: the_date_of_an_answer_does_not_matter,
        a_clock_that_the_server_minds_is_said_to_be_wrong;
    Conformance secrets: a_wrong_key_is_refused_within_seconds_and_not_shown (Variant AppendOnly);
    Faults faults: a_write_in_bad_weather_fails_and_leaves_nothing_broken,
        a_read_in_bad_weather_fails_and_gives_nothing_wrong,
        a_stat_a_listing_and_a_removal_in_bad_weather_fail,
        a_lost_acknowledgement_is_made_good_by_trying_again,
        the_wait_that_a_store_asks_for_is_handed_on,
        a_page_of_html_is_no_answer,
        a_hanging_server_is_given_up;
    Faults retries: weather_that_passes_is_waited_out,
        a_lost_acknowledgement_is_found_out_in_a_storm_too,
        what_does_not_pass_is_not_tried_again,
        weather_that_stays_ends_at_the_deadline,
        many_tasks_in_changing_weather_lose_and_mix_nothing;
    Faults secrets: no_credential_is_ever_shown (Variant);
};

/// No check takes longer on the busiest machine, or it waits for something that never comes.
const DEADLINE: Duration = Duration::from_mins(10);

/// Puts a backend through every check of its extent; returns all that went wrong.
async fn run(subject: Subject) -> Vec<String> {
    if proxies::is_the_asking_process(&subject).await {
        return Vec::new();
    }
    let subject = Arc::new(subject);
    let mut results = Results::default();
    for (group, name, extents, check) in CHECKS {
        if subject.extent != Extent::Whole && !extents.contains(&subject.extent) {
            continue;
        }
        let start = Instant::now();
        let task = tokio::spawn(tokio::time::timeout(DEADLINE, check(subject.clone())));
        let outcome = match task.await {
            Ok(Ok(Verdict::Passed)) => Outcome::Passed,
            Ok(Ok(Verdict::Skipped(reason))) => Outcome::Skipped(reason.to_owned()),
            Ok(Err(_)) => Outcome::Failed(format!("not done after {DEADLINE:?}")),
            Err(error) => Outcome::Failed(report::words_of(error)),
        };
        results.add(&subject, (*group, name), outcome, start.elapsed());
    }
    let failures = results.finish(&subject).into_iter();
    failures
        .map(|failure| format!("{} on {}: {failure}", subject.backend, subject.server))
        .collect()
}
