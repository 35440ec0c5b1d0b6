//! Publishers and subscribers over links that the kernel's own emulator (netem) makes bad: everything comes, in order.
//!
//! Few kernels have it; `cargo verify --only kernel` boots one that has and runs these tests there.
#![cfg(all(target_os = "linux", feature = "std"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../networks/net.rs"]
mod net;

use std::thread;

use mcast::Family;
use mcast_lab::{Host, Impairment};

use crate::net::{Net, PATIENCE, hear, message};

const SUBSCRIBERS: usize = 2;
const COUNT: u64 = 500;

/// Has the kernel treat what leaves by a host's `eth0` as `what` says, in the words of tc-netem(8).
fn emulate(host: &Host, what: &str) {
    let words = format!("qdisc add dev eth0 root netem {what}");
    let output = host.command("tc").unwrap().args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "tc {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Says what the emulator dropped at a host: of 500 messages some must be, where it is to lose any.
fn dropped(host: &Host) -> u64 {
    let output = host.command("tc").unwrap().args(["-s", "qdisc", "show", "dev", "eth0"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = text.split_once("(dropped ").and_then(|(_, rest)| rest.split_once(','));
    number.unwrap_or_else(|| panic!("{text}")).0.parse().unwrap()
}

/// Everything comes when data meets the one and feedback the other; returns the number of datagrams dropped on the way to
/// the subscribers.
fn everything_comes(data: &str, feedback: Option<&str>) -> u64 {
    let net = Net::new(Family::V4, SUBSCRIBERS, Impairment::default());
    emulate(&net.publisher, data);
    if let Some(feedback) = feedback {
        net.subscribers.iter().for_each(|(host, _)| emulate(host, feedback));
    }
    let mut subscribers: Vec<_> =
        (0..SUBSCRIBERS).map(|number| net.subscriber(number, |settings| settings)).collect();
    let publisher = net.publisher(|settings| settings.history(2 << 20));
    thread::scope(|scope| {
        let hearing: Vec<_> =
            subscribers.iter_mut().map(|subscriber| scope.spawn(|| hear(subscriber, message))).collect();
        assert!(publisher.wait_for(SUBSCRIBERS, PATIENCE), "{:?}", publisher.statistics());
        for number in 0..COUNT {
            assert_eq!(publisher.queue(&message(number)).unwrap(), number);
        }
        let closing = publisher.close(PATIENCE);
        assert_eq!((closing.complete, &closing.behind[..]), (SUBSCRIBERS, &[][..]), "{closing:?}");
        for one in hearing {
            let heard = one.join().unwrap();
            assert_eq!((heard.first, heard.messages), (Some(0), COUNT), "{:?}", heard.events);
        }
    });
    dropped(&net.publisher)
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_delay_both_ways() {
    everything_comes("delay 40ms", Some("delay 40ms"));
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_jitter() {
    everything_comes("delay 20ms 10ms distribution normal", None);
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_reordering() {
    everything_comes("delay 10ms reorder 25% 50%", None);
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_losses_in_bursts() {
    let dropped = everything_comes("loss gemodel 2% 20% 90% 0.1%", Some("loss gemodel 2% 20% 90% 0.1%"));
    assert!(dropped > 0, "the emulator lost nothing");
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_a_limited_rate_and_a_short_queue() {
    let dropped = everything_comes("rate 20mbit limit 50", None);
    assert!(dropped > 0, "the queue was never full");
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_damaged_and_repeated_datagrams() {
    everything_comes("corrupt 2% duplicate 5%", None);
}

#[test]
#[ignore = "needs a kernel with netem: cargo verify --only kernel"]
fn with_all_of_it() {
    let all =
        "delay 10ms 5ms reorder 10% 50% loss gemodel 1% 20% 90% 0.1% duplicate 1% corrupt 1% rate 50mbit";
    everything_comes(all, Some(all));
}
