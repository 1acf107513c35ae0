//! Names of sessions (reference 3.3).

use jiff::Timestamp;

/// Longest name of an object whose name also becomes a label.
const MAX_BYTES: usize = 63;

/// The name of a session: `<invoker>-<unix seconds>`; a long invoker name keeps its head and tail.
pub fn session_name(invoker: &str, moment: Timestamp) -> String {
    let suffix = format!("-{}", moment.as_second());
    let room = MAX_BYTES - suffix.len();
    if invoker.len() <= room {
        return format!("{invoker}{suffix}");
    }
    // Kubernetes names are ASCII, so every byte is a character; other names never pass validation.
    let (head, tail) = (room.div_ceil(2), room / 2);
    let head = invoker.get(..head).unwrap_or_default();
    let tail = invoker.get(invoker.len() - tail..).unwrap_or_default();
    format!("{head}{tail}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_invoker_name_is_shortened_in_the_middle() {
        let moment = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(session_name("home", moment), "home-1700000000");
        let name = session_name(&format!("a{}z", "b".repeat(80)), moment);
        assert_eq!(name.len(), 63);
        assert!(
            name.starts_with("ab") && name.ends_with("bz-1700000000"),
            "{name}"
        );
    }
}
