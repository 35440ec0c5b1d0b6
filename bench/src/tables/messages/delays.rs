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
const CONTESTANTS: [&str; 9] = [
    "mcast-stream-each",
    "mcast-stream",
    "mcast-stream-spin",
    "mcast-stream-sealed",
    "mcast-stream-signed",
    "aeron",
    "aeron-tuned",
    "norm",
    "tcp",
];
/// The contestants with several subscribers, too, and how many.
const OF_SEVERAL: [&str; 4] = ["mcast-stream-each", "mcast-stream", "aeron", "aeron-tuned"];
const TO_SEVERAL: [usize; 2] = [4, 8];
/// The contestants at a lower rate without loss, too, and that rate in messages per second.
const OF_SLOW: [&str; 3] = ["mcast-stream-each", "mcast-stream", "tcp"];
const SLOW: u32 = 1_000;
/// Percent.
const LOSSES: [f64; 2] = [0.0, 1.0];
const SIZE: usize = 224;
/// Messages per second.
const RATE: u32 = 20_000;
/// Additional seconds for a subscriber after publishing ends.
const TIMEOUT: f64 = 5.0;

pub(super) fn measure(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = format!(
        "From publishing to the subscriber, in microseconds: {SIZE} bytes, {RATE} messages a second, evenly, to one \
         receiver unless a row says otherwise, offloads off. Frames are dropped at random as they come in, at both ends. Of \
         several receivers, the slowest counts; they share one processor. Aeron's receivers poll in a loop, and so does that \
         of `mcast-stream-spin`; the others sleep until something arrives."
    );
    let segment = &Segment::new(Link::Frames, 1)?;
    let several = TO_SEVERAL.map(|count| Segment::new(Link::Frames, count));
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
    let of_several = who.iter().filter(|who| OF_SEVERAL.contains(&who.name));
    let to_several = of_several.flat_map(|who| several.iter().map(|segment| (*who, segment)));
    let usual =
        to_one.chain(to_several).flat_map(|(who, segment)| LOSSES.map(|loss| (who, segment, loss, RATE)));
    let slow = who.iter().filter(|who| OF_SLOW.contains(&who.name)).map(|who| (*who, segment, 0.0, SLOW));
    let turns: Vec<_> = usual
        .chain(slow)
        .map(|(who, segment, loss, rate)| Turn {
            name: row_to(who.name, loss, segment.receivers.len(), rate),
            run: Box::new(move || {
                let messages = Messages { rate: Some(rate), ..messages };
                run_once(segment, bench, who, &messages, loss)
            }) as Box<_>,
        })
        .collect();
    let rounds = take_turns(&turns, round_options(bench, "p50"))?;
    fill(&mut figures, rounds, |name| describe(without_loss(name)));
    Ok(figures)
}

/// Returns the name of a row, with the number of subscribers if it is not one, and the rate if it is not the usual one.
fn row_to(name: &str, loss: f64, receivers: usize, rate: u32) -> String {
    match (receivers, rate) {
        (1, RATE) => row(name, loss),
        (1, rate) => format!("{}, {rate} a second", row(name, loss)),
        (several, _) => format!("{}, {several} receivers", row(name, loss)),
    }
}

fn run_once(
    segment: &Segment,
    bench: &Bench,
    who: &Messenger,
    messages: &Messages,
    loss: f64,
) -> Result<Values> {
    let messages = Messages { receivers: segment.receivers.len(), ..*messages };
    let transfer = transfer::run(segment, &bench.tools, who, &messages, Some(loss))?;
    Ok(vec![
        ("p50", transfer.worst(|delays| delays.p50)),
        ("p99", transfer.worst(|delays| delays.p99)),
        ("p999", transfer.worst(|delays| delays.p999)),
        ("max", transfer.worst(|delays| delays.max)),
        ("drawn", transfer.lost.unwrap_or(0.0)),
        ("without", transfer.without as f64),
    ])
}
