//! Loss at a constant rate.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::contestants::{Contestant, Counts, ONE_GROUP, Pace, Task, named};
use crate::network::{Link, Network};
use crate::report::Figures;
use crate::run::{Counted, Cpu, Running, UdpCounters, start, wait_until_joined};

const CONTESTANTS: [&str; 7] =
    ["c-plain", "mcast-reader", "mcast-single", "iperf2", "multicast_expert", "python", "socat"];
/// Datagrams per second.
const RATE: u32 = 200_000;
/// The requested receive buffer; the kernel doubles it to 8 MiB.
const BUFFER: usize = 4 << 20;
/// A run is invalid if the sender misses the rate by more than this.
const SHORTFALL: f64 = 0.02;

pub(super) fn measure(bench: &Bench, plan: &Plan, equal_buffers: bool) -> Result<Figures> {
    let network = Network::new(Link::Whole)?;
    let seconds: u32 = if bench.options.quick { 1 } else { 10 };
    let about = format!(
        "1,400 bytes, {RATE} datagrams a second for {seconds} s on link (a), evenly paced by the C sender (iperf 2 \
         receives only what its own sender sent, and paces it itself). Percent lost."
    );
    let mut figures = bench.figures(plan, about, "loss", "c-plain");
    figures.seconds = f64::from(seconds);
    let asked = CONTESTANTS.iter().filter_map(|name| named(name));
    let present = bench.present(asked.filter(|each| bench.options.wants(each.name)), &mut figures);
    let task = Task {
        size: 1400,
        buffer: if equal_buffers { BUFFER } else { 0 },
        warm_up: 0.0,
        seconds: f64::from(seconds),
        pace: Pace::Even { rate: RATE, count: u64::from(RATE) * u64::from(seconds) },
        groups: ONE_GROUP,
    };
    let turns: Vec<_> = present
        .into_iter()
        .map(|who| Turn {
            name: who.name.to_owned(),
            run: Box::new(|| run_once(&network, bench, who, &task)),
        })
        .collect();
    // Loss is an absolute value, not relative to the reference.
    let options = RoundOptions { rounds: bench.options.rounds().min(3), steady_by: None, keep_all: true };
    let rounds = take_turns(&turns, options)?;
    fill(&mut figures, rounds, |name| named(name).map_or_else(String::new, |each| each.what.to_owned()));
    Ok(figures)
}

fn run_once(network: &Network, bench: &Bench, who: &Contestant, task: &Task) -> Result<Values> {
    let feeder = match who.name {
        "iperf2" => who,
        _ => named("c-trains").context("on the list")?,
    };
    let mut listening = start(&network.receiver, Cpu::Receiver, &who.receiver(&bench.tools, task))?;
    match who.counts() {
        Counts::Itself => listening.wait_ready()?,
        Counts::Kernel => wait_until_joined(&network.receiver, task.groups)?,
        Counts::Whole => bail!("what {} lost is not known before its end", who.name),
    }
    let before = UdpCounters::of(&network.receiver)?;
    let talking = start(&network.sender, Cpu::Sender, &feeder.sender(&bench.tools, task))?;
    let (sent, seconds) = finish_sending(network, feeder, talking, task)?;
    let received = match who.counts() {
        Counts::Itself => listening.result::<Counted>(Duration::from_secs(30))?.datagrams,
        Counts::Kernel | Counts::Whole => wait_for_silence(network)?.since(before).received,
    };
    let rate = sent as f64 / seconds;
    // If a contestant's own sender misses the rate, the table shows that.
    let fair = feeder.name == who.name || rate >= f64::from(RATE) * (1.0 - SHORTFALL);
    ensure!(fair, "the sender reached only {rate:.0} datagrams per second");
    let lost = sent.saturating_sub(received);
    Ok(vec![("loss", lost as f64 * 100.0 / sent as f64), ("rate", rate)])
}

/// Waits until the sender has finished; returns how many datagrams it sent, in how many seconds.
fn finish_sending(
    network: &Network,
    feeder: &Contestant,
    mut talking: Running,
    task: &Task,
) -> Result<(u64, f64)> {
    let time_limit = Duration::from_secs_f64(task.seconds * 3.0 + 20.0);
    if feeder.counts() == Counts::Itself {
        let counted: Counted = talking.result(time_limit)?;
        return Ok((counted.datagrams, counted.seconds));
    }
    let before = UdpCounters::of(&network.sender)?;
    let (mut last, mut sent, begun) = (Instant::now(), before, Instant::now());
    // It may wait for its server after the last datagram; only the time until then counts.
    while last.elapsed() < Duration::from_secs(1) && begun.elapsed() < time_limit {
        thread::sleep(Duration::from_millis(5));
        let counters = UdpCounters::of(&network.sender)?;
        if counters != sent {
            (last, sent) = (Instant::now(), counters);
        }
    }
    Ok((sent.since(before).sent, (last - begun).as_secs_f64()))
}

/// Returns the receiver's counters after half a second without datagrams.
fn wait_for_silence(network: &Network) -> Result<UdpCounters> {
    let mut latest = UdpCounters::of(&network.receiver)?;
    loop {
        thread::sleep(Duration::from_millis(500));
        let next = UdpCounters::of(&network.receiver)?;
        if next == latest {
            return Ok(latest);
        }
        latest = next;
    }
}
