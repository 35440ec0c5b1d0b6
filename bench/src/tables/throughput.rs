//! Datagrams per second.

use anyhow::{Context, Result};

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::contestants::{ALL, COMMAND, Contestant, ONE_GROUP, PYTHON, Pace, Task, named};
use crate::network::{Link, Network};
use crate::report::Figures;
use crate::run::{MeasuredSide, Reading, run_pair};

/// The reference, which is the sender for receivers and the receiver for senders.
const REFERENCE: &str = "c-trains";
/// The requested receive buffer; the kernel doubles it.
const BUFFER: usize = 4 << 20;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Receive,
    Send,
    Pairs,
}

impl Direction {
    pub(super) const ALL: [Self; 3] = [Self::Pairs, Self::Receive, Self::Send];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Pairs => "pairs",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Receive => "Receiving",
            Self::Send => "Sending",
            Self::Pairs => "From each one's sender to its own receiver",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Receive => {
                "Datagrams received a second, while the C sender sends trains as fast as it can."
            }
            Self::Send => "Datagrams sent a second, while the C receiver receives them.",
            Self::Pairs => {
                "Datagrams received a second, each contestant's receiver fed by its own sender, which sends as \
                 fast as it can."
            }
        }
    }

    const fn measured_side(self) -> MeasuredSide {
        match self {
            Self::Send => MeasuredSide::Sender,
            Self::Receive | Self::Pairs => MeasuredSide::Receiver,
        }
    }

    fn includes(self, contestant: &Contestant) -> bool {
        match self {
            Self::Receive => contestant.receives,
            Self::Send => contestant.sends,
            // iperf 2 receives only what its own sender sent; mcrx-core doesn't send.
            Self::Pairs => contestant.sends || contestant.name == "mcast-reader",
        }
    }
}

/// A list of contestants. The first is the reference, which also determines whether rounds are steady.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roster {
    All,
    Python,
    Command,
}

impl Roster {
    pub(super) const fn contestants(self) -> &'static [Contestant] {
        match self {
            Self::All => ALL,
            Self::Python => PYTHON,
            Self::Command => COMMAND,
        }
    }
}

pub(super) fn measure(
    bench: &Bench,
    plan: &Plan,
    direction: Direction,
    (roster, link, size): (Roster, Link, usize),
) -> Result<Figures> {
    let network = &Network::new(link)?;
    let reference = named(REFERENCE).context("the reference is on the list")?;
    let first = roster.contestants().first().context("there is no contestant")?.name;
    let mut figures = bench.figures(plan, direction.about().to_owned(), "rate", first);
    let selected = roster.contestants().iter().filter(|each| direction.includes(each));
    let selected = selected.filter(|each| each.name == first || bench.options.wants(each.name));
    let present = bench.present(selected, &mut figures);
    let task = &task(bench, size);
    let turns: Vec<_> = present
        .iter()
        .map(|contestant| {
            let pair = pair(direction, contestant, reference);
            let run = move || run_once(network, bench, pair, direction.measured_side(), task);
            Turn { name: contestant.name.to_owned(), run: Box::new(run) as Box<_> }
        })
        .collect();
    let options = RoundOptions {
        rounds: bench.options.rounds(),
        steady_by: Some("rate"),
        keep_all: bench.options.keep_all || bench.options.quick,
    };
    let rounds = take_turns(&turns, options)?;
    fill(&mut figures, rounds, |name| named(name).map_or_else(String::new, |each| each.what.to_owned()));
    Ok(figures)
}

fn task(bench: &Bench, size: usize) -> Task {
    let seconds = bench.options.window();
    Task {
        size,
        buffer: BUFFER,
        warm_up: (seconds / 5.0).min(0.2),
        seconds,
        pace: Pace::Flood,
        groups: ONE_GROUP,
    }
}

fn pair<'c>(
    direction: Direction,
    contestant: &'c Contestant,
    reference: &'c Contestant,
) -> (&'c Contestant, &'c Contestant) {
    match direction {
        Direction::Receive => (reference, contestant),
        Direction::Send => (contestant, reference),
        // A reader is paired with the batched sender.
        Direction::Pairs if !contestant.sends => (named("mcast-batches").unwrap_or(contestant), contestant),
        Direction::Pairs => (contestant, contestant),
    }
}

fn run_once(
    network: &Network,
    bench: &Bench,
    pair: (&Contestant, &Contestant),
    measured: MeasuredSide,
    task: &Task,
) -> Result<Values> {
    let Reading { sent, received } = run_pair(network, &bench.tools, pair, measured, task)?;
    let counted = match measured {
        MeasuredSide::Sender => sent,
        MeasuredSide::Receiver => received,
    };
    let counted = counted.context("the measured side was counted")?;
    let mut values = vec![("rate", counted.rate())];
    if counted.datagrams > 0 {
        values.push(("cpu_ns", counted.cpu_seconds * 1e9 / counted.datagrams as f64));
    }
    if let (MeasuredSide::Receiver, Some(sent)) = (measured, sent) {
        values.push(("offered", sent.rate()));
    }
    Ok(values)
}
