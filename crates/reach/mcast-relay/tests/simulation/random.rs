//! Random topologies: one to five of our relays on two to four segments, in chains, rings and by mistake with two legs on
//! one segment, with partitions, restarts and interfaces that come and go.

use std::collections::BTreeMap;

use mcast_sim::{Dice, for_seeds};

use crate::world::{Fault, Frame, MILLISECOND, Ours, SECOND, Segment, World, host};

/// A network, and what happens to it.
#[derive(Debug)]
struct Plan {
    segments: usize,
    ours: Vec<Ours>,
    /// Times of faults.
    faults: Vec<(u64, Fault)>,
}

const END: u64 = 30 * SECOND;

fn plan(world_dice: &mut Dice, with_faults: bool, keeps_source: bool) -> Plan {
    let dice = world_dice;
    let segments = dice.between(2, 4) as usize;
    let mut ours = Vec::new();
    for _ in 0..dice.between(1, 5) {
        let legs = dice.between(2, 3).min(segments as u64) as usize;
        // A mistake in one of ten: both legs on the same segment.
        let on: Vec<Segment> = match dice.chance(0.1) {
            true => vec![dice.below(segments as u64) as usize; legs],
            false => {
                let first = dice.below(segments as u64) as usize;
                (0..legs).map(|leg| (first + leg) % segments).collect()
            }
        };
        let names: Vec<String> = (0..legs).map(|leg| format!("s{leg}")).collect();
        let rule = match dice.chance(0.7) {
            true => format!("239.1.2.3:5000 between {} always", names.join(" and ")),
            false => format!("239.1.2.3:5000 from {} to {} always", names[0], names[1..].join(",")),
        };
        let rule = if keeps_source && dice.chance(0.7) { rule + " keep-source" } else { rule };
        let start = dice.pick(&[0, dice.clone().below(SECOND)]);
        ours.push(Ours { segments: on, rules: rule, priority: dice.pick(&[100, 100, 200]), start });
    }
    let mut faults = Vec::new();
    for _ in 0..if with_faults { dice.between(1, 6) } else { 0 } {
        let node = dice.below(ours.len() as u64) as usize;
        let segment = dice.pick(&ours[node].segments);
        let (start, end) = (dice.between(4 * SECOND, 15 * SECOND), dice.between(1, 5 * SECOND));
        let (first, second) = dice.pick(&[
            (Fault::Kill(node), Fault::Start(node)),
            (Fault::Stop(node), Fault::Start(node)),
            (Fault::Cut(node, segment), Fault::Join(node, segment)),
            (Fault::Down(node, segment), Fault::Up(node, segment)),
        ]);
        faults.extend([(start, first), (start + end, second)]);
    }
    Plan { segments, ours, faults }
}

/// Runs the plan with a datagram every 37 ms on average, up to eight at a time, from any segment; returns when and where
/// each was sent.
fn run(seed: u64, with_faults: bool, keeps_source: bool) -> (World, Plan, BTreeMap<u64, (u64, Segment)>) {
    let mut dice = Dice::new(seed);
    let plan = plan(&mut dice, with_faults, keeps_source);
    let mut world = World::new(dice.next(), plan.ours.clone(), vec![]);
    world.announcement_loss = dice.pick(&[0, 0, 10, 50]);
    for (time, fault) in &plan.faults {
        world.fault(*time, *fault);
    }
    let mut originals = BTreeMap::new();
    let (burst, mut segment) = (dice.between(1, 8), 0);
    for number in 0..END / (37 * MILLISECOND) {
        if number % burst == 0 {
            segment = dice.below(plan.segments as u64) as usize;
        }
        let time = (number - number % burst) * 37 * MILLISECOND;
        let frame = Frame {
            segment,
            source: host(segment, 1),
            destination: "239.1.2.3:5000".parse().unwrap(),
            hop_limit: 64,
            payload: number.to_be_bytes().into(),
        };
        world.original(time, frame);
        originals.insert(number, (time, segment));
    }
    assert!(world.run(END + SECOND), "a storm in {plan:#?}");
    (world, plan, originals)
}

/// Returns how often each datagram was sent on each segment by our relays.
fn copies(world: &World) -> BTreeMap<(u64, Segment), usize> {
    let mut copies = BTreeMap::new();
    for sent in world.sent_by_ours() {
        let number = u64::from_be_bytes((*sent.frame.payload).try_into().unwrap());
        *copies.entry((number, sent.frame.segment)).or_insert(0) += 1;
    }
    copies
}

#[test]
fn datagrams_of_a_burst_are_forwarded_in_coalesced_buffers() {
    let worlds = (0..20).map(|seed| run(seed, true, false).0);
    let (together, all) = worlds.fold((0, 0), |(together, all), world| {
        (together + world.forwarded_together, all + world.sent_by_ours().count())
    });
    assert!(together > all / 10, "{together} of {all}");
}

#[test]
fn without_faults_there_is_one_copy_on_each_segment_that_a_rule_names() {
    // In a quarter of the networks, most relays keep sources.
    for_seeds(1_000, |seed| {
        let (world, plan, originals) = run(seed, false, seed % 4 == 1);
        let copies = copies(&world);
        // Three lost announcements in a row are a fault.
        let slack = usize::from(world.announcement_loss > 0) * plan.ours.len();
        for (number, (time, from)) in originals {
            for to in 0..plan.segments {
                let count = copies.get(&(number, to)).copied().unwrap_or(0);
                let is_named = plan.ours.iter().any(|ours| names(ours, from, to));
                let is_converged = time > 5 * SECOND;
                let most = if is_named { 1 + slack } else { slack };
                assert!(
                    count <= most,
                    "{count} copies of {number} from {from} on {to} at {time} µs: {plan:#?}"
                );
                assert!(count > 0 || !is_named || !is_converged, "{number} from {from} to {to} in {plan:#?}");
            }
        }
    });
}

#[test]
fn with_faults_there_are_never_more_copies_than_relays_and_all_is_well_afterwards() {
    for_seeds(2_000, |seed| {
        let (world, plan, originals) = run(seed, true, seed % 4 == 1);
        let copies = copies(&world);
        // A relay that was cut off does not know relays that have started in the meantime, nor that its legs are on one
        // segment, until announcements arrive again: after at most 0.8 s if none is lost.
        let converging = if world.announcement_loss == 0 { SECOND } else { 4 * SECOND };
        // A datagram that was sent just before is still under way.
        let is_after =
            |time: u64, fault: u64| (fault..fault + converging).contains(&(time + 20 * MILLISECOND));
        let is_converging = |time: u64| plan.faults.iter().any(|(fault, _)| is_after(time, *fault));
        let is_mistake = |ours: &&Ours| ours.segments[0] == ours.segments[1];
        let mistaken = |ours: &Ours| ours.segments.len() * (ours.segments.len() - 1);
        let mistakes: usize = plan.ours.iter().filter(is_mistake).map(mistaken).sum();
        let unconverged = plan.ours.len() * (1 + mistakes) + mistakes;
        // Relays that have started while they were cut off take each other for those of another make, and pass on 16 repeats
        // each, until the first announcement.
        let joined = plan.faults.iter().filter(|(_, fault)| matches!(fault, Fault::Join(..)));
        let is_joined = |time: u64| joined.clone().any(|(join, _)| is_after(time, *join));
        let unknown = |time| if plan.ours.len() > 1 && is_joined(time) { 16 * plan.ours.len() } else { 0 };
        let last_fault = plan.faults.iter().map(|(time, _)| *time).max().unwrap();
        for (number, (time, from)) in originals {
            for to in 0..plan.segments {
                let count = copies.get(&(number, to)).copied().unwrap_or(0);
                let naming = plan.ours.iter().filter(|ours| names(ours, from, to)).count();
                let most = if is_converging(time) { unconverged + unknown(time) } else { naming };
                assert!(count <= most, "{count} copies of {number} on {to} from {from} in {plan:#?}");
                if world.announcement_loss == 0 && time > last_fault + 5 * SECOND {
                    assert!(count <= 1 && (count == 1 || naming == 0), "{number} {from} {to} {plan:#?}");
                }
            }
        }
    });
}

/// Returns whether a rule of the relay forwards from one segment to another.
fn names(ours: &Ours, from: Segment, to: Segment) -> bool {
    let is_on = |segment| ours.segments.contains(&segment);
    let is_both_ways = ours.rules.contains("between");
    from != to && is_on(from) && is_on(to) && (is_both_ways || ours.segments[0] == from)
}
