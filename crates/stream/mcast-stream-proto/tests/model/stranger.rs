//! Datagrams that subscribers must reject: from strangers without a secret or with another one, and from an excluded
//! member with the previous one.

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, Transmit};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{FlowControl, Incarnation, KeyEpoch, Sequence};

use crate::audit::FORGED;
use crate::cipher::Notary;
use crate::group::STREAM;

/// Returns forged datagrams for a subscriber whose next message is `next`: of the publisher, and of a later
/// incarnation.
pub(crate) fn datagrams(incarnation: u32, next: u64, now: u64, is_excluded: bool) -> Vec<Vec<u8>> {
    // Their seals must not count in the group's notary.
    let own = Notary::default();
    let mut all = Vec::new();
    for incarnation in [incarnation, incarnation + 7] {
        all.extend(forge(Keys::none(), incarnation, next, now));
        all.extend(forge(Keys::one(KeyEpoch(1), own.secret(99)), incarnation, next, now));
        all.extend(forge(Keys::one(KeyEpoch(2), own.secret(99)), incarnation, next, now));
        if is_excluded {
            all.extend(forge(Keys::one(KeyEpoch(1), own.secret(1)), incarnation, next, now));
        }
    }
    all
}

/// Returns the datagrams of a forged stream up to the message after `next`.
fn forge(keys: Keys, incarnation: u32, next: u64, now: u64) -> Vec<Vec<u8>> {
    let config = PublisherConfig::new(STREAM, Incarnation(incarnation)).with(|config| {
        config.datagram = 256;
        config.retransmission_buffer = 32 * 256;
        config.flow = FlowControl::None;
        config.unix_offset = Some(1_000_000_000);
        config.keys = keys;
    });
    let mut publisher = PublisherMachine::new(config, ClockTime(now)).unwrap();
    for number in 0..next + 2 {
        publisher.publish(ClockTime(now), &[FORGED, &number.to_be_bytes()].concat()).unwrap();
        publisher.flush(ClockTime(now));
    }
    let mut all = Vec::new();
    while let Some(transmit) = publisher.poll_transmit(ClockTime(now)) {
        match transmit {
            Transmit::Data { first, count } => {
                all.extend(
                    Sequence::each(first..first + count)
                        .map(|sequence| publisher.datagram(sequence).to_vec()),
                );
            }
            Transmit::Control(control) => all.push(control.bytes().to_vec()),
            Transmit::Repair { .. } => {}
        }
    }
    all
}
