//! `publish --rate auto` on a bottleneck of the real kernel.

use std::io::Write;
use std::time::{Duration, Instant};

use mcast_lab::{Impairment, ImpairmentScope, Lab, LinkDirection};

use crate::schemas::assert_valid;
use crate::support::{MCAST, program};
use crate::{GROUP, publisher, subscriber};

/// The bottleneck in bits per second, and the delay in each direction.
const RATE: u64 = 20_000_000;
const DELAY: Duration = Duration::from_millis(10);
/// Four times the product of rate and round-trip time, in bytes.
const QUEUE: usize = 4 * 20 * 2_500;
const MESSAGES: usize = 8_000;

/// On a loaded machine the bounds are wide: the table `fairness` of the bench has the figures of a quiet one.
#[test]
fn an_automatic_rate_is_that_of_the_bottleneck() {
    fills_the_bottleneck(&[]);
}

#[test]
fn an_automatic_rate_includes_parity() {
    fills_the_bottleneck(&["--fec", "20+4"]);
}

fn fills_the_bottleneck(options: &[&str]) {
    let lab = Lab::new().unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let back = Impairment { delay: DELAY, scope: ImpairmentScope::All, ..Impairment::default() };
    let bottleneck = Impairment { rate: Some(RATE), queue: QUEUE, ..back };
    let link = lab.bad_link(&a, "eth0", &["10.0.0.1/24"], &b, "eth0", &["10.0.0.2/24"], back).unwrap();
    link.set_direction(LinkDirection::Forward, bottleneck).unwrap();

    let running = subscriber(&b, &[GROUP]);
    let arguments =
        ["publish", "-i", "eth0", GROUP, "--wait-for", "1", "--rate", "auto", "--json", "--linger", "60s"];
    let mut publishing = program(&a, MCAST, &[&arguments, options].concat(), true);
    let mut input = publishing.child.stdin.take().unwrap();
    let lines = format!("{}\n", "x".repeat(1_000)).repeat(MESSAGES);
    let begun = Instant::now();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    let ended = publishing.end().succeeded();
    let taken = begun.elapsed().as_secs_f64();
    assert_eq!(running.end().succeeded().text().len(), lines.len());

    let report = &ended.json()[0];
    assert_valid("publish-report", report);
    assert!(ended.stderr.contains("limits the rate"), "{ended:?}");
    let rate = report["automatic_rate"]["bits_per_second"].as_f64().unwrap();
    assert!((4e6..40e6).contains(&rate), "{report}");
    assert!(lines.len() as f64 * 8.0 / taken > 8e6, "it took {taken} s: {report}");
    let statistics = link.statistics_of(LinkDirection::Forward);
    // A rate of more than five quarters of the bottleneck would lose more than a fifth. Less is lost at the start, where the
    // rate doubles until statuses show the queue, and these come late where the processor is busy.
    assert!(statistics.queue_full * 5 < statistics.datagrams, "{statistics:?}");
}

#[test]
fn a_floor_needs_an_automatic_rate() {
    let lan = crate::support::Lan::new();
    for (arguments, reason) in [
        (&["--rate", "1Mbit:2Mbit"][..], "or write `auto`"),
        (&["--rate", "auto:2pps"][..], "must be bits per second"),
        (&["--rate", "fast"][..], "or write `auto`"),
        (&["--rate", "auto", "--flow", "one-way"][..], "does not learn how much arrives"),
        (&["--rate", "auto:2Mbit", "--flow", "none"][..], "waits for no subscriber evicts none"),
    ] {
        let ended = publisher(&lan.a, &[&[GROUP], arguments, &["hello"]].concat()).end();
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}
