//! The goals: what was promised, what was measured, and whether it holds.

use std::fmt::Write;

use super::figures::Figures;
use super::pages::link;
use super::results::Results;
use super::statistics::Spread;
use super::{message_goals, numbers, reasons};
use crate::network::Link;

/// One promise in one table.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is promised.
    pub promise: String,
    /// The table that shows it.
    pub table: String,
    /// What was measured, in words.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a promise holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By the median.
    Met,
    /// Not by the median, but within the quartiles.
    Close,
    /// No.
    Missed,
    /// Not measured yet, or a contestant that it needs was missing.
    NotMeasured,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Close => "within the spread",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(super) fn judge(self, spread: Spread) -> Verdict {
        let (median, best) = match self {
            Self::AtLeast(bound) => (spread.median >= bound, spread.upper >= bound),
            Self::AtMost(bound) => (spread.median <= bound, spread.lower <= bound),
        };
        match (median, best) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Close,
            (false, false) => Verdict::Missed,
        }
    }
}

/// All goals, judged by the figures that there are.
#[must_use]
pub(super) fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    beside_c(results, &mut goals);
    beside_others(results, &mut goals);
    pairs(results, &mut goals);
    past_the_socket(results, &mut goals);
    single(results, &mut goals);
    latency(results, &mut goals);
    loss(results, &mut goals);
    groups(results, &mut goals);
    relay(results, &mut goals);
    http(results, &mut goals);
    bridge(results, &mut goals);
    let promise = "messages of 1 KiB into a log, a sync for each batch, at least 0.8 times fio".to_owned();
    let names = ("mcast-log, each batch synced", "fio", "written");
    goals.push(ratio(results, "log".to_owned(), promise, names, Bound::AtLeast(0.8)));
    message_goals::add(results, &mut goals);
    python(results, &mut goals);
    goals
}

const SIZES: [usize; 2] = [64, 1400];

fn beside_c(results: &Results, goals: &mut Vec<Goal>) {
    for (direction, name) in
        [("receive", "mcast-batches"), ("receive", "mcast-reader"), ("send", "mcast-batches")]
    {
        for (link, size) in Link::ALL.into_iter().flat_map(|link| SIZES.map(|size| (link, size))) {
            let table = format!("{direction}-{}-{size}", link.letter());
            let promise = match direction {
                "send" => format!("`{name}`, sending, at least 0.95 of C with the same calls"),
                _ => format!("`{name}`, receiving, at least 0.95 of C with the same calls"),
            };
            goals.push(ratio(results, table, promise, (name, "c-trains", "rate"), Bound::AtLeast(0.95)));
        }
    }
}

fn beside_others(results: &Results, goals: &mut Vec<Goal>) {
    for (link, factors) in [(Link::Whole, [20.0, 10.0, 10.0]), (Link::Frames, [3.0; 3])] {
        for (other, factor) in ["multicast_expert", "iperf2", "socat"].into_iter().zip(factors) {
            for size in SIZES {
                let table = format!("pairs-{}-{size}", link.letter());
                let promise = format!("`mcast-reader` with its sender at least {factor} times {other}");
                let names = ("mcast-reader", other, "rate");
                goals.push(ratio(results, table, promise, names, Bound::AtLeast(factor)));
            }
        }
    }
}

/// On a link where trains cross whole, the sender's own code matters most.
fn pairs(results: &Results, goals: &mut Vec<Goal>) {
    for (size, other, bound, what) in
        [(64, "c-trains", 0.95, "at least 0.95 of C"), (1400, "quinn-udp", 1.0, "no slower than quinn-udp")]
    {
        let table = format!("pairs-{}-{size}", Link::Whole.letter());
        let promise = format!("`mcast-batches` with its sender {what}");
        goals.push(ratio(results, table, promise, ("mcast-batches", other, "rate"), Bound::AtLeast(bound)));
    }
}

fn past_the_socket(results: &Results, goals: &mut Vec<Goal>) {
    for (promise, other, series, bounds) in [
        (
            "`mcast-wire`, receiving, at least 1.25 (64 bytes) and 1.5 (1,400 bytes) times C recvmmsg",
            "c-mmsg",
            "rate",
            [Bound::AtLeast(1.25), Bound::AtLeast(1.5)],
        ),
        (
            "`mcast-wire`, receiving, at least 0.95 of C with AF_XDP",
            "c-wire",
            "rate",
            [Bound::AtLeast(0.95); 2],
        ),
        (
            "`mcast-wire`, processor time per datagram at most 0.4 of C recvmmsg",
            "c-mmsg",
            "cpu_ns",
            [Bound::AtMost(0.4); 2],
        ),
    ] {
        for (size, bound) in SIZES.into_iter().zip(bounds) {
            let table = format!("receive-{}-{size}", Link::Frames.letter());
            let names = ("mcast-wire", other, series);
            goals.push(ratio(results, table, promise.to_owned(), names, bound));
        }
    }
    for (size, bound) in SIZES.into_iter().zip([0.28, 0.4]) {
        let promise = "`mcast recv --wire require --discard`, processor time per datagram at most 0.28 (64 bytes) and 0.4 \
                       (1,400 bytes) of C recvmmsg";
        let names = ("command-wire", "c-mmsg", "cpu_ns");
        let table = format!("receive-command-{size}");
        goals.push(ratio(results, table, promise.to_owned(), names, Bound::AtMost(bound)));
    }
}

fn single(results: &Results, goals: &mut Vec<Goal>) {
    for (name, promise) in [
        ("mcast-single", "`recv` no slower than std::net::UdpSocket with the same options"),
        ("mcast-lean", "`recv` without details no slower than std::net::UdpSocket with the same options"),
    ] {
        for (link, size) in Link::ALL.into_iter().flat_map(|link| SIZES.map(|size| (link, size))) {
            let table = format!("receive-{}-{size}", link.letter());
            let names = (name, "std-options", "rate");
            goals.push(ratio(results, table, promise.to_owned(), names, Bound::AtLeast(1.0)));
        }
    }
}

fn latency(results: &Results, goals: &mut Vec<Goal>) {
    for (manner, other, series, bound) in [
        ("spinning", "c", "p50", 1.05),
        ("blocking", "c", "p50", 1.05),
        ("spinning", "sockperf", "p99", 1.0),
        ("blocking", "sockperf", "p99", 1.0),
    ] {
        let (ours, promise) = match other {
            "c" => ("mcast", format!("{manner}, {series} within {bound} of C")),
            _ => ("perf", format!("`mcast perf --latency`, {manner}, {series} no worse than {other}'s")),
        };
        let (name, other) = (format!("{ours}-{manner}"), format!("{other}-{manner}"));
        let names = (name.as_str(), other.as_str(), series);
        goals.push(ratio(results, "latency".to_owned(), promise, names, Bound::AtMost(bound)));
    }
    let promise = "past the socket, spinning, p99 at most 0.8 of the socket's".to_owned();
    let names = ("wire-spinning", "mcast-spinning", "p99");
    goals.push(ratio(results, "latency-wire".to_owned(), promise, names, Bound::AtMost(0.8)));
    let paced = "latency-paced";
    let promise = "50,000 a second, there and back, p50 at most 1.15 of C".to_owned();
    let names = ("mcast-spinning", "c-spinning", "p50");
    goals.push(ratio(results, paced.to_owned(), promise, names, Bound::AtMost(1.15)));
    for (series, way) in [("tail", "there and back"), ("one_way_tail", "one way")] {
        let promise = format!("50,000 a second, {way}, p99.99 at most 4 times p50");
        let row = results.table(paced).and_then(|figures| figures.row("mcast-spinning"));
        goals.push(match row.and_then(|row| row.spread(series)) {
            None => not_measured(promise, paced.to_owned()),
            Some(spread) => Goal {
                measured: numbers::ratio(spread),
                verdict: Bound::AtMost(4.0).judge(spread),
                promise,
                table: paced.to_owned(),
            },
        });
    }
}

fn loss(results: &Results, goals: &mut Vec<Goal>) {
    let table = "loss-equal".to_owned();
    let promise = "no loss at 200,000 a second with 8 MiB of buffer".to_owned();
    let spread = results
        .table(&table)
        .and_then(|figures| figures.row("mcast-reader"))
        .and_then(|row| row.spread("loss"));
    goals.push(match spread {
        None => not_measured(promise, table),
        Some(spread) => Goal {
            measured: format!("{} % lost", numbers::short(spread.median)),
            verdict: Bound::AtMost(0.0).judge(spread),
            promise,
            table,
        },
    });
}

fn groups(results: &Results, goals: &mut Vec<Goal>) {
    for (table, row, bound) in [
        ("groups-v4", "1000 joined, spread", 1.2),
        ("groups-v4", "10000 joined", 1.2),
        ("groups-v4", "10000 joined, spread", 2.0),
        ("groups-v6", "100 joined", 1.2),
        ("groups-v6", "100 joined, spread", 1.2),
    ] {
        let promise = format!("{row}: processor time within {bound} of one group's");
        let names = (row, "1 joined", "total_ns");
        goals.push(ratio(results, table.to_owned(), promise, names, Bound::AtMost(bound)));
    }
    for row in ["100 joined", "100 joined, spread", "1000 joined", "1000 joined, spread"] {
        let row = format!("past the socket, {row}");
        let promise = format!("{row}: processor time within 1.1 of one group's");
        let names = (&*row, "past the socket, 1 joined", "total_ns");
        goals.push(ratio(results, "groups-v6".to_owned(), promise, names, Bound::AtMost(1.1)));
    }
}

fn relay(results: &Results, goals: &mut Vec<Goal>) {
    for (table, of_kernel) in [("relay-a", 0.3), ("relay-b", 0.5)] {
        for (other, factor) in [("socat", 5.0), ("kernel", of_kernel)] {
            let promise = format!("`mcast relay`, 200 groups, at least {factor} times {other}");
            let names = ("mcast relay", other, "rate");
            goals.push(ratio(results, table.to_owned(), promise, names, Bound::AtLeast(factor)));
        }
    }
    let (table, promise) = ("relay-b", "`mcast relay`, 200 groups, no loss at half of its rate".to_owned());
    let row = results.table(table).and_then(|figures| figures.row("mcast relay"));
    goals.push(match row.and_then(|row| row.spread("half_loss")) {
        None => not_measured(promise, table.to_owned()),
        Some(spread) => Goal {
            measured: format!("{} % lost", numbers::short(spread.median)),
            verdict: Bound::AtMost(0.0).judge(spread),
            promise,
            table: table.to_owned(),
        },
    });
    for name in ["one without a host", "one without a program"] {
        let promise = format!("`mcast relay` to ten targets, {name}: p99 of the others within 1.05");
        let names = (name, "all reachable", "p99");
        goals.push(ratio(results, "relay-targets".to_owned(), promise, names, Bound::AtMost(1.05)));
    }
}

fn http(results: &Results, goals: &mut Vec<Goal>) {
    for (table, what) in [("http-same", "of one group"), ("http-different", "of 8 groups")] {
        for (reference, how) in
            [("C recvmmsg, writev", ""), ("C, every 4 ms", " that also writes every 4 ms")]
        {
            let promise = format!("`mcast relay`, 8 clients {what}: processor time within 1.2 of C{how}");
            let names = ("mcast relay", reference, "core");
            goals.push(ratio(results, table.to_owned(), promise, names, Bound::AtMost(1.2)));
        }
        let row = results.table(table).and_then(|figures| figures.row("mcast relay"));
        for (series, bound, unit) in [("resident", 8.0, "MB resident"), ("missing", 0.5, "% missing")] {
            let promise = format!("`mcast relay`, 8 clients {what}: at most {bound} {unit}");
            goals.push(match row.and_then(|row| row.spread(series)) {
                None => not_measured(promise, table.to_owned()),
                Some(spread) => Goal {
                    measured: format!("{} {unit}", numbers::short(spread.median)),
                    verdict: Bound::AtMost(bound).judge(spread),
                    promise,
                    table: table.to_owned(),
                },
            });
        }
    }
}

fn bridge(results: &Results, goals: &mut Vec<Goal>) {
    for (table, client, into) in [
        ("bridge-redis", "redis-cli --pipe", ""),
        ("bridge-nats", "nats-py publish_async", ""),
        ("bridge-nats-copies", "nats-py publish_async", " into three copies"),
        ("bridge-rabbitmq", "rstream send_batch", ""),
    ] {
        let promise = format!("`mcast bridge`, messages per second{into}, at least 0.8 times {client} alone");
        let names = ("mcast bridge", client, "stored");
        goals.push(ratio(results, table.to_owned(), promise, names, Bound::AtLeast(0.8)));
    }
}

fn python(results: &Results, goals: &mut Vec<Goal>) {
    let table = "python-queue";
    for (ours, theirs, factor, what) in [
        ("pymcast recv", "recvfrom", 2.0, "Python, receiving one datagram a call by `recv`"),
        ("pymcast recv, no details", "recvfrom", 2.0, "Python, the same with `details=False`"),
        ("pymcast reader", "recvfrom", 2.0, "Python, receiving one datagram a call by `reader`"),
        ("pymcast recv_batch, merged", "recvfrom", 20.0, "Python, receiving by `recv_batch`"),
        ("pymcast.aio recv", "async recvfrom", 5.0, "Python, receiving by asyncio"),
        ("pymcast send", "sendto", 2.0, "Python, sending one datagram a call by `send`"),
        ("pymcast writer", "sendto", 2.0, "Python, sending one datagram a call by `writer`"),
    ] {
        let promise = format!("{what}, at least {factor} times multicast_expert");
        let names = (ours, &*format!("multicast_expert {theirs}"), "rate");
        goals.push(ratio(results, table.to_owned(), promise, names, Bound::AtLeast(factor)));
    }
    for (row, what) in [
        ("pymcast recv_into", "Python, `recv_into`"),
        ("pymcast recv_into, no details", "Python, `recv_into` with `details=False`"),
    ] {
        let promise = format!("{what}, at least 900,000 a second out of a full queue");
        let row = results.table(table).and_then(|figures| figures.row(row));
        goals.push(match row.and_then(|row| row.spread("rate")) {
            None => not_measured(promise, table.to_owned()),
            Some(spread) => Goal {
                measured: format!("{}/s", numbers::rate(spread.median)),
                verdict: Bound::AtLeast(900_000.0).judge(spread),
                promise,
                table: table.to_owned(),
            },
        });
    }
}

pub(super) fn ratio(
    results: &Results,
    table: String,
    promise: String,
    (name, to, series): (&str, &str, &str),
    bound: Bound,
) -> Goal {
    let spread = results.table(&table).and_then(|figures: &Figures| figures.ratio(name, to, series));
    match spread {
        None => not_measured(promise, table),
        Some(spread) => {
            Goal { measured: numbers::ratio(spread), verdict: bound.judge(spread), promise, table }
        }
    }
}

pub(super) fn not_measured(promise: String, table: String) -> Goal {
    Goal { promise, table, measured: "–".to_owned(), verdict: Verdict::NotMeasured }
}

/// The links and sizes that promises about rates are made for.
const PLACES: [&str; 6] = ["a-64", "a-1400", "b-64", "b-1400", "c-64", "c-1400"];

/// Writes all goals: those about rates by link and size, then the others.
pub(super) fn write(text: &mut String, goals: &[Goal]) {
    text.push_str("Paired ratios, by link and size; `met`, `missed`, or within the spread.\n\n");
    let _ = writeln!(text, "| goal | {} |\n|---|{}", PLACES.join(" | "), "---|".repeat(PLACES.len()));
    let (rates, others): (Vec<_>, Vec<_>) = goals.iter().partition(|goal| goal.place().is_some());
    for promise in promises(&rates) {
        let cell = |place| {
            let goal = rates.iter().find(|goal| goal.promise == promise && goal.place() == Some(place));
            goal.map_or_else(String::new, |goal| goal.judgement())
        };
        let _ = writeln!(text, "| {promise} | {} |", PLACES.map(cell).join(" | "));
    }
    text.push_str("\n| goal | table | |\n|---|---|---|\n");
    for goal in others {
        let _ = writeln!(text, "| {} | {} | {} |", goal.promise, goal.link(), goal.judgement());
    }
    reasons::write(text, goals);
}

/// Each promise once, in order.
fn promises<'g>(goals: &[&'g Goal]) -> Vec<&'g str> {
    let mut promises: Vec<&str> = goals.iter().map(|goal| goal.promise.as_str()).collect();
    promises.dedup();
    promises
}

impl Goal {
    /// Link and size, if it is about a rate.
    fn place(&self) -> Option<&str> {
        let (_, place) = self.table.split_once('-')?;
        PLACES.contains(&place).then_some(place)
    }

    /// The table; a link where there is one.
    fn link(&self) -> String {
        let table = &self.table;
        match self.verdict {
            Verdict::NotMeasured => table.clone(),
            _ => format!("[{table}]({})", link(table)),
        }
    }

    fn judgement(&self) -> String {
        match self.verdict {
            Verdict::NotMeasured => self.verdict.words().to_owned(),
            verdict => format!("{}: {}", self.measured, verdict.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_about_rates_is_one_row() {
        let goal = |table: &str, verdict| Goal {
            promise: "fast".to_owned(),
            table: table.to_owned(),
            measured: "1.00".to_owned(),
            verdict,
        };
        let mut text = String::new();

        write(&mut text, &[goal("send-a-64", Verdict::Met), goal("send-b-1400", Verdict::Missed)]);
        write(&mut text, &[goal("latency", Verdict::Close), goal("loss", Verdict::NotMeasured)]);

        assert!(text.contains("| fast | 1.00: met |  |  | 1.00: **missed** |  |  |\n"), "{text}");
        assert!(
            text.contains("| fast | [latency](datagrams.md#latency) | 1.00: within the spread |\n"),
            "{text}"
        );
        assert!(text.contains("| fast | loss | not measured |\n"), "{text}");
    }

    #[test]
    fn a_bound_is_judged_by_median_and_quartiles() {
        let spread = |lower, median, upper| Spread { lower, median, upper };
        assert_eq!(Bound::AtLeast(0.95).judge(spread(0.9, 0.96, 1.0)), Verdict::Met);
        assert_eq!(Bound::AtLeast(0.95).judge(spread(0.9, 0.94, 1.0)), Verdict::Close);
        assert_eq!(Bound::AtLeast(0.95).judge(spread(0.8, 0.85, 0.9)), Verdict::Missed);
        assert_eq!(Bound::AtMost(1.2).judge(spread(1.0, 1.1, 1.3)), Verdict::Met);
        assert_eq!(Bound::AtMost(1.2).judge(spread(1.1, 1.3, 1.4)), Verdict::Close);
        assert_eq!(Bound::AtMost(0.0).judge(spread(0.0, 0.0, 0.0)), Verdict::Met);
    }
}
