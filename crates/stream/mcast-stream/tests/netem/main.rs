//! Publishers and subscribers over links impaired by the kernel's network emulator (netem): every message is delivered,
//! in order.
//!
//! Few kernels include netem. `cargo verify --only kernel` boots one that does, and runs these tests there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../networks/net.rs"]
mod net;

use std::thread;

use mcast::Family;
use mcast_lab::{Host, Impairment};

use crate::net::{Net, TIMEOUT, message, receive_stream};

const SUBSCRIBERS: usize = 2;
const COUNT: u64 = 500;

/// Impairs the traffic that leaves a host by `eth0`, with these arguments of tc-netem(8).
fn impair(host: &Host, arguments: &str) {
    let command = format!("qdisc add dev eth0 root netem {arguments}");
    let output = host.command("tc").unwrap().args(command.split(' ')).output().unwrap();
    assert!(output.status.success(), "tc {command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the number of datagrams that the emulator dropped at a host.
fn dropped(host: &Host) -> u64 {
    let output = host.command("tc").unwrap().args(["-s", "qdisc", "show", "dev", "eth0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = text.split_once("(dropped ").and_then(|(_, rest)| rest.split_once(','));
    number.unwrap_or_else(|| panic!("{text}")).0.parse().unwrap()
}

/// Checks that every message is delivered when data and feedback are impaired like this; returns the number of
/// datagrams dropped on the way to the subscribers.
fn check_delivery(data: &str, feedback: Option<&str>) -> u64 {
    let net = Net::new(Family::V4, SUBSCRIBERS, Impairment::default());
    impair(&net.publisher, data);
    if let Some(feedback) = feedback {
        net.subscribers.iter().for_each(|(host, _)| impair(host, feedback));
    }
    let mut subscribers: Vec<_> =
        (0..SUBSCRIBERS).map(|number| net.subscriber(number, |settings| settings)).collect();
    let publisher = net.publisher(|settings| settings.retransmission_buffer(2 << 20));
    thread::scope(|scope| {
        let receiving: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| scope.spawn(|| receive_stream(subscriber, message)))
            .collect();
        assert!(publisher.wait_for(SUBSCRIBERS, TIMEOUT), "{:?}", publisher.statistics());
        for number in 0..COUNT {
            assert_eq!(publisher.publish(&message(number)).unwrap().0, number);
        }
        let closing = publisher.close(TIMEOUT);
        assert_eq!((closing.complete, &closing.behind[..]), (SUBSCRIBERS, &[][..]), "{closing:?}");
        for one in receiving {
            let received = one.join().unwrap();
            assert_eq!((received.first, received.messages), (Some(0), COUNT), "{:?}", received.events);
        }
    });
    dropped(&net.publisher)
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_delay_both_ways() {
    check_delivery("delay 40ms", Some("delay 40ms"));
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_jitter() {
    check_delivery("delay 20ms 10ms distribution normal", None);
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_reordering() {
    check_delivery("delay 10ms reorder 25% 50%", None);
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_burst_losses() {
    let dropped = check_delivery("loss gemodel 2% 20% 90% 0.1%", Some("loss gemodel 2% 20% 90% 0.1%"));
    assert!(dropped > 0, "the emulator dropped no datagrams");
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_a_limited_rate_and_a_short_queue() {
    // Slow enough that the datagrams of one long message overflow the queue also on a slow machine.
    let dropped = check_delivery("rate 5mbit limit 20", None);
    assert!(dropped > 0, "the queue was never full");
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_corrupt_and_duplicate_datagrams() {
    check_delivery("corrupt 2% duplicate 5%", None);
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_all_impairments() {
    let arguments =
        "delay 10ms 5ms reorder 10% 50% loss gemodel 1% 20% 90% 0.1% duplicate 1% corrupt 1% rate 50mbit";
    check_delivery(arguments, Some(arguments));
}
