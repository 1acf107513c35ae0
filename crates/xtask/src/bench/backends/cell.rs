//! One measurement: a fresh server, one program, a backup into an empty repository, and a restore.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bench::backends::Setting;
use crate::bench::backends::place::{Backend, Naming, Place, Road};
use crate::bench::backends::relay::{Manner, Relay, round_trip};
use crate::bench::backends::results::{Results, Times};
use crate::bench::engine::{Engine, Pinned, started_by};
use crate::bench::measure;
use crate::failure::Failure;
use crate::servers::{Servers, renew};
use crate::{command, report};

/// Half of the time that the far server is away.
pub const ONE_WAY: Duration = Duration::from_millis(15);
/// No step takes so long unless a program waits for something that never comes.
const PATIENCE_SECONDS: &str = "900";

/// The data, and how much it is.
pub struct Corpus {
    pub folder: PathBuf,
    pub bytes: u64,
}

/// What became of a measurement that went well.
enum Outcome {
    Measured(Times),
    /// Its times say nothing, for this reason.
    Bypassed(String),
}

/// What all cells have in common.
pub struct Bench<'a> {
    pub engines: &'a [Engine],
    pub pinned: &'a Pinned,
    pub corpus: &'a Corpus,
    pub folder: &'a Path,
    /// The folder of the servers' run.
    pub state: &'a Path,
    pub connections: usize,
}

impl Bench<'_> {
    /// Measures one backend under all conditions. What cannot be measured is told in the results.
    pub fn backend(
        &self,
        backend: &Backend,
        rounds: usize,
        results: &mut Results,
    ) -> Result<(), Failure> {
        for setting in [Setting::One, Setting::Several, Setting::Far] {
            if setting == Setting::Far && backend.server.is_none() {
                continue;
            }
            for round in 0..rounds {
                // Each program goes first in every other round.
                for turn in 0..self.engines.len() {
                    let engine = (turn + round) % self.engines.len();
                    self.cell(backend, setting, engine, results)?;
                }
            }
        }
        Ok(())
    }

    fn cell(
        &self,
        backend: &Backend,
        setting: Setting,
        index: usize,
        results: &mut Results,
    ) -> Result<(), Failure> {
        let (engine, label) = (&self.engines[index], results.label(setting));
        if results.is_left_out(backend.name, setting, index) {
            return Ok(());
        }
        self.clear()?;
        match self.measure(backend, setting, engine) {
            Ok(Outcome::Measured(times)) => {
                report::line(&format!(
                    "  {}, {label}, {}: backup {:.2} s, restore {:.2} s",
                    backend.name,
                    engine.name(),
                    times.backup,
                    times.restore
                ));
                results.add(backend.name, setting, index, times);
            }
            Ok(Outcome::Bypassed(how)) => {
                report::warning(&how);
                let reason = format!("{}: {how}", engine.name());
                results.leave_out(backend.name, setting, index, reason);
            }
            Err(failure) => {
                report::failure(&failure);
                results.fail(backend.name, setting, index);
            }
        }
        self.clear()
    }

    fn measure(
        &self,
        backend: &Backend,
        setting: Setting,
        engine: &Engine,
    ) -> Result<Outcome, Failure> {
        let servers = match backend.server {
            Some(server) => {
                let names: Vec<&str> = backend.needs().iter().copied().chain([server]).collect();
                renew(self.state, &names)?
            }
            None => Servers::default(),
        };
        let server = backend
            .server
            .map(|name| address_of(&servers, name, backend.manner))
            .transpose()?;
        let relay = relay(server, backend.manner, setting)?;
        let folder = self.folder.join("repository").display().to_string();
        let place = backend.place(&Road {
            servers: &servers,
            address: relay.as_ref().map(Relay::address).or(server),
            folder: &folder,
        })?;
        // In both cases by the same program: restic does not make buckets everywhere.
        if let Some(stash) = self.engines.iter().find(|engine| engine.name() == "stash") {
            command::output(&mut self.command(stash, &place, setting, &["init"]))?;
        }
        self.store_and_restore(engine, &place, setting, relay.as_ref())
    }

    fn store_and_restore(
        &self,
        engine: &Engine,
        place: &Place,
        setting: Setting,
        relay: Option<&Relay>,
    ) -> Result<Outcome, Failure> {
        let source = self.corpus.folder.display().to_string();
        let target = self.target().display().to_string();
        let backup = self.timed(&self.command(engine, place, setting, &["backup", &source]))?;
        if let Some(how) = self.bypassed(relay.map(Relay::sent_bytes), "backup") {
            return Ok(Outcome::Bypassed(how));
        }
        let restore = ["restore", "latest", "--target", &target];
        let restore = self.timed(&self.command(engine, place, setting, &restore))?;
        if let Some(how) = self.bypassed(relay.map(Relay::received_bytes), "restore") {
            return Ok(Outcome::Bypassed(how));
        }
        self.compare()?;
        Ok(Outcome::Measured(Times { backup, restore }))
    }

    fn command(
        &self,
        engine: &Engine,
        place: &Place,
        setting: Setting,
        arguments: &[&str],
    ) -> Command {
        let Naming {
            repository,
            scheme,
            arguments: own,
        } = if engine.name() == "stash" {
            &place.stash
        } else {
            &place.restic
        };
        let connections = if setting == Setting::One {
            1
        } else {
            self.connections
        };
        let mut command = engine.command(Path::new(repository), arguments);
        command
            .args(["--option", &format!("{scheme}.connections={connections}")])
            .args(own)
            .args(&place.arguments)
            .env("NO_PROXY", "127.0.0.1")
            .envs(place.variables.iter().map(|(name, value)| (*name, value)));
        started_by("timeout", &[PATIENCE_SECONDS], &self.pinned.apply(command))
    }

    fn timed(&self, command: &Command) -> Result<f64, Failure> {
        Ok(measure::measure(command, &self.folder.join("usage.json"))?.wall_seconds)
    }

    /// Whether data went another way than through a relay, in words.
    fn bypassed(&self, carried_bytes: Option<u64>, step: &str) -> Option<String> {
        let carried_bytes = carried_bytes.filter(|bytes| *bytes < self.corpus.bytes)?;
        Some(format!(
            "only {} of {} MiB of the {step} came through the relay, because the server named its own address",
            carried_bytes >> 20,
            self.corpus.bytes >> 20
        ))
    }

    /// What was restored is what was stored.
    fn compare(&self) -> Result<(), Failure> {
        let source = &self.corpus.folder;
        let below = source.strip_prefix("/").unwrap_or(source);
        command::run(
            Command::new("diff")
                .args(["-r", "-q"])
                .arg(source)
                .arg(self.target().join(below)),
        )
    }

    fn target(&self) -> PathBuf {
        self.folder.join("restored")
    }

    fn clear(&self) -> Result<(), Failure> {
        for path in [self.folder.join("repository"), self.target()] {
            match fs::remove_dir_all(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::Write { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn address_of(servers: &Servers, name: &str, manner: Manner) -> Result<SocketAddr, Failure> {
    let server = servers.get(name)?;
    let url = match manner {
        Manner::Server => &server.http,
        Manner::Proxy => &server.https,
    };
    url.as_deref()
        .and_then(|url| url.rsplit_once(':')?.1.parse().ok())
        .map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)))
        .ok_or_else(|| Failure::Refused(format!("the server {name} has no such address")))
}

/// The relay that a setting needs, which is seen to do what it should.
fn relay(
    server: Option<SocketAddr>,
    manner: Manner,
    setting: Setting,
) -> Result<Option<Relay>, Failure> {
    let one_way = if setting == Setting::Far {
        ONE_WAY
    } else {
        Duration::ZERO
    };
    let Some(server) = server.filter(|_| setting == Setting::Far || manner == Manner::Proxy) else {
        return Ok(None);
    };
    let failed = |source| Failure::Start {
        program: "delaying relay".to_owned(),
        source,
    };
    let relay = Relay::start(server, one_way, manner).map_err(failed)?;
    let near = round_trip(server, Manner::Server).map_err(failed)?;
    let far = round_trip(relay.address(), manner).map_err(failed)?;
    if far.saturating_sub(near) < 2 * one_way {
        return Err(Failure::Refused(format!(
            "a request takes {near:?}, and only {far:?} through the relay"
        )));
    }
    Ok(Some(relay))
}
