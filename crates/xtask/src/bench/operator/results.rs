//! What was measured, as a table, and what must hold.

use std::fmt::Write;

use crate::bench::operator::as_f64;
use crate::failure::Failure;

/// How many kinds of requests are named for a phase.
const MOST_REQUESTS: usize = 6;

/// A time of the operator's life.
pub struct Phase {
    pub name: &'static str,
    /// How long it took; requests are of this time.
    pub seconds: f64,
    /// How long until the processor time was read.
    pub sampled_seconds: f64,
    /// By verb and resource, most first.
    pub requests: Vec<(String, u64)>,
    pub cpu_seconds: f64,
    pub resident_kib: u64,
    pub peak_kib: u64,
}

impl Phase {
    fn total(&self) -> u64 {
        self.requests.iter().map(|(_, count)| count).sum()
    }

    fn per_minute(&self) -> f64 {
        as_f64(self.total()) * 60.0 / self.seconds.max(1.0)
    }

    fn most(&self) -> String {
        let most = self.requests.iter().take(MOST_REQUESTS);
        let mut words: Vec<String> = most
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        let more: u64 = self
            .requests
            .iter()
            .skip(MOST_REQUESTS)
            .map(|it| it.1)
            .sum();
        if more > 0 {
            words.push(format!("{more} others"));
        }
        words.join(", ")
    }

    /// In one line.
    pub fn describe(&self) -> String {
        format!(
            "  {}: {:.1} s, {} requests ({:.0} per minute): {}; CPU {:.2} s of {:.1} s, {} MiB resident, {} MiB at most",
            self.name,
            self.seconds,
            self.total(),
            self.per_minute(),
            self.most(),
            self.cpu_seconds,
            self.sampled_seconds,
            self.resident_kib / 1024,
            self.peak_kib / 1024
        )
    }
}

/// From ticks to their sessions.
pub struct Ticks {
    pub name: &'static str,
    pub expected: usize,
    /// In seconds, ascending.
    pub delays: Vec<f64>,
}

impl Ticks {
    fn at(&self, permille: usize) -> f64 {
        let last = self.delays.len().saturating_sub(1);
        let place = (self.delays.len() * permille / 1000).min(last);
        self.delays.get(place).copied().unwrap_or(f64::NAN)
    }
}

/// Everything.
pub struct Results {
    count: usize,
    pub ready: Vec<(&'static str, f64)>,
    pub phases: Vec<Phase>,
    pub ticks: Vec<Ticks>,
    /// Which phase is the one at rest.
    pub rest: Option<usize>,
}

impl Results {
    pub fn new(count: usize) -> Self {
        Self {
            count,
            ready: Vec::new(),
            phases: Vec::new(),
            ticks: Vec::new(),
            rest: None,
        }
    }

    /// As Markdown.
    pub fn render(&self, machine: &str) -> String {
        let mut text = format!(
            "{} BackupConfigurations, each with a Repository, a Secret and a Deployment of its own. Machine: {machine}, which etcd, the API server and everything else of the cluster share.\n\n",
            self.count
        );
        text.push_str(
            "| | seconds | requests | per minute | CPU, s | memory, MiB | most, MiB | requests |\n",
        );
        text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n");
        for phase in &self.phases {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {:.0} | {} | {:.0} | {:.2} | {} | {} | {} |",
                phase.name,
                phase.seconds,
                phase.total(),
                phase.per_minute(),
                phase.cpu_seconds,
                phase.resident_kib / 1024,
                phase.peak_kib / 1024,
                phase.most()
            );
        }
        text.push_str("\n| ticks | sessions | median, s | p99, s | longest, s |\n| --- | ---: | ---: | ---: | ---: |\n");
        for ticks in &self.ticks {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.2} | {:.2} |",
                ticks.name,
                ticks.delays.len(),
                ticks.at(500),
                ticks.at(990),
                ticks.at(1000)
            );
        }
        for (name, seconds) in &self.ready {
            let _ = write!(text, "\n{name}; all were Ready after {seconds:.0} s.");
        }
        text
    }

    /// Fails where sessions are missing or the operator asks for much although nothing happens.
    pub fn check(&self, most_at_rest: f64) -> Result<(), Failure> {
        for ticks in &self.ticks {
            if ticks.delays.len() != ticks.expected {
                return Err(Failure::Refused(format!(
                    "{}: {} ticks made {} sessions",
                    ticks.name,
                    ticks.expected,
                    ticks.delays.len()
                )));
            }
        }
        let rest = self.rest.and_then(|rest| self.phases.get(rest));
        match rest.map(Phase::per_minute) {
            Some(found) if found > most_at_rest => Err(Failure::Refused(format!(
                "at rest the operator made {found:.0} requests a minute; {most_at_rest:.0} are allowed"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(requests: u64, sessions: usize) -> Results {
        let mut results = Results::new(3);
        results.phases.push(Phase {
            name: "at rest",
            seconds: 60.0,
            sampled_seconds: 60.0,
            requests: vec![("get leases".to_owned(), requests)],
            cpu_seconds: 0.1,
            resident_kib: 50 << 10,
            peak_kib: 60 << 10,
        });
        results.rest = Some(0);
        results.ticks.push(Ticks {
            name: "all at once",
            expected: 3,
            delays: (0..sessions).map(|_| 0.5).collect(),
        });
        results
    }

    #[test]
    fn a_missing_session_and_requests_at_rest_are_failures() {
        assert!(results(24, 3).check(60.0).is_ok());
        assert!(results(24, 2).check(60.0).is_err());
        assert!(results(61, 3).check(60.0).is_err());
        let text = results(24, 3).render("a machine");
        assert!(
            text.contains("| all at once | 3 | 0.50 | 0.50 | 0.50 |"),
            "{text}"
        );
        assert!(text.contains("| at rest | 60 | 24 | 24 |"), "{text}");
    }
}
