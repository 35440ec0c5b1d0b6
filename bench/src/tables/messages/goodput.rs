//! Message throughput.

use anyhow::{Result, anyhow};

use super::{LARGE, present, raw, round_options, transfer, window};
use crate::contestants::{Messages, Messenger, messenger};
use crate::network::Link;
use crate::report::Figures;
use crate::segment::Segment;
use crate::tables::plan::Plan;
use crate::tables::rounds::{Turn, Values, take_turns};
use crate::tables::{Bench, fill};

const OVER_A_PLAIN_LINK: [&str; 9] = [
    "mcast-stream",
    "mcast-stream-4-threads",
    "mcast-stream-all",
    "mcast-stream-sealed",
    "mcast-stream-signed",
    "mcast-stream-each",
    "aeron",
    "norm",
    "tcp",
];
const TO_ONE: [&str; 6] = ["mcast-stream", "mcast-stream-sealed", "aeron", "aeron-tuned", "norm", "tcp"];
const TO_SEVERAL: [&str; 8] = [
    "mcast-stream",
    "mcast-stream-fec",
    "mcast-stream-fec-feed",
    "aeron",
    "aeron-tuned",
    "norm",
    "norm-fec",
    "tcp",
];
/// Bytes of a message in the table of logs.
const DURABLE: usize = 700;
const OF_DURABLE: [&str; 6] = [
    "mcast-stream-each",
    "mcast-stream-logged-each",
    "mcast-stream-all",
    "mcast-stream-logged",
    "mcast-stream-synced",
    "mcast-stream-synced-wait",
];
/// Percent.
const LOSSES: [f64; 3] = [0.0, 1.0, 5.0];
/// Additional seconds for a subscriber after publishing ends.
const TIMEOUT: f64 = 2.0;

/// One subscriber on a link without loss.
pub(super) fn plain(bench: &Bench, plan: &Plan, size: usize) -> Result<Figures> {
    let about = format!(
        "Messages of {size} bytes as fast as they go, to one receiver, on link (a). `mcast perf` sends bare \
         datagrams, as long as those that carry a message each, and repairs none: what the link takes. `c-fresh` does so \
         with bytes that are in no cache, as messages are. \
         Aeron's driver and client share the processor of their side."
    );
    let segment = &Segment::new(Link::Whole, 1)?;
    let mut figures = bench.figures(plan, about, "goodput", raw::NAME);
    figures.seconds = window(bench);
    let messages = messages(bench, size, 1);
    // The raw capacity of the link is the best indicator of a steady machine.
    let bare = raw::present(bench, &mut figures).into_iter().map(|name| Turn {
        name: name.to_owned(),
        run: Box::new(move || raw::run_once(segment, bench, name, size)) as Box<_>,
    });
    let others = present(bench, &OVER_A_PLAIN_LINK, &mut figures).into_iter().map(|who| Turn {
        name: who.name.to_owned(),
        run: Box::new(move || run_once(segment, bench, who, &messages, None)) as Box<_>,
    });
    let turns: Vec<_> = bare.chain(others).collect();
    let rounds = take_turns(&turns, round_options(bench, "goodput"))?;
    fill(&mut figures, rounds, describe);
    Ok(figures)
}

/// Several subscribers on links with 0, 1 and 5 % loss.
pub(super) fn lossy(bench: &Bench, plan: &Plan, receivers: usize) -> Result<Figures> {
    let who = if receivers == 1 { "one receiver".to_owned() } else { format!("{receivers} receivers") };
    let about = format!(
        "Messages of {LARGE} bytes as fast as they go, unless a row says otherwise, to {who}, offloads off at \
         both ends, so that each datagram is a frame. Frames are dropped at random as they come in, at both ends: that share of \
         the data and of the feedback. What counts is what the slowest receiver got a second, for NORM with several \
         receivers the better of two runs, limited to 1 and 0.3 Gbit/s. The last column is the ratio to the \
         contestant's own run without loss in the same round."
    );
    let names: &[&str] = if receivers == 1 { &TO_ONE } else { &TO_SEVERAL };
    let segment = &Segment::new(Link::Frames, receivers)?;
    let mut figures = bench.figures(plan, about, "goodput", &row(names[0], LOSSES[0]));
    figures.seconds = window(bench);
    let messages = messages(bench, LARGE, receivers);
    let who = present(bench, names, &mut figures);
    let turns: Vec<_> = who
        .into_iter()
        .flat_map(|who| LOSSES.map(|loss| (who, loss)))
        .map(|(who, loss)| Turn {
            name: row(who.name, loss),
            run: Box::new(move || run_once(segment, bench, who, &messages, Some(loss))) as Box<_>,
        })
        .collect();
    let rounds = take_turns(&turns, round_options(bench, "goodput"))?;
    fill(&mut figures, rounds, |name| describe(without_loss(name)));
    for row in &mut figures.rows {
        row.beside = Some(self::row(row.contestant(), LOSSES[0]));
    }
    Ok(figures)
}

/// Messages that outlast their publisher, to two subscribers on a link without loss.
pub(super) fn durable(bench: &Bench, plan: &Plan) -> Result<Figures> {
    let about = format!(
        "Messages of {DURABLE} bytes as fast as they go, to two receivers, on link (a), without and with a log on the disk of the \
         target directory. What is logged is in the log before it is sent, and both receivers acknowledge it. The batches \
         are of 64 KiB. The threads that sync and send share the processor of the publisher."
    );
    let segment = &Segment::new(Link::Whole, 2)?;
    let mut figures = bench.figures(plan, about, "goodput", OF_DURABLE[0]);
    figures.seconds = window(bench);
    let messages = messages(bench, DURABLE, 2);
    let turns: Vec<_> = present(bench, &OF_DURABLE, &mut figures)
        .into_iter()
        .map(|who| Turn {
            name: who.name.to_owned(),
            run: Box::new(move || run_once(segment, bench, who, &messages, None)) as Box<_>,
        })
        .collect();
    let rounds = take_turns(&turns, round_options(bench, "goodput"))?;
    fill(&mut figures, rounds, describe);
    Ok(figures)
}

fn messages(bench: &Bench, size: usize, receivers: usize) -> Messages {
    let seconds = window(bench);
    Messages { size, seconds, rate: None, receivers, timeout: seconds + TIMEOUT, limit: "2e9" }
}

fn run_once(
    segment: &Segment,
    bench: &Bench,
    who: &Messenger,
    messages: &Messages,
    loss: Option<f64>,
) -> Result<Values> {
    let runs = who.limits(messages.receivers).iter().map(|limit| {
        let messages = Messages { limit, rate: who.feed.or(messages.rate), ..*messages };
        transfer::run(segment, &bench.tools, who, &messages, loss)
    });
    let (done, failed): (Vec<_>, Vec<_>) = runs.partition(Result::is_ok);
    let best = done.into_iter().flatten().max_by(|a, b| a.goodput().total_cmp(&b.goodput()));
    let Some(transfer) = best else {
        return Err(failed.into_iter().find_map(Result::err).unwrap_or_else(|| anyhow!("there was no run")));
    };
    let goodput = transfer.goodput();
    let mut values = vec![
        ("goodput", goodput),
        ("payload", goodput * messages.size as f64 * 8.0 / 1e9),
        ("without", transfer.without as f64),
    ];
    values.extend(transfer.lost.map(|lost| ("drawn", lost)));
    Ok(values)
}

/// Returns the name of a row.
pub(super) fn row(name: &str, loss: f64) -> String {
    format!("{name}, {loss} %")
}

/// Returns the contestant of a row.
pub(super) fn without_loss(row: &str) -> &str {
    row.split_once(',').map_or(row, |(name, _)| name)
}

/// Describes a contestant.
pub(super) fn describe(name: &str) -> String {
    match name {
        raw::NAME => raw::WHAT.to_owned(),
        raw::FRESH => raw::FRESH_WHAT.to_owned(),
        name => messenger(name).map_or_else(String::new, |each| each.what.to_owned()),
    }
}
