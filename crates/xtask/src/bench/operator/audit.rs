//! What the operator asked of the API server, as that wrote it down.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::failure::Failure;

/// From one moment to another, in seconds since the epoch.
#[derive(Clone, Copy)]
pub struct Window {
    begin: f64,
    end: f64,
}

impl Window {
    pub fn new(begin: f64, end: f64) -> Self {
        Self { begin, end }
    }

    fn has(self, moment: f64) -> bool {
        self.begin <= moment && moment < self.end
    }
}

/// One answered request.
#[derive(Debug, PartialEq)]
struct Request {
    answered: f64,
    verb: String,
    /// With its subresource.
    resource: String,
    name: String,
    code: u64,
}

/// The log, as far as it has been read.
pub struct Audit {
    path: PathBuf,
    offset: u64,
    requests: Vec<Request>,
}

impl Audit {
    pub fn open(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            requests: Vec::new(),
        }
    }

    /// Forgets what came before.
    pub fn skip(&mut self) -> Result<(), Failure> {
        self.read()?;
        self.requests.clear();
        Ok(())
    }

    /// Reads what was added. The last line may not be complete yet.
    pub fn read(&mut self) -> Result<(), Failure> {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut text)
        });
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(Failure::Read {
                    path: self.path.clone(),
                    source,
                });
            }
        }
        let Some(end) = text.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(());
        };
        for line in text[..=end].split(|&byte| byte == b'\n') {
            self.requests.extend(request(line));
        }
        self.offset += u64::try_from(end + 1).unwrap_or(0);
        Ok(())
    }

    /// How many requests were answered, by verb and resource, most first.
    pub fn requests(&self, window: Window) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<String, u64>::new();
        for request in self.requests.iter().filter(|it| window.has(it.answered)) {
            let key = match request.code {
                200..=299 => format!("{} {}", request.verb, request.resource),
                code => format!("{} {} ({code})", request.verb, request.resource),
            };
            *counts.entry(key).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// How long after their ticks sessions were created that belong to ticks of that time, in ascending order.
    pub fn created_sessions(&self, window: Window) -> Vec<f64> {
        let mut delays: Vec<f64> = self
            .requests
            .iter()
            .filter(|it| it.verb == "create" && it.resource == "backupsessions" && it.code == 201)
            .filter_map(|it| {
                let tick: f64 = it.name.rsplit('-').next()?.parse().ok()?;
                window.has(tick).then_some(it.answered - tick)
            })
            .collect();
        delays.sort_by(f64::total_cmp);
        delays
    }

    /// When the last request was answered that was neither for a Lease nor a watch.
    pub fn last_work(&self) -> f64 {
        self.requests
            .iter()
            .filter(|it| it.verb != "watch" && it.resource != "leases")
            .map(|it| it.answered)
            .fold(0.0, f64::max)
    }
}

fn request(line: &[u8]) -> Option<Request> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let mut resource = text("/objectRef/resource")
        .or(text("/requestURI"))?
        .to_owned();
    if let Some(part) = text("/objectRef/subresource") {
        resource = format!("{resource}/{part}");
    }
    Some(Request {
        answered: seconds(text("/stageTimestamp")?)?,
        verb: text("/verb")?.to_owned(),
        resource,
        name: text("/objectRef/name").unwrap_or_default().to_owned(),
        code: event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .unwrap_or(0),
    })
}

/// Seconds since the epoch of a moment such as `2026-11-23T08:00:27.123456Z`.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u32>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':');
    let hour: f64 = time.next()?.parse().ok()?;
    let minute: f64 = time.next()?.parse().ok()?;
    let second: f64 = time.next()?.parse().ok()?;
    // Years begin in March here, so that the leap day is the last of a year.
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    Some((f64::from(days) - 719_468.0) * 86400.0 + hour * 3600.0 + minute * 60.0 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_seconds_since_the_epoch() {
        assert_eq!(seconds("1970-01-01T00:00:00.000000Z"), Some(0.0));
        assert_eq!(
            seconds("2024-02-29T12:00:00.500000Z"),
            Some(1_709_208_000.5)
        );
        assert_eq!(seconds("2026-03-01T00:00:00Z"), Some(1_772_323_200.0));
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn sessions_are_counted_by_their_ticks_and_requests_by_verb_and_resource() {
        let line = |verb: &str, resource: &str, name: &str, code: u64, at: &str| {
            format!(
                r#"{{"verb":"{verb}","objectRef":{{"resource":"{resource}","name":"{name}"}},"responseStatus":{{"code":{code}}},"stageTimestamp":"{at}"}}"#
            )
        };
        let lines = [
            line(
                "create",
                "backupsessions",
                "a-1709208000",
                201,
                "2024-02-29T12:00:01Z",
            ),
            line(
                "create",
                "backupsessions",
                "b-1709208000",
                409,
                "2024-02-29T12:00:01Z",
            ),
            line("get", "secrets", "a", 200, "2024-02-29T12:00:02Z"),
            line("get", "secrets", "b", 200, "2024-02-29T12:00:02Z"),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        std::fs::write(&path, format!("{}\n{{\"half", lines.join("\n"))).unwrap();
        let mut audit = Audit::open(path);
        audit.read().unwrap();
        let window = Window::new(1_709_208_000.0, 1_709_208_060.0);
        assert_eq!(audit.created_sessions(window), [1.0]);
        assert_eq!(audit.requests(window)[0], ("get secrets".to_owned(), 2));
        assert_eq!(audit.requests(window).len(), 3);
        assert!((audit.last_work() - 1_709_208_002.0).abs() < 1e-6);
    }
}
