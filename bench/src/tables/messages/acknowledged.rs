//! The time until all subscribers have acknowledged a message.

use anyhow::{Context, Result};

use super::goodput::{describe, row, without_loss};
use super::{present, round_options, transfer, window};
use crate::contestants::{Messages, Messenger};
use crate::network::Link;
use crate::report::Figures;
use crate::segment::Segment;
use crate::tables::plan::Plan;
use crate::tables::rounds::{Turn, Values, take_turns};
use crate::tables::{Bench, fill};

/// The contestants; the first is the reference.
const CONTESTANTS: [&str; 3] = ["mcast-stream-acked", "norm-acked", "tcp-acked"];
/// Percent.
const LOSSES: [f64; 2] = [0.0, 1.0];
const SIZE: usize = 224;
/// Messages per second.
const RATE: u32 = 25;
/// How much longer than other tables this one publishes, because the rate is low.
const LONGER: f64 = 4.0;
/// Additional seconds for a subscriber after publishing ends.
const TIMEOUT: f64 = 5.0;

pub(super) fn measure(bench: &Bench, plan: &Plan, receivers: usize) -> Result<Figures> {
    let about = format!(
        "From publishing until the publisher knows that all {receivers} receivers have the message, in microseconds: {SIZE} \
         bytes, at most {RATE} messages a second, each after the one before was acknowledged, offloads off. Frames are \
         dropped at random as they come in, at both ends. The receivers share one processor."
    );
    let segment = &Segment::new(Link::Frames, receivers)?;
    let mut figures = bench.figures(plan, about, "p50", &row(CONTESTANTS[0], LOSSES[0]));
    let seconds = window(bench) * LONGER;
    figures.seconds = seconds;
    let messages = Messages {
        size: SIZE,
        seconds,
        rate: Some(RATE),
        receivers,
        timeout: seconds + TIMEOUT,
        limit: "1e9",
    };
    let who = present(bench, &CONTESTANTS, &mut figures);
    let turns: Vec<_> = who
        .iter()
        .flat_map(|who| LOSSES.map(|loss| (*who, loss)))
        .map(|(who, loss)| Turn {
            name: row(who.name, loss),
            run: Box::new(move || run_once(segment, bench, who, &messages, loss)) as Box<_>,
        })
        .collect();
    let rounds = take_turns(&turns, round_options(bench, "p50"))?;
    fill(&mut figures, rounds, |name| describe(without_loss(name)));
    Ok(figures)
}

fn run_once(
    segment: &Segment,
    bench: &Bench,
    who: &Messenger,
    messages: &Messages,
    loss: f64,
) -> Result<Values> {
    let transfer = transfer::run(segment, &bench.tools, who, messages, Some(loss))?;
    let delays = transfer.acknowledged.context("no message was acknowledged")?;
    Ok(vec![
        ("p50", delays.p50),
        ("p99", delays.p99),
        ("max", delays.max),
        ("drawn", transfer.lost.unwrap_or(0.0)),
        ("without", transfer.without as f64),
    ])
}
