//! Round-trip times of the command `mcast perf`.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use crate::contestants::{ONE_GROUP, PORT};
use crate::network::{INTERFACE, Network};
use crate::run::{Cpu, Pinged, start, wait_until_joined};
use crate::tools::Tools;

/// The summary of `mcast perf send --latency --json`.
#[derive(Deserialize, Debug)]
struct Summary {
    received: u64,
    lost: u64,
    round_trip_us: Percentiles,
}

#[derive(Deserialize, Debug)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
}

/// Runs it once.
pub(super) fn ping(network: &Network, tools: &Tools, seconds: f64, spin: bool) -> Result<Pinged> {
    let _pong = start(&network.receiver, Cpu::Receiver, &program(tools, "recv", spin, &["--reply"]))?;
    wait_until_joined(&network.receiver, ONE_GROUP)?;
    let duration = format!("{}ms", (seconds * 1e3).ceil());
    let options = ["--latency", "--size", "64", "--duration", &duration, "--json"];
    let mut ping = start(&network.sender, Cpu::Sender, &program(tools, "send", spin, &options))?;
    let Summary { received, lost, round_trip_us: Percentiles { p50, p90, p99, p999 } } =
        ping.result(Duration::from_secs_f64(seconds + 15.0))?;
    Ok(Pinged { count: received, lost, p50, p90, p99, p999, p9999: None, one_way: None })
}

fn program(tools: &Tools, side: &str, spin: bool, options: &[&str]) -> Vec<OsString> {
    let group = format!("{}:{PORT}", ONE_GROUP.first);
    let mut program: Vec<OsString> = vec![tools.mcast().into()];
    program.extend(["perf", side, &group, "--interface", INTERFACE].map(OsString::from));
    program.extend(options.iter().map(OsString::from));
    program.extend(spin.then(|| "--spin".into()));
    program
}
