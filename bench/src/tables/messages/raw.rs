//! Datagrams without a message layer: `mcast perf`.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::window;
use crate::contestants::{ONE_GROUP, PORT};
use crate::network::INTERFACE;
use crate::report::Figures;
use crate::run::{Cpu, start, wait_until_joined};
use crate::segment::Segment;
use crate::tables::Bench;
use crate::tables::rounds::Values;
use crate::tools::{Need, Tools};

pub(super) const NAME: &str = "mcast-perf";
pub(super) const WHAT: &str = "mcast perf send, mcast perf recv: bare datagrams, numbered, none repaired";

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

/// Returns whether it is available; if not, adds the reason to the figures.
pub(super) fn is_present(bench: &Bench, figures: &mut Figures) -> bool {
    let missing = bench.missing(Need::Mcast);
    if let Some(why) = missing {
        figures.absent.insert(NAME.to_owned(), why.to_owned());
    }
    missing.is_none()
}

/// Sends datagrams of the length of those that carry one message of this size.
pub(super) fn run_once(segment: &Segment, bench: &Bench, size: usize) -> Result<Values> {
    let receiver = segment.receivers.first().context("a receiver")?;
    let mut counting = start(receiver, Cpu::Receiver, &program(&bench.tools, "recv", &[]))?;
    wait_until_joined(receiver, ONE_GROUP)?;
    let datagram = (size + HEADER).to_string();
    let duration = format!("{}ms", (window(bench) * 1e3).ceil());
    let sending = ["--size", &datagram, "--duration", &duration];
    let _sending = start(&segment.sender, Cpu::Sender, &program(&bench.tools, "send", &sending))?;
    let ReceiveSummary { received, seconds } =
        counting.result(TIMEOUT + Duration::from_secs_f64(window(bench)))?;
    let rate = received as f64 / seconds.max(1e-3);
    Ok(vec![("goodput", rate), ("payload", rate * size as f64 * 8.0 / 1e9)])
}

fn program(tools: &Tools, side: &str, options: &[&str]) -> Vec<OsString> {
    let group = format!("{}:{PORT}", ONE_GROUP.first);
    let mut program: Vec<OsString> = vec![tools.mcast().into()];
    program.extend(["perf", side, &group, "--interface", INTERFACE, "--json"].map(OsString::from));
    program.extend(options.iter().map(OsString::from));
    program
}
