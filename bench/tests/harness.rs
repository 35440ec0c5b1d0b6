//! Tests of the harness: small runs of the program between two hosts of a lab.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test retries, because on a busy machine a program may not run during its window.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Measures a table with a short window until `look` finds a result in its figures.
fn measure<T>(table: &str, contestants: &[&str], look: impl Fn(&Value) -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcast-bench"));
        command.args(["--quick", "--json", "--no-install", "--seconds", "0.1", "--table", table]);
        command.args(contestants.iter().flat_map(|name| ["--contestant", name]));
        let output = command.output().unwrap();
        let figures = serde_json::from_slice(&output.stdout).ok();
        if let Some(found) = figures.as_ref().and_then(&look) {
            assert!(output.status.success(), "{output:?}");
            return found;
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < deadline, "no result in {figures:?}\n{messages}");
    }
}

/// Returns the value of a contestant in the only round.
fn value(figures: &Value, name: &str, series: &str) -> Option<f64> {
    let row = figures["rows"].as_array()?.iter().find(|row| row["name"] == name)?;
    row["series"][series][0].as_f64()
}

#[test]
fn contestants_are_counted_at_both_ends() {
    let names = ["c-trains", "mcast-batches", "std"];

    let rates: Vec<(f64, f64)> = measure("pairs-a-64", &names, |figures| {
        let rate = |name| Some((value(figures, name, "rate")?, value(figures, name, "offered")?));
        names.into_iter().map(rate).collect()
    });

    assert!(rates.iter().all(|(received, offered)| *received > 0.0 && *offered > 0.0), "{rates:?}");
}

#[test]
fn segmented_buffers_are_split_only_on_the_second_link() {
    let rate = |figures: &Value| value(figures, "c-trains", "rate");

    // About thirty times apart on an idle machine.
    let whole = measure("send-a-64", &["c-trains"], rate);
    let frames =
        measure("send-b-64", &["c-trains"], |figures| rate(figures).filter(|rate| *rate < whole / 3.0));

    assert!(frames > 0.0);
}

#[test]
fn the_cost_of_groups_includes_both_ends() {
    let names = ["1 joined", "100 joined", "100 joined, spread"];

    let costs: Vec<(f64, f64)> = measure("groups-v6", &[], |figures| {
        let cost = |name| Some((value(figures, name, "total_ns")?, value(figures, name, "program_ns")?));
        names.into_iter().map(cost).collect()
    });

    assert!(costs.iter().all(|(total, program)| *program > 0.0 && total >= program), "{costs:?}");
}

#[test]
fn links_lose_the_configured_share_and_all_stream_messages_arrive() {
    let names = ["mcast-stream", "tcp"];
    let rows = names.map(|name| [format!("{name}, 0 %"), format!("{name}, 5 %")]).concat();

    // (lost on the way, receivers without all, messages a second)
    let seen: Vec<[f64; 3]> = measure("messages-lossy-4", &names, |figures| {
        let seen = |row: &String| {
            Some(["drawn", "without", "goodput"].map(|series| value(figures, row, series)))
                .and_then(|values| Some([values[0]?, values[1]?, values[2]?]))
        };
        rows.iter().map(seen).collect()
    });

    for (row, [drawn, without, goodput]) in rows.iter().zip(seen) {
        let expected = if row.contains("5 %") { 2.5..7.5 } else { 0.0..f64::MIN_POSITIVE };
        assert!(expected.contains(&drawn), "{row}: {drawn} % lost");
        // The fourth retransmission of TCP may come after the end of a run.
        assert!(without == 0.0 || row.starts_with("tcp"), "{row}: {without} subscribers lack messages");
        assert!(goodput > 0.0, "{row}");
    }
}

#[test]
fn single_messages_arrive_from_publishers_that_share_datagrams_and_that_do_not() {
    let names = ["mcast-stream-each", "mcast-stream"];

    // (receivers without all, time from publishing to delivery in microseconds)
    let seen: Vec<(f64, f64)> = measure("messages-latency-1000", &names, |figures| {
        let seen = |name| Some((value(figures, name, "without")?, value(figures, name, "p50")?));
        names.into_iter().map(seen).collect()
    });

    assert!(seen.iter().all(|(without, p50)| *without == 0.0 && *p50 > 0.0), "{seen:?}");
}
