//! `mcast perf send --sweep`: the rate where loss starts, and the counter that shows it.

use mcast_lab::Impairment;

use crate::hosts::{GROUP, Pair, object, perf_recv, perf_send};
use crate::schemas::assert_valid;
use crate::support::Lan;

/// Bytes of payload, and of what they are wrapped in on the wire.
const SIZE: u64 = 1_000;
const FRAME: u64 = SIZE + 8 + 20 + 14;

#[test]
fn the_knee_of_a_slow_link_is_found_with_its_counter() {
    // So slow that a busy machine keeps the pace.
    let carries = 80;
    let slow = Impairment { rate: Some(carries * FRAME * 8), queue: 4_200, ..Impairment::default() };
    let pair = Pair::new(slow);
    let receiver = perf_recv(&pair.b, &[GROUP, "--json"]);
    let arguments = [GROUP, "--sweep", "--rate", "30pps", "--duration", "500ms", "--size", "1000", "--json"];
    let ended = perf_send(&pair.a, &arguments).end().succeeded();
    let found = object(&ended);
    assert_valid("perf-sweep", &found);
    let rate = |name: &str| found[name].as_f64().unwrap();
    let (clean, lossy) = (rate("clean_datagrams_per_second"), rate("lossy_datagrams_per_second"));
    assert!(clean < lossy && clean > 0.5 * carries as f64 && lossy < 1.6 * carries as f64, "{found}");
    // What the whole machine drops may be others' traffic.
    let counters = found["counters"].as_array().unwrap();
    assert!(counters.iter().all(|one| one["counter"] == "softnet_stat dropped"), "{found}");
    assert!(pair.link.statistics().queue_full > 0);
    // The receiver takes the whole sweep as one run.
    let runs = receiver.end().succeeded().json();
    assert_eq!(runs.len(), found["steps"].as_array().unwrap().len());
}

#[test]
fn a_sweep_needs_a_receiver() {
    let lan = Lan::new();
    let alone = perf_send(&lan.a, &[GROUP, "--sweep", "--duration", "50ms"]).end();
    assert_eq!(alone.status, Some(1), "{alone:?}");
    assert!(alone.stderr.contains("no receiver reports"), "{alone:?}");
}

#[test]
fn a_sweep_prints_its_steps_and_result() {
    let slow = Impairment { rate: Some(80 * FRAME * 8), queue: 4_200, ..Impairment::default() };
    let pair = Pair::new(slow);
    let receiver = perf_recv(&pair.b, &[GROUP]);
    let arguments = [GROUP, "--sweep", "--rate", "50pps", "--duration", "500ms", "--size", "1000"];
    let swept = perf_send(&pair.a, &arguments).end().succeeded();
    assert!(swept.text().contains("knee  no loss up to "), "{swept:?}");
    assert!(swept.text().contains("the loss happened between them"), "{swept:?}");
    receiver.end().succeeded();
}
