//! What a storage that fails, heals or costs something has to tell, on stderr.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{BackendError, Count, Notify, Operation, RetryNotice};
use parking_lot::Mutex;

use crate::failure::chain;
use crate::printer::{Printer, Verbosity};
use crate::values::size;

/// While the storage stays away, the user is told so this often.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Tells that the program waits for the storage and why, and when it goes on.
pub(super) fn teller(printer: Arc<Printer>) -> Notify {
    let told = Mutex::new(None);
    Arc::new(move |notice| {
        if printer.verbosity() > Verbosity::Quiet {
            tell(&printer, &mut told.lock(), notice);
        }
    })
}

/// Many calls fail together; one line is enough for all of them.
fn tell(printer: &Printer, told: &mut Option<Instant>, notice: &RetryNotice<'_>) {
    match notice {
        RetryNotice::Waiting {
            error,
            attempt,
            pause,
        } => {
            if told.is_some_and(|time| time.elapsed() < REPEAT_AFTER) {
                return;
            }
            *told = Some(Instant::now());
            waiting(printer, error, *attempt, *pause);
        }
        RetryNotice::Healed { .. } if told.take().is_some() => {
            if printer.is_json() {
                printer.json_error(&serde_json::json!({"message_type": "storage_back"}));
            } else {
                printer.note("The storage answers again; going on");
            }
        }
        // The failure itself is told by whoever needed the call.
        RetryNotice::Healed { .. } | RetryNotice::GivenUp { .. } => {}
    }
}

fn waiting(printer: &Printer, error: &BackendError, attempt: u32, pause: Duration) {
    let message = chain(error);
    if printer.is_json() {
        printer.json_error(&serde_json::json!({
            "message_type": "storage_waiting",
            "message": message,
            "attempt": attempt,
            "seconds": pause.as_secs_f64(),
        }));
    } else {
        printer.warning(&format!(
            "{message}; trying again in {:.1} s",
            pause.as_secs_f64()
        ));
    }
}

/// Requests and bytes by operation.
pub(super) fn show_usage(printer: &Printer, counts: &BTreeMap<Operation, Count>) {
    if printer.is_json() {
        let operations: serde_json::Map<String, serde_json::Value> = counts
            .iter()
            .map(|(operation, count)| {
                let value = serde_json::json!({
                    "requests": count.requests,
                    "failures": count.failures,
                    "sent_bytes": count.sent_bytes,
                    "received_bytes": count.received_bytes,
                });
                (word(*operation).to_owned(), value)
            })
            .collect();
        printer.json_error(&serde_json::json!({
            "message_type": "storage_usage",
            "operations": operations,
        }));
        return;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(operation, count)| {
            let mut text = format!("{} {}", count.requests, word(*operation));
            if count.sent_bytes > 0 {
                text.push_str(&format!(", {} sent", size(count.sent_bytes)));
            }
            if count.received_bytes > 0 {
                text.push_str(&format!(", {} received", size(count.received_bytes)));
            }
            if count.failures > 0 {
                text.push_str(&format!(", {} failed", count.failures));
            }
            text
        })
        .collect();
    printer.note(&format!("Storage requests: {}", parts.join("; ")));
}

const fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Authenticate => "authenticate",
        Operation::Create => "create",
        Operation::Stat => "stat",
        Operation::List => "list",
        Operation::Read => "read",
        Operation::Write => "write",
        Operation::Remove => "remove",
    }
}
