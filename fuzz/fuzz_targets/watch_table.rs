//! Any frames at any times: the table never panics, keeps to its bounds, and loses no datagram from its sums.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_group::InterfaceIndex;
use mcast_packet::{Checksums, LinkType, Packet};
use mcast_watch::{Identity, Numbered, Options, Seen, Time, Watch};

const CAPACITY: usize = 8;

/// What somebody may say of a frame that ends in enough bytes: streams, lives and numbers as they come.
fn numbered(frame: &[u8]) -> Option<Numbered> {
    let (_, [choice, stream, life, number @ ..]) = frame.split_last_chunk::<11>()?;
    let number = u64::from_be_bytes(*number);
    let says = |bit: u8| choice & bit != 0;
    says(1).then_some(Numbered {
        identity: Identity {
            stream: u64::from(stream % 3),
            incarnation: u32::from(life % 4),
            sealed: says(2),
        },
        number: says(4).then_some(number),
        repair: says(8),
        end: says(16).then_some(number.rotate_left(8)),
    })
}

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
            numbered: numbered(frame),
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
