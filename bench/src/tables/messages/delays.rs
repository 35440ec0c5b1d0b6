//! Message latency at a constant rate.

use anyhow::Result;

use super::goodput::{describe, row, without_loss};
use super::{present, round_options, transfer, window};
use crate::contestants::{Messages, Messenger};
use crate::network::Link;
use crate::report::Figures;
use crate::segment::Segment;
use crate::tables::plan::Plan;
use crate::tables::rounds::{Turn, Values, take_turns};
use crate::tables::{Bench, fill};

/// The contestants with a rate limit; the first is the reference.
const CONTESTANTS: [&str; 8] = [
    "mcast-stream-each",
    "mcast-stream",
    "mcast-stream-spin",
    "mcast-stream-sealed",
    "aeron",
    "aeron-tuned",
    "norm",
    "tcp",
];
/// The contestants that also publish to several subscribers, and to how many.
const TO_SEVERAL: ([&str; 4], [usize; 2]) =
    (["mcast-stream-each", "mcast-stream", "aeron", "aeron-tuned"], [4, 8]);
/// Percent.
const LOSSES: [f64; 2] = [0.0, 1.0];
const SIZE: usize = 224;
/// Messages per second.
const RATE: u32 = 20_000;
/// The contestants at the low rate; the first is the reference.
const SLOW: [&str; 2] = ["mcast-stream-each", "mcast-stream"];
/// Messages per second, at the low rate.
const SLOW_RATE: u32 = 1_000;
/// How much longer the table of the low rate publishes.
const LONGER: f64 = 4.0;
/// Additional seconds for a subscriber after publishing ends.
const TIMEOUT: f64 = 5.0;

pub(super) fn measure(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = format!(
        "From publishing to the subscriber, in microseconds: {SIZE} bytes, {RATE} messages a second, evenly, to one receiver unless a row says otherwise, offloads off. Frames are dropped at random as they \
         come in, at both ends. Of several receivers, the slowest counts; they share one processor. \
         Aeron's receivers poll in a loop, as that of `mcast-stream-spin` does; the others sleep until something arrives."
    );
    let segment = &Segment::new(Link::Frames, 1)?;
    let (names, counts) = TO_SEVERAL;
    let several = counts.map(|count| Segment::new(Link::Frames, count));
    let several = several.into_iter().collect::<Result<Vec<_>>>()?;
    let mut figures = bench.figures(plan, about, "p50", &row(CONTESTANTS[0], LOSSES[0]));
    let seconds = window(bench);
    figures.seconds = seconds;
    let messages = Messages {
        size: SIZE,
        seconds,
        rate: Some(RATE),
        receivers: 1,
        timeout: seconds + TIMEOUT,
        limit: "2e9",
    };
    let who = present(bench, &CONTESTANTS, &mut figures);
    let to_one = who.iter().map(|who| (*who, segment));
    let to_several = who.iter().filter(|who| names.contains(&who.name));
    let to_several = to_several.flat_map(|who| several.iter().map(|segment| (*who, segment)));
    let turns: Vec<_> = to_one
        .chain(to_several)
        .flat_map(|(who, segment)| LOSSES.map(|loss| (who, segment, loss)))
        .map(|(who, segment, loss)| Turn {
            name: row_to(who.name, loss, segment.receivers.len()),
            run: Box::new(move || run_once(segment, bench, who, &messages, Some(loss))) as Box<_>,
        })
        .collect();
    let rounds = take_turns(&turns, round_options(bench, "p50"))?;
    fill(&mut figures, rounds, |name| describe(without_loss(name)));
    Ok(figures)
}

/// At a rate at which each message is alone: no other one follows before it has arrived.
pub(super) fn slow(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = format!(
        "From publishing to the subscriber, in microseconds: {SIZE} bytes, {SLOW_RATE} messages a second, evenly, to one \
         receiver, offloads off, without loss."
    );
    let segment = &Segment::new(Link::Frames, 1)?;
    let mut figures = bench.figures(plan, about, "p50", SLOW[0]);
    let seconds = window(bench) * LONGER;
    figures.seconds = seconds;
    let messages = Messages {
        size: SIZE,
        seconds,
        rate: Some(SLOW_RATE),
        receivers: 1,
        timeout: seconds + TIMEOUT,
        limit: "2e9",
    };
    let turns: Vec<_> = present(bench, &SLOW, &mut figures)
        .into_iter()
        .map(|who| Turn {
            name: who.name.to_owned(),
            run: Box::new(move || run_once(segment, bench, who, &messages, None)) as Box<_>,
        })
        .collect();
    let rounds = take_turns(&turns, round_options(bench, "p50"))?;
    fill(&mut figures, rounds, describe);
    Ok(figures)
}

/// Returns the name of a row, with the number of subscribers if it is not one.
fn row_to(name: &str, loss: f64, receivers: usize) -> String {
    match receivers {
        1 => row(name, loss),
        several => format!("{}, {several} receivers", row(name, loss)),
    }
}

fn run_once(
    segment: &Segment,
    bench: &Bench,
    who: &Messenger,
    messages: &Messages,
    loss: Option<f64>,
) -> Result<Values> {
    let messages = Messages { receivers: segment.receivers.len(), ..*messages };
    let transfer = transfer::run(segment, &bench.tools, who, &messages, loss)?;
    let mut values = vec![
        ("p50", transfer.worst(|delays| delays.p50)),
        ("p99", transfer.worst(|delays| delays.p99)),
        ("p999", transfer.worst(|delays| delays.p999)),
        ("max", transfer.worst(|delays| delays.max)),
        ("without", transfer.without as f64),
    ];
    values.extend(transfer.lost.map(|lost| ("drawn", lost)));
    Ok(values)
}
