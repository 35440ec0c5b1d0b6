//! The content of messages. It follows from the message's number and the publisher's incarnation, so that subscribers
//! can check it.

use std::sync::LazyLock;

use mcast_sim::{Dice, mix};
use mcast_stream_proto::wire::MessageKey;

use crate::plan::NetworkPlan;

/// A prime, so that no two parts of a message are equal.
const NOISE_LENGTH: usize = 65_521;

/// A message is a part of this that begins anywhere: to compute each would take most of the simulation's time.
static NOISE: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..NOISE_LENGTH as u64).map(|at| mix(at) as u8).collect());

pub(crate) fn message(plan: &NetworkPlan, incarnation: u32, number: u64) -> (Option<MessageKey>, Vec<u8>) {
    let mut dice = Dice::new(mix(plan.seed ^ u64::from(incarnation) << 40 ^ number << 8));
    let length = plan.sizes.draw(&mut dice);
    let key = plan.keyed.then(|| MessageKey(dice.below(7)));
    let from = mix(number ^ u64::from(incarnation) << 40) as usize % NOISE_LENGTH;
    let (mut bytes, mut rest) = (Vec::with_capacity(length), &NOISE[from..]);
    while bytes.len() < length {
        bytes.extend_from_slice(rest.get(..length - bytes.len()).unwrap_or(rest));
        rest = &NOISE;
    }
    (key, bytes)
}
