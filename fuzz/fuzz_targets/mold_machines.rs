//! Any datagrams, at any times, for the MoldUDP64 machines: what the receiver delivers is in order and without a silent
//! gap.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcast_moldudp64::{ClockTime, MoldConfig, MoldItem, MoldReceiver, MoldSender, SessionName};

const SESSIONS: [SessionName; 2] = [*b"A         ", *b"B         "];

/// Bytes become a datagram of one of two sessions: what is fuzzed is what follows the first checks.
fn addressed(choice: u8, bytes: &[u8]) -> Vec<u8> {
    let mut datagram = SESSIONS[usize::from(choice % 2)].to_vec();
    datagram.extend_from_slice(bytes);
    // Numbers that a window reaches are worth more than others.
    if datagram.len() >= 20 && !choice.is_multiple_of(3) {
        datagram[10..17].fill(0);
    }
    // One message, the rest of the bytes.
    if datagram.len() >= 22 && choice.is_multiple_of(4) {
        let length = (datagram.len() - 22) as u16;
        datagram[18..20].copy_from_slice(&1_u16.to_be_bytes());
        datagram[20..22].copy_from_slice(&length.to_be_bytes());
    }
    datagram
}

/// What arrives: after how long, from where, and its bytes.
type Arrival<'a> = (u16, u8, &'a [u8]);

fuzz_target!(|input: (u8, Vec<Arrival<'_>>)| {
    let (choice, datagrams) = input;
    let config = MoldConfig {
        session: choice.is_multiple_of(5).then_some(SESSIONS[0]),
        first: choice.is_multiple_of(2).then_some(1),
        window: 16,
        requests: choice.is_multiple_of(3),
        ..MoldConfig::default()
    };
    let mut receiver = MoldReceiver::new(config);
    let Ok(mut sender) = MoldSender::new(SESSIONS[0], 1_400, 1 << 10) else { return };
    let (mut now, mut next) = (ClockTime(1), None);
    for (pause, choice, bytes) in datagrams {
        now = now + Duration::from_millis(u64::from(pause));
        let mut out = |item: MoldItem<'_>| match item {
            MoldItem::Session(_, first) => next = Some(first),
            MoldItem::Message(number, _) => {
                assert_eq!(next, Some(number));
                next = Some(number + 1);
            }
            MoldItem::Lost(first, end) => {
                assert!(next == Some(first) && end > first);
                next = Some(end);
            }
            MoldItem::Left(number) | MoldItem::Ended(number) => assert_eq!(next, Some(number)),
            MoldItem::Silent => {}
        };
        let datagram = addressed(choice, bytes);
        receiver.handle_datagram(now, choice % 5, &datagram, &mut out);
        receiver.handle_timeout(now, &mut out);
        let mut requests = 0;
        while let Some(request) = receiver.poll_transmit(now) {
            let _ = sender.answer(now, &request);
            requests += 1;
            assert!(requests <= 64, "it requests without end");
        }
        if choice == 77 {
            receiver.abandon(&mut out);
        }
        assert_eq!(next.unwrap_or(1), receiver.next_message());
        let _ = (sender.publish(bytes), sender.answer(now, &datagram), sender.poll_transmit(now));
        let _ = (sender.poll_timeout(), receiver.poll_timeout());
    }
});
