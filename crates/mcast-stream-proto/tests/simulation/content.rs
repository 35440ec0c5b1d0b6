//! The content of messages. It follows from the message's number and the publisher's incarnation, so that subscribers
//! can check it.

use mcast_dice::{Dice, mix};
use mcast_stream_proto::wire::MessageKey;

use crate::plan::Plan;

pub(crate) fn message(plan: &Plan, incarnation: u32, number: u64) -> (Option<MessageKey>, Vec<u8>) {
    let mut dice = Dice::new(mix(plan.seed ^ u64::from(incarnation) << 40 ^ number << 8));
    let length = plan.sizes.draw(&mut dice);
    let key = plan.keyed.then(|| MessageKey(dice.below(7)));
    let mut bytes = vec![0; length];
    for (at, eight) in bytes.chunks_mut(8).enumerate() {
        eight.fill(mix(number ^ u64::from(incarnation) ^ at as u64) as u8);
    }
    (key, bytes)
}
