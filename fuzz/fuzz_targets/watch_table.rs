//! Feeds arbitrary frames at arbitrary times: the table never panics, keeps its bounds, and its totals stay exact.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Packet};
use mcast_watch::{ObservedPacket, SequenceInfo, StreamIdentity, Time, Watch, WatchOptions};

const CAPACITY: usize = 8;

/// Derives sequence information from the last bytes of a frame, if it is long enough.
fn sequence_info(frame: &[u8]) -> Option<SequenceInfo> {
    let (_, [choice, stream, incarnation, number @ ..]) = frame.split_last_chunk::<11>()?;
    let number = u64::from_be_bytes(*number);
    let has = |bit: u8| choice & bit != 0;
    has(1).then_some(SequenceInfo {
        identity: StreamIdentity {
            stream: u64::from(stream % 3),
            incarnation: u32::from(incarnation % 4),
            sealed: has(2),
        },
        number: has(4).then_some(number),
        repair: has(8),
        end: has(16).then_some(number.rotate_left(8)),
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((settings, mut rest)) = bytes.split_at_checked(2) else { return };
    let sequence = (settings[0] % 2 == 1).then(|| "0:2".parse().ok()).flatten();
    let mut watch = Watch::new(WatchOptions { capacity: CAPACITY, sequence, ..WatchOptions::default() });
    let link_type = if settings[1] % 2 == 0 { LinkType::Ethernet } else { LinkType::Ip };
    let mut streams = 0;
    // Per packet: 8 bytes of time, 1 of interface, 1 of length, then the frame.
    while let Some((head, after)) = rest.split_first_chunk::<10>() {
        let [time @ .., interface, length] = *head;
        let (frame, after) = after.split_at(usize::from(length).min(after.len()));
        let packet = Packet::decode(frame, link_type, Checksums::Computed);
        let observed = ObservedPacket {
            time: Time::from_nanos(u64::from_be_bytes(time)),
            interface: InterfaceIndex::new(u32::from(interface) + 1).unwrap_or_else(|| unreachable!()),
            outgoing: interface % 2 == 1,
            length: frame.len(),
            packet: &packet,
            state: mcast_watch::PacketState::Whole,
            tunnel: None,
            sequence_info: sequence_info(frame),
        };
        streams += u64::from(watch.observe(&observed).is_some());
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
