//! The bound on copies over all time and any order of events: streams of any rate with identical and distinct payloads,
//! beside relays of other makes that appear, end and return at any moment, while ours restart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_relay::RelayEvent;
use mcast_sim::{Dice, for_seeds};

use crate::world::{Fault, Foreign, Frame, MILLISECOND, Ours, SECOND, Segment, World, address, host};

/// Copies beyond two for each original, for each start of a relay of ours or of another make.
const CONSTANT: usize = 600;
/// An innocent stream passes this long after the loop is gone.
const RECOVERY: u64 = 10 * SECOND;
/// A loop that has lasted for this long has been reported.
const REPORTED_AFTER: u64 = 20 * SECOND;

#[derive(Clone, Debug)]
struct Stream {
    segment: Segment,
    source: u8,
    /// Datagrams per second.
    rate: u64,
    /// The share of identical payloads.
    identical: f64,
    start: u64,
    end: u64,
}

#[derive(Clone, Debug)]
struct Plan {
    rules: String,
    ours: usize,
    foreign: Vec<Foreign>,
    streams: Vec<Stream>,
    hop_limit: u8,
    longest_delay: u64,
    faults: Vec<(u64, Fault)>,
    /// When each relay of another make runs.
    runs: Vec<(usize, u64, u64)>,
    end: u64,
}

fn plan(dice: &mut Dice, keeps_source: bool) -> Plan {
    let direction = dice.pick(&["from s0 to s1", "between s0 and s1", "between s0 and s1"]);
    let keeps_source = if keeps_source { " keep-source" } else { "" };
    let rules = format!("239.1.2.3:5000 {direction} always{}{keeps_source}", dice.pick(&["", " ttl 4"]));
    let rate = dice.pick(&[1, 3, 10, 30, 30, 100, 100, 300, 300, 1_000, 1_000, 3_000, 10_000]);
    // About as many datagrams for each rate, and at least the time that a test takes.
    let length = (20_000 / rate).clamp(4, 45) * SECOND;
    let start = 3 * SECOND + dice.below(2 * SECOND);
    let identical = dice.pick(&[0.0, 0.2, 0.5, 0.9, 1.0, 1.0]);
    let (segment, end) = (dice.pick(&[0, 0, 1]), start + length);
    let mut streams = vec![Stream { segment, source: 1, rate, identical, start, end }];
    if dice.chance(0.3) {
        let (segment, rate) = (dice.pick(&[0, 1]), dice.between(1, rate.min(50)));
        streams.push(Stream { segment, source: 2, rate, ..streams[0].clone() });
    }
    // The delay of a relay varies less than it lasts.
    let delay = dice.pick(&[0, 0, 1, 10, 50, 200, 400]) * MILLISECOND;
    let both = dice.chance(0.7);
    let first = Foreign {
        segments: if dice.chance(0.5) { vec![0, 1] } else { vec![1, 0] },
        one_way: !both,
        keeps_source: dice.chance(0.1),
        decrements: dice.chance(0.3),
        delay: (delay, delay + delay / 4),
        is_running: false,
    };
    let mut foreign = vec![first];
    // Two in the same direction alone do not make a storm.
    if !both && dice.chance(0.4) {
        foreign.push(foreign[0].clone());
    }
    let (mut faults, mut runs) = (Vec::new(), Vec::new());
    for number in 0..foreign.len() {
        let later = start + dice.below(length);
        let mut time = dice.pick(&[0, start, later]);
        for _ in 0..dice.between(1, 3) {
            let lasts = dice.pick(&[300 * MILLISECOND, 3 * SECOND, 20 * SECOND]);
            runs.push((number, time, time + lasts));
            faults.extend([(time, Fault::Appear(number)), (time + lasts, Fault::Vanish(number))]);
            time += lasts + dice.pick(&[100 * MILLISECOND, SECOND, 12 * SECOND]);
        }
    }
    let ours = dice.between(1, 2) as usize;
    if dice.chance(0.3) {
        for _ in 0..dice.between(1, 2) {
            let node = dice.below(ours as u64) as usize;
            let time = start + dice.below(length);
            let fault = dice.pick(&[Fault::Kill(node), Fault::Stop(node)]);
            faults.extend([(time, fault), (time + dice.below(3 * SECOND), Fault::Start(node))]);
        }
    }
    let last = runs.iter().map(|(_, _, end)| *end).max().unwrap();
    let longest_delay = dice.pick(&[200, 1_000, 3_000]);
    let hop_limit = dice.pick(&[64, 64, 5]);
    let end = end.max(last) + 8 * SECOND;
    Plan { rules, ours, foreign, streams, hop_limit, longest_delay, faults, runs, end }
}

/// The originals: time, segment, and payload.
fn originals(dice: &mut Dice, plan: &Plan) -> Vec<(u64, Segment, u8, Vec<u8>)> {
    let mut all = Vec::new();
    for stream in &plan.streams {
        let interval = SECOND / stream.rate;
        for number in 0..(stream.end - stream.start) / interval {
            let time = stream.start + number * interval + dice.below(interval / 8 + 1);
            let is_identical = dice.chance(stream.identical);
            let payload = match is_identical {
                true => b"same".to_vec(),
                false => format!("{} of {}", number, stream.source).into_bytes(),
            };
            all.push((time, stream.segment, stream.source, payload));
        }
    }
    all.sort_by_key(|(time, ..)| *time);
    all
}

fn check_one(seed: u64, keeps_source: bool) {
    let mut dice = Dice::new(seed);
    let plan = plan(&mut dice, keeps_source);
    let originals = originals(&mut dice, &plan);
    let ours =
        |number| Ours { segments: vec![0, 1], rules: plan.rules.clone(), priority: 100, start: number * 9 };
    let relays = (0..plan.ours as u64).map(ours).collect();
    let mut world = World::new(dice.next(), relays, plan.foreign.clone());
    world.longest_delay = plan.longest_delay;
    world.most = 6 * originals.len() + 60_000;
    for (time, fault) in &plan.faults {
        world.fault(*time, *fault);
    }
    for (time, segment, source, payload) in &originals {
        let destination = "239.1.2.3:5000".parse().unwrap();
        let (source, hop_limit) = (host(*segment, *source), plan.hop_limit);
        let frame = Frame { segment: *segment, source, destination, hop_limit, payload: payload[..].into() };
        world.original(*time, frame);
    }
    let has_ended = world.run(plan.end);
    check_bound(&world, &plan);
    assert!(has_ended, "a storm: {plan:#?}");
    check_events(&world, &plan);
    check_innocents(&world, &plan, &originals);
}

/// At no time are there more copies on a segment than twice the originals and a constant.
fn check_bound(world: &World, plan: &Plan) {
    let mut starts: Vec<u64> = plan.runs.iter().map(|(_, start, _)| *start).collect();
    starts.extend(vec![0; plan.ours]);
    starts.extend(
        plan.faults.iter().filter_map(|(time, fault)| matches!(fault, Fault::Start(_)).then_some(*time)),
    );
    starts.sort_unstable();
    let is_original = |source: IpAddr| (1..=2).any(|number| (0..2).any(|on| host(on, number).ip() == source));
    let (mut of_hosts, mut copies) = (0, BTreeMap::new());
    for sent in &world.sent {
        match sent.by {
            Some(_) => *copies.entry(sent.frame.segment).or_insert(0) += 1,
            // A relay that keeps the source sends copies that look like originals: they count as such.
            None => of_hosts += usize::from(is_original(sent.frame.source.ip())),
        }
        let started = starts.partition_point(|start| *start <= sent.time);
        let most = 2 * of_hosts + CONSTANT * started;
        for (segment, count) in &copies {
            let time = sent.time as f64 / 1e6;
            assert!(*count <= most, "{count} copies of {of_hosts} on {segment} at {time} s: {plan:#?}");
        }
    }
}

/// A loop is reported, and nobody is accused who does not relay.
fn check_events(world: &World, plan: &Plan) {
    let mut accused = BTreeSet::new();
    for (_, _, event) in &world.events {
        if let RelayEvent::LoopFound { source, .. } = event {
            accused.insert(*source);
        }
    }
    let relays = (0..plan.foreign.len())
        .flat_map(|number| (0..2).map(move |segment| IpAddr::from(address(segment, plan.ours + number))));
    let mut relays = BTreeSet::from_iter(relays);
    if plan.rules.contains("keep-source") && plan.foreign.iter().any(|foreign| foreign.keeps_source) {
        // What another relay returns has the source of the host that sent it first.
        relays.extend((1..=2).flat_map(|number| (0..2).map(move |on| host(on, number).ip())));
    }
    assert!(accused.is_subset(&relays), "{accused:?} in {plan:#?}");
    let is_loop = |number: usize| {
        let foreign = &plan.foreign[number];
        !foreign.one_way && !foreign.keeps_source && (plan.hop_limit == 64 || !foreign.decrements)
    };
    let is_steady = !plan.faults.iter().any(|(_, fault)| matches!(fault, Fault::Kill(_) | Fault::Stop(_)));
    let stream = &plan.streams[0];
    for (number, start, end) in &plan.runs {
        let (from, to) = ((*start).max(stream.start), (*end).min(stream.end));
        if is_loop(*number) && is_steady && to > from + REPORTED_AFTER {
            assert!(!accused.is_empty(), "no loop was found: {plan:#?}");
        }
    }
}

/// Once the loop is gone, an innocent stream passes.
fn check_innocents(world: &World, plan: &Plan, originals: &[(u64, Segment, u8, Vec<u8>)]) {
    let last_fault = plan.faults.iter().map(|(time, _)| *time).max().unwrap();
    let from = last_fault + RECOVERY;
    // Hosts that send the same payload are tested against each other: at 1,000 per second, of some 2,500 repeats in each test
    // 512 are kept, and the next one is 10 s later.
    let share = if plan.streams.len() == 1 || plan.streams[0].identical == 0.0 { 95 } else { 75 };
    for to in 0..2 {
        if to == 0 && !plan.rules.contains("between") {
            continue;
        }
        let sent = originals.iter().filter(|(time, segment, ..)| *time >= from && *segment != to).count();
        let is_copy = |sent: &&crate::world::Sent| sent.time >= from && sent.frame.segment == to;
        let passed = world.sent_by_ours().filter(is_copy).count();
        assert!(passed * 100 >= sent * share, "{passed} of {sent} to {to}: {plan:#?}");
    }
}

/// Networks in which the guard once failed, by the check that failed. The last three are of attempts to correct the others.
const FAILED: [(&str, &[u64]); 6] = [
    (
        "too many copies",
        &[5896, 6311, 7764, 8724, 8964, 13541, 14143, 14344, 14691, 14720, 17509, 3797, 5768, 5848],
    ),
    ("a host accused", &[5796, 8352, 10614, 13875]),
    ("a host held back", &[11607]),
    ("too many copies", &[240]),
    ("a host accused", &[2407, 2609, 3232, 3549, 4644]),
    ("a host held back", &[1045, 2359, 3112, 3274, 3679, 4757, 1064, 1957, 11455, 11600]),
];

#[test]
fn networks_in_which_the_guard_failed_pass() {
    for (failure, seeds) in FAILED {
        for seed in seeds {
            eprintln!("seed {seed}: {failure}");
            check_one(*seed, false);
        }
    }
}

/// There are at most two copies of each original, whichever relays appear at any moment. Networks take long, so that several tests
/// share them: this one checks those whose seed has this remainder.
fn check_share(remainder: u64, keeps_source: bool) {
    for_seeds(400, |seed| {
        if seed % SHARES == remainder {
            check_one(seed, keeps_source);
        }
    });
}

const SHARES: u64 = 4;

macro_rules! shares {
    ($($name:ident: $remainder:literal, $keeps_source:literal;)*) => {
        $(#[test]
        fn $name() {
            check_share($remainder, $keeps_source);
        })*
    };
}

shares! {
    there_are_at_most_two_copies_of_each_original_in_networks_0: 0, false;
    there_are_at_most_two_copies_of_each_original_in_networks_1: 1, false;
    there_are_at_most_two_copies_of_each_original_in_networks_2: 2, false;
    there_are_at_most_two_copies_of_each_original_in_networks_3: 3, false;
    there_are_at_most_two_copies_of_each_original_with_its_source_in_networks_0: 0, true;
    there_are_at_most_two_copies_of_each_original_with_its_source_in_networks_1: 1, true;
    there_are_at_most_two_copies_of_each_original_with_its_source_in_networks_2: 2, true;
    there_are_at_most_two_copies_of_each_original_with_its_source_in_networks_3: 3, true;
}
