//! The harness itself: small runs between two hosts of a lab, by the program as a person starts it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

use std::process::Command;

use serde_json::Value;

/// Measures a table for a moment; the figures that it prints.
fn measure(table: &str, contestants: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcast-bench"));
    command.args(["--quick", "--json", "--no-install", "--seconds", "0.1", "--table", table]);
    command.args(contestants.iter().flat_map(|name| ["--contestant", name]));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A contestant's value in the only round.
fn value(figures: &Value, name: &str, series: &str) -> f64 {
    let rows = figures["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} in {figures}"));
    row["series"][series][0].as_f64().unwrap_or_else(|| panic!("{series} of {name} in {figures}"))
}

#[test]
fn contestants_are_counted_at_both_ends() {
    let figures = measure("pairs-a-64", &["std", "mcast-batches"]);

    for name in ["c-trains", "mcast-batches", "std"] {
        let (received, offered) = (value(&figures, name, "rate"), value(&figures, name, "offered"));
        assert!(received > 100.0 && offered > 100.0, "{name}: {received} of {offered} a second");
    }
}

#[test]
fn a_frame_a_datagram_is_what_crosses_the_second_link() {
    // Nothing gets a train across there: C with trains, merging and all must fall far below what
    // it does where trains cross whole (some 20 million a second on any machine).
    let whole = value(&measure("send-a-64", &["c-trains"]), "c-trains", "rate");
    let frames = value(&measure("send-b-64", &["c-trains"]), "c-trains", "rate");

    assert!(frames < whole / 3.0, "{frames} a second beside {whole}");
}

#[test]
fn what_groups_cost_is_worked_out_from_both_ends() {
    let figures = measure("groups-v6", &[]);

    for name in ["1 joined", "100 joined", "100 joined, spread"] {
        let (total, program) = (value(&figures, name, "total_ns"), value(&figures, name, "program_ns"));
        assert!(program > 0.0 && total >= program, "{name}: {program} of {total} ns");
        assert!(value(&figures, name, "rate") > 100.0);
    }
}
