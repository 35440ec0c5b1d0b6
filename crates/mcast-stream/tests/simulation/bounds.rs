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
    /// Everything but each third datagram of data, where that is new.
    TwoOfThree,
}

struct Two {
    now: u64,
    sender: Sender,
    receiver: Receiver,
    messages: u64,
    /// It asks for nothing more until this is over.
    busy: bool,
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
            busy: false,
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
                Transmit::Data { first, count } => (first..first + count)
                    .filter(|number| comes != Comes::TwoOfThree || number % 3 != 0)
                    .map(|number| self.sender.datagram(number).to_vec())
                    .collect(),
                Transmit::Repair { sequence, .. } => vec![self.sender.datagram(sequence).to_vec()],
            };
            for datagram in arriving {
                self.receiver.handle(self.now, 0, from, &datagram);
                self.take(&datagram);
            }
        }
        while let Some(control) = self.receiver.poll(self.now) {
            self.sender.handle(self.now, SocketAddr::from(([10, 0, 0, 2], 7000)), control.bytes());
        }
        self.now += MILLISECOND / 10;
    }

    /// Asks for nothing more for a while.
    fn be_busy(&mut self) {
        self.receiver.start_buffering(&[]);
        self.busy = true;
    }

    /// Takes what there is, unless it is busy.
    fn take(&mut self, datagram: &[u8]) {
        while !self.busy
            && let Some(item) = self.receiver.next(self.now, datagram)
        {
            match item {
                Item::Message(message) => {
                    assert_eq!(message.number, self.messages);
                    self.messages += 1;
                }
                Item::Event(Event::Lost { end, .. }) => self.messages = end,
                Item::Event(_) => {}
            }
        }
    }

    /// Goes on for so long, and for no longer than there is something to wait for.
    fn pass(&mut self, time: u64, comes: Comes, is_over: impl Fn(&Self) -> bool) {
        let until = self.now + time;
        while self.now < until && !is_over(self) {
            self.step(comes);
            while let Some(event) = self.sender.poll_event() {
                let is_gone = matches!(
                    event,
                    SenderEvent::ReceiverSilent(_)
                        | SenderEvent::ReceiverEvicted(..)
                        | SenderEvent::ReceiverLeft(_)
                );
                assert!(!is_gone, "{event:?} at {}", self.now);
            }
        }
    }

    /// Publishes as many messages as there is room for, each in a datagram of its own; says how many.
    fn publish_from(&mut self, first: u64, end: u64) -> u64 {
        let mut number = first;
        while number < end && self.sender.publish(self.now, &number.to_be_bytes()).is_ok() {
            self.sender.flush(self.now);
            number += 1;
        }
        number
    }
}

/// Who is busy with a message for longer than silence is borne has all others nevertheless, and its sender knows.
#[test]
fn who_is_busy_with_a_message_goes_on_speaking() {
    let mut two = Two::joined();
    assert_eq!(two.publish_from(0, 1), 1);
    two.pass(SECOND, Comes::Everything, |two| two.messages == 1);
    two.be_busy();
    assert_eq!(two.publish_from(1, 200), 200);
    two.sender.close(two.now);
    let began = two.now;
    two.pass(5 * SECOND, Comes::TwoOfThree, |two| two.sender.audience().unread == 1);
    assert!(two.now < began + SECOND, "it takes {} ns to know that it has received all", two.now - began);
    two.pass(12 * SECOND, Comes::Everything, |_| false);
    let audience = two.sender.audience();
    assert_eq!((two.messages, audience.unread, audience.complete), (1, 1, 0));

    two.busy = false;
    two.take(&[]);
    assert_eq!(two.messages, 200);
    assert!(two.receiver.has_ended());
    assert_eq!(two.receiver.statistics().lost_messages, 0);
    two.pass(SECOND, Comes::TwoOfThree, |two| two.sender.audience().complete == 1);
    assert_eq!(two.sender.audience().complete, 1);
}

/// What comes meanwhile takes no more memory than the window, and the sender waits with the rest.
#[test]
fn who_is_busy_has_room_for_its_window_and_no_more() {
    const ALL: u64 = 4_000;
    let mut two = Two::with(ReceiverConfig { window: 64, ..ReceiverConfig::new(STREAM) });
    let mut published = two.publish_from(0, 1);
    two.pass(SECOND, Comes::Everything, |two| two.messages == 1);
    let mut turns = 0;
    while two.messages < ALL {
        two.be_busy();
        let began = two.now;
        while two.now < began + 500 * MILLISECOND {
            published = two.publish_from(published, ALL);
            two.pass(10 * MILLISECOND, Comes::TwoOfThree, |_| false);
            assert!(two.receiver.kept() <= 64, "{}", two.receiver.kept());
        }
        assert!(published == ALL || two.receiver.kept() == 64, "{} are kept", two.receiver.kept());
        two.busy = false;
        two.take(&[]);
        turns += 1;
        assert!(turns <= ALL / 64 + 1, "{} of {ALL} after {turns} turns", two.messages);
    }
    let statistics = two.receiver.statistics();
    assert_eq!((statistics.lost_messages, statistics.beyond), (0, 0));
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

/// Who asks without end, and gets nothing, is sent ever less.
#[test]
fn repairs_keep_to_their_allowance() {
    let mut two = Two::joined();
    while two.sender.publish(two.now, &[7; 1000]).is_ok() {
        two.sender.flush(two.now);
        two.step(Comes::ControlAlone);
    }
    let (before, began) = (0, two.now);
    while two.now < began + SECOND {
        two.step(Comes::ControlAlone);
    }
    let repaired = two.sender.statistics().repair_bytes - before;
    // Nothing of it arrives, so that it backs off.
    assert!(repaired > 200_000, "{repaired} bytes: it asks too seldom to tell anything");
    assert!(repaired < 3_000_000, "{repaired} bytes");
    while two.sender.receivers().1 == 0 || two.messages == 0 {
        two.step(Comes::Everything);
        assert!(two.now < began + 60 * SECOND, "the rest is not repaired: {:?}", two.sender.statistics());
    }
}

/// Who is waited for no longer and catches up again lacks what went meanwhile, and its sender says so.
#[test]
fn who_returns_without_what_went_meanwhile_is_known_to_lack_it() {
    for (published, lacks) in [(30_000, true), (20, false)] {
        let mut two = Two::with(ReceiverConfig { window: 64, ..ReceiverConfig::new(STREAM) });
        two.be_busy();
        let (mut number, mut events) = (0, Vec::new());
        let began = two.now;
        while two.now < began + 10 * SECOND {
            number = two.publish_from(number, published);
            two.step(Comes::Everything);
            two.busy &= two.now < began + 5 * SECOND;
            two.take(&[]);
            events.extend(std::iter::from_fn(|| two.sender.poll_event()));
        }
        let position = |is: fn(&SenderEvent) -> bool| events.iter().position(is);
        let gone = position(|event| matches!(event, SenderEvent::ReceiverShort(..)));
        let returned = position(|event| matches!(event, SenderEvent::ReceiverReturned(_)));
        assert_eq!((gone.is_some(), returned.is_some()), (lacks, lacks), "{events:?}");
        assert_eq!(two.receiver.statistics().lost_messages > 0, lacks);
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
