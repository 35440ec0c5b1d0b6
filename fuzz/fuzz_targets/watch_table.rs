//! Any frames at any times: the table never panics, keeps to its bounds, and loses no datagram from its sums.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Packet};
use mcast_watch::{Options, Seen, Time, Watch};

const CAPACITY: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let Some((settings, mut rest)) = bytes.split_at_checked(2) else { return };
    let sequence = (settings[0] % 2 == 1).then(|| "0:2".parse().ok()).flatten();
    let mut watch = Watch::new(Options { capacity: CAPACITY, sequence, ..Options::default() });
    let link_type = if settings[1] % 2 == 0 { LinkType::Ethernet } else { LinkType::Ip };
    let mut streams = 0;
    // Eight bytes of time, one of interface, one of length, and so many of frame.
    while let Some((head, after)) = rest.split_first_chunk::<10>() {
        let [time @ .., interface, length] = *head;
        let (frame, after) = after.split_at(usize::from(length).min(after.len()));
        let packet = Packet::decode(frame, link_type, Checksums::Computed);
        let seen = Seen {
            time: Time::from_nanos(u64::from_be_bytes(time)),
            interface: InterfaceIndex::new(u32::from(interface) + 1).unwrap_or_else(|| unreachable!()),
            outgoing: interface % 2 == 1,
            length: frame.len(),
            packet: &packet,
        };
        streams += u64::from(watch.observe(&seen).is_some());
        rest = after;
    }
    let report = watch.report(watch.latest());
    assert!(report.streams.len() <= CAPACITY && report.members.len() <= CAPACITY);
    assert_eq!(report.totals.datagrams, streams);
    assert!(report.streams.iter().map(|row| row.datagrams).sum::<u64>() <= streams);
    for row in &report.streams {
        assert!(row.quiet <= row.age, "{row:?}");
        assert!(row.now.datagrams_per_second.is_finite() && row.mean.bits_per_second.is_finite(), "{row:?}");
        if let Some(numbers) = &row.numbers {
            assert!((0.0..=1.0).contains(&numbers.loss()), "{row:?}");
        }
    }
});
