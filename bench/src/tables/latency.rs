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

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pings {
    /// Everybody, as often as it goes.
    All,
    /// A receiver past the socket, beside one with a socket.
    Wire,
    /// At a rate.
    Paced,
}

/// Datagrams per second of [`Pings::Paced`].
const RATE: u32 = 50_000;

impl Pings {
    pub(super) const ALL: [Self; 3] = [Self::All, Self::Wire, Self::Paced];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "latency",
            Self::Wire => "latency-wire",
            Self::Paced => "latency-paced",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::All => "There and back, 64 bytes, microseconds",
            Self::Wire => "There and back past the socket, 64 bytes, microseconds",
            Self::Paced => "There and back, 64 bytes, 50,000 a second, microseconds",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::All => {
                "One datagram to the group, and back to the group, as often as it goes: the whole round trip, in \
                 microseconds, on link (a). Spinning ends ask the kernel again and again; blocking ends sleep until \
                 it wakes them."
            }
            Self::Wire => {
                "As in [latency](#latency), on link (b). Both ends of `wire` take datagrams off the interface (AF_XDP); \
                 those of the others read a socket."
            }
            Self::Paced => {
                "50,000 datagrams a second to the group on link (a), one at a time, each back before the next is \
                 sent; both ends spin. A datagram that is sent late counts from when it was due. One way: until \
                 the other end has it, by the same clock."
            }
        }
    }

    fn link(self) -> Link {
        if self == Self::Wire { Link::Frames } else { Link::Whole }
    }

    /// The row that the others are compared with.
    fn reference(self) -> &'static str {
        if self == Self::Wire { "mcast-spinning" } else { "c-spinning" }
    }

    fn turns(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::All => &TURNS,
            Self::Wire => &WIRE_TURNS,
            Self::Paced => &PACED_TURNS,
        }
    }

    fn pace(self) -> Pace {
        if self == Self::Paced { Pace::Even { rate: RATE, count: 0 } } else { Pace::Flood }
    }
}

const WIRE_TURNS: [(&str, &str); 6] = [
    ("c-spinning", "C: recvmsg again and again"),
    ("mcast-spinning", "mcast: `recv_timeout`, the receiver set to `spin`"),
    ("wire-spinning", "mcast: the same past the socket (AF_XDP)"),
    ("c-blocking", "C: poll and recvmsg"),
    ("mcast-blocking", "mcast: `recv_timeout`"),
    ("wire-blocking", "mcast: the same past the socket (AF_XDP)"),
];

const PACED_TURNS: [(&str, &str); 3] = [
    ("c-spinning", "C: recvmsg again and again"),
    ("mcast-spinning", "mcast: `recv_timeout`, the receiver set to `spin`"),
    (CLOCK, "C: sends nothing, and reads the clock when a datagram is due: the pauses of the machine"),
];

/// The row that only reads the clock.
const CLOCK: &str = "clock";

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

pub(super) fn measure(bench: &Bench, plan: &Plan, pings: Pings) -> Result<Figures> {
    let network = Network::new(pings.link())?;
    let mut figures = bench.figures(plan, pings.about().to_owned(), "p50", pings.reference());
    let turns: Vec<_> = pings
        .turns()
        .iter()
        .filter(|(name, _)| is_present(bench, name, &mut figures))
        .map(|(name, _)| Turn {
            name: (*name).to_owned(),
            run: Box::new(|| run_once(&network, bench, name, pings.pace())),
        })
        .collect();
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("p50"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&turns, options)?;
    let what = |name: &str| {
        pings.turns().iter().find(|(each, _)| *each == name).map_or("", |(_, what)| what).to_owned()
    };
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

fn run_once(network: &Network, bench: &Bench, name: &str, pace: Pace) -> Result<Values> {
    let spin = name.ends_with("spinning");
    let seconds = bench.options.window();
    let of = |contestant| ping(network, bench, contestant, spin, pace);
    let pinged = match name.split_once('-') {
        Some(("sockperf", _)) => sockperf::ping(network, seconds, spin)?,
        Some(("perf", _)) => perf::ping(network, &bench.tools, seconds, spin)?,
        Some(("c", _)) => of("c-plain")?,
        Some(("wire", _)) => of("mcast-wire")?,
        None => clock(network, bench, pace)?,
        _ => of("mcast-single")?,
    };
    anyhow::ensure!(pinged.count > 0, "nothing came back");
    if let Pace::Even { rate, .. } = pace {
        // Else each waits for those before it, and the times say how long the run was.
        let kept_up = pinged.p50 < 1e6 / f64::from(rate);
        anyhow::ensure!(kept_up, "it did not keep up with {rate} a second: p50 is {:.0} µs", pinged.p50);
    }
    let mut values = vec![
        ("p50", pinged.p50),
        ("p90", pinged.p90),
        ("p99", pinged.p99),
        ("p999", pinged.p999),
        ("lost", pinged.lost as f64),
    ];
    values.extend(pinged.p9999.map(|p9999| ("p9999", p9999)));
    if let (Some(p9999), Some(one_way)) = (pinged.p9999, pinged.one_way) {
        values.extend([
            ("tail", p9999 / pinged.p50),
            ("one_way_p50", one_way.p50),
            ("one_way_p9999", one_way.p9999),
            ("one_way_tail", one_way.p9999 / one_way.p50),
        ]);
    }
    Ok(values)
}

fn ping(network: &Network, bench: &Bench, name: &str, spin: bool, pace: Pace) -> Result<Pinged> {
    run_both(network, bench, name, ["ping", "pong"], spin, pace)
}

/// Both ends only read the clock.
fn clock(network: &Network, bench: &Bench, pace: Pace) -> Result<Pinged> {
    run_both(network, bench, "c-plain", ["clock"; 2], true, pace)
}

/// Runs a contestant's programs with these roles at the sender and at the receiver.
fn run_both(
    network: &Network,
    bench: &Bench,
    name: &str,
    [there, back]: [&str; 2],
    spin: bool,
    pace: Pace,
) -> Result<Pinged> {
    let seconds = bench.options.window();
    let who: &Contestant = named(name).context("on the list")?;
    let task = Task { size: 64, buffer: 0, warm_up: 0.1, seconds, pace, groups: ONE_GROUP };
    let program = |role| who.pinger(&bench.tools, role, spin, &task);
    let mut pong = start(&network.receiver, Cpu::Receiver, &program(back))?;
    pong.wait_ready()?;
    let mut ping = start(&network.sender, Cpu::Sender, &program(there))?;
    ping.wait_ready()?;
    ping.result(Duration::from_secs_f64(seconds + 10.0))
}
