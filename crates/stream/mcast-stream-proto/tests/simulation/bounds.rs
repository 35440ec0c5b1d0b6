//! Limits of what one subscriber can cause, with two machines and direct control over what arrives.

use core::time::Duration;

use std::net::SocketAddr;

use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{PublisherConfig, PublisherEvent, Transmit};
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, OnLoss, Policy, SubscriberConfig, SubscriberEvent};
use mcast_stream_proto::wire::{DatagramView, HEADER_LENGTH, Incarnation, Kind, Sequence, Status, StreamId};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const STREAM: StreamId = StreamId(7);
const HISTORY: usize = 1 << 20;

/// Which datagrams of the publisher arrive at the subscriber.
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
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    messages: u64,
    /// Its application is busy and reads nothing.
    busy: bool,
}

impl Two {
    fn joined() -> Self {
        Self::with(SubscriberConfig::new(STREAM))
    }

    fn with(subscriber: SubscriberConfig) -> Self {
        let now = SECOND;
        let config = PublisherConfig::new(STREAM, Incarnation(1))
            .with(|config| config.retransmission_buffer = HISTORY);
        let mut two = Self {
            now,
            publisher: PublisherMachine::new(config, ClockTime(now)).unwrap(),
            subscriber: SubscriberMachine::new(subscriber, ClockTime(now)),
            messages: 0,
            busy: false,
        };
        while two.publisher.statistics().statuses == 0 {
            two.step(Arrivals::Everything);
            assert!(two.now < 10 * SECOND, "it does not join");
        }
        two
    }

    /// Returns the publisher's next heartbeat, forged with this end and this oldest retained datagram.
    fn forged_heartbeat(&mut self, next: u64, oldest_retained: u64) -> Vec<u8> {
        const NEXT: usize = HEADER_LENGTH;
        const OLDEST_RETAINED: usize = NEXT + 16;

        loop {
            if let Some(Transmit::Control(control)) = self.publisher.poll_transmit(ClockTime(self.now))
                && let mut forged = control.bytes().to_vec()
                && DatagramView::parse(&forged).is_ok_and(|view| view.header.kind == Kind::Heartbeat)
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
        while let Some(transmit) = self.publisher.poll_transmit(ClockTime(self.now)) {
            let arriving: Vec<Vec<u8>> = match transmit {
                Transmit::Control(control) => vec![control.bytes().to_vec()],
                _ if arrivals == Arrivals::ControlAlone => Vec::new(),
                Transmit::Data { first, count } => Sequence::each(first..first + count)
                    .filter(|number| arrivals != Arrivals::TwoOfThree || number.0 % 3 != 0)
                    .map(|number| self.publisher.datagram(number).to_vec())
                    .collect(),
                Transmit::Repair { sequence, .. } => vec![self.publisher.datagram(sequence).to_vec()],
            };
            for datagram in arriving {
                self.subscriber.handle_datagram(ClockTime(self.now), 0, from, &datagram);
                self.read(&datagram);
            }
        }
        while let Some(control) = self.subscriber.poll_transmit(ClockTime(self.now)) {
            self.publisher.handle_datagram(
                ClockTime(self.now),
                SocketAddr::from(([10, 0, 0, 2], 7000)),
                control.bytes(),
            );
        }
        self.now += MILLISECOND / 10;
    }

    /// Makes the application busy.
    fn make_busy(&mut self) {
        self.subscriber.start_buffering(&[]);
        self.busy = true;
    }

    /// Reads all messages, unless the application is busy.
    fn read(&mut self, datagram: &[u8]) {
        while !self.busy
            && let Some(item) = self.subscriber.poll_item(ClockTime(self.now), datagram)
        {
            match item {
                Item::Message(message) => {
                    assert_eq!(message.number.0, self.messages);
                    self.messages += 1;
                }
                Item::Event(SubscriberEvent::Lost { end, .. }) => self.messages = end.0,
                Item::Event(_) => {}
            }
        }
    }

    /// Runs for `time` nanoseconds, or until `is_over` returns `true`.
    fn run(&mut self, time: u64, arrivals: Arrivals, is_over: impl Fn(&Self) -> bool) {
        let until = self.now + time;
        while self.now < until && !is_over(self) {
            self.step(arrivals);
            while let Some(event) = self.publisher.poll_event() {
                let is_gone = matches!(
                    event,
                    PublisherEvent::SubscriberSilent(_)
                        | PublisherEvent::SubscriberEvicted(..)
                        | PublisherEvent::SubscriberLeft(_)
                );
                assert!(!is_gone, "{event:?} at {}", self.now);
            }
        }
    }

    /// Publishes messages up to `end` while there is room, each in its own datagram; returns the next number.
    fn publish_from(&mut self, first: u64, end: u64) -> u64 {
        let mut number = first;
        while number < end && self.publisher.publish(ClockTime(self.now), &number.to_be_bytes()).is_ok() {
            self.publisher.flush(ClockTime(self.now));
            number += 1;
        }
        number
    }
}

/// An application that is busy for longer than the silence timeout misses nothing, and its publisher knows.
#[test]
fn a_subscriber_with_a_busy_application_keeps_sending_feedback() {
    let mut two = Two::joined();
    assert_eq!(two.publish_from(0, 1), 1);
    two.run(SECOND, Arrivals::Everything, |two| two.messages == 1);
    two.make_busy();
    assert_eq!(two.publish_from(1, 200), 200);
    two.publisher.close(ClockTime(two.now));
    let began = two.now;
    two.run(5 * SECOND, Arrivals::TwoOfThree, |two| two.publisher.audience().unread == 1);
    assert!(
        two.now < began + SECOND,
        "it took {} ns until the publisher knew that everything had arrived",
        two.now - began
    );
    two.run(12 * SECOND, Arrivals::Everything, |_| false);
    let audience = two.publisher.audience();
    assert_eq!((two.messages, audience.unread, audience.complete), (1, 1, 0));

    two.busy = false;
    two.read(&[]);
    assert_eq!(two.messages, 200);
    assert!(two.subscriber.has_ended());
    assert_eq!(two.subscriber.statistics().lost_messages, 0);
    two.run(SECOND, Arrivals::TwoOfThree, |two| two.publisher.audience().complete == 1);
    assert_eq!(two.publisher.audience().complete, 1);
}

/// Meanwhile at most a window of datagrams is buffered, and the publisher waits with the rest.
#[test]
fn a_subscriber_with_a_busy_application_buffers_at_most_its_window() {
    const ALL: u64 = 4_000;
    let mut two = Two::with(SubscriberConfig::new(STREAM).with(|config| config.window = 64));
    let mut published = two.publish_from(0, 1);
    two.run(SECOND, Arrivals::Everything, |two| two.messages == 1);
    let mut turns = 0;
    while two.messages < ALL {
        two.make_busy();
        let began = two.now;
        while two.now < began + 500 * MILLISECOND {
            published = two.publish_from(published, ALL);
            two.run(10 * MILLISECOND, Arrivals::TwoOfThree, |_| false);
            assert!(two.subscriber.kept() <= 64, "{}", two.subscriber.kept());
        }
        assert!(published == ALL || two.subscriber.kept() == 64, "{} are buffered", two.subscriber.kept());
        two.busy = false;
        two.read(&[]);
        turns += 1;
        assert!(turns <= ALL / 64 + 1, "{} of {ALL} after {turns} turns", two.messages);
    }
    let statistics = two.subscriber.statistics();
    assert_eq!((statistics.lost_messages, statistics.beyond), (0, 0));
}

#[test]
fn a_silent_subscriber_is_forgotten() {
    let mut two = Two::joined();
    let silent_since = two.now;
    let forgotten = loop {
        while two.publisher.poll_transmit(ClockTime(two.now)).is_some() {}
        match two.publisher.poll_event() {
            Some(PublisherEvent::SubscriberSilent(_)) => break two.now - silent_since,
            Some(_) => {}
            None => two.now += 100 * MILLISECOND,
        }
        assert!(two.now - silent_since < 60 * SECOND, "the publisher still waits for it");
    };
    assert_eq!(two.publisher.subscribers().0, 0);
    assert!((5 * SECOND..7 * SECOND).contains(&forgotten), "after {forgotten} ns");
}

/// A subscriber that keeps sending NAKs and gets nothing is sent fewer and fewer repairs.
#[test]
fn repairs_keep_to_their_allowance() {
    let mut two = Two::joined();
    while two.publisher.publish(ClockTime(two.now), &[7; 1000]).is_ok() {
        two.publisher.flush(ClockTime(two.now));
        two.step(Arrivals::ControlAlone);
    }
    let (before, began) = (0, two.now);
    while two.now < began + SECOND {
        two.step(Arrivals::ControlAlone);
    }
    let repaired = two.publisher.statistics().repair_bytes - before;
    // No repair arrives, so that the credit is soon used up.
    assert!(repaired > 100_000, "{repaired} bytes: too few NAKs for this test");
    assert!(repaired < 600_000, "{repaired} bytes");
    while two.publisher.subscribers().1 == 0 || two.messages == 0 {
        two.step(Arrivals::Everything);
        assert!(two.now < began + 60 * SECOND, "the rest is not repaired: {:?}", two.publisher.statistics());
    }
}

/// An evicted subscriber that catches up again lacks the messages in between, and its publisher reports that.
#[test]
fn an_evicted_subscriber_that_returns_is_reported_with_its_loss() {
    for (published, lacks) in [(30_000, true), (20, false)] {
        let mut two = Two::with(SubscriberConfig::new(STREAM).with(|config| config.window = 64));
        two.make_busy();
        let (mut number, mut events) = (0, Vec::new());
        let began = two.now;
        while two.now < began + 10 * SECOND {
            number = two.publish_from(number, published);
            two.step(Arrivals::Everything);
            two.busy &= two.now < began + 5 * SECOND;
            two.read(&[]);
            events.extend(std::iter::from_fn(|| two.publisher.poll_event()));
        }
        let position = |is: fn(&PublisherEvent) -> bool| events.iter().position(is);
        let gone = position(|event| matches!(event, PublisherEvent::SubscriberIncomplete { .. }));
        let returned = position(|event| matches!(event, PublisherEvent::SubscriberReturned(_)));
        assert_eq!((gone.is_some(), returned.is_some()), (lacks, lacks), "{events:?}");
        assert_eq!(two.subscriber.statistics().lost_messages > 0, lacks);
    }
}

/// A subscriber that requests no repairs expects losses, so its publisher does not warn about them.
#[test]
fn losses_of_a_best_effort_subscriber_are_not_reported() {
    for (policy, is_reported) in
        [(Policy::Deadline(Duration::ZERO), true), (Policy::BestEffort(Duration::ZERO), false)]
    {
        let mut two = Two::with(SubscriberConfig::new(STREAM).with(|config| config.policy = policy));
        let (mut number, mut events) = (0, Vec::new());
        let began = two.now;
        while two.now < began + 3 * SECOND {
            number = two.publish_from(number, 100);
            two.step(Arrivals::TwoOfThree);
            events.extend(std::iter::from_fn(|| two.publisher.poll_event()));
        }
        let is_incomplete =
            |event: &PublisherEvent| matches!(event, PublisherEvent::SubscriberIncomplete { .. });
        assert!(two.subscriber.statistics().lost_messages > 0);
        assert_eq!(events.iter().any(is_incomplete), is_reported, "{policy:?}: {events:?}");
    }
}

/// A forged heartbeat claims that far more datagrams were sent, and are no longer retained, than can be counted
/// through.
#[test]
fn a_forged_oldest_retained_does_not_block_the_subscriber() {
    for policy in [
        Policy::Reliable(OnLoss::Continue),
        Policy::BestEffort(Duration::ZERO),
        Policy::Deadline(Duration::ZERO),
    ] {
        let config = SubscriberConfig::new(STREAM).with(|config| config.policy = policy);
        let mut two = Two::with(config);
        let forged = two.forged_heartbeat((1 << 62) - 1, (1 << 62) - 2);
        let from = SocketAddr::from(([10, 0, 0, 1], 7000));
        two.subscriber.handle_datagram(ClockTime(two.now), 0, from, &forged);
        let mut items = 0;
        while two.subscriber.poll_item(ClockTime(two.now), &forged).is_some() {
            items += 1;
        }
        assert!(items <= 4, "{items} events");
    }
}

/// The same with a former incarnation, which a new one ends.
#[test]
fn a_forged_end_of_a_former_incarnation_does_not_block_the_subscriber() {
    let mut two = Two::with(SubscriberConfig::new(STREAM));
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    let mut forged = two.forged_heartbeat((1 << 62) - 1, 1);
    two.subscriber.handle_datagram(ClockTime(two.now), 0, from, &forged);
    while two.subscriber.poll_item(ClockTime(two.now), &forged).is_some() {}
    forged[16..20].copy_from_slice(&2_u32.to_be_bytes());
    two.subscriber.handle_datagram(ClockTime(two.now), 0, from, &forged);
    let mut restarted = false;
    while let Some(item) = two.subscriber.poll_item(ClockTime(two.now), &forged) {
        restarted |= matches!(item, Item::Event(SubscriberEvent::Restarted { .. }));
    }
    assert!(restarted);
}

/// Repairs that arrived are the credit for more, so their number is reported without waiting for a heartbeat.
#[test]
fn a_subscriber_reports_each_32_repairs() {
    let mut two = Two::joined();
    for _ in 0..200 {
        two.publisher.publish(ClockTime(two.now), &[7; 1_000]).unwrap();
        two.publisher.flush(ClockTime(two.now));
    }
    let from = SocketAddr::from(([10, 0, 0, 1], 7000));
    while let Some(transmit) = two.publisher.poll_transmit(ClockTime(two.now)) {
        let Transmit::Data { first, count } = transmit else { continue };
        for number in Sequence::each(first..first + count).filter(|number| number.0 % 3 != 0) {
            two.subscriber.handle_datagram(ClockTime(two.now), 0, from, two.publisher.datagram(number));
        }
    }
    let mut reported = Vec::new();
    // The first one stays missing, so that there is nothing else to report.
    for missing in (6..=198).step_by(3).map(Sequence) {
        two.publisher.mark_path(missing, 1, 0, true);
        two.subscriber.handle_datagram(ClockTime(two.now), 0, from, two.publisher.datagram(missing));
        while let Some(control) = two.subscriber.poll_transmit(ClockTime(two.now)) {
            let view = DatagramView::parse(control.bytes()).unwrap();
            if view.header.kind == Kind::Status {
                reported.push(Status::read(view.body).unwrap().repairs);
            }
        }
        two.now += MILLISECOND / 10;
    }
    assert_eq!(reported, [32, 64]);
}

/// The time in which the publisher's process does not run is not the subscriber's: its statuses wait to be read.
#[test]
fn a_publisher_that_was_stopped_neither_forgets_nor_evicts_a_subscriber() {
    for (window, messages, pause) in [(64, 4_000, 4 * SECOND), (4_096, 10, 12 * SECOND)] {
        let mut two = Two::with(SubscriberConfig::new(STREAM).with(|config| config.window = window));
        two.publish_from(0, messages);
        while two.publisher.poll_transmit(ClockTime(two.now)).is_some() {}
        two.now += pause;
        while two.publisher.poll_transmit(ClockTime(two.now)).is_some() {}
        assert_eq!(two.publisher.audience().total(), 1);
        while let Some(event) = two.publisher.poll_event() {
            assert!(matches!(event, PublisherEvent::SubscriberJoined(..)), "{event:?}");
        }
        let began = two.now;
        while two.publisher.audience().unknown == 0 {
            two.now += 50 * MILLISECOND;
            while two.publisher.poll_transmit(ClockTime(two.now)).is_some() {}
            assert!(two.now < began + 6 * SECOND, "a subscriber that is gone is not forgotten");
        }
    }
}

/// The time in which the subscriber's process does not run is not the publisher's: its heartbeats wait to be read.
#[test]
fn a_subscriber_that_was_stopped_does_not_call_its_publisher_silent() {
    for (policy, pause) in
        [(Policy::Reliable(OnLoss::Continue), 8), (Policy::BestEffort(Duration::from_millis(1)), 20)]
    {
        let mut two = Two::with(SubscriberConfig::new(STREAM).with(|config| config.policy = policy));
        two.publish_from(0, 10);
        two.run(2 * SECOND, Arrivals::Everything, |_| false);
        two.now += pause * SECOND;
        let events = |two: &mut Two| {
            while two.subscriber.poll_transmit(ClockTime(two.now)).is_some() {}
            let mut silent = false;
            while let Some(item) = two.subscriber.poll_item(ClockTime(two.now), &[]) {
                silent |= matches!(item, Item::Event(SubscriberEvent::PublisherSilent));
            }
            silent
        };
        assert!(!events(&mut two), "it is called silent before what it sent was read");
        two.now += 100 * MILLISECOND;
        assert!(!events(&mut two), "it is called silent before what it sent was read");
        let began = two.now;
        while !events(&mut two) {
            two.now += 50 * MILLISECOND;
            assert!(two.now < began + 6 * SECOND, "a publisher that is gone is not called silent");
        }
    }
}
