//! What a sender allows one receiver, whatever that does: a hand between the two machines says what arrives.

use std::net::SocketAddr;

use mcast_stream::receiver::{Event, Item, OnLoss, Policy, ReceiverConfig};
use mcast_stream::sender::{SenderConfig, SenderEvent, Transmit};
use mcast_stream::wire::{HEADER_LENGTH, Incarnation, Kind, Packet, StreamId};
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
        Self::with(ReceiverConfig::new(STREAM))
    }

    fn with(receiver: ReceiverConfig) -> Self {
        let now = SECOND;
        let config = SenderConfig { history: HISTORY, ..SenderConfig::new(STREAM, Incarnation(1)) };
        let mut two = Self {
            now,
            sender: Sender::new(config, now).unwrap(),
            receiver: Receiver::new(receiver, now),
            messages: 0,
        };
        while two.sender.statistics().statuses == 0 {
            two.step(Comes::Everything);
            assert!(two.now < 10 * SECOND, "it never joins");
        }
        two
    }

    /// The sender's next heartbeat, with another end and another trail.
    fn heartbeat_that_says(&mut self, next: u64, trail: u64) -> Vec<u8> {
        const NEXT: usize = HEADER_LENGTH;
        const TRAIL: usize = NEXT + 16;

        loop {
            if let Some(Transmit::Control(control)) = self.sender.poll(self.now)
                && let mut forged = control.bytes().to_vec()
                && Packet::parse(&forged).is_ok_and(|packet| packet.header.kind == Kind::Heartbeat)
            {
                forged[24..32].copy_from_slice(&u64::MAX.to_be_bytes());
                forged[NEXT..][..8].copy_from_slice(&next.to_be_bytes());
                forged[TRAIL..][..8].copy_from_slice(&trail.to_be_bytes());
                return forged;
            }
            self.now += MILLISECOND;
            assert!(self.now < 100 * SECOND, "no heartbeat comes");
        }
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

/// One datagram that claims that far more was sent, and is gone, than anybody can count through.
#[test]
fn a_forged_trail_keeps_nobody_busy() {
    for policy in [Policy::Reliable(OnLoss::Continue), Policy::BestEffort(0), Policy::Deadline(0)] {
        let config = ReceiverConfig { policy, ..ReceiverConfig::new(STREAM) };
        let mut two = Two::with(config);
        let forged = two.heartbeat_that_says((1 << 62) - 1, (1 << 62) - 2);
        let from = SocketAddr::from(([10, 0, 0, 1], 7000));
        two.receiver.handle(two.now, 0, from, &forged);
        let mut items = 0;
        while two.receiver.next(two.now, &forged).is_some() {
            items += 1;
        }
        assert!(items <= 4, "{items} events");
    }
}

/// The same of a former life, which a new one ends.
#[test]
fn a_forged_number_of_a_former_life_keeps_nobody_busy() {
    let mut two = Two::with(ReceiverConfig::new(STREAM));
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    let mut forged = two.heartbeat_that_says((1 << 62) - 1, 1);
    two.receiver.handle(two.now, 0, from, &forged);
    while two.receiver.next(two.now, &forged).is_some() {}
    forged[16..20].copy_from_slice(&2_u32.to_be_bytes());
    two.receiver.handle(two.now, 0, from, &forged);
    let mut restarted = false;
    while let Some(item) = two.receiver.next(two.now, &forged) {
        restarted |= matches!(item, Item::Event(Event::Restarted { .. }));
    }
    assert!(restarted);
}
