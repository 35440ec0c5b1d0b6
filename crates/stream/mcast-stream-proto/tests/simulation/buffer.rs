//! The capacity of the retransmission buffer, as in the table of `docs/how-to/choose-a-policy.md`.

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, Refusal};
use mcast_stream_proto::wire::{Incarnation, Sequence, StreamId};

use crate::plan::{MILLISECOND, SECOND};

const HISTORY: usize = 8 << 20;

fn publisher() -> PublisherMachine {
    let config = PublisherConfig::new(StreamId(7), Incarnation(1))
        .with(|config| config.retransmission_buffer = HISTORY);
    PublisherMachine::new(config, ClockTime(SECOND)).unwrap()
}

/// Returns the number of retained messages of this length, each sent in its own datagram.
fn kept(length: usize) -> u64 {
    const ALL: u64 = 150_000;
    let mut publisher = publisher();
    let message = vec![7; length];
    for number in 0..ALL {
        let now = SECOND + number * MILLISECOND;
        publisher.publish(ClockTime(now), &message).unwrap();
        publisher.flush(ClockTime(now));
        while publisher.poll_transmit(ClockTime(now)).is_some() {}
    }
    assert_eq!(publisher.statistics().datagrams, ALL);
    (1..=ALL).filter(|number| !publisher.datagram(Sequence(*number)).is_empty()).count() as u64
}

/// It holds 4/3 of the configured size. A datagram takes its message and 34 bytes, and at least 64 bytes of the size.
#[test]
fn the_buffer_holds_bytes() {
    for (length, documented) in [(10, 131_072), (100, 83_000), (500, 20_900), (1_000, 10_800)] {
        let kept = kept(length);
        assert!(
            kept.abs_diff(documented) <= documented / 100,
            "{kept} messages of {length} bytes are retained"
        );
    }
}

#[test]
fn a_message_must_fit_the_buffer() {
    let Err(Refusal::TooLong { longest, .. }) = publisher().publish(ClockTime(SECOND), &vec![7; 16 << 20])
    else {
        panic!("it was accepted")
    };
    assert!((10_700_000..11_000_000).contains(&longest), "{longest}");
}
