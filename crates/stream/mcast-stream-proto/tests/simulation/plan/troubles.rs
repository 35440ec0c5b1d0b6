//! Faults that were added to the plans later. They have their own random numbers, so that the rest of a seed's plan
//! does not change.

use mcast_sim::Dice;

use super::{Bottleneck, MILLISECOND, NetworkPlan, SECOND, Stranger, Stuck, SubscriberPlan};
use crate::link::Quality;

pub(super) fn added(plan: NetworkPlan) -> NetworkPlan {
    let mut dice = Dice::new(plan.seed ^ 0x7472_6f75);
    match dice.below(20) {
        0 => readers_stop(plan.calm(), &mut dice),
        1 => bottleneck(plan.calm(), &mut dice),
        2 => half_open(plan, &mut dice),
        3 => lossy(plan),
        4 => far(plan, &mut dice),
        _ => everything(plan, &mut dice),
    }
}

/// Some of the readers stop, without other faults.
fn readers_stop(mut plan: NetworkPlan, dice: &mut Dice) -> NetworkPlan {
    plan.waits = true;
    for subscriber in &mut plan.subscribers {
        subscriber.stuck = dice.chance(0.4).then(|| stuck(dice));
    }
    plan
}

/// A narrow link, without other faults.
fn bottleneck(plan: NetworkPlan, dice: &mut Dice) -> NetworkPlan {
    let bottleneck = Bottleneck {
        rate: dice.pick(&[250_000, 2_500_000, 12_500_000]),
        queue: dice.pick(&[32, 64, 256]) * 1_024,
    };
    NetworkPlan { bottleneck: Some(bottleneck), ..plan }
}

/// The feedback of one subscriber is dropped.
fn half_open(mut plan: NetworkPlan, dice: &mut Dice) -> NetworkPlan {
    let index = dice.below(plan.subscribers.len() as u64) as usize;
    plan.subscribers[index].firewalled = true;
    plan
}

fn lossy(mut plan: NetworkPlan) -> NetworkPlan {
    for subscriber in &mut plan.subscribers {
        (subscriber.down.loss, subscriber.up.loss) = (0.3, 0.3);
    }
    plan
}

fn far(mut plan: NetworkPlan, dice: &mut Dice) -> NetworkPlan {
    let index = dice.below(plan.subscribers.len() as u64) as usize;
    let delay = dice.pick(&[50, 300, 600]) * MILLISECOND;
    let SubscriberPlan { down, up, .. } = &mut plan.subscribers[index];
    (*down, *up) = (Quality { delay, ..down.clone() }, Quality { delay, ..up.clone() });
    plan
}

fn everything(mut plan: NetworkPlan, dice: &mut Dice) -> NetworkPlan {
    for subscriber in &mut plan.subscribers {
        subscriber.stuck = dice.chance(0.04).then(|| stuck(dice));
        subscriber.partition = dice.chance(0.06).then(|| {
            let from = dice.below(300 * MILLISECOND);
            (from, from + dice.between(SECOND, 12 * SECOND))
        });
        subscriber.leaves = dice.chance(0.05).then(|| dice.below(600 * MILLISECOND));
    }
    if plan.restart.is_some() && dice.chance(0.4) {
        plan.overlap = Some(dice.between(1, 300));
    }
    let every = dice.pick(&[20, 300]) * MILLISECOND;
    plan.stranger = match (plan.sealed, dice.below(20)) {
        (true, 0..3) => Some(Stranger::Replays(every)),
        (false, 0) => Some(Stranger::ForgesNaks(every)),
        (false, 1) => Some(Stranger::ForgesStatuses(every)),
        _ => None,
    };
    plan
}

fn stuck(dice: &mut Dice) -> Stuck {
    let times = [700 * MILLISECOND, 3 * SECOND, 8 * SECOND, Stuck::FOREVER];
    Stuck { after: dice.pick(&[1, 5, 40, 200]), time: dice.pick(&times) }
}
