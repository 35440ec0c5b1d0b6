//! Limits of what one receiver can cause, with two machines and direct control over what arrives.

use std::net::SocketAddr;

use mcast_stream::receiver::{Event, Item, OnLoss, Policy, ReceiverConfig};
use mcast_stream::sender::{SenderConfig, SenderEvent, Transmit};
use mcast_stream::wire::{HEADER_LENGTH, Incarnation, Kind, Packet, StreamId};
use mcast_stream::{Receiver, Sender};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const STREAM: StreamId = StreamId(7);
const HISTORY: usize = 1 << 20;

/// Which datagrams of the sender arrive at the receiver.
#[derive(Clone, Copy, PartialEq)]
enum Arrivals {
    Everything,
    /// Heartbeats, but no data.
    ControlAlone,
    /// Everything except each third new data datagram.
    TwoOfThree,
}

struct Two {
    now: u64,
    sender: Sender,
    receiver: Receiver,
    messages: u64,
    /// Its application is busy and reads nothing.
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
            two.step(Arrivals::Everything);
            assert!(two.now < 10 * SECOND, "it does not join");
        }
        two
    }

    /// Returns the sender's next heartbeat, forged with this end and this oldest retained datagram.
    fn forged_heartbeat(&mut self, next: u64, oldest_retained: u64) -> Vec<u8> {
        const NEXT: usize = HEADER_LENGTH;
        const OLDEST_RETAINED: usize = NEXT + 16;

        loop {
            if let Some(Transmit::Control(control)) = self.sender.poll(self.now)
                && let mut forged = control.bytes().to_vec()
                && Packet::parse(&forged).is_ok_and(|packet| packet.header.kind == Kind::Heartbeat)
            {
                forged[24..32].copy_from_slice(&u64::MAX.to_be_bytes());
                forged[NEXT..][..8].copy_from_slice(&next.to_be_bytes());
                forged[OLDEST_RETAINED..][..8].copy_from_slice(&oldest_retained.to_be_bytes());
                return forged;
            }
            self.now += MILLISECOND;
            assert!(self.now < 100 * SECOND, "there is no heartbeat");
        }
    }

    /// Delivers everything that is sent now, and advances the clock by 0.1 ms.
    fn step(&mut self, arrivals: Arrivals) {
        let from = SocketAddr::from(([10, 0, 0, 1], 7000));
        while let Some(transmit) = self.sender.poll(self.now) {
            let arriving: Vec<Vec<u8>> = match transmit {
                Transmit::Control(control) => vec![control.bytes().to_vec()],
                _ if arrivals == Arrivals::ControlAlone => Vec::new(),
                Transmit::Data { first, count } => (first..first + count)
                    .filter(|number| arrivals != Arrivals::TwoOfThree || number % 3 != 0)
                    .map(|number| self.sender.datagram(number).to_vec())
                    .collect(),
                Transmit::Repair { sequence, .. } => vec![self.sender.datagram(sequence).to_vec()],
            };
            for datagram in arriving {
                self.receiver.handle(self.now, 0, from, &datagram);
                self.read(&datagram);
            }
        }
        while let Some(control) = self.receiver.poll(self.now) {
            self.sender.handle(self.now, SocketAddr::from(([10, 0, 0, 2], 7000)), control.bytes());
        }
        self.now += MILLISECOND / 10;
    }

    /// Makes the application busy.
    fn make_busy(&mut self) {
        self.receiver.start_buffering(&[]);
        self.busy = true;
    }

    /// Reads all messages, unless the application is busy.
    fn read(&mut self, datagram: &[u8]) {
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

    /// Runs for `time` nanoseconds, or until `is_over` returns `true`.
    fn run(&mut self, time: u64, arrivals: Arrivals, is_over: impl Fn(&Self) -> bool) {
        let until = self.now + time;
        while self.now < until && !is_over(self) {
            self.step(arrivals);
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

    /// Publishes messages up to `end` while there is room, each in its own datagram; returns the next number.
    fn publish_from(&mut self, first: u64, end: u64) -> u64 {
        let mut number = first;
        while number < end && self.sender.publish(self.now, &number.to_be_bytes()).is_ok() {
            self.sender.flush(self.now);
            number += 1;
        }
        number
    }
}

/// An application that is busy for longer than the silence timeout misses nothing, and its sender knows.
#[test]
fn a_receiver_with_a_busy_application_keeps_sending_feedback() {
    let mut two = Two::joined();
    assert_eq!(two.publish_from(0, 1), 1);
    two.run(SECOND, Arrivals::Everything, |two| two.messages == 1);
    two.make_busy();
    assert_eq!(two.publish_from(1, 200), 200);
    two.sender.close(two.now);
    let began = two.now;
    two.run(5 * SECOND, Arrivals::TwoOfThree, |two| two.sender.audience().unread == 1);
    assert!(
        two.now < began + SECOND,
        "it took {} ns until the sender knew that everything had arrived",
        two.now - began
    );
    two.run(12 * SECOND, Arrivals::Everything, |_| false);
    let audience = two.sender.audience();
    assert_eq!((two.messages, audience.unread, audience.complete), (1, 1, 0));

    two.busy = false;
    two.read(&[]);
    assert_eq!(two.messages, 200);
    assert!(two.receiver.has_ended());
    assert_eq!(two.receiver.statistics().lost_messages, 0);
    two.run(SECOND, Arrivals::TwoOfThree, |two| two.sender.audience().complete == 1);
    assert_eq!(two.sender.audience().complete, 1);
}

/// Meanwhile at most a window of datagrams is buffered, and the sender waits with the rest.
#[test]
fn a_receiver_with_a_busy_application_buffers_at_most_its_window() {
    const ALL: u64 = 4_000;
    let mut two = Two::with(ReceiverConfig { window: 64, ..ReceiverConfig::new(STREAM) });
    let mut published = two.publish_from(0, 1);
    two.run(SECOND, Arrivals::Everything, |two| two.messages == 1);
    let mut turns = 0;
    while two.messages < ALL {
        two.make_busy();
        let began = two.now;
        while two.now < began + 500 * MILLISECOND {
            published = two.publish_from(published, ALL);
            two.run(10 * MILLISECOND, Arrivals::TwoOfThree, |_| false);
            assert!(two.receiver.kept() <= 64, "{}", two.receiver.kept());
        }
        assert!(published == ALL || two.receiver.kept() == 64, "{} are buffered", two.receiver.kept());
        two.busy = false;
        two.read(&[]);
        turns += 1;
        assert!(turns <= ALL / 64 + 1, "{} of {ALL} after {turns} turns", two.messages);
    }
    let statistics = two.receiver.statistics();
    assert_eq!((statistics.lost_messages, statistics.beyond), (0, 0));
}

#[test]
fn a_silent_receiver_is_forgotten() {
    let mut two = Two::joined();
    let silent_since = two.now;
    let forgotten = loop {
        while two.sender.poll(two.now).is_some() {}
        match two.sender.poll_event() {
            Some(SenderEvent::ReceiverSilent(_)) => break two.now - silent_since,
            Some(_) => {}
            None => two.now += 100 * MILLISECOND,
        }
        assert!(two.now - silent_since < 60 * SECOND, "the sender still waits for it");
    };
    assert_eq!(two.sender.receivers().0, 0);
    assert!((5 * SECOND..7 * SECOND).contains(&forgotten), "after {forgotten} ns");
}

/// A receiver that keeps sending NAKs and gets nothing is sent fewer and fewer repairs.
#[test]
fn repairs_keep_to_their_allowance() {
    let mut two = Two::joined();
    while two.sender.publish(two.now, &[7; 1000]).is_ok() {
        two.sender.flush(two.now);
        two.step(Arrivals::ControlAlone);
    }
    let (before, began) = (0, two.now);
    while two.now < began + SECOND {
        two.step(Arrivals::ControlAlone);
    }
    let repaired = two.sender.statistics().repair_bytes - before;
    // No repair arrives, so repairs slow down.
    assert!(repaired > 200_000, "{repaired} bytes: too few NAKs for this test");
    assert!(repaired < 3_000_000, "{repaired} bytes");
    while two.sender.receivers().1 == 0 || two.messages == 0 {
        two.step(Arrivals::Everything);
        assert!(two.now < began + 60 * SECOND, "the rest is not repaired: {:?}", two.sender.statistics());
    }
}

/// An evicted receiver that catches up again lacks the messages in between, and its sender reports that.
#[test]
fn an_evicted_receiver_that_returns_is_reported_with_its_loss() {
    for (published, lacks) in [(30_000, true), (20, false)] {
        let mut two = Two::with(ReceiverConfig { window: 64, ..ReceiverConfig::new(STREAM) });
        two.make_busy();
        let (mut number, mut events) = (0, Vec::new());
        let began = two.now;
        while two.now < began + 10 * SECOND {
            number = two.publish_from(number, published);
            two.step(Arrivals::Everything);
            two.busy &= two.now < began + 5 * SECOND;
            two.read(&[]);
            events.extend(std::iter::from_fn(|| two.sender.poll_event()));
        }
        let position = |is: fn(&SenderEvent) -> bool| events.iter().position(is);
        let gone = position(|event| matches!(event, SenderEvent::ReceiverShort(..)));
        let returned = position(|event| matches!(event, SenderEvent::ReceiverReturned(_)));
        assert_eq!((gone.is_some(), returned.is_some()), (lacks, lacks), "{events:?}");
        assert_eq!(two.receiver.statistics().lost_messages > 0, lacks);
    }
}

/// A forged heartbeat claims that far more datagrams were sent, and are no longer retained, than can be counted through.
#[test]
fn a_forged_oldest_retained_does_not_block_the_receiver() {
    for policy in [Policy::Reliable(OnLoss::Continue), Policy::BestEffort(0), Policy::Deadline(0)] {
        let config = ReceiverConfig { policy, ..ReceiverConfig::new(STREAM) };
        let mut two = Two::with(config);
        let forged = two.forged_heartbeat((1 << 62) - 1, (1 << 62) - 2);
        let from = SocketAddr::from(([10, 0, 0, 1], 7000));
        two.receiver.handle(two.now, 0, from, &forged);
        let mut items = 0;
        while two.receiver.next(two.now, &forged).is_some() {
            items += 1;
        }
        assert!(items <= 4, "{items} events");
    }
}

/// The same with a former incarnation, which a new one ends.
#[test]
fn a_forged_end_of_a_former_incarnation_does_not_block_the_receiver() {
    let mut two = Two::with(ReceiverConfig::new(STREAM));
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    let mut forged = two.forged_heartbeat((1 << 62) - 1, 1);
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
