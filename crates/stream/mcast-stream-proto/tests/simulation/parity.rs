//! Forward error correction: what parity recovers, and what it costs.

use std::time::Duration;

use std::net::SocketAddr;

use mcast_sim::Dice;
use mcast_stream_proto::ClockTime;
use mcast_stream_proto::publisher::PublisherMachine;
use mcast_stream_proto::publisher::{Fec, PublisherConfig, PublisherStatistics, Transmit};
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::subscriber::SubscriberMachine;
use mcast_stream_proto::subscriber::{Item, Start, SubscriberConfig, SubscriberEvent, SubscriberStatistics};
use mcast_stream_proto::wire::{
    DatagramView, DatagramWriter, FlowControl, Header, Incarnation, KeyEpoch, Kind, Parity, Sequence,
    StreamId,
};

use crate::cipher::Notary;
use crate::link::Quality;
use crate::plan::{MILLISECOND, NetworkPlan, SECOND, Sizes, SubscriberPlan};
use crate::signer;
use crate::world::{Outcome, World, symbol_of};

const STREAM: StreamId = StreamId(9);
const FROM: ([u8; 4], u16) = ([10, 0, 0, 1], 7000);

/// A publisher and a subscriber, with a link that decides about each datagram of data and of parity.
struct Pair {
    now: u64,
    dice: Dice,
    publisher: PublisherMachine,
    subscriber: SubscriberMachine,
    published: u64,
    delivered: u64,
    lost: u64,
    /// Datagrams that the subscriber sent.
    feedback: u64,
    /// Sequences of the data, and of the parity (base and index), that are lost on the way.
    losses: Losses,
    /// A member forges parity from which another datagram is recovered than each that is about to arrive.
    forges: bool,
    /// The count of the publisher's last control datagram.
    count: u64,
}

enum Losses {
    Nothing,
    /// Of the datagrams and symbols of each block, a number of them, at random.
    InEachBlock {
        data: u8,
        parity: u8,
        lost: usize,
        chosen: Vec<bool>,
        symbol: u64,
    },
    /// Each with this probability.
    Share(f64),
}

impl Losses {
    fn loses(&mut self, dice: &mut Dice, kind: Kind, bytes: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Share(share) => dice.chance(*share),
            Self::InEachBlock { data, parity, lost, chosen, symbol } => {
                let sequence = DatagramView::parse(bytes).unwrap().header.sequence;
                let (data, all) = (u64::from(*data), usize::from(*data) + usize::from(*parity));
                let place = match kind {
                    Kind::Parity => data + *symbol,
                    _ => (sequence - 1) % data,
                };
                *symbol = if kind == Kind::Parity { *symbol + 1 } else { 0 };
                if place == 0 || chosen.is_empty() {
                    *chosen = vec![false; all];
                    while chosen.iter().filter(|is_lost| **is_lost).count() < *lost {
                        chosen[dice.below(all as u64) as usize] = true;
                    }
                }
                chosen[place as usize]
            }
        }
    }
}

impl Pair {
    fn new(publisher: PublisherConfig, subscriber: SubscriberConfig, losses: Losses) -> Self {
        let now = SECOND;
        Self {
            now,
            dice: Dice::new(publisher.seed),
            publisher: PublisherMachine::new(publisher, ClockTime(now)).unwrap(),
            subscriber: SubscriberMachine::new(subscriber, ClockTime(now)),
            published: 0,
            delivered: 0,
            lost: 0,
            feedback: 0,
            losses,
            forges: false,
            count: 0,
        }
    }

    fn message(number: u64) -> Vec<u8> {
        let mut dice = Dice::new(number);
        (0..200 + dice.below(900)).map(|_| dice.next() as u8).collect()
    }

    /// Publishes a message in a datagram of its own, if there is room.
    fn publish(&mut self) {
        let message = Self::message(self.published);
        if self.publisher.publish(ClockTime(self.now), &message).is_ok() {
            self.publisher.flush(ClockTime(self.now));
            self.published += 1;
        }
    }

    fn step(&mut self) {
        let from = SocketAddr::from(FROM);
        while let Some(transmit) = self.publisher.poll_transmit(ClockTime(self.now)) {
            let sent: Vec<Vec<u8>> = match transmit {
                Transmit::Control(control) => {
                    let bytes = control.bytes().to_vec();
                    self.publisher.reuse(control);
                    vec![bytes]
                }
                Transmit::Data { first, count } => Sequence::each(first..first + count)
                    .map(|number| self.publisher.datagram(number).to_vec())
                    .collect(),
                Transmit::Repair { sequence, .. } => vec![self.publisher.datagram(sequence).to_vec()],
            };
            for bytes in sent {
                let header = DatagramView::parse(&bytes).unwrap().header;
                let kind = header.kind;
                if !kind.is_in_sequence() {
                    self.count = header.sequence;
                }
                assert!(bytes.len() <= self.publisher.config().datagram, "{kind:?} of {} bytes", bytes.len());
                if self.forges && kind.is_in_sequence() {
                    self.forge(&bytes);
                }
                let may_be_lost = kind.is_in_sequence() || kind == Kind::Parity;
                if !(may_be_lost && self.losses.loses(&mut self.dice, kind, &bytes)) {
                    self.subscriber.handle_datagram(ClockTime(self.now), 0, from, &bytes);
                    self.read(&bytes);
                }
            }
        }
        while let Some(control) = self.subscriber.poll_transmit(ClockTime(self.now)) {
            self.feedback += 1;
            self.publisher.handle_datagram(
                ClockTime(self.now),
                SocketAddr::from(([10, 0, 0, 2], 7000)),
                control.bytes(),
            );
        }
        self.read(&[]);
        self.now += MILLISECOND / 10;
    }

    /// Hands the subscriber a symbol of which this datagram, with another end, is recovered.
    fn forge(&mut self, datagram: &[u8]) {
        let mut forged = datagram.to_vec();
        forged.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        let sequence = DatagramView::parse(datagram).unwrap().header.sequence;
        self.hand_parity(1 << 40 | sequence, Sequence(sequence), 1, 0, KeyEpoch::CLEAR, &symbol_of(&forged));
    }

    /// Hands the subscriber a parity datagram with this count.
    fn hand_parity(
        &mut self,
        number: u64,
        base: Sequence,
        count: u8,
        index: u8,
        epoch: KeyEpoch,
        symbol: &[u8],
    ) {
        let mut bytes = vec![0; 1_500];
        let header = Header::new(Kind::Parity, STREAM, Incarnation(1), number);
        let mut writer = DatagramWriter::new(&mut bytes, &header).unwrap();
        Parity::new(base, count, index, epoch, symbol).write(&mut writer).unwrap();
        let length = writer.finish();
        self.subscriber.handle_datagram(ClockTime(self.now), 0, SocketAddr::from(FROM), &bytes[..length]);
        self.read(&[]);
    }

    fn read(&mut self, datagram: &[u8]) {
        while let Some(item) = self.subscriber.poll_item(ClockTime(self.now), datagram) {
            match item {
                Item::Message(message) => {
                    assert_eq!(message.number.0, self.delivered + self.lost);
                    assert_eq!(message.bytes, Self::message(message.number.0), "message {}", message.number);
                    self.delivered += 1;
                }
                Item::Event(SubscriberEvent::Lost { first, end, .. }) => {
                    assert_eq!(first.0, self.delivered + self.lost);
                    self.lost += end.0 - first.0;
                }
                Item::Event(_) => {}
            }
        }
    }

    /// Publishes this many messages, with these pauses in steps, and runs until the stream has ended at the subscriber.
    fn run(mut self, messages: u64, pause: u64) -> Finished {
        self.step();
        let mut steps = 0;
        while self.published < messages {
            if pause == 0 {
                (0..30.min(messages - self.published)).for_each(|_| self.publish());
            } else if steps % pause == 0 {
                self.publish();
            }
            steps += 1;
            self.step();
        }
        self.publisher.close(ClockTime(self.now));
        let closed = self.now;
        let until = self.now + 20 * SECOND;
        while self.now < until && !self.subscriber.has_ended() {
            self.step();
        }
        assert!(self.subscriber.has_ended(), "{:?} {:?}", self.subscriber, self.publisher);
        Finished {
            delivered: self.delivered,
            lost: self.lost,
            feedback: self.feedback,
            after_close: self.now - closed,
            publisher: self.publisher.statistics(),
            subscriber: self.subscriber.statistics(),
        }
    }
}

#[derive(Debug)]
struct Finished {
    delivered: u64,
    lost: u64,
    feedback: u64,
    /// The time from the end of the stream to its delivery.
    after_close: u64,
    publisher: PublisherStatistics,
    subscriber: SubscriberStatistics,
}

fn publisher(fec: Fec, flow: FlowControl, seed: u64) -> PublisherConfig {
    PublisherConfig::new(STREAM, Incarnation(1)).with(|config| {
        config.fec = fec;
        config.flow = flow;
        config.seed = seed;
    })
}

/// Makes the publisher sign, and the subscriber verify.
fn sign(publisher: &mut PublisherConfig, subscriber: &mut SubscriberConfig) {
    publisher.signer = Some(signer::key(1, false));
    subscriber.signed_by = signer::pinned(1);
}

fn keys(notary: &Notary) -> Keys {
    Keys::one(KeyEpoch(1), notary.secret(5))
}

/// Whichever datagrams and symbols are lost, at most as many as there are symbols.
#[test]
fn at_most_as_many_losses_in_each_block_as_parity_cause_no_nak() {
    for (data, parity) in [(20, 4), (1, 1), (64, 8), (5, 1), (8, 64)] {
        for (sealed, signed) in [(false, false), (true, false), (false, true), (true, true)] {
            for flow in [FlowControl::Slowest, FlowControl::None, FlowControl::OneWay] {
                let lost = usize::from(parity).min(usize::from(data));
                let losses = Losses::InEachBlock { data, parity, lost, chosen: Vec::new(), symbol: 0 };
                let notary = Notary::default();
                let keys = if sealed { keys(&notary) } else { Keys::none() };
                let mut publisher = publisher(Fec::Fixed { data, parity }, flow, u64::from(data));
                publisher.keys = keys.clone();
                let mut subscriber = SubscriberConfig::new(STREAM).with(|config| config.keys = keys);
                if signed {
                    sign(&mut publisher, &mut subscriber);
                }
                let finished = Pair::new(publisher, subscriber, losses).run(64 * 20, 0);
                assert_eq!((finished.delivered, finished.lost), (64 * 20, 0), "{finished:?}");
                assert_eq!(finished.subscriber.naks, 0, "{data}+{parity}: {finished:?}");
                assert_eq!(finished.subscriber.forged, 0);
                assert!(finished.subscriber.recovered > 0, "{finished:?}");
                assert_eq!(finished.publisher.repair_bytes, 0);
            }
        }
    }
}

/// What parity does not recover is reported, exactly and soon, without a datagram to the publisher.
#[test]
fn a_one_way_subscriber_accounts_for_everything_without_feedback() {
    for (fec, share, pause) in [
        (Fec::Fixed { data: 20, parity: 4 }, 0.1, 0),
        (Fec::Fixed { data: 20, parity: 2 }, 0.15, 0),
        (Fec::Fixed { data: 20, parity: 4 }, 0.3, 3),
        (Fec::Fixed { data: 4, parity: 1 }, 0.2, 70),
        (Fec::Off, 0.05, 0),
        (Fec::Off, 0.05, 20),
    ] {
        for seed in 0..8 {
            let mut config = publisher(fec, FlowControl::OneWay, seed);
            let mut subscriber = SubscriberConfig::new(STREAM);
            if seed >= 4 {
                sign(&mut config, &mut subscriber);
            }
            let finished = Pair::new(config, subscriber, Losses::Share(share)).run(2_000, pause);
            assert_eq!(finished.delivered + finished.lost, 2_000, "{finished:?}");
            assert_eq!(finished.feedback, 0, "{finished:?}");
            assert!(finished.after_close < SECOND / 4, "{finished:?}");
            let recovered = finished.subscriber.recovered > 0;
            assert_eq!((finished.lost > 0, recovered), (true, fec != Fec::Off), "{fec:?} {finished:?}");
        }
    }
}

/// A publisher in a slow trickle does not wait for a block to fill.
#[test]
fn a_message_is_recovered_within_the_time_of_a_block() {
    let config = publisher(Fec::Fixed { data: 20, parity: 4 }, FlowControl::OneWay, 3);
    let mut pair = Pair::new(config, SubscriberConfig::new(STREAM), Losses::Nothing);
    pair.step();
    pair.publish();
    pair.losses = Losses::InEachBlock { data: 20, parity: 4, lost: 24, chosen: Vec::new(), symbol: 0 };
    let began = pair.now;
    pair.step();
    pair.losses = Losses::Nothing;
    while pair.delivered == 0 {
        pair.step();
        assert!(pair.now < began + 12 * MILLISECOND, "{} ns", pair.now - began);
    }
    assert_eq!(pair.subscriber.statistics().recovered, 1);
}

/// A stream of 200 datagrams per second fills blocks of 20 in 100 ms.
#[test]
fn blocks_of_a_slow_stream_are_full_if_they_may_wait() {
    let parity = |delay| {
        let mut config = publisher(Fec::Fixed { data: 20, parity: 4 }, FlowControl::OneWay, 3);
        config.fec_delay = Duration::from_millis(delay);
        let finished = Pair::new(config, SubscriberConfig::new(STREAM), Losses::Nothing).run(400, 50);
        assert_eq!((finished.delivered, finished.lost), (400, 0), "{finished:?}");
        finished.publisher.parity
    };
    assert!(parity(10) > 400, "two or three datagrams and four symbols in each block");
    assert!((80..=84).contains(&parity(200)), "{}", parity(200));
}

/// Parity that anyone can forge in a clear stream neither delivers anything that was not published nor stops repairs.
#[test]
fn forged_parity_does_not_stop_repairs() {
    for seed in 0..20 {
        let config = publisher(Fec::Fixed { data: 20, parity: 2 }, FlowControl::Slowest, seed);
        let mut pair = Pair::new(config, SubscriberConfig::new(STREAM), Losses::Share(0.2));
        pair.step();
        let mut forger = Dice::new(seed);
        for number in 0..3_000 {
            (0..5).for_each(|_| pair.publish());
            pair.step();
            let base = Sequence(1 + forger.below(5 * number + 100));
            let (count, index) = (forger.between(1, 64) as u8, forger.below(192) as u8);
            let epoch = KeyEpoch(forger.below(2) as u16);
            let symbol = vec![forger.next() as u8; forger.between(9, 1_200) as usize];
            // The next one of the publisher counts as a copy.
            pair.hand_parity(pair.count + 1, base, count, index, epoch, &symbol);
        }
        let published = pair.published;
        let finished = pair.run(published, 0);
        assert_eq!((finished.delivered, finished.lost), (published, 0), "{finished:?}");
    }
}

/// A member forges parity that is faster than everything that the publisher sends. Nothing that it forges is delivered, what
/// arrives is not discarded for it, also without feedback, and what is lost is repaired as if there were no parity.
#[test]
fn forged_parity_neither_replaces_nor_keeps_out_what_is_signed() {
    for seed in 0..20 {
        let fec = Fec::Fixed { data: 20, parity: 2 };
        let (flow, losses) = match seed % 2 {
            0 => (FlowControl::OneWay, Losses::Nothing),
            _ => (FlowControl::Slowest, Losses::Share(0.1)),
        };
        let (mut config, mut subscriber) = (publisher(fec, flow, seed), SubscriberConfig::new(STREAM));
        sign(&mut config, &mut subscriber);
        let mut pair = Pair::new(config, subscriber, losses);
        pair.forges = true;
        let finished = pair.run(2_000, 0);
        assert_eq!((finished.delivered, finished.lost), (2_000, 0), "{finished:?}");
        assert_eq!(finished.subscriber.forged > 0, seed % 2 > 0, "{finished:?}");
    }
}

/// Where the rate delays the manifest of a block, nothing of that block is given up before it arrives.
#[test]
fn a_slow_one_way_stream_waits_for_its_manifests() {
    let fec = Fec::Fixed { data: 4, parity: 1 };
    let mut config = publisher(fec, FlowControl::OneWay, 1);
    config.rate = Some(300_000).into();
    let mut subscriber = SubscriberConfig::new(STREAM);
    sign(&mut config, &mut subscriber);
    let finished = Pair::new(config, subscriber, Losses::Nothing).run(400, 0);
    assert_eq!((finished.delivered, finished.lost), (400, 0), "{finished:?}");
}

/// At a low rate, a subscriber need not wait until 64 datagrams and their manifest were sent.
#[test]
fn a_slow_signed_stream_is_delivered_while_it_is_sent() {
    for rate in [125_000, 1_000_000] {
        let mut config = publisher(Fec::Off, FlowControl::Slowest, 1);
        config.rate = Some(rate).into();
        let mut subscriber = SubscriberConfig::new(STREAM);
        sign(&mut config, &mut subscriber);
        let mut pair = Pair::new(config, subscriber, Losses::Nothing);
        pair.step();
        (0..200).for_each(|_| pair.publish());
        let mut last = (pair.now, 0);
        while pair.delivered < 200 {
            pair.step();
            if pair.delivered > last.1 {
                last = (pair.now, pair.delivered);
            }
            assert!(pair.now < last.0 + 60 * MILLISECOND, "{rate} bytes per second: {} delivered", last.1);
        }
    }
}

/// Manifests are written for bytes, not for datagrams: these are half as long as they may be.
#[test]
fn a_burst_of_short_messages_at_a_low_rate_has_few_manifests() {
    let mut config = publisher(Fec::Off, FlowControl::Slowest, 1);
    config.rate = Some(125_000).into();
    let mut subscriber = SubscriberConfig::new(STREAM);
    sign(&mut config, &mut subscriber);
    let mut pair = Pair::new(config, subscriber, Losses::Nothing);
    (0..200).for_each(|_| pair.publish());
    let manifests = pair.publisher.statistics().manifests;
    assert!((200 / 16..=200 / 6).contains(&manifests), "{manifests} manifests of 200 datagrams");
}

/// What is lost in a signed stream is measured, also if it is recovered before a manifest shows that it was lost.
#[test]
fn the_parity_of_a_signed_stream_follows_its_losses() {
    let mut config = publisher(Fec::Auto, FlowControl::Slowest, 1);
    let mut subscriber = SubscriberConfig::new(STREAM);
    sign(&mut config, &mut subscriber);
    let finished = Pair::new(config, subscriber, Losses::Share(0.05)).run(20_000, 0);
    assert!(finished.publisher.parity > 500, "{finished:?}");
    assert!(finished.subscriber.recovered > 500, "{finished:?}");
    assert!(finished.subscriber.missed * 25 > finished.publisher.datagrams, "{finished:?}");
}

/// Subscribers behind links of their own that lose 5 %: one symbol repairs another datagram for each of them.
#[test]
fn parity_repairs_sixty_four_subscribers_with_a_fifth_of_the_data() {
    const MESSAGES: u64 = 40_000;

    let outcome = |fec| {
        let down = Quality { loss: 0.05, ..Quality::GOOD };
        // From the oldest, because the first heartbeat may be lost.
        let start = Start::Oldest;
        let subscriber = SubscriberPlan { down, start, window: 8_192, ..SubscriberPlan::simple() };
        let plan = NetworkPlan {
            messages: MESSAGES,
            sizes: Sizes::Exactly(1_300),
            pause: 20_000,
            slots: 4_096,
            datagram: 1_472,
            fec,
            good_from: 60 * SECOND,
            ..NetworkPlan::simple(vec![subscriber; 64])
        };
        let outcome = World::run(&plan).unwrap();
        for (index, subscriber) in outcome.subscribers.iter().enumerate() {
            assert_eq!((subscriber.messages, subscriber.lost), (MESSAGES, 0), "subscriber {index}");
        }
        outcome
    };
    let share = |outcome: &Outcome| {
        let statistics = outcome.statistics;
        (statistics.repair_bytes + statistics.parity_bytes) as f64 / statistics.datagram_bytes as f64
    };
    let with = outcome(Fec::Auto);
    assert!(share(&with) <= 0.2, "{:.3} of the data", share(&with));
    let lossless = MESSAGES * 20_000;
    assert!(with.published * 85 <= lossless * 100, "{} ns", with.published);
}

/// As long as nothing is lost, there is no parity, and nothing is kept for it.
#[test]
fn without_loss_there_is_no_parity() {
    let config = publisher(Fec::Auto, FlowControl::Slowest, 1);
    let finished = Pair::new(config, SubscriberConfig::new(STREAM), Losses::Nothing).run(2_000, 0);
    assert_eq!((finished.publisher.parity, finished.subscriber.parity), (0, 0));
    let config = publisher(Fec::Auto, FlowControl::Slowest, 1);
    let finished = Pair::new(config, SubscriberConfig::new(STREAM), Losses::Share(0.05)).run(20_000, 0);
    assert!(finished.publisher.parity > 500, "{finished:?}");
    assert!(finished.subscriber.recovered > 500, "{finished:?}");
    // The losses that are expected, and two standard deviations: 6 of 64, and 8 where more was lost by chance.
    assert!(finished.publisher.parity_bytes * 7 < finished.publisher.datagram_bytes, "{finished:?}");
}

/// A subscriber whose window ends within a block, because that was sent before it joined, cannot use symbols: it gets the
/// datagrams.
#[test]
fn a_window_that_is_shorter_than_a_block_is_repaired() {
    for seed in 1..20 {
        let far = |loss| Quality { delay: 50 * MILLISECOND, loss, ..Quality::GOOD };
        let near = SubscriberPlan { start: Start::Oldest, ..SubscriberPlan::simple() };
        let late = SubscriberPlan { window: 16, down: far(0.02), up: far(0.0), ..near.clone() };
        let plan = NetworkPlan {
            seed,
            messages: 14,
            pause: 10_000,
            sizes: Sizes::Mixed,
            datagram: 256,
            fec: Fec::Fixed { data: 64, parity: 4 },
            ..NetworkPlan::simple(vec![near, late])
        };
        let outcome = World::run(&plan).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(outcome.evicted.is_empty() && outcome.messages == 28, "seed {seed}: {}", outcome.messages);
    }
}
