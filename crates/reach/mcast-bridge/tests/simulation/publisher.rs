//! What is published, and what a subscriber delivers of it.

use std::collections::VecDeque;
use std::time::Duration;

use mcast_sim::Dice;
use mcast_stream::ClockTime;
use mcast_stream::subscriber::{Cause, SubscriberEvent};
use mcast_stream::wire::{Incarnation, MessageNumber};

/// An incarnation of the publisher.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) incarnation: Incarnation,
    pub(crate) start: ClockTime,
    pub(crate) interval: Duration,
    pub(crate) messages: u64,
    /// Whether it closed its stream.
    pub(crate) ended: bool,
}

impl Life {
    pub(crate) fn end(&self) -> ClockTime {
        self.start + self.messages as u32 * self.interval
    }
}

/// What a subscriber delivers.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Message(MessageNumber, Vec<u8>),
    Event(SubscriberEvent),
}

/// How good a subscriber's network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reception {
    /// The chance that a message begins a loss.
    pub(crate) loss: f64,
    /// The most messages of a loss.
    pub(crate) burst: u64,
    /// The longest delay of a message.
    pub(crate) delay: Duration,
    /// How many messages the publisher retains for subscribers that join.
    pub(crate) retained: u64,
    /// Whether it may miss how an incarnation ended.
    pub(crate) may_miss_end: bool,
}

/// Returns the bytes of a message.
pub(crate) fn payload(incarnation: Incarnation, number: MessageNumber) -> Vec<u8> {
    let mut bytes = format!("{incarnation}:{number}").into_bytes();
    if number.0 % LONG_EVERY == LONG_EVERY / 2 {
        bytes.resize(LONG, b'.');
    }
    bytes
}

/// The interval, in messages, at which one has this many bytes. The others have at most 20.
const LONG_EVERY: u64 = 97;
pub(crate) const LONG: usize = 60;

pub(crate) fn lives(dice: &mut Dice, count: u64, most: u64) -> Vec<Life> {
    let mut start = ClockTime(0);
    (0..count)
        .map(|index| {
            let life = Life {
                incarnation: Incarnation(3 + 2 * index as u32),
                start,
                interval: Duration::from_micros(dice.pick(&[200, 1_000, 5_000, 20_000])),
                messages: dice.between(u64::from(index == 0), most),
                ended: dice.chance(0.5),
            };
            start = life.end() + Duration::from_millis(dice.below(3_000));
            life
        })
        .collect()
}

/// Returns what a subscriber that joins at this time delivers, and when.
pub(crate) fn deliveries(
    dice: &mut Dice,
    lives: &[Life],
    joined: ClockTime,
    reception: Reception,
) -> VecDeque<(ClockTime, Input)> {
    let mut inputs = VecDeque::new();
    let mut former: Option<Incarnation> = None;
    let mut now = joined;
    // A publisher that has ended or was killed sends no heartbeats, except the last one.
    let heard = lives
        .iter()
        .filter(|life| life.end() >= joined || life.incarnation == lives.last().unwrap().incarnation);
    for life in heard {
        let published = (joined.since(life.start).as_nanos() / life.interval.as_nanos()) as u64;
        let first = match former {
            None => MessageNumber(published.min(life.messages).saturating_sub(reception.retained)),
            Some(_) => MessageNumber(0),
        };
        now = now.max(life.start);
        let event = match former {
            None => SubscriberEvent::Joined {
                incarnation: life.incarnation,
                publisher: ([10, 0, 0, 1], 7).into(),
                message: first,
            },
            Some(from) => SubscriberEvent::Restarted { from, to: life.incarnation },
        };
        inputs.push_back((now, Input::Event(event)));
        former = Some(life.incarnation);
        let is_last = life.incarnation == lives.last().unwrap().incarnation;
        let ending = match life.ended && !(reception.may_miss_end && dice.chance(0.3)) {
            true => life.messages,
            // What was published last may not have arrived.
            false if is_last => life.messages,
            false => life.messages - dice.below(4).min(life.messages - first.0.min(life.messages)),
        };
        let mut number = first.0;
        while number < ending {
            let sent = life.start + (number + 1) as u32 * life.interval;
            now = now.max(sent + Duration::from_nanos(dice.below(reception.delay.as_nanos() as u64 + 1)));
            if dice.chance(reception.loss) {
                let end = (number + dice.between(1, reception.burst)).min(ending);
                let (first, end) = (MessageNumber(number), MessageNumber(end));
                let lost = SubscriberEvent::Lost { first, end, cause: Cause::Unrecoverable };
                inputs.push_back((now, Input::Event(lost)));
                number = end.0;
                continue;
            }
            let bytes = payload(life.incarnation, MessageNumber(number));
            inputs.push_back((now, Input::Message(MessageNumber(number), bytes)));
            number += 1;
        }
        let knows_end =
            life.ended && ending == life.messages && !(reception.may_miss_end && dice.chance(0.3));
        match (knows_end, is_last) {
            (true, _) => {
                inputs.push_back((now, Input::Event(SubscriberEvent::Ended { messages: life.messages })));
            }
            (false, false) => {
                let first = MessageNumber(ending.max(first.0));
                inputs.push_back((now, Input::Event(SubscriberEvent::LostUnknown { first })));
            }
            (false, true) => {}
        }
    }
    inputs
}
