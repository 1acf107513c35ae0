//! `cargo xtask bench operator`: one operator and thousands of BackupConfigurations on a real Kubernetes.
//!
//! The operator runs on this machine with the rights of an installed one and webhooks. What it asks of the API server is
//! read from the audit log of a cluster of `cargo xtask cluster`, what it needs of the machine from `/proc`. Targets have
//! no Pods that could run, so that nothing but the operator is measured; each BackupConfiguration has a Repository and a
//! Secret of its own, which is the worst case for what the operator has to look after.

mod audit;
mod objects;
mod process;
mod results;
mod scene;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use self::audit::{Audit, Window};
use self::objects::Population;
use self::process::{Operator, Sample};
use self::results::{Phase, Results, Ticks};
use self::scene::Scene;
use crate::bench::{engine, table};
use crate::failure::Failure;
use crate::report;
use crate::workspace::Workspace;

/// A schedule that does not fire while something else is measured.
const NEVER: &str = "0 0 29 2 *";
/// How long the operator may need for anything.
const PATIENCE: Duration = Duration::from_mins(10);
/// Nothing is going on any more when the operator has asked for nothing for so long.
const QUIET: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_secs(2);
/// Over how many minutes ticks are spread.
const SPREAD_MINUTES: u64 = 3;
/// What the operator may ask for at rest, in requests per minute.
const REST_LIMIT: f64 = 60.0;

/// How much is measured, and with which program.
#[derive(Args)]
pub struct OperatorOptions {
    /// How many BackupConfigurations there are [default: 2000; with --quick 40]
    #[arg(long, value_name = "N")]
    configurations: Option<usize>,
    /// How long the operator is watched at rest, in seconds; everything is looked at again within 12 minutes
    /// [default: 720; with --quick 20]
    #[arg(long, value_name = "SECONDS")]
    rest: Option<u64>,
    /// The program to measure [default: built from this workspace in release mode; with --quick in debug mode]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Write the table into docs/performance.md
    #[arg(long)]
    write: bool,
}

/// Measures, prints the table and fails where the operator does less than it must.
pub fn run(
    workspace: &Workspace,
    is_quick: bool,
    options: &OperatorOptions,
) -> Result<(), Failure> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None if is_quick => crate::cluster::build(workspace)?,
        None => engine::release(workspace)?,
    };
    let count = options
        .configurations
        .unwrap_or(if is_quick { 40 } else { 2000 });
    let rest = options.rest.unwrap_or(if is_quick { 20 } else { 720 });
    let (scene, guard) = Scene::open(workspace, program)?;
    let measured = Bench {
        scene: &scene,
        population: Population::new(count, scene.busybox()),
        rest: Duration::from_secs(rest),
        is_quick,
        audit: Audit::open(scene.audit_log()),
        results: Results::new(count),
    }
    .measure();
    if let Some(guard) = guard {
        guard.dismiss(measured.is_ok())?;
    }
    let results = measured?;
    let text = results.render(&table::machine());
    report::line(&text);
    if options.write {
        table::write(
            &workspace.path("docs/performance.md"),
            "bench operator",
            &text,
        )?;
    }
    results.check(REST_LIMIT)
}

struct Bench<'a> {
    scene: &'a Scene,
    population: Population,
    rest: Duration,
    is_quick: bool,
    audit: Audit,
    results: Results,
}

impl Bench<'_> {
    fn measure(mut self) -> Result<Results, Failure> {
        report::line(&format!("making {} objects", self.population.objects()));
        self.scene.prepare(&self.population, NEVER)?;
        self.audit.skip()?;

        let mut operator = self.scene.start_operator()?;
        self.start(&mut operator, "start: everything is new")?;
        self.rest(&operator)?;
        self.fire(&operator)?;
        operator.stop()?;

        let mut operator = self.scene.start_operator()?;
        self.start(&mut operator, "start: everything is known")?;
        operator.stop()?;
        Ok(self.results)
    }

    /// From the start of the operator until nothing is left to do.
    fn start(&mut self, operator: &mut Operator, name: &'static str) -> Result<(), Failure> {
        let (begin, before) = (now(), operator.sample()?);
        let deadline = begin + PATIENCE.as_secs_f64();
        let mut ready = None;
        while ready.is_none() {
            let found = self.scene.ready_configurations()?;
            if found == self.population.count() {
                ready = Some(now() - begin);
            } else if now() > deadline || operator.has_ended()? {
                return Err(Failure::Refused(format!(
                    "{found} of {} BackupConfigurations were Ready after {:.0} s; the operator said:\n{}",
                    self.population.count(),
                    now() - begin,
                    operator.end_of_log()
                )));
            } else {
                thread::sleep(POLL);
            }
        }
        let end = self.wait_until_quiet()?;
        self.results.ready.push((name, ready.unwrap_or(f64::NAN)));
        self.note(name, (begin, before), end, operator)
    }

    /// Nothing happens in the cluster.
    fn rest(&mut self, operator: &Operator) -> Result<(), Failure> {
        report::line(&format!("at rest for {} s", self.rest.as_secs()));
        let (begin, before) = (now(), operator.sample()?);
        thread::sleep(self.rest);
        self.results.rest = Some(self.results.phases.len());
        self.note("at rest", (begin, before), now(), operator)
    }

    /// All schedules fire in the same minute, and later over some minutes.
    fn fire(&mut self, operator: &Operator) -> Result<(), Failure> {
        let count = self.population.count();
        // Long enough for the change of all of them.
        let lead = Duration::from_secs(30 + u64::try_from(count / 10).unwrap_or(0));
        let together = next_minute(now() + lead.as_secs_f64());
        let spread = if self.is_quick { 0 } else { SPREAD_MINUTES };
        let (begin, before) = (now(), operator.sample()?);
        report::line("changing all schedules");
        self.scene.reschedule(&self.population, |number| {
            schedule(together, spread, number)
        })?;
        let end = self.wait_until_quiet()?;
        self.note("all schedules changed", (begin, before), end, operator)?;

        report::line("waiting for all schedules to fire at once");
        sleep_until(together - 1.0);
        let (begin, before) = (now(), operator.sample()?);
        self.wait_for_sessions(count, together + 90.0)?;
        sleep_until(together + 90.0);
        self.note("all at once, 90 s", (begin, before), now(), operator)?;
        let all = Window::new(together, together + 90.0);
        self.ticks("all at once", all, count)?;
        if spread > 0 {
            let first = together + 180.0;
            let last = first + 60.0 * as_f64(spread);
            report::line("waiting for schedules to fire one after the other");
            sleep_until(first - 1.0);
            let (begin, before) = (now(), operator.sample()?);
            sleep_until(last);
            self.note("spread over 3 minutes", (begin, before), now(), operator)?;
            self.ticks("spread over 3 minutes", Window::new(first, last), count)?;
        }
        report::line("waiting while sessions wait for Pods that never come");
        self.wait_until_quiet()?;
        let (begin, before) = (now(), operator.sample()?);
        thread::sleep(self.rest.min(Duration::from_mins(2)));
        self.note("sessions wait for Pods", (begin, before), now(), operator)
    }

    fn wait_for_sessions(&mut self, count: usize, deadline: f64) -> Result<(), Failure> {
        let begin = now() - 2.0;
        while now() < deadline {
            self.audit.read()?;
            if self.audit.created_sessions(Window::new(begin, now())).len() >= count {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn ticks(
        &mut self,
        name: &'static str,
        window: Window,
        expected: usize,
    ) -> Result<(), Failure> {
        self.audit.read()?;
        let delays = self.audit.created_sessions(window);
        self.results.ticks.push(Ticks {
            name,
            expected,
            delays,
        });
        Ok(())
    }

    /// The moment of the last request but for the Lease, and for watches, which are renewed all the time.
    fn wait_until_quiet(&mut self) -> Result<f64, Failure> {
        let deadline = now() + PATIENCE.as_secs_f64();
        loop {
            self.audit.read()?;
            let last = self.audit.last_work();
            if now() - last > QUIET.as_secs_f64() || now() > deadline {
                return Ok(last);
            }
            thread::sleep(POLL);
        }
    }

    fn note(
        &mut self,
        name: &'static str,
        (begin, before): (f64, Sample),
        end: f64,
        operator: &Operator,
    ) -> Result<(), Failure> {
        self.audit.read()?;
        let after = operator.sample()?;
        let phase = Phase {
            name,
            seconds: end - begin,
            sampled_seconds: now() - begin,
            requests: self.audit.requests(Window::new(begin, end)),
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            resident_kib: after.resident_kib,
            peak_kib: after.peak_kib,
        };
        report::line(&phase.describe());
        self.results.phases.push(phase);
        Ok(())
    }
}

/// At a common minute, and with a spread at another one of its own.
fn schedule(together: f64, spread: u64, number: usize) -> String {
    let at = |moment: f64| {
        let minutes = whole(moment) / 60;
        (minutes % 60, minutes / 60 % 24)
    };
    let (minute, hour) = at(together);
    let number = u64::try_from(number).unwrap_or(0);
    match number.checked_rem(spread) {
        None => format!("{minute} {hour} * * *"),
        Some(own) => {
            let (own_minute, own_hour) = at(together + as_f64(180 + 60 * own));
            format!("{minute},{own_minute} {hour},{own_hour} * * *")
        }
    }
}

/// Seconds since the epoch, as ticks and the audit log tell the time.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn next_minute(moment: f64) -> f64 {
    (moment / 60.0).ceil() * 60.0
}

fn sleep_until(moment: f64) {
    thread::sleep(Duration::try_from_secs_f64(moment - now()).unwrap_or_default());
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "moments are seconds since the epoch"
)]
fn whole(moment: f64) -> u64 {
    moment as u64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of minutes and requests are far below 2^52"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_fire_together_and_later_one_after_the_other() {
        // 12:59 of some day.
        let together = 1_700_000_000.0 - 1_700_000_000.0 % 86400.0 + 12.0 * 3600.0 + 59.0 * 60.0;
        assert_eq!(schedule(together, 0, 7), "59 12 * * *");
        assert_eq!(schedule(together, 3, 0), "59,2 12,13 * * *");
        assert_eq!(schedule(together, 3, 5), "59,4 12,13 * * *");
    }
}
