//! The goals of messages that must all arrive.

use super::goals::{Bound, Goal, not_measured, ratio};
use super::numbers;
use super::results::Results;

/// Ours, as most will use it.
const OURS: &str = "mcast-stream";
/// Aeron with the NAK delay that suits such a link.
const TUNED: &str = "aeron-tuned";
/// Ours, each message sent at once.
const AT_ONCE: &str = "mcast-stream-each";
/// With parity by measured loss.
const CORRECTED: &str = "mcast-stream-fec";
/// The same at a constant rate, which leaves processors to spare.
const FEED: &str = "mcast-stream-fec-feed";
/// With a subscriber that polls, as that of Aeron does.
const SPINNING: &str = "mcast-stream-spin";
const SEALED: &str = "mcast-stream-sealed";
/// Published by four threads at once.
const THREADS: &str = "mcast-stream-4-threads";

pub(super) fn add(results: &Results, goals: &mut Vec<Goal>) {
    let plain = "messages-plain-1344";
    for (name, to, factor, promise) in [
        (OURS, "aeron", 5.0, "messages without loss, at least 5 times Aeron"),
        (
            OURS,
            "mcast-perf",
            0.75,
            "messages without loss, at least 0.75 of the bare datagrams of `mcast perf`",
        ),
        (
            OURS,
            "c-fresh",
            0.75,
            "messages without loss, at least 0.75 of the bare datagrams of C from fresh memory",
        ),
        (SEALED, OURS, 0.7, "sealed messages, at least 0.7 of those in clear on a plain link"),
    ] {
        let names = (name, to, "goodput");
        goals.push(ratio(results, plain.to_owned(), promise.to_owned(), names, Bound::AtLeast(factor)));
    }
    for (name, to, factor, promise) in [
        (
            "mcast-stream-logged-each",
            AT_ONCE,
            0.55,
            "messages in a log, acknowledged by two, at least 0.55 of those without, each sent at once",
        ),
        (
            "mcast-stream-logged",
            "mcast-stream-all",
            0.95,
            "messages in a log, acknowledged by two, at least 0.95 of those without, in batches",
        ),
        (
            "mcast-stream-synced",
            "mcast-stream-all",
            0.6,
            "messages in a log, each batch synced, at least 0.6 of those without a log, in batches",
        ),
    ] {
        let names = (name, to, "goodput");
        goals.push(ratio(
            results,
            "messages-durable".to_owned(),
            promise.to_owned(),
            names,
            Bound::AtLeast(factor),
        ));
    }
    let names = (&*row(SEALED, 0), &*row(OURS, 0), "goodput");
    let promise = "sealed messages, at least 0.8 of those in clear with offloads off".to_owned();
    goals.push(ratio(results, "messages-lossy-1".to_owned(), promise, names, Bound::AtLeast(0.8)));
    for receivers in [1, 4, 8] {
        let of_five = if receivers == 8 { 0.95 } else { 0.9 };
        for (loss, factor) in [(1, 0.95), (5, of_five)] {
            let promise = format!("messages at {loss} % loss, at least {factor} of our own without loss");
            let names = (&*row(OURS, loss), &*row(OURS, 0), "goodput");
            let table = format!("messages-lossy-{receivers}");
            goals.push(ratio(results, table.clone(), promise, names, Bound::AtLeast(factor)));
            let promise =
                format!("messages at {loss} % loss, at least 2 times Aeron with a NAK delay of 50 µs");
            let names = (&*row(OURS, loss), &*row(TUNED, loss), "goodput");
            goals.push(ratio(results, table, promise, names, Bound::AtLeast(2.0)));
        }
    }
    corrected(results, goals);
    small(results, goals);
    delays(results, goals);
}

/// With forward error correction.
fn corrected(results: &Results, goals: &mut Vec<Goal>) {
    let table = "messages-lossy-8";
    let (lossy, lossless) = (row(CORRECTED, 5), row(CORRECTED, 0));
    for (to, factor, promise) in [
        (lossless, 0.95, "messages with `--fec auto` at 5 % loss, at least 0.95 of the same without loss"),
        (
            row("norm-fec", 5),
            5.0,
            "messages with `--fec auto` at 5 % loss, at least 5 times NORM with its FEC",
        ),
    ] {
        let names = (&*lossy, &*to, "goodput");
        goals.push(ratio(results, table.to_owned(), promise.to_owned(), names, Bound::AtLeast(factor)));
    }
    let (lossy, lossless) = (row(FEED, 5), row(FEED, 0));
    let names = (&*lossy, &*lossless, "goodput");
    let promise =
        "10,000 messages a second with `--fec auto` at 5 % loss, at least 0.95 of the same without loss";
    goals.push(ratio(results, table.to_owned(), promise.to_owned(), names, Bound::AtLeast(0.95)));
    let (with, without) = (row(CORRECTED, 0), row(OURS, 0));
    let names = (&*with, &*without, "goodput");
    let promise = "messages with `--fec auto` without loss, at least 0.97 of those without it".to_owned();
    goals.push(ratio(results, table.to_owned(), promise, names, Bound::AtLeast(0.97)));
}

fn small(results: &Results, goals: &mut Vec<Goal>) {
    for table in ["messages-plain-1344", "messages-plain-64"] {
        let promise =
            "messages of four threads with one publisher, at least 0.9 of those of one thread".to_owned();
        goals.push(ratio(
            results,
            table.to_owned(),
            promise,
            (THREADS, OURS, "goodput"),
            Bound::AtLeast(0.9),
        ));
    }
    let promise = "messages of 64 bytes, at least 2 times Aeron".to_owned();
    let names = (OURS, "aeron", "goodput");
    goals.push(ratio(results, "messages-plain-64".to_owned(), promise, names, Bound::AtLeast(2.0)));
    let rate = |value| format!("{}/s", numbers::rate(value));
    let place = ("messages-plain-64", OURS, "goodput");
    let promise = "messages of 64 bytes, at least 5 million a second";
    goals.push(median(results, place, promise, rate, Bound::AtLeast(5e6)));
}

fn delays(results: &Results, goals: &mut Vec<Goal>) {
    let milliseconds = |value| format!("{} ms", numbers::short(value / 1e3));
    let who = row(OURS, 1);
    let of_several = [4, 8].map(|receivers| format!("{who}, {receivers} receivers"));
    for (who, series, bound, promise) in [
        (&who, "p50", 200.0, "messages, 20,000 a second at 1 % loss: p50 at most 0.2 ms"),
        (&who, "p99", 3_000.0, "messages, 20,000 a second at 1 % loss: p99 at most 3 ms"),
        (
            &of_several[0],
            "p50",
            100.0,
            "messages, 20,000 a second at 1 % loss, 4 receivers: p50 at most 0.1 ms",
        ),
        (
            &of_several[0],
            "p99",
            2_000.0,
            "messages, 20,000 a second at 1 % loss, 4 receivers: p99 at most 2 ms",
        ),
        (
            &of_several[1],
            "p50",
            100.0,
            "messages, 20,000 a second at 1 % loss, 8 receivers: p50 at most 0.1 ms",
        ),
        (
            &of_several[1],
            "p99",
            2_000.0,
            "messages, 20,000 a second at 1 % loss, 8 receivers: p99 at most 2 ms",
        ),
    ] {
        let place = ("messages-latency", who.as_str(), series);
        goals.push(median(results, place, promise, milliseconds, Bound::AtMost(bound)));
    }
    let promise =
        "messages, 20,000 a second at 1 % loss: p99 at most 0.2 of Aeron's with a NAK delay of 50 µs";
    let table = "messages-latency".to_owned();
    let names = (who.as_str(), &*row(TUNED, 1), "p99");
    goals.push(ratio(results, table.clone(), promise.to_owned(), names, Bound::AtMost(0.2)));
    for (name, to, bound, promise) in [
        (SPINNING, "aeron", 0.9, "messages, 20,000 a second, spinning: p50 at most 0.9 of Aeron's"),
        (OURS, "tcp", 1.05, "messages, 20,000 a second, blocking: p50 at most 1.05 of TCP's"),
        (OURS, AT_ONCE, 1.05, "messages, 20,000 a second: p50 within 1.05 of each sent at once"),
    ] {
        let (name, to) = (row(name, 0), row(to, 0));
        let names = (name.as_str(), to.as_str(), "p50");
        goals.push(ratio(results, table.clone(), promise.to_owned(), names, Bound::AtMost(bound)));
    }
    let promise = "messages, 1,000 a second: p50 within 1.05 of each sent at once".to_owned();
    let names = (OURS, AT_ONCE, "p50");
    goals.push(ratio(results, "messages-latency-1000".to_owned(), promise, names, Bound::AtMost(1.05)));
}

/// A goal that is a value, not a ratio.
fn median(
    results: &Results,
    (table, row, series): (&str, &str, &str),
    promise: &str,
    notation: impl Fn(f64) -> String,
    bound: Bound,
) -> Goal {
    let (promise, table) = (promise.to_owned(), table.to_owned());
    let spread =
        results.table(&table).and_then(|figures| figures.row(row)).and_then(|row| row.spread(series));
    match spread {
        None => not_measured(promise, table),
        Some(spread) => {
            Goal { measured: numbers::spread(spread, notation), verdict: bound.judge(spread), promise, table }
        }
    }
}

fn row(name: &str, loss: u32) -> String {
    format!("{name}, {loss} %")
}
