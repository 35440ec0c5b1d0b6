//! Round-trip times.

use std::time::Duration;

use anyhow::{Context, Result};

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill, perf, sockperf};
use crate::contestants::{Contestant, ONE_GROUP, Pace, Task, named};
use crate::network::{Link, Network};
use crate::report::Figures;
use crate::run::{Cpu, Pinged, start};
use crate::tools::Need;

/// The contestants, each spinning or blocking.
const TURNS: [(&str, &str); 8] = [
    ("c-spinning", "C: recvmsg again and again"),
    ("mcast-spinning", "mcast: `recv_timeout`, the receiver set to `spin`"),
    ("perf-spinning", "mcast perf send --latency --spin, mcast perf recv --reply --spin"),
    ("sockperf-spinning", "sockperf --nonblocked"),
    ("c-blocking", "C: poll and recvmsg"),
    ("mcast-blocking", "mcast: `recv_timeout`"),
    ("perf-blocking", "mcast perf send --latency, mcast perf recv --reply"),
    ("sockperf-blocking", "sockperf"),
];

pub(super) fn measure(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = "One datagram to the group, and back to the group, as often as it goes: the whole round trip, in \
                 microseconds, on link (a). Spinning ends ask the kernel again and again; blocking ends sleep until \
                 it wakes them.";
    let network = Network::new(Link::Whole)?;
    let mut figures = bench.figures(plan, about.to_owned(), "p50", "c-spinning");
    let turns: Vec<_> = TURNS
        .into_iter()
        .filter(|(name, _)| is_present(bench, name, &mut figures))
        .map(|(name, _)| Turn { name: name.to_owned(), run: Box::new(|| run_once(&network, bench, name)) })
        .collect();
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("p50"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&turns, options)?;
    let what =
        |name: &str| TURNS.iter().find(|(each, _)| *each == name).map_or("", |(_, what)| what).to_owned();
    fill(&mut figures, rounds, what);
    Ok(figures)
}

fn is_present(bench: &Bench, name: &str, figures: &mut Figures) -> bool {
    let need = match name.split_once('-') {
        Some(("sockperf", _)) => Need::Sockperf,
        Some(("perf", _)) => Need::Mcast,
        _ => return true,
    };
    let missing = bench.missing(need);
    if let Some(why) = missing {
        figures.absent.insert(name.to_owned(), why.to_owned());
    }
    missing.is_none()
}

fn run_once(network: &Network, bench: &Bench, name: &str) -> Result<Values> {
    let spin = name.ends_with("spinning");
    let seconds = bench.options.window();
    let pinged = match name.split_once('-') {
        Some(("sockperf", _)) => sockperf::ping(network, seconds, spin)?,
        Some(("perf", _)) => perf::ping(network, &bench.tools, seconds, spin)?,
        Some(("c", _)) => ping(network, bench, "c-plain", seconds, spin)?,
        _ => ping(network, bench, "mcast-single", seconds, spin)?,
    };
    anyhow::ensure!(pinged.count > 0, "nothing came back");
    Ok(vec![
        ("p50", pinged.p50),
        ("p90", pinged.p90),
        ("p99", pinged.p99),
        ("p999", pinged.p999),
        ("lost", pinged.lost as f64),
    ])
}

fn ping(network: &Network, bench: &Bench, name: &str, seconds: f64, spin: bool) -> Result<Pinged> {
    let who: &Contestant = named(name).context("on the list")?;
    let task = Task { size: 64, buffer: 0, warm_up: 0.1, seconds, pace: Pace::Flood, groups: ONE_GROUP };
    let program = |role| who.pinger(&bench.tools, role, spin, &task);
    let mut pong = start(&network.receiver, Cpu::Receiver, &program("pong"))?;
    pong.wait_ready()?;
    let mut ping = start(&network.sender, Cpu::Sender, &program("ping"))?;
    ping.wait_ready()?;
    ping.result(Duration::from_secs_f64(seconds + 10.0))
}
