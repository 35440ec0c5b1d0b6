//! Who must not be believed: who knows no secret, who knows another, who was shut out and knows the one before.

use mcast_stream::Sender;
use mcast_stream::seal::Keys;
use mcast_stream::sender::{SenderConfig, Transmit};
use mcast_stream::wire::{FlowControl, Incarnation, KeyEpoch};

use crate::audit::FORGED;
use crate::cipher::Notary;
use crate::group::STREAM;

/// What such would send to a receiver to which message `next` is due: as the sender, and as a later life of it.
pub(crate) fn datagrams(life: u32, next: u64, now: u64, is_shut_out: bool) -> Vec<Vec<u8>> {
    // Their seals are no concern of the group's notary.
    let own = Notary::default();
    let mut all = Vec::new();
    for life in [life, life + 7] {
        all.extend(forge(Keys::none(), life, next, now));
        all.extend(forge(Keys::one(KeyEpoch(1), own.secret(99)), life, next, now));
        all.extend(forge(Keys::one(KeyEpoch(2), own.secret(99)), life, next, now));
        if is_shut_out {
            all.extend(forge(Keys::one(KeyEpoch(1), own.secret(1)), life, next, now));
        }
    }
    all
}

/// A whole stream of their own, as far as a message that is due.
fn forge(keys: Keys, life: u32, next: u64, now: u64) -> Vec<Vec<u8>> {
    let config = SenderConfig {
        datagram: 256,
        history: 32 * 256,
        flow: FlowControl::None,
        unix_offset: Some(1_000_000_000),
        keys,
        ..SenderConfig::new(STREAM, Incarnation(life))
    };
    let mut sender = Sender::new(config, now).unwrap();
    for number in 0..next + 2 {
        sender.publish(now, &[FORGED, &number.to_be_bytes()].concat()).unwrap();
        sender.flush(now);
    }
    let mut all = Vec::new();
    while let Some(transmit) = sender.poll(now) {
        match transmit {
            Transmit::Data { first, count } => {
                all.extend((first..first + count).map(|sequence| sender.datagram(sequence).to_vec()));
            }
            Transmit::Control(control) => all.push(control.bytes().to_vec()),
            Transmit::Repair { .. } => {}
        }
    }
    all
}
