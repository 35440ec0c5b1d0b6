//! Tests of a subscriber's internals.

use std::net::Ipv4Addr;

use mcast_lab::{Host, Lab};

use super::receive::{MAX_BATCHES, UNICAST_BATCH};
use super::*;

const JUNK: &[u8] = b"not a datagram of a stream";
const NOW: ClockTime = ClockTime(1);

fn run_on_a_lab_host(test: impl FnOnce(Subscriber) + Send) {
    let lab = Lab::new().unwrap();
    let host: Host = lab.host("alone").unwrap();
    let subscribe = || Subscriber::join_one("239.7.7.7%lo:7000".parse().unwrap()).unwrap();
    host.run(|| test(subscribe())).unwrap();
}

#[test]
fn a_flooded_group_does_not_block_the_caller() {
    run_on_a_lab_host(|mut subscriber| {
        let sender = mcast::Sender::to("239.7.7.7%lo:7000".parse().unwrap()).unwrap();
        let sent = MAX_BATCHES * BUFFERS + BUFFERS / 2;
        (0..sent).for_each(|_| sender.send(JUNK).unwrap());
        let polled = subscriber.poll().unwrap();
        assert!(matches!(polled, Poll::Pending(Duration::ZERO)), "{polled:?}");
        let mut rest = Batch::new(BUFFERS, BYTES);
        assert_eq!(subscriber.receiver.recv_batch(&mut rest, Some(Duration::ZERO)).unwrap(), BUFFERS / 2);
    });
}

#[test]
fn a_flooded_unicast_socket_does_not_block_the_group() {
    run_on_a_lab_host(|mut subscriber| {
        let config = subscriber.config.clone().with(|config| config.stream = StreamId(1));
        subscriber.machine = Some(crate::SubscriberMachine::new(config, subscriber.now));
        let port = subscriber.control.local_addr().unwrap().port();
        let flood = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sent = UNICAST_BATCH + 4;
        (0..sent).for_each(|_| _ = flood.send_to(JUNK, (Ipv4Addr::LOCALHOST, port)).unwrap());
        let polled = subscriber.poll().unwrap();
        assert!(matches!(polled, Poll::Pending(Duration::ZERO)), "{polled:?}");
        subscriber.control.recv_from(&mut [0; 64]).unwrap();
    });
}

#[cfg(feature = "seal")]
#[test]
fn with_keys_a_stream_that_they_do_not_open_is_not_selected() {
    use crate::publisher::{PublisherConfig, Transmit};
    use crate::seal::{Algorithm, GroupSecret, Keys};
    use crate::subscriber::{SubscriberConfig, SubscriberEvent};
    use crate::wire::{Header, Incarnation, KeyEpoch, Kind, StreamId};

    let keys = |epoch, byte| Keys::one(KeyEpoch(epoch), GroupSecret::new(&[byte; 32], Algorithm::Aes128Gcm));
    let heartbeat = |keys| {
        let config = PublisherConfig::new(StreamId(7), Incarnation(1)).with(|config| config.keys = keys);
        match crate::PublisherMachine::new(config, NOW).unwrap().poll_transmit(NOW) {
            Some(Transmit::Control(control)) => control.bytes().to_vec(),
            other => unreachable!("{other:?}"),
        }
    };
    let clear = Header::new(Kind::Heartbeat, StreamId(7), Incarnation(1), 1);
    let forged = [&clear.with(|header| header.epoch = KeyEpoch(1)).bytes()[..], &[0; 96]].concat();
    let config = SubscriberConfig::new(StreamId(0));
    let mut selector = StreamSelector::default();
    let chosen = Some(StreamId(7));
    assert!(selector.select(chosen, &config, &clear.bytes(), NOW).is_some());
    assert!(selector.select(None, &config, &heartbeat(Keys::none()), NOW).is_some());
    assert!(
        selector.select(None, &config, &clear.bytes(), NOW).is_none(),
        "a header alone is a stray datagram"
    );

    let config = config.with(|config| config.keys = keys(1, 7));
    for other in [&clear.bytes()[..], &forged, &heartbeat(keys(1, 8)), &heartbeat(keys(2, 7))] {
        assert!(selector.select(None, &config, other, NOW).is_none());
    }
    assert_eq!(selector.refused, 4);
    assert_eq!(selector.event(), Some(SubscriberEvent::KeyMissing(KeyEpoch(2))));
    assert_eq!((selector.event(), selector.event()), (Some(SubscriberEvent::KeyWrong(KeyEpoch(1))), None));
    assert!(selector.select(None, &config, &heartbeat(keys(1, 7)), NOW).is_some());
}

#[test]
fn the_longest_timeout_does_not_overflow() {
    run_on_a_lab_host(|mut subscriber| {
        subscriber.waker().wake().unwrap();
        assert!(matches!(subscriber.next_timeout(Duration::MAX), Err(StreamError::Woken)));
    });
}

#[test]
fn a_setting_without_an_effect_is_refused() {
    use UnusedSetting::{History, RepairForOthers, RepairForOthersBytes};

    use crate::UnusedSetting;
    use crate::subscriber::Policy;

    const BEST_EFFORT: Policy = Policy::BestEffort(Duration::ZERO);
    let refused =
        |change: fn(SubscriberBuilder) -> SubscriberBuilder| match change(Subscriber::builder()).check() {
            Ok(()) => None,
            Err(StreamError::NoEffect(setting)) => Some(setting),
            Err(error) => panic!("{error}"),
        };
    assert_eq!(refused(|from| from.repair_for_others(65_536)), None);
    assert_eq!(refused(|from| from.repair_for_others(65_535)), Some(RepairForOthersBytes(65_535)));
    assert_eq!(refused(|from| from.policy(BEST_EFFORT).repair_for_others(65_536)), Some(RepairForOthers));
    let mute = |from: SubscriberBuilder| from.mute(true);
    assert_eq!(refused(mute), None);
    assert_eq!(refused(|from| from.repair_for_others(65_536).mute(true)), Some(RepairForOthers));
    assert_eq!(refused(|from| from.history_server("10.0.0.1:7000".parse().unwrap())), Some(History));
    assert_eq!(refused(|from| from.history_backlog(1)), Some(History));
    assert_eq!(refused(|from| from.heal(true).history_backlog(1)), None);
    assert_eq!(refused(|from| from.heal(false)), None);
}

#[test]
fn a_snapshot_is_not_replaced_by_a_start_in_the_past() {
    use crate::history::HistoryStart;
    use crate::subscriber::Start;

    let builder = Subscriber::builder().start(Start::Snapshot).history_from(HistoryStart::Oldest);
    assert!(matches!(builder.check(), Err(StreamError::HistoryOrder)));
}
