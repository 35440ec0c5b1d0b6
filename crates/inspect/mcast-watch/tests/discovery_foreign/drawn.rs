//! Networks that are drawn by seed: peers of one protocol appear, end with a goodbye, crash, restart and change. After each of these,
//! what is discovered equals what the program for that protocol shows on the same wire, and what the peers are known to be.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mcast_lab::{Host, SwitchOptions};
use mcast_sim::Dice;
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::networks::is_short;
use crate::{PATIENCE, Running, Segment, wait_until};

/// What is compared of an entry, as a line of text.
pub(crate) type Facts = BTreeSet<String>;

/// How programs of a machine with other work may delay what is measured.
const SLACK: Duration = Duration::from_secs(4);

/// A goodbye is noticed within this time, which is less than a lifetime.
const GOODBYE: Duration = Duration::from_secs(2);

/// What may happen to a peer that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It ends as its program ends when it is asked to.
    Leave,
    /// It is killed.
    Crash,
    /// It is killed, unless that would not be noticed, and started with the same settings.
    Restart,
    /// It ends, and another one is started.
    Rename,
}

/// Peers of one protocol, and the program that lists them.
pub(crate) trait Peers: Sized {
    /// The settings of a peer.
    type Peer: Clone;
    /// Each protocol has entries of its own.
    const PROTOCOLS: &'static [DiscoveryProtocol];
    /// A peer is listed this time after it has started. `None`: it announces nothing.
    const ANNOUNCED: Option<Duration>;
    /// A peer that crashed is not listed after this time. `None`: it takes longer than a test may run.
    const LAPSES: Option<Duration>;
    /// Whether peers answer questions.
    const ANSWERS: bool;
    /// Whether the program keeps what has left.
    const KEEPS: bool = false;
    /// Whether hosts have a default route, by which some programs send to groups. Others look up their own name before they start, for
    /// which they would wait.
    const ROUTE: bool = true;
    /// Whether sockets receive the protocol, without a capture.
    const SOCKETS: bool = true;

    /// The switch of the network.
    fn switch() -> SwitchOptions {
        SwitchOptions::default()
    }
    /// Draws what is common to the network, and starts the program that lists peers.
    fn new(segment: &Segment, dice: &mut Dice) -> Self;
    /// After this time, a peer that crashed is not listed.
    fn lapses(&self) -> Duration {
        Self::LAPSES.unwrap_or(PATIENCE)
    }
    fn draw(&self, dice: &mut Dice, number: usize) -> Self::Peer;
    /// Starts a peer on the host of this number.
    fn start(&self, segment: &Segment, number: usize, peer: &Self::Peer) -> Running;
    /// Returns whether a peer that ends says goodbye in all that it speaks.
    fn says_goodbye(_peer: &Self::Peer) -> bool {
        true
    }
    /// Removes what a crash leaves behind on a host.
    fn tidy(&self, _host: &Host) {}
    /// Returns what is true of the peers that run.
    fn expected(&self, segment: &Segment, peers: &[(usize, &Self::Peer)]) -> Facts;
    /// Returns what the program shows.
    fn specialist(&mut self, segment: &Segment) -> Facts;
    /// Returns the part of a fact that the program shows, which is empty if it does not show it.
    fn shown(fact: &str) -> &str {
        fact
    }
    /// Returns what an entry states.
    fn facts(&self, entry: &Discovered) -> Vec<String>;
}

pub(crate) fn found<P: Peers>(peers: &P, discovery: &Discovery) -> Facts {
    let entries = discovery.entries();
    let own = entries.iter().filter(|entry| P::PROTOCOLS.contains(&entry.key.protocol));
    own.flat_map(|entry| peers.facts(entry)).collect()
}

/// Draws the network of a seed, and compares after each change.
pub(crate) fn both_list_the_same<P: Peers>(seed: u64) {
    const HOSTS: usize = 3;
    // Some protocols notice the end of a silent peer after a long time.
    const LONG: Duration = Duration::from_secs(9);
    const TOO_LONG: Duration = Duration::from_secs(12);
    let protocol = P::PROTOCOLS[0];
    let mut dice = Dice::new(seed);
    // A goodbye may be lost, and is then noticed only if what is silent lapses soon, or is asked for again.
    let mut is_silence_noticed = P::LAPSES.is_some() || P::ANNOUNCED.is_none();
    let loss = if seed % 3 == 2 && is_silence_noticed { 0.1 } else { 0.0 };
    let segment = Segment::on(P::switch(), HOSTS as u8, loss, seed);
    for host in segment.hosts.iter().chain([&segment.watcher]).filter(|_| !P::ROUTE) {
        host.remove_route("0.0.0.0/0", "eth0").unwrap();
    }
    let mut peers = P::new(&segment, &mut dice);
    let mut running: [Option<(P::Peer, Running)>; HOSTS] = [const { None }; HOSTS];
    let mut listening: Vec<Discovery> = Vec::new();
    if P::ANNOUNCED.is_some() {
        // With a capture, and by sockets alone.
        listening.push(segment.discover(false, true));
        listening.extend(P::SOCKETS.then(|| segment.discover(false, false)));
    }
    let silence = if is_short() && P::LAPSES.is_some() { peers.lapses() } else { Duration::ZERO };
    is_silence_noticed &= silence < TOO_LONG;
    // The number of changes that are drawn.
    let is_long = silence >= LONG && is_silence_noticed;
    let steps = if is_long { 1 } else { 4 - u8::from(is_short()) };
    let remaining = [Change::Restart, Change::Rename];
    let mut changes = [&remaining[..], &[Change::Leave]].concat();
    changes.extend(is_silence_noticed.then_some(Change::Crash));
    for step in 0..=steps {
        // A peer of which nobody can notice the end stays.
        let stays = |(peer, _): &(P::Peer, Running)| !is_silence_noticed && !P::says_goodbye(peer);
        let is_last = step == steps;
        // At the end, all leave that are left.
        let numbers: Vec<usize> = if is_last {
            let leaves = |running: &Option<(P::Peer, Running)>| running.as_ref().is_some_and(|it| !stays(it));
            (0..HOSTS).filter(|number| leaves(&running[*number])).collect()
        } else {
            let drawn = dice.below(HOSTS as u64) as usize;
            let first = if running[drawn].as_ref().is_some_and(stays) { 0 } else { drawn };
            // Two appear together where there is time for one step.
            (0..1 + usize::from(is_long)).map(|next| (first + next) % HOSTS).collect()
        };
        let (mut limit, mut is_goodbye, mut whats) = (Duration::ZERO, !numbers.is_empty(), Vec::new());
        for number in numbers {
            let (change, within, says_goodbye) = match running[number].take() {
                None => {
                    let peer = peers.draw(&mut dice, number);
                    let program = peers.start(&segment, number, &peer);
                    running[number] = Some((peer, program));
                    ("appears".to_owned(), P::ANNOUNCED.unwrap_or(PATIENCE), false)
                }
                Some(it) => {
                    let changes = if stays(&it) { &remaining[..] } else { &changes };
                    let change = if is_last { Change::Leave } else { dice.pick(changes) };
                    let (mut peer, program) = it;
                    match change {
                        Change::Crash => program.kill(),
                        Change::Restart if is_silence_noticed => program.kill(),
                        _ => program.end(),
                    }
                    peers.tidy(&segment.hosts[number]);
                    let is_gone = matches!(change, Change::Crash | Change::Leave);
                    let says_goodbye = change == Change::Leave && P::says_goodbye(&peer);
                    if change == Change::Rename {
                        peer = peers.draw(&mut dice, number);
                    }
                    if !is_gone {
                        let program = peers.start(&segment, number, &peer);
                        running[number] = Some((peer, program));
                    }
                    let within = if is_gone { peers.lapses() } else { PATIENCE };
                    (format!("{change:?}").to_lowercase(), within, says_goodbye)
                }
            };
            (limit, is_goodbye) = (limit.max(within), is_goodbye && says_goodbye);
            whats.push(format!("h{} {change}", number + 1));
        }
        if whats.is_empty() {
            break;
        }
        let begin = Instant::now();
        let present = running.iter().enumerate();
        let present: Vec<(usize, &P::Peer)> =
            present.filter_map(|(number, it)| Some((number, &it.as_ref()?.0))).collect();
        let expected = peers.expected(&segment, &present);
        let what = format!("{protocol:?}, seed {seed}, step {step}: {}", whats.join(", "));
        for discovery in &listening {
            wait_until(&what, discovery, &expected, || found(&peers, discovery));
        }
        let took = begin.elapsed();
        // Losses may delay what is announced again and again, without an end.
        let limit = if is_goodbye { GOODBYE } else { limit + SLACK };
        assert!(loss > 0.0 || took < limit, "{what}: {took:?}");
        let mut shown = peers.specialist(&segment);
        let visible = expected.iter().map(|fact| P::shown(fact)).filter(|fact| !fact.is_empty());
        let visible: Facts = visible.map(str::to_owned).collect();
        while !(shown == visible || P::KEEPS && shown.is_superset(&visible)) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {visible:#?}, the specialist shows {shown:#?}");
            shown = peers.specialist(&segment);
        }
        println!("{what}: {} facts, listed after {took:?}", expected.len());
        if P::ANSWERS {
            let (begin, asking) = (Instant::now(), segment.discover(true, step % 2 == 0));
            // The first questions, or all answers to them, may be lost; then it asks again after a minute, and a person does sooner.
            let again = Cell::new(loss > 0.0);
            wait_until(&format!("{what}, asked"), &asking, &expected, || {
                if begin.elapsed() > PATIENCE / 3 && again.replace(false) {
                    asking.ask();
                }
                found(&peers, &asking)
            });
            let took = begin.elapsed();
            println!("{what}: found by asking after {took:?}");
            assert!(loss > 0.0 || took < Duration::from_secs(2), "{what}: asked, {took:?}");
        }
        // What was listed is still the same, after all that took.
        for discovery in &listening {
            wait_until(&what, discovery, &expected, || found(&peers, discovery));
        }
    }
}
