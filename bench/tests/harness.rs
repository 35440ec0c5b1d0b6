//! The harness itself: small runs between two hosts of a lab, by the program as a person starts it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test tries: on a busy machine a program may not get the processor in its window.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures a table for a moment, until its figures hold what is looked for.
fn measure<T>(table: &str, contestants: &[&str], look: impl Fn(&Value) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
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
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < deadline, "not to be seen in {figures:?}\n{said}");
    }
}

/// A contestant's value in the only round.
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
fn trains_cross_the_first_link_whole_and_the_second_as_frames() {
    let rate = |figures: &Value| value(figures, "c-trains", "rate");

    // Some thirty times apart, where nothing else runs.
    let whole = measure("send-a-64", &["c-trains"], rate);
    let frames =
        measure("send-b-64", &["c-trains"], |figures| rate(figures).filter(|rate| *rate < whole / 3.0));

    assert!(frames > 0.0);
}

#[test]
fn what_groups_cost_is_worked_out_from_both_ends() {
    let names = ["1 joined", "100 joined", "100 joined, spread"];

    let costs: Vec<(f64, f64)> = measure("groups-v6", &[], |figures| {
        let cost = |name| Some((value(figures, name, "total_ns")?, value(figures, name, "program_ns")?));
        names.into_iter().map(cost).collect()
    });

    assert!(costs.iter().all(|(total, program)| *program > 0.0 && total >= program), "{costs:?}");
}

#[test]
fn links_lose_what_they_are_told_and_every_message_of_ours_arrives() {
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
        let told = if row.contains("5 %") { 2.5..7.5 } else { 0.0..f64::MIN_POSITIVE };
        assert!(told.contains(&drawn), "{row}: {drawn} % lost on the way");
        // TCP may wait for longer than a run lasts before it sends the same again a fourth time.
        assert!(without == 0.0 || row.starts_with("tcp"), "{row}: {without} receivers have not all");
        assert!(goodput > 0.0, "{row}");
    }
}
