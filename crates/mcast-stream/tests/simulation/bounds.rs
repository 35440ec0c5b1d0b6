//! What a sender allows one receiver, whatever that does: a hand between the two machines says what arrives.

use std::net::SocketAddr;

use mcast_stream::receiver::{Item, ReceiverConfig};
use mcast_stream::sender::{SenderConfig, SenderEvent, Transmit};
use mcast_stream::wire::{Incarnation, StreamId};
use mcast_stream::{Receiver, Sender};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const STREAM: StreamId = StreamId(7);
const HISTORY: usize = 1 << 20;

/// Which of what the sender sends comes to the receiver.
#[derive(Clone, Copy, PartialEq)]
enum Comes {
    Everything,
    /// It hears what there is, and lacks it.
    ControlAlone,
}

struct Two {
    now: u64,
    sender: Sender,
    receiver: Receiver,
    messages: u64,
}

impl Two {
    fn joined() -> Self {
        let now = SECOND;
        let config = SenderConfig { history: HISTORY, ..SenderConfig::new(STREAM, Incarnation(1)) };
        let mut two = Self {
            now,
            sender: Sender::new(config, now).unwrap(),
            receiver: Receiver::new(ReceiverConfig::new(STREAM), now),
            messages: 0,
        };
        while two.sender.receivers().0 == 0 {
            two.step(Comes::Everything);
            assert!(two.now < 10 * SECOND, "it never joins");
        }
        two
    }

    /// What is sent now arrives at once; then it is later, by a tenth of a millisecond.
    fn step(&mut self, comes: Comes) {
        let from = SocketAddr::from(([10, 0, 0, 1], 7000));
        while let Some(transmit) = self.sender.poll(self.now) {
            let arriving: Vec<Vec<u8>> = match transmit {
                Transmit::Control(control) => vec![control.bytes().to_vec()],
                _ if comes == Comes::ControlAlone => Vec::new(),
                Transmit::Data { first, count } => {
                    (first..first + count).map(|number| self.sender.datagram(number).to_vec()).collect()
                }
                Transmit::Repair { sequence, .. } => vec![self.sender.datagram(sequence).to_vec()],
            };
            for datagram in arriving {
                self.receiver.handle(self.now, 0, from, &datagram);
                while let Some(item) = self.receiver.next(self.now, &datagram) {
                    self.messages += u64::from(matches!(item, Item::Message(_)));
                }
            }
        }
        while let Some(control) = self.receiver.poll(self.now) {
            self.sender.handle(self.now, SocketAddr::from(([10, 0, 0, 2], 7000)), control.bytes());
        }
        self.now += MILLISECOND / 10;
    }
}

#[test]
fn who_falls_silent_is_forgotten() {
    let mut two = Two::joined();
    let silent_since = two.now;
    let forgotten = loop {
        while two.sender.poll(two.now).is_some() {}
        match two.sender.poll_event() {
            Some(SenderEvent::ReceiverSilent(_)) => break two.now - silent_since,
            Some(_) => {}
            None => two.now += 100 * MILLISECOND,
        }
        assert!(two.now - silent_since < 60 * SECOND, "it is waited for for ever");
    };
    assert_eq!(two.sender.receivers().0, 0);
    assert!((5 * SECOND..7 * SECOND).contains(&forgotten), "after {forgotten} ns");
}

/// A quarter of the ring at once, and 12.5 MB a second: no more goes to who asks without end.
#[test]
fn repairs_keep_to_their_allowance() {
    let mut two = Two::joined();
    while two.sender.publish(two.now, &[7; 1000]).is_ok() {
        two.sender.flush(two.now);
        two.step(Comes::ControlAlone);
    }
    let (before, began) = (two.sender.statistics().repair_bytes, two.now);
    while two.now < began + SECOND {
        two.step(Comes::ControlAlone);
    }
    let repaired = two.sender.statistics().repair_bytes - before;
    assert!(repaired > 6_000_000, "{repaired} bytes: it asks too seldom to tell anything");
    assert!(repaired < HISTORY as u64 / 4 + 12_500_000, "{repaired} bytes");
    while two.sender.receivers().1 == 0 || two.messages == 0 {
        two.step(Comes::Everything);
        assert!(two.now < began + 20 * SECOND, "the rest is not repaired: {:?}", two.sender.statistics());
    }
}
