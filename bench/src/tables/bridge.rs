//! Bridges: how many messages per second they store in an engine, beside the engine's own client that stores the same
//! records alone.
//!
//! The engine and its client, or the bridge, have the second processor; the publisher has the first one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mcast_lab::Host;
use serde::Deserialize;

use super::engine::{Engine, Server, words};
use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::network::{INTERFACE, Link, Network};
use crate::report::Figures;
use crate::run::{Cpu, Running, start};

const GROUP: &str = "239.77.0.1:7700";
/// Records of a run with a pace.
const PACED: u32 = 40_000;
/// Records per second while delays are measured.
const RATE: u32 = 10_000;
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who stores the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Client,
    Bridge,
}

/// What a measurement of delays prints, in microseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Delays {
    count: u32,
    p50: f64,
    p99: f64,
}

pub(super) fn measure(bench: &Bench, plan: &Plan, engine: Engine) -> Result<Figures> {
    let about = format!(
        "{} records are stored as fast as possible: by the engine's own client alone, and by `mcast bridge`, which \
         receives them from `mcast publish` on another host. Then {PACED} are stored at {RATE} per second, and the delay is \
         the time from when a record is made until it is stored, in microseconds, without the first quarter, which is \
         made while programs start.",
        engine.records()
    );
    let mut figures = bench.figures(plan, about, "stored", engine.client());
    if let Some(why) = engine.needs().into_iter().find_map(|need| bench.missing(need)) {
        figures.absent.insert(engine.client().to_owned(), why.to_owned());
        return Ok(figures);
    }
    let turn = |(name, writer): (&str, Writer)| Turn {
        name: name.to_owned(),
        run: Box::new(move || run_once(bench, engine, writer)),
    };
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("stored"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let writers = [(engine.client(), Writer::Client), ("mcast bridge", Writer::Bridge)];
    let rounds = take_turns(&writers.map(turn), options)?;
    fill(&mut figures, rounds, |name| match name {
        "mcast bridge" => "one bridge, and `mcast publish` on another host".to_owned(),
        _ => "stores the same records alone, without acknowledging them to a publisher".to_owned(),
    });
    Ok(figures)
}

fn run_once(bench: &Bench, engine: Engine, writer: Writer) -> Result<Values> {
    let stored = Trial::new(bench, engine)?.stored_per_second(writer)?;
    let Delays { p50, p99, .. } = Trial::new(bench, engine)?.delays(writer)?;
    Ok(vec![("stored", stored), ("p50", p50), ("p99", p99)])
}

/// A server without records, on the host that also stores them.
struct Trial<'a> {
    bench: &'a Bench,
    engine: Engine,
    network: Network,
    folder: PathBuf,
    server: Server,
}

impl<'a> Trial<'a> {
    fn new(bench: &'a Bench, engine: Engine) -> Result<Self> {
        let network = Network::new(Link::Whole)?;
        let folder = bench.tools.made().join("engine");
        // What an earlier run left.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("removing the records of an earlier run")?;
        }
        std::fs::create_dir_all(&folder).context("making the folder of an engine")?;
        let server = Server::start(bench, engine, &network.receiver, &folder)?;
        let trial = Self { bench, engine, network, folder, server };
        if engine.creates() {
            trial.helper(&[&engine.command("create"), &trial.server.address])?.text(TIMEOUT)?;
        }
        Ok(trial)
    }

    fn host(&self) -> &Host {
        &self.network.receiver
    }

    /// Returns the command line of the program in Python.
    fn script(&self, arguments: &[&str]) -> Vec<OsString> {
        let mut program: Vec<OsString> = vec![self.bench.tools.engines().join("python").into()];
        program.push(self.bench.tools.script("engine_peer.py").into());
        program.extend(words(arguments));
        program
    }

    fn helper(&self, arguments: &[&str]) -> Result<Running> {
        start(self.host(), Cpu::Receiver, &self.script(arguments))
    }

    /// Starts a shell, whose positional parameters are these words.
    fn shell(&self, host: &Host, cpu: Cpu, line: &str, parameters: Vec<OsString>) -> Result<Running> {
        let mut program = words(&["sh", "-c", line, "sh"]);
        program.extend(parameters);
        start(host, cpu, &program)
    }

    fn stored_per_second(&self, writer: Writer) -> Result<f64> {
        // What is stored is made before, so that making it takes no time.
        let (count, input) = (self.engine.records().to_string(), self.folder.join("input"));
        let make = match (self.engine, writer) {
            (Engine::Redis, Writer::Client) => vec!["redis-commands", &count, "0"],
            _ => vec!["lines", &count, "0"],
        };
        let mut parameters = vec![OsString::from(&input)];
        parameters.extend(self.script(&make));
        let line = r#"file=$1; shift; "$@" > "$file""#;
        self.shell(self.host(), Cpu::Receiver, line, parameters)?.text(TIMEOUT)?;
        let bridge = (writer == Writer::Bridge).then(|| self.bridge()).transpose()?;
        let (began, mut said) = (Instant::now(), String::new());
        let feed = r#"file=$1; shift; exec "$@" < "$file""#;
        match (writer, bridge) {
            (Writer::Bridge, Some(bridge)) => {
                let mut parameters = vec![OsString::from(&input)];
                parameters.extend(self.publisher());
                let publisher = self.shell(&self.network.sender, Cpu::Sender, feed, parameters)?;
                said = bridge.text(TIMEOUT)?;
                drop(publisher);
            }
            _ if self.engine == Engine::Redis => {
                let mut parameters = vec![OsString::from(&input)];
                parameters.extend(words(&["redis-cli", "-s", &self.server.address, "--pipe"]));
                self.shell(self.host(), Cpu::Receiver, feed, parameters)?.text(TIMEOUT)?;
            }
            _ => drop(
                self.helper(&[&self.engine.command("write"), &self.server.address, &count, "0"])?
                    .text(TIMEOUT)?,
            ),
        }
        let seconds = began.elapsed().as_secs_f64();
        let stored = self.count()?;
        // A bridge stores the end, too.
        ensure!(
            stored == self.engine.records() + u32::from(writer == Writer::Bridge),
            "{stored} records are stored. {said}"
        );
        Ok(f64::from(self.engine.records()) / seconds)
    }

    fn delays(&self, writer: Writer) -> Result<Delays> {
        let (count, rate) = (PACED.to_string(), RATE.to_string());
        let read = || self.helper(&[&self.engine.command("delays"), &self.server.address, &count]);
        let reader = match self.engine.notes_times() {
            true => None,
            false => {
                let mut reader = read()?;
                reader.wait_ready()?;
                Some(reader)
            }
        };
        let bridge = (writer == Writer::Bridge).then(|| self.bridge()).transpose()?;
        match (writer, bridge) {
            (Writer::Bridge, Some(bridge)) => {
                let publisher = self.fed(&self.network.sender, "lines", self.publisher())?;
                bridge.text(TIMEOUT)?;
                drop(publisher);
            }
            _ if self.engine == Engine::Redis => {
                let client = words(&["redis-cli", "-s", &self.server.address, "--pipe"]);
                self.fed(self.host(), "redis-commands", client)?.text(TIMEOUT)?;
            }
            _ => drop(
                self.helper(&[&self.engine.command("write"), &self.server.address, &count, &rate])?
                    .text(TIMEOUT)?,
            ),
        }
        let mut reader = match reader {
            Some(reader) => reader,
            None => read()?,
        };
        let delays: Delays = reader.result(TIMEOUT)?;
        ensure!(delays.count >= PACED, "the delays of {} records only", delays.count);
        Ok(delays)
    }

    /// Starts a program that is fed with records of this kind, at the pace.
    fn fed(&self, host: &Host, kind: &str, program: Vec<OsString>) -> Result<Running> {
        let (count, rate) = (PACED.to_string(), RATE.to_string());
        let mut feeding = self.script(&["feed", kind, &count, &rate]);
        feeding.extend(program);
        start(host, Cpu::Sender, &feeding)
    }

    /// Starts a bridge, and waits until it is connected to the engine.
    fn bridge(&self) -> Result<Running> {
        let group = GROUP.replace(':', &format!("%{INTERFACE}:"));
        let mut program = vec![self.bench.tools.mcast().into()];
        program.extend(words(&["bridge", &group, "to", &self.server.target, "--name", "prices", "--json"]));
        let mut bridge = start(self.host(), Cpu::Receiver, &program)?;
        bridge.wait_for_text(r#""event":"connected""#)?;
        Ok(bridge)
    }

    fn publisher(&self) -> Vec<OsString> {
        let mut program = vec![self.bench.tools.mcast().into()];
        let group = GROUP.replace(':', &format!("%{INTERFACE}:"));
        program.extend(words(&["publish", &group, "--name", "prices", "--wait-for", "1", "-q"]));
        program
    }

    /// Returns the number of stored records, which the engine's own client counts.
    fn count(&self) -> Result<u32> {
        let counting = match self.engine {
            Engine::Redis => {
                let program = words(&["redis-cli", "-s", &self.server.address, "XLEN", "prices"]);
                start(self.host(), Cpu::Receiver, &program)?
            }
            _ => self.helper(&[&self.engine.command("count"), &self.server.address])?,
        };
        let text = counting.text(TIMEOUT)?;
        text.trim().parse().with_context(|| format!("the number of records: {text}"))
    }
}
