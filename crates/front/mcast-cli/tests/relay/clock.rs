//! Clocks that are set while relays forward.

use std::net::{Ipv4Addr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use mcast_lab::Host;

use crate::network::{Network, address, member, of_type, sender, stop};
use crate::set_clock::{HOUR, SettableClock};
use crate::sites::{GROUP, GROUP_IN_TABLE, new_tunnel_key};
use crate::support::{Running, eventually};

/// What the clock of all relays is ahead of the right time, one after the other, while they forward.
const AHEAD: [i64; 5] = [0, HOUR, -HOUR, 0, -HOUR];
/// The interval between datagrams.
const INTERVAL: Duration = Duration::from_millis(10);
/// The datagrams that are forwarded with each of them: more than four seconds, twice what a standby waits for a silent forwarder.
const DATAGRAMS: u32 = 400;
/// The longest time in which nothing may arrive. A standby takes over after two seconds and more.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a relay waits for other members after one has left, at least.
const LEAVE: Duration = Duration::from_secs(1);
/// The longest time of that, and of a take-over.
const SOON: Duration = Duration::from_secs(4);

/// When each datagram came, by its number.
type Arrivals = Arc<Mutex<Vec<(u32, Instant)>>>;

/// Sends numbers at even intervals while the receiver is there; returns how many so far.
fn stream(socket: UdpSocket, receiver: &Arc<()>) -> Arc<AtomicU32> {
    let (sent, receiver) = (Arc::new(AtomicU32::new(0)), Arc::downgrade(receiver));
    let count = Arc::clone(&sent);
    thread::spawn(move || {
        while receiver.strong_count() > 0 {
            let number = count.fetch_add(1, Ordering::Relaxed);
            socket.send_to(&number.to_be_bytes(), (GROUP, 5000)).unwrap();
            thread::sleep(INTERVAL);
        }
    });
    sent
}

/// Notes what arrives until nothing more does.
fn collect(member: UdpSocket) -> (Arrivals, thread::JoinHandle<UdpSocket>) {
    let arrivals = Arrivals::default();
    let noted = Arc::clone(&arrivals);
    member.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let receiving = thread::spawn(move || {
        let mut buffer = [0; 4];
        while member.recv(&mut buffer).is_ok() {
            noted.lock().unwrap().push((u32::from_be_bytes(buffer), Instant::now()));
        }
        member
    });
    (arrivals, receiving)
}

fn has_joined(host: &Host) -> bool {
    host.read_proc_net("igmp").unwrap().contains(GROUP_IN_TABLE)
}

fn lines(relay: &Running) -> usize {
    relay.stdout.text().lines().count()
}

/// A member that gets each number once, in order and without a pause.
struct Member {
    arrivals: Arrivals,
    receiving: thread::JoinHandle<UdpSocket>,
}

impl Member {
    fn new(host: &Host, own: Ipv4Addr) -> Self {
        let (arrivals, receiving) = collect(member(host, (GROUP, 5000), own));
        Self { arrivals, receiving }
    }

    /// Waits for a datagram behind this one.
    fn wait_behind(&self, number: u32) {
        eventually("a later datagram", || {
            self.arrivals.lock().unwrap().last().is_some_and(|(last, _)| *last > number)
        });
    }

    fn check(&self, expected: RangeInclusive<u32>) {
        let arrivals = self.arrivals.lock().unwrap();
        let seen: Vec<_> = arrivals.iter().filter(|(number, _)| expected.contains(number)).collect();
        assert!(seen.iter().map(|(number, _)| *number).eq(expected), "not each datagram once and in order");
        let pause = seen.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap();
        assert!(pause < PAUSE, "nothing came for {pause:?}");
    }
}

/// Members on segment 2 get what is sent on segment 1 by one of two relays, and those on segment 4 by a tunnel over segment 3,
/// because they ask for it.
#[test]
fn a_clock_that_is_set_by_an_hour_neither_interrupts_relays_and_tunnels_nor_has_a_standby_take_over() {
    let Some(clock) = SettableClock::new() else { return };
    let network = Network::new(4);
    let source = network.host("source", 1, &[1]);
    let pair = [8, 9].map(|number| network.host(&format!("r{number}"), number, &[1, 2]));
    let (near, far) = (network.host("near", 3, &[1, 3]), network.host("far", 4, &[3, 4]));
    let folder = tempfile::tempdir().unwrap();
    let key = new_tunnel_key(&source, folder.path(), &["far"]);
    let start = |host: &Host, arguments: &[&str]| {
        let running =
            clock.start(host, &[&["relay", "--json", "--tunnel-key", &key], arguments].concat(), false);
        running.stdout.wait_for(r#""text":"#);
        running
    };
    let rules = [
        "239.1.2.3:5000 from eth0 to eth1",
        "239.1.2.3:5000 from eth0 to tunnel:far",
        "239.1.2.3:5000 from tunnel:far to eth1",
    ];
    let [one, other] = pair.each_ref().map(|host| start(host, &rules[..1]));
    let of_near = start(&near, &[rules[1], "--listen-tunnel", "10.0.3.3:5700"]);
    let of_far = start(&far, &[rules[2], "--tunnel", "far=10.0.3.3:5700"]);
    let says = |relay: &Running, event: &str| relay.stdout.text().contains(&format!(r#""event":"{event}""#));
    eventually("a forwarder and a standby", || {
        let forwards = [&one, &other].map(|relay| says(relay, "forwarding"));
        let stands_by = [&one, &other].map(|relay| says(relay, "standing-by"));
        forwards[0] != forwards[1] && stands_by[0] != stands_by[1] && forwards[0] != stands_by[0]
    });
    of_far.stdout.wait_for("tunnel-up");
    let (forwarder, standby, takes_over) = match says(&one, "forwarding") {
        true => (one, other, &pair[1]),
        false => (other, one, &pair[0]),
    };

    let members = [(2, 2), (4, 2)].map(|(segment, number)| {
        let host = network.host(&format!("m{segment}"), number, &[segment]);
        Member::new(&host, Ipv4Addr::new(10, 0, segment, number))
    });
    let is_there = Arc::new(());
    let sent = stream(sender(&source, address(1, 1)), &is_there);
    members.iter().for_each(|member| member.wait_behind(0));
    let relays = [&forwarder, &standby, &of_near, &of_far];
    let events = relays.map(lines);
    let first = sent.load(Ordering::Relaxed) + 1;
    for ahead in AHEAD {
        clock.set(ahead);
        let last = sent.load(Ordering::Relaxed) + DATAGRAMS;
        members.iter().for_each(|member| member.wait_behind(last));
    }
    let last = sent.load(Ordering::Relaxed);
    for member in &members {
        member.wait_behind(last);
        member.check(first..=last);
    }
    for (relay, before) in relays.iter().zip(events) {
        assert_eq!(lines(relay), before, "{}", relay.stdout.text());
    }

    // The standby does its work, and has the clock that was set.
    forwarder.child.kill().unwrap();
    let killed = Instant::now();
    standby.stdout.wait_for(r#""event":"forwarding""#);
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
    members[0].wait_behind(sent.load(Ordering::Relaxed));
    // Members that leave are waited for no longer and no shorter, whatever the clock is meanwhile.
    drop(is_there);
    let sockets = members.map(|member| member.receiving.join().unwrap());
    assert!(has_joined(takes_over) && has_joined(&near));
    let left = Instant::now();
    drop(sockets);
    clock.set(HOUR);
    eventually("leaves upstream", || !has_joined(takes_over) && !has_joined(&near));
    assert!(left.elapsed() > LEAVE && left.elapsed() < SOON, "{:?}", left.elapsed());

    let now = UNIX_EPOCH.elapsed().unwrap();
    let (events, _) = stop(standby);
    let time = of_type(&events, "forwarding")[0]["time"].as_str().unwrap();
    let behind = i64::try_from(now.as_secs()).unwrap() - time.parse::<jiff::Timestamp>().unwrap().as_second();
    assert!((behind - HOUR).abs() < HOUR / 2, "{behind} s");
    [of_near, of_far].into_iter().for_each(|relay| drop(stop(relay)));
}
