//! A publisher's host and the hosts of subscribers behind bad links, with functions that publish and receive.

use std::time::{Duration, Instant};

use mcast::{Family, Membership};
use mcast_lab::{BadLink, Host, Impairment, Lab, Switch};
use mcast_stream::subscriber::{Item, SubscriberEvent};
use mcast_stream::{Publisher, PublisherBuilder, Subscriber, SubscriberBuilder};

/// How long a test waits for an expected event, or for all messages: on a busy machine, a thousand may take 20 s. Less than
/// the two minutes after which nextest ends a test.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(110);

/// The content of a snapshot in these tests, which follows from the number of messages that it covers.
pub(crate) fn digest(messages: u64) -> Vec<u8> {
    (0..100_000_u64).map(|at| (at * messages) as u8).collect()
}

pub(crate) struct Net {
    _lab: Lab,
    pub(crate) switch: Switch,
    pub(crate) publisher: Host,
    pub(crate) subscribers: Vec<(Host, BadLink)>,
    family: Family,
}

impl Net {
    pub(crate) fn new(family: Family, subscribers: usize, impairment: Impairment) -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("lan").unwrap();
        let publisher = lab.host("publisher").unwrap();
        publisher.connect("eth0", &switch, &["10.0.0.1/24", "fd00::1/64"]).unwrap();
        let subscriber = |number: usize| {
            let host = lab.host(&format!("sub{number}")).unwrap();
            let addresses = [format!("10.0.0.{}/24", number + 2), format!("fd00::{}/64", number + 2)];
            let impairment = Impairment { seed: impairment.seed + number as u64, ..impairment };
            let addresses = [&addresses[0][..], &addresses[1][..]];
            let (_, link) = lab.connect_badly(&host, "eth0", &switch, &addresses, impairment).unwrap();
            (host, link)
        };
        let subscribers = (0..subscribers).map(subscriber).collect();
        Self { _lab: lab, switch, publisher, subscribers, family }
    }

    /// Waits until everything sent so far has passed every link or was lost there. On a busy machine that takes a
    /// while.
    pub(crate) fn until_passed(&self, publisher: &Publisher) {
        let sent = publisher.statistics();
        let deadline = Instant::now() + TIMEOUT;
        for (_, link) in &self.subscribers {
            let passed = || {
                let seen = link.statistics();
                seen.forwarded + seen.lost + seen.queue_full + seen.overruns
            };
            while passed() < sent.datagrams + sent.heartbeats {
                assert!(Instant::now() < deadline, "{sent:?}, {:?}", link.statistics());
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn membership(&self) -> Membership {
        match self.family {
            Family::V4 => "239.7.7.7%eth0:7000".parse().unwrap(),
            Family::V6 => "[ff15::77%eth0]:7000".parse().unwrap(),
        }
    }

    pub(crate) fn publisher(
        &self,
        settings: impl FnOnce(PublisherBuilder) -> PublisherBuilder + Send,
    ) -> Publisher {
        let membership = self.membership();
        let destination =
            mcast::Destination { address: membership.address, interface: membership.interface.clone() };
        self.publisher.run(|| settings(Publisher::builder()).to(destination).build().unwrap()).unwrap()
    }

    pub(crate) fn subscriber(
        &self,
        number: usize,
        settings: impl FnOnce(SubscriberBuilder) -> SubscriberBuilder + Send,
    ) -> Subscriber {
        self.subscriber_to(number, self.membership(), settings)
    }

    pub(crate) fn subscriber_to(
        &self,
        number: usize,
        membership: Membership,
        settings: impl FnOnce(SubscriberBuilder) -> SubscriberBuilder + Send,
    ) -> Subscriber {
        let build = || settings(Subscriber::builder()).join(membership).build().unwrap();
        self.subscribers[number].0.run(build).unwrap()
    }
}

/// The bytes of a message. Lengths vary: most are small, some large.
pub(crate) fn message(number: u64) -> Vec<u8> {
    let length = match number % 50 {
        0 => 40_000,
        n => (n * n * 7 + number) % 900,
    };
    (0..length).map(|at| (number.wrapping_mul(31) ^ at) as u8).collect()
}

/// What a subscriber received until the stream ended.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    pub(crate) first: Option<u64>,
    pub(crate) events: Vec<SubscriberEvent>,
    pub(crate) ended: bool,
}

/// Receives to the end of the stream. Each message must be as published, and in order.
pub(crate) fn receive_stream(subscriber: &mut Subscriber, expected: impl Fn(u64) -> Vec<u8>) -> Received {
    let deadline = Instant::now() + TIMEOUT;
    let (mut received, mut next) = (Received::default(), None);
    while let Some(item) =
        subscriber.next_timeout(deadline.saturating_duration_since(Instant::now())).unwrap()
    {
        match item {
            Item::Message(message) => {
                assert!(next.is_none_or(|next| next == message.number), "{} after {next:?}", message.number);
                assert!(message.bytes == expected(message.number.0), "message {} is wrong", message.number);
                received.first = received.first.or(Some(message.number.0));
                received.messages += 1;
                next = Some(message.number + 1);
            }
            Item::Event(event) => {
                if let SubscriberEvent::Lost { end, .. } = event {
                    next = Some(end);
                }
                if let SubscriberEvent::Restarted { .. } = event {
                    next = None;
                }
                received.ended |= matches!(event, SubscriberEvent::Ended { .. });
                received.events.push(event);
            }
        }
    }
    assert!(received.ended, "the stream did not end in time: {received:?} {:?}", subscriber.statistics());
    received
}
