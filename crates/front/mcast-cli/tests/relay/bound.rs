//! The bound on copies on real kernels: relays of ours that restart, and others without a guard that appear and end, beside
//! streams of any rate and repetition.
//!
//! `MCAST_RELAY_SECONDS` and `MCAST_RELAY_SEED` select how long, and which random choices.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mcast_lab::Host;
use mcast_sim::Dice;
use socket2::SockRef;

use crate::network::{Network, address, member, relay_unready, sender, stop};
use crate::support::Running;
use crate::takeover::setting;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const RULE: &str = "239.1.2.3:5000 between eth0 and eth1 always";
/// Copies beyond two for each original, for each start of a relay: as in the simulation.
const CONSTANT: u64 = 600;
const RELAYS: [u8; 2] = [8, 9];
const FOREIGN: [u8; 2] = [50, 51];
const BUFFER: usize = 8 << 20;

/// What is shared by the threads: who forwards, and what was on each segment.
#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// Whether each foreign relay forwards from a segment to the other one.
    forwards: [[AtomicBool; 2]; 2],
    delay: AtomicU32,
    by_foreign: AtomicU64,
    originals: AtomicU64,
    /// Copies of our relays, by segment.
    copies: [AtomicU64; 2],
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }

    /// Returns the copies on the segment that has most, and how many it may have.
    fn bound(&self, starts: u64) -> (u64, u64) {
        // In this order: an original has no copies before it is sent.
        let copies = self.copies.iter().map(|copies| copies.load(Ordering::Relaxed)).max().unwrap();
        (copies, 2 * self.originals.load(Ordering::Relaxed) + CONSTANT * starts)
    }
}

/// Ends the threads even if the test fails, so that no relay without a guard remains.
struct Threads {
    shared: Arc<Shared>,
    running: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        let all = self.running.drain(..).map(JoinHandle::join);
        let failed = all.filter(Result::is_err).count();
        assert!(failed == 0 || thread::panicking(), "{failed} threads failed");
    }
}

/// Opens a socket for the group on one segment only.
fn member_on(host: &Host, segment: usize, own: Ipv4Addr) -> UdpSocket {
    let socket = member(host, (GROUP, 5000), own);
    let interface = format!("eth{segment}");
    host.run(|| SockRef::from(&socket).bind_device(Some(interface.as_bytes()))).unwrap().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(BUFFER).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    socket
}

/// Forwards from one segment to the other as a relay without a guard, while it is to.
fn forward(shared: &Shared, number: usize, from: usize, receives: &UdpSocket, sends: &UdpSocket) {
    let (mut buffer, mut waiting) = ([0; 64], VecDeque::<(Instant, Vec<u8>)>::new());
    while shared.goes_on() {
        let forwards = shared.forwards[number][from].load(Ordering::Relaxed);
        let now = Instant::now();
        if let Ok(length) = receives.recv(&mut buffer)
            && forwards
        {
            let delay = Duration::from_millis(shared.delay.load(Ordering::Relaxed).into());
            waiting.push_back((now + delay, buffer[..length].to_vec()));
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, payload)) = waiting.pop_front()
                && forwards
            {
                sends.send_to(&payload, (GROUP, 5000)).unwrap();
                shared.by_foreign.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Counts the copies of our relays on a segment.
fn count(shared: &Shared, segment: usize, receives: &UdpSocket) {
    let mut buffer = [0; 64];
    while shared.goes_on() {
        let Ok((_, SocketAddr::V4(source))) = receives.recv_from(&mut buffer) else { continue };
        if RELAYS.contains(&source.ip().octets()[3]) {
            shared.copies[segment].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts all that is not a relay of ours.
fn start_threads(network: &Network, shared: &Arc<Shared>) -> Threads {
    let mut running = Vec::new();
    for (number, last) in FOREIGN.into_iter().enumerate() {
        let host = network.host(&format!("f{number}"), last, &[1, 2]);
        let own = |segment: usize| Ipv4Addr::new(10, 0, segment as u8 + 1, last);
        for from in 0..2 {
            let (receives, to) = (member_on(&host, from, own(from)), own(1 - from));
            let (sends, shared) = (sender(&host, to.into()), Arc::clone(shared));
            sends.set_multicast_loop_v4(false).unwrap();
            running.push(thread::spawn(move || forward(&shared, number, from, &receives, &sends)));
        }
    }
    for segment in 0..2 {
        let number = segment as u8 + 1;
        let host = network.host(&format!("counts{number}"), 3, &[number]);
        let receives = member_on(&host, 0, Ipv4Addr::new(10, 0, number, 3));
        let shared = Arc::clone(shared);
        running.push(thread::spawn(move || count(&shared, segment, &receives)));
    }
    Threads { shared: Arc::clone(shared), running }
}

/// Lets the foreign relays appear or end. Returns how many started.
fn change_foreign(shared: &Shared, dice: &mut Dice) -> u64 {
    // Two that forward in both directions would be a storm without us.
    let (first, second) = dice.pick(&[
        ([false, false], [false, false]),
        ([true, true], [false, false]),
        ([true, true], [false, false]),
        ([true, false], [false, false]),
        ([true, false], [true, false]),
        ([false, true], [false, true]),
    ]);
    shared.delay.store(dice.pick(&[0, 0, 1, 20, 200, 400]), Ordering::Relaxed);
    let mut starts = 0;
    for (forwards, now) in shared.forwards.iter().zip([first, second]) {
        let before = forwards.each_ref().map(|direction| direction.load(Ordering::Relaxed));
        starts += u64::from(now != before && now != [false, false]);
        forwards.iter().zip(now).for_each(|(direction, now)| direction.store(now, Ordering::Relaxed));
    }
    starts
}

#[test]
fn there_are_at_most_two_copies_of_each_original_whoever_appears_when() {
    let seconds = setting("MCAST_RELAY_SECONDS", 15);
    let seed = setting("MCAST_RELAY_SEED", 1);
    let mut dice = Dice::new(seed.into());
    let network = Network::new(2);
    let shared = Arc::new(Shared::default());
    let threads = start_threads(&network, &shared);
    let hosts = [network.host("a", 1, &[1]), network.host("b", 1, &[2])];
    let senders = [1, 2].map(|segment| sender(&hosts[usize::from(segment) - 1], address(segment, 1)));
    let on = RELAYS.map(|number| network.host(&format!("r{number}"), number, &[1, 2]));
    let mut relays: [Option<Running>; 2] = on.each_ref().map(|host| Some(relay_unready(host, &[RULE])));
    let (mut starts, mut restarts, mut number, mut most) = (2, 0, 0_u64, 0.0_f64);
    let end = Instant::now() + Duration::from_secs(seconds.into());
    while Instant::now() < end {
        let phase_ends = Instant::now() + Duration::from_millis(dice.between(500, 8_000));
        starts += change_foreign(&shared, &mut dice);
        if dice.chance(0.2) {
            let relay = dice.below(2) as usize;
            match relays[relay].take() {
                Some(running) if dice.chance(0.5) => {
                    // One that has just started does not catch signals yet.
                    running.stdout.wait_for(r#""event":"leg-up""#);
                    drop(stop(running));
                }
                Some(running) => running.child.kill().unwrap(),
                None => {
                    relays[relay] = Some(relay_unready(&on[relay], &[RULE]));
                    (starts, restarts) = (starts + 1, restarts + 1);
                }
            }
        }
        let rate = dice.pick(&[1, 10, 30, 100, 300, 1_000, 3_000]);
        let (socket, identical) = (&senders[dice.below(2) as usize], dice.pick(&[0.0, 0.5, 0.9, 1.0, 1.0]));
        let interval = Duration::from_secs(1) / rate;
        let mut next = Instant::now();
        while next < phase_ends {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += interval;
            number += 1;
            let payload = if dice.chance(identical) { 0 } else { number };
            shared.originals.fetch_add(1, Ordering::Relaxed);
            socket.send_to(&payload.to_be_bytes(), (GROUP, 5000)).unwrap();
            let (copies, bound) = shared.bound(starts);
            most = most.max(copies as f64 / bound as f64);
            assert!(copies <= bound, "seed {seed}: {copies} copies where {bound} are allowed");
        }
    }
    relays.into_iter().flatten().for_each(|running| drop(stop(running)));
    drop(threads);
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (originals, [first, second]) = (load(&shared.originals), shared.copies.each_ref().map(load));
    println!(
        "seed {seed}, {seconds} s: {originals} originals, {first} and {second} copies, {} by others, {starts} starts, \
         {restarts} of them restarts of ours; at most {:.0} % of the bound",
        load(&shared.by_foreign),
        most * 100.0
    );
    assert!(first + second > 0 && load(&shared.by_foreign) > 0, "nothing was forwarded");
}
