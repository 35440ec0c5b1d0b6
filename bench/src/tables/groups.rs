//! The cost of a datagram by the number of groups joined.
//!
//! On a veth pair, the sender's processor also runs the receiving host's network stack. Two costs are measured: the CPU
//! time of the receiving program, and the additional time per datagram at the sender compared with no groups joined.

use std::time::Duration;

use anyhow::{Context, Result};

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::contestants::{Groups, Pace, Task, named};
use crate::network::{Link, Network};
use crate::report::Figures;
use crate::run::{Counted, Cpu, start};

/// The sender: single datagrams, many per call, to the groups in turn.
const SENDER: &str = "c-mmsg";
/// The receiver: batches, without GRO.
const RECEIVER: &str = "mcast-mmsg";
/// The receiver past the socket.
const WIRE: &str = "mcast-wire";

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Whether datagrams are taken off the interface.
    wire: bool,
    joined: u32,
    sent_to: u32,
}

impl Case {
    fn name(self) -> String {
        let Self { wire, joined, sent_to } = self;
        let spread = if sent_to == 1 { "" } else { ", spread" };
        let past = if wire { "past the socket, " } else { "" };
        format!("{past}{joined} joined{spread}")
    }
}

pub(super) fn measure(bench: &Bench, plan: &Plan, v6: bool) -> Result<Figures> {
    let about = "64 bytes on link (b), GSO and GRO off. To one group of those joined, and spread over all. \
                 Nanoseconds of processor time a datagram: the receiving program, and the walk through the \
                 receiving stack (what it takes the sender's processor with the groups joined, less what it takes \
                 with none joined).";
    let network = &Network::new(Link::Frames)?;
    let mut figures = bench.figures(plan, about.to_owned(), "total_ns", "1 joined");
    let first = if v6 { "ff15::77:1" } else { "239.77.0.1" };
    let most = if v6 { 1_000 } else { 10_000 };
    // Sockets of IPv6 are one for each group; past them there is one ring for all.
    let wire = v6.then(|| cases(most, true)).into_iter().flatten();
    let turns: Vec<_> = cases(most, false)
        .chain(wire)
        .map(|case| Turn { name: case.name(), run: Box::new(move || run_once(network, bench, first, case)) })
        .collect();
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("sender_ns"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&turns, options)?;
    fill(&mut figures, rounds, |_| String::new());
    Ok(figures)
}

fn cases(most: u32, wire: bool) -> impl Iterator<Item = Case> {
    let counts = [1, 10, 100, 1_000, 10_000].into_iter().filter(move |count| *count <= most);
    counts.flat_map(move |joined| {
        let spread = (joined > 1).then_some(Case { wire, joined, sent_to: joined });
        [Case { wire, joined, sent_to: 1 }].into_iter().chain(spread)
    })
}

fn run_once(network: &Network, bench: &Bench, first: &'static str, case: Case) -> Result<Values> {
    let seconds = bench.options.window();
    let task = |count| Task {
        size: 64,
        buffer: 4 << 20,
        warm_up: 0.1,
        seconds,
        pace: Pace::Flood,
        groups: Groups { first, count },
    };
    let receiver = named(if case.wire { WIRE } else { RECEIVER }).context("on the list")?;
    let sender = named(SENDER).context("on the list")?;
    let time_limit = Duration::from_secs_f64(seconds + 20.0);
    let send = || -> Result<Counted> {
        let program = sender.sender(&bench.tools, &task(case.sent_to));
        start(&network.sender, Cpu::Sender, &program)?.result(time_limit)
    };
    let without_members = send()?;
    let mut listening =
        start(&network.receiver, Cpu::Receiver, &receiver.receiver(&bench.tools, &task(case.joined)))?;
    listening.wait_ready()?;
    let sent = send()?;
    let received: Counted = listening.result(time_limit)?;
    let (alone, joined) = (nanoseconds(&without_members), nanoseconds(&sent));
    let program = received.cpu_seconds * 1e9 / received.datagrams.max(1) as f64;
    Ok(vec![
        ("program_ns", program),
        ("sender_ns", joined),
        ("alone_ns", alone),
        ("total_ns", program + (joined - alone).max(0.0)),
        ("rate", received.rate()),
    ])
}

/// Returns the time per datagram of a sender that does nothing else.
fn nanoseconds(sent: &Counted) -> f64 {
    sent.seconds * 1e9 / sent.datagrams.max(1) as f64
}
