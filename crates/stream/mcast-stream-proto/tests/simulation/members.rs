//! What a publisher keeps of each subscriber: its memory.

use std::net::SocketAddr;

use mcast_sim::number;
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherConfig;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::wire::{Incarnation, Kind, Sequence, Status, SubscriberId};

use crate::feedback::{STREAM, datagram_of, token_for};
use crate::plan::SECOND;

const NOW: ClockTime = ClockTime(SECOND);
/// Resident bytes for each subscriber of a clear stream.
const MOST_BYTES: usize = 3_000;

/// Makes a subscriber prove its address and join.
fn join(publisher: &mut PublisherMachine, number: u64) {
    let from = SocketAddr::from(([10, 0, 1, 1], number as u16 + 1));
    let id = SubscriberId(number);
    let token = token_for(publisher, SECOND, from, id);
    let (next, highest) = (Sequence(1), Sequence(1));
    let status = Status::default().with(|status| {
        status.next = next;
        status.highest = highest;
        status.window = 64;
        status.token = token;
    });
    publisher.handle_datagram(NOW, from, &datagram_of(id, Kind::Status, 2, |writer| status.write(writer)));
    while publisher.poll_event().is_some() {}
}

/// Returns the memory of this process in bytes; `None` on systems without `/proc`.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<usize>().ok()?;
    Some(pages * 4_096)
}

/// The default admits the crowds that are simulated. `MCAST_CROWD` prints what each subscriber takes.
#[test]
fn a_publisher_knows_10_000_subscribers_by_default() {
    const SUBSCRIBERS: u64 = 10_000;
    let config =
        PublisherConfig::new(STREAM, Incarnation(1)).with(|config| config.retransmission_buffer = 1 << 20);
    let mut publisher = PublisherMachine::new(config, NOW).unwrap();
    join(&mut publisher, SUBSCRIBERS);
    let before = resident();
    (0..SUBSCRIBERS).for_each(|number| join(&mut publisher, number));
    let after = resident();
    assert_eq!(publisher.statistics().subscribers, SUBSCRIBERS + 1);
    // Tests that run beside this one in the same process use memory, too.
    if let (Some(before), Some(after), Some(_)) = (before, after, number("MCAST_CROWD")) {
        let each = after.saturating_sub(before) / SUBSCRIBERS as usize;
        println!("{each} bytes of memory for each of {SUBSCRIBERS} subscribers");
        assert!((100..=MOST_BYTES).contains(&each), "{each} bytes for each subscriber");
    }
}
