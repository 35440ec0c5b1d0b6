//! Any datagrams, at any times, for both state machines, which may also hear each other: they neither panic nor keep more
//! than they may, and of a signed stream only what the publisher has published is delivered.

#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{Fec, PublisherConfig, Transmit};
use mcast_stream_proto::sign::{PinnedKeys, SIGNATURE_LENGTH, Signer, SigningKey, Verifier};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{
    Item, LocalRepair, OnLoss, Policy, Start, SubscriberConfig, SubscriberEvent,
};
use mcast_stream_proto::wire::{Digest, Incarnation, SignerId, StreamId};

const WINDOW: usize = 32;
/// The smallest window of a subscriber that verifies signatures.
const VERIFIED_WINDOW: usize = 128;
const LONGEST: usize = 4096;
/// Datagrams of the publisher that are kept, to be changed.
const GENUINE: usize = 8;

static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| SigningKey::new(&[7; 32]).expect("a key"));

/// A public key to which every signature is right, so that what is signed is fuzzed, too.
#[derive(Debug)]
struct Gullible;

impl Verifier for Gullible {
    fn id(&self) -> SignerId {
        SignerId(0)
    }

    fn public(&self) -> [u8; 32] {
        [0; 32]
    }

    fn verify(&self, _: &[u8], _: &[u8; SIGNATURE_LENGTH]) -> bool {
        true
    }

    /// Short and without a hash, so that a manifest of any data is found.
    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        let mut digest = Digest::default();
        digest.0[0] = parts.iter().flat_map(|part| part.iter()).fold(0, |sum: u8, byte| sum ^ byte);
        digest
    }
}

/// What the subscriber verifies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verifies {
    Nothing,
    /// What the publisher signs.
    Publisher,
    /// Anything that has a signature.
    Gullibly,
}

impl Verifies {
    fn keys(self) -> PinnedKeys {
        let mut keys = PinnedKeys::none();
        match self {
            Self::Nothing => {}
            Self::Publisher => keys = KEY.public_key().pinned(),
            Self::Gullibly => assert!(keys.add(Arc::new(Gullible))),
        }
        keys
    }
}

/// Bytes become a datagram of the stream: what is fuzzed is what follows the first checks.
fn addressed(bytes: &[u8]) -> Vec<u8> {
    let mut datagram = b"MC\x10".to_vec();
    datagram.extend_from_slice(bytes);
    if datagram.len() >= 24 {
        datagram[6..8].fill(0);
        datagram[8..16].copy_from_slice(&7_u64.to_be_bytes());
        datagram[16..19].fill(0);
        datagram[19] %= 3;
        // Numbers that a window reaches are worth more than others.
        if datagram.len() >= 32 && !datagram[24].is_multiple_of(4) {
            datagram[24..30].fill(0);
        }
    }
    datagram
}

/// Bytes become changes of a datagram of the publisher: pairs of a place and what is changed there.
fn changed(genuine: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut datagram = genuine.to_vec();
    for change in bytes.as_chunks::<2>().0 {
        if let Some(byte) = datagram.get_mut(usize::from(change[0])) {
            *byte ^= change[1];
        }
    }
    datagram
}

fuzz_target!(|input: (u8, u8, Vec<(u16, &[u8])>)| {
    let (choice, signing, datagrams) = input;
    let verifies = match signing % 4 {
        0 | 1 => Verifies::Nothing,
        2 => Verifies::Publisher,
        _ => Verifies::Gullibly,
    };
    let (hear_each_other, is_signed) = (signing & 0x80 == 0, signing % 4 != 0);
    let policy = match choice % 4 {
        // Snapshots are not signed.
        0 if verifies == Verifies::Nothing => Policy::Reliable(OnLoss::Snapshot),
        1 => Policy::Deadline(Duration::from_millis(1)),
        2 => Policy::Latest,
        _ => Policy::Reliable(OnLoss::Continue),
    };
    let starts_with_snapshot = choice & 0x80 != 0 && verifies == Verifies::Nothing;
    let config = SubscriberConfig::new(StreamId(7)).with(|config| {
        config.policy = policy;
        config.start = if starts_with_snapshot { Start::Snapshot } else { Start::Oldest };
        config.window = WINDOW;
        config.longest_message = LONGEST;
        config.paths = 2;
        config.signed_by = verifies.keys();
        config.repair_for_others = (choice & 0x40 == 0).then_some(LocalRepair { bytes: 4096, seed: 3 });
    });
    let most_kept = if config.signed_by.is_empty() { WINDOW } else { VERIFIED_WINDOW };
    let mut subscriber = SubscriberMachine::new(config, ClockTime(1));
    let fec = match choice / 3 % 3 {
        0 => Fec::Off,
        1 => Fec::Auto,
        _ => Fec::Fixed { data: 4, parity: 2 },
    };
    let config = PublisherConfig::new(StreamId(7), Incarnation(1)).with(|config| {
        config.retransmission_buffer = 32 * 1232;
        config.fec = fec;
        config.signer = is_signed.then(|| Arc::clone(&*KEY) as Arc<dyn Signer>);
    });
    let Ok(mut publisher) = PublisherMachine::new(config, ClockTime(1)) else { return };
    let (mut published, mut genuine): (Vec<&[u8]>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let addresses = [9, 10].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
    let mut now = ClockTime(1);
    for (number, (pause, bytes)) in datagrams.into_iter().enumerate() {
        now = now + Duration::from_micros(u64::from(pause));
        let datagram = match bytes.split_first() {
            Some((place, changes)) if place % 2 == 1 && !genuine.is_empty() => {
                changed(&genuine[usize::from(place / 2) % genuine.len()], changes)
            }
            _ => addressed(bytes),
        };
        if number % 3 == 0 && publisher.publish(now, bytes).is_ok() {
            published.push(bytes);
            publisher.flush(now);
        }
        publisher.handle_datagram(now, addresses[0], &datagram);
        let mut sent = Vec::new();
        while let Some(transmit) = publisher.poll_transmit(now) {
            match transmit {
                Transmit::Control(control) => {
                    sent.push(control.bytes().to_vec());
                    publisher.reuse(control);
                }
                Transmit::Repair { sequence, .. } => sent.push(publisher.datagram(sequence).to_vec()),
                Transmit::Data { first, count } => {
                    sent.extend((0..count).map(|number| publisher.datagram(first + number).to_vec()));
                }
            }
            assert!(sent.len() < 100_000, "it sends without end");
        }
        while publisher.poll_event().is_some() {}
        if hear_each_other {
            genuine.extend_from_slice(&sent);
            genuine.drain(..genuine.len().saturating_sub(GENUINE));
        } else {
            sent.clear();
        }
        // The first one sometimes gets lost, and the forged one sometimes is first.
        let sent = sent.into_iter().skip(usize::from(pause % 5 == 0));
        let arriving = if pause % 2 == 0 {
            sent.chain([datagram]).collect::<Vec<_>>()
        } else {
            [datagram].into_iter().chain(sent).collect()
        };
        for datagram in arriving {
            subscriber.handle_datagram(now, choice % 3, addresses[0], &datagram);
            let mut items = 0;
            while let Some(item) = subscriber.poll_item(now, &datagram) {
                match item {
                    Item::Event(SubscriberEvent::SnapshotWanted { message }) => subscriber.resume(message),
                    Item::Message(message) if verifies == Verifies::Publisher => {
                        let genuine = usize::try_from(message.number.0).ok().and_then(|at| published.get(at));
                        assert_eq!(genuine, Some(&message.bytes), "a forged message was delivered");
                    }
                    _ => {}
                }
                items += 1;
                assert!(items < 100_000, "it returns items without end");
            }
        }
        while let Some(control) = subscriber.poll_transmit(now) {
            if hear_each_other {
                publisher.handle_datagram(now, addresses[1], control.bytes());
            }
            subscriber.reuse(control);
        }
        assert!(subscriber.kept() <= most_kept);
        let _ = (publisher.poll_timeout(), subscriber.poll_timeout());
    }
});
