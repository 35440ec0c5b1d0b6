//! Datagrams without a message layer: `mcast perf`, and the reference in C with memory that is fresh for each.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::window;
use crate::contestants::{ONE_GROUP, PORT};
use crate::network::INTERFACE;
use crate::report::Figures;
use crate::run::{Counted, Cpu, start, wait_until_joined};
use crate::segment::Segment;
use crate::tables::Bench;
use crate::tables::rounds::Values;
use crate::tools::{Need, Tools};

pub(super) const NAME: &str = "mcast-perf";
pub(super) const WHAT: &str = "mcast perf send, mcast perf recv: bare datagrams, numbered, none repaired";

/// The reference in C, which has distinct bytes to send, as a publisher of messages does.
pub(super) const FRESH: &str = "c-fresh";
pub(super) const FRESH_WHAT: &str =
    "C: recvmmsg and sendmmsg with UDP GRO and GSO, numbered bytes of 64 MiB in turn, none repaired";
/// The memory that they come from, far more than a processor's cache.
const FRESH_BYTES: usize = 64 << 20;

/// Length of the stream header.
const HEADER: usize = mcast_stream::wire::HEADER_LENGTH;
/// Time limit in addition to the duration.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The summary of `mcast perf recv --json`.
#[derive(Deserialize, Debug)]
struct ReceiveSummary {
    received: u64,
    seconds: f64,
}

/// Returns those that are available; adds the reason to the figures for those that are not.
pub(super) fn present(bench: &Bench, figures: &mut Figures) -> Vec<&'static str> {
    let needs = [(NAME, Need::Mcast), (FRESH, Need::Reference)];
    let mut present = Vec::new();
    for (name, need) in needs {
        match bench.missing(need) {
            Some(why) => drop(figures.absent.insert(name.to_owned(), why.to_owned())),
            None => present.push(name),
        }
    }
    present
}

/// Sends datagrams of the length of those that carry one message of this size.
pub(super) fn run_once(segment: &Segment, bench: &Bench, name: &str, size: usize) -> Result<Values> {
    let rate = if name == FRESH { fresh(segment, bench, size)? } else { perf(segment, bench, size)? };
    Ok(vec![("goodput", rate), ("payload", rate * size as f64 * 8.0 / 1e9)])
}

fn fresh(segment: &Segment, bench: &Bench, size: usize) -> Result<f64> {
    let receiver = segment.receivers.first().context("a receiver")?;
    let (group, port, seconds) = (ONE_GROUP.first, PORT.to_string(), window(bench).to_string());
    let (datagram, memory) = ((size + HEADER).to_string(), FRESH_BYTES.to_string());
    let program = |role: &str, more: &[&str]| {
        let mut program: Vec<OsString> = vec![bench.tools.reference().into(), role.into()];
        let options = ["--calls", "trains", "--group", group, "--port", &port, "--interface", INTERFACE];
        program
            .extend(options.iter().chain(&["--size", &datagram, "--seconds", &seconds]).map(OsString::from));
        program.extend(more.iter().map(OsString::from));
        program
    };
    let mut counting = start(receiver, Cpu::Receiver, &program("receive", &[]))?;
    counting.wait_ready()?;
    let _sending = start(&segment.sender, Cpu::Sender, &program("send", &["--fresh", &memory]))?;
    let counted: Counted = counting.result(TIMEOUT + Duration::from_secs_f64(window(bench)))?;
    Ok(counted.datagrams as f64 / counted.seconds.max(1e-3))
}

fn perf(segment: &Segment, bench: &Bench, size: usize) -> Result<f64> {
    let receiver = segment.receivers.first().context("a receiver")?;
    let mut counting = start(receiver, Cpu::Receiver, &program(&bench.tools, "recv", &[]))?;
    wait_until_joined(receiver, ONE_GROUP)?;
    let datagram = (size + HEADER).to_string();
    let duration = format!("{}ms", (window(bench) * 1e3).ceil());
    let sending = ["--size", &datagram, "--duration", &duration];
    let _sending = start(&segment.sender, Cpu::Sender, &program(&bench.tools, "send", &sending))?;
    let ReceiveSummary { received, seconds } =
        counting.result(TIMEOUT + Duration::from_secs_f64(window(bench)))?;
    Ok(received as f64 / seconds.max(1e-3))
}

fn program(tools: &Tools, side: &str, options: &[&str]) -> Vec<OsString> {
    let group = format!("{}:{PORT}", ONE_GROUP.first);
    let mut program: Vec<OsString> = vec![tools.mcast().into()];
    program.extend(["perf", side, &group, "--interface", INTERFACE, "--json"].map(OsString::from));
    program.extend(options.iter().map(OsString::from));
    program
}
