//! Local repair: subscribers that repair for others.

use mcast_stream_proto::publisher::Fec;
use mcast_stream_proto::subscriber::Start;

use crate::link::Quality;
use crate::plan::{MILLISECOND, NetworkPlan, Repairing, SECOND, Sizes, SubscriberPlan};
use crate::world::{Outcome, World};

const SUBSCRIBERS: usize = 30;
/// The time from the publisher to a subscriber, and back.
const FAR: u64 = 5 * MILLISECOND;

/// A site far from the publisher, where every third subscriber repairs for others, if any does. The link that they share
/// loses nothing, and that of each loses 2 %.
fn site(repairing: Option<Repairing>) -> NetworkPlan {
    let up = Quality { delay: FAR, ..Quality::GOOD };
    let subscriber = |index: usize| SubscriberPlan {
        down: Quality { loss: 0.02, ..up.clone() },
        up: up.clone(),
        window: 1_024,
        start: Start::Oldest,
        repairs: repairing.filter(|_| index.is_multiple_of(3)),
        ..SubscriberPlan::simple()
    };
    NetworkPlan {
        messages: 1_000,
        pause: 10 * MILLISECOND,
        sizes: Sizes::Exactly(1_000),
        slots: 4_096,
        good_from: 60 * SECOND,
        ..NetworkPlan::simple((0..SUBSCRIBERS).map(subscriber).collect())
    }
}

/// Runs a plan, in which everything must be delivered.
fn run(plan: &NetworkPlan) -> Outcome {
    let outcome = World::run(plan).unwrap();
    assert_eq!(outcome.messages, plan.messages * plan.subscribers.len() as u64, "{:?}", outcome.local);
    assert!(outcome.subscribers.iter().all(|subscriber| subscriber.lost == 0));
    outcome
}

fn repairs(outcome: &Outcome) -> u64 {
    outcome.statistics.group_repairs + outcome.statistics.single_repairs + outcome.statistics.parity_repairs
}

/// Returns the latency that this share of all messages does not exceed, in thousandths.
fn latency(outcome: &Outcome, share: usize) -> u64 {
    let mut all: Vec<u64> =
        outcome.subscribers.iter().flat_map(|each| each.latencies.iter().copied()).collect();
    all.sort_unstable();
    all[(all.len() - 1) * share / 1_000]
}

#[test]
fn repairers_take_most_repairs_from_the_publisher_and_bring_them_sooner() {
    for (sealed, signed) in [(false, false), (true, true)] {
        let plan = |repairing| {
            let mut plan = NetworkPlan { sealed, signed, ..site(repairing) };
            plan.subscribers.iter_mut().for_each(|subscriber| subscriber.verifies = signed);
            plan
        };
        let (without, with) = (run(&plan(None)), run(&plan(Some(Repairing::Honest))));
        assert_eq!((without.local.naks, without.local.repairs), (0, 0));
        assert!(
            repairs(&with) * 4 <= repairs(&without),
            "{} of {}, {:?}",
            repairs(&with),
            repairs(&without),
            with.local
        );
        assert!(with.local.used * 10 >= with.local.repairs * 9, "{:?}", with.local);
        let late = [&without, &with].map(|outcome| latency(outcome, 990));
        assert!(late[1] <= late[0], "99 % of the messages arrive within {late:?} ns");
    }
}

/// What parity does not recover, repairers repair.
#[test]
fn repairers_complete_what_parity_recovers() {
    let plan = |repairing| NetworkPlan { fec: Fec::Fixed { data: 20, parity: 1 }, ..site(repairing) };
    let (without, with) = (run(&plan(None)), run(&plan(Some(Repairing::Honest))));
    assert!(
        repairs(&with) * 2 <= repairs(&without),
        "{} of {}, {:?}",
        repairs(&with),
        repairs(&without),
        with.local
    );
}

/// A repairer that answers nothing, or garbage, is soon asked no more, and each request costs only the time of an answer.
#[test]
fn a_repairer_that_lies_delays_repairs_by_the_time_of_an_answer() {
    let without = run(&site(None));
    for repairing in [Repairing::Silent, Repairing::Garbled] {
        let plan = site(Some(repairing));
        let outcome = run(&plan);
        assert_eq!(outcome.local.used, 0);
        let repairers = plan.subscribers.iter().filter(|each| each.repairs.is_some()).count();
        let most = 3 * (SUBSCRIBERS * repairers) as u64;
        assert!((1..=most).contains(&outcome.local.naks), "{:?}", outcome.local);
        let (slowest, before) = (latency(&outcome, 999), latency(&without, 999));
        assert!(slowest <= before + 4 * FAR, "{slowest} ns, {before} ns without");
    }
}

/// In a clear stream nothing else protects from such data.
#[test]
fn what_a_repairer_sends_without_a_request_is_not_delivered() {
    let outcome = run(&site(Some(Repairing::Meddling)));
    assert!(outcome.local.used > 0 && outcome.local.unrequested > 0, "{:?}", outcome.local);
}

/// One that answers ever later gets no more time than the publisher has.
#[test]
fn a_repairer_that_dawdles_is_not_waited_for() {
    let plan = |repairing| {
        let mut plan = NetworkPlan { messages: 10_000, pause: MILLISECOND, ..site(repairing) };
        plan.subscribers.truncate(6);
        // All ask the first one.
        plan.subscribers.iter_mut().skip(1).for_each(|each| each.repairs = None);
        plan
    };
    let (without, with) = (run(&plan(None)), run(&plan(Some(Repairing::Dawdling))));
    assert!(with.local.naks > 0);
    for share in [990, 999, 1_000] {
        let (slowest, before) = (latency(&with, share), latency(&without, share));
        // Each request waits for the repairer first, for as long as for the publisher at most.
        let limit = 2 * before + FAR;
        assert!(slowest <= limit, "{slowest} ns, {before} ns without");
    }
}

/// They leave or die while they are asked.
#[test]
fn nothing_is_lost_when_repairers_are_gone() {
    let mut plan = site(Some(Repairing::Honest));
    for (index, subscriber) in
        plan.subscribers.iter_mut().enumerate().filter(|(_, each)| each.repairs.is_some())
    {
        let at = SECOND + index as u64 * 20 * MILLISECOND;
        match index.is_multiple_of(2) {
            true => subscriber.leaves = Some(at),
            false => subscriber.partition = Some((at, 70 * SECOND)),
        }
    }
    let outcome = World::run(&plan).unwrap();
    assert!(outcome.local.used > 0);
    for (index, each) in outcome.subscribers.iter().enumerate().filter(|(index, _)| !index.is_multiple_of(3))
    {
        assert_eq!((each.messages, each.lost), (plan.messages, 0), "subscriber {index}");
    }
}

/// A repairer at the publisher's side of a narrow link is not asked.
#[test]
fn a_repairer_that_is_farther_than_the_publisher_is_not_asked() {
    let plan =
        NetworkPlan { aside: Quality { delay: 2 * FAR, ..Quality::GOOD }, ..site(Some(Repairing::Honest)) };
    let outcome = run(&plan);
    assert_eq!((outcome.local.naks, outcome.local.repairs), (0, 0));
}
