//! Several relays between the same segments.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::network::{Network, address, member, relay, sender, stop};
use crate::support::{Running, eventually, recv, send};

const GROUP: &str = "239.1.2.3:5000";
const RULE: &str = "239.1.2.3:5000 between eth0 and eth1 always";

fn forwards(relay: &Running) -> bool {
    relay.stdout.text().contains(r#""event":"forwarding""#)
}

fn stands_by(relay: &Running) -> bool {
    relay.stdout.text().contains(r#""event":"standing-by""#)
}

/// Returns how often each of these texts has been received, once nothing more comes.
fn counts(receiver: Running, texts: impl IntoIterator<Item = String>) -> Vec<usize> {
    let received = crate::network::texts(&receiver.end());
    texts.into_iter().map(|text| received.iter().filter(|other| **other == text).count()).collect()
}

#[test]
fn of_three_relays_one_forwards() {
    let network = Network::new(2);
    let (a, b) = (network.host("a", 1, &[1]), network.host("b", 2, &[2]));
    let hosts: Vec<_> =
        [7, 8, 9].iter().map(|number| network.host(&format!("r{number}"), *number, &[1, 2])).collect();
    let relays: Vec<_> = hosts.iter().map(|host| relay(host, &[RULE])).collect();
    eventually("one forwarder", || {
        relays.iter().filter(|relay| forwards(relay)).count() == 1
            && relays.iter().filter(|relay| stands_by(relay)).count() == 2
    });
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json", "--idle", "1s"]);
    for number in 0..50 {
        send(&a, &[GROUP, "-i", "eth0", "--ttl", "4", &number.to_string()]);
    }
    assert_eq!(counts(receiver, (0..50).map(|number| number.to_string())), [1; 50]);
    relays.into_iter().for_each(|relay| drop(stop(relay)));
}

#[test]
fn a_standby_takes_over_within_three_seconds_from_a_forwarder_that_was_killed() {
    let network = Network::new(2);
    let (a, b) = (network.host("a", 1, &[1]), network.host("b", 2, &[2]));
    let (one, other) = (network.host("r8", 8, &[1, 2]), network.host("r9", 9, &[1, 2]));
    let forwarder = relay(&one, &[RULE]);
    let standby = relay(&other, &[RULE]);
    assert!(forwards(&forwarder) && stands_by(&standby) && !forwards(&standby));
    let receiver = recv(&b, &[GROUP, "-i", "eth0", "--json"]);
    let (socket, stops) = (sender(&a, address(1, 1)), Arc::new(AtomicBool::new(false)));
    let sending = {
        let stops = Arc::clone(&stops);
        thread::spawn(move || {
            let mut number = 0;
            while !stops.load(Ordering::Relaxed) {
                socket.send_to(format!("{number}.").as_bytes(), GROUP).unwrap();
                number += 1;
                thread::sleep(Duration::from_millis(10));
            }
        })
    };
    receiver.stdout.wait_for("10.0.2.8");
    forwarder.child.kill().unwrap();
    let killed = Instant::now();
    receiver.stdout.wait_for("10.0.2.9");
    assert!(killed.elapsed() < Duration::from_secs(3), "{:?}", killed.elapsed());
    // Several datagrams later.
    let before = receiver.stdout.text().lines().count();
    eventually("more datagrams", || receiver.stdout.text().lines().count() > before + 20);
    stops.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    let received = receiver.signalled(libc::SIGINT);
    let mut texts = crate::network::texts(&received);
    let all = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), all, "a datagram came twice");
    stop(standby);
}

/// Returns a number of the environment, or this one.
pub(crate) fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn a_forwarder_that_is_killed_again_and_again_is_replaced_each_time() {
    let flaps = setting("MCAST_RELAY_FLAPS", 2);
    let network = Network::new(2);
    let (a, b) = (network.host("a", 1, &[1]), network.host("b", 2, &[2]));
    let hosts = [network.host("r8", 8, &[1, 2]), network.host("r9", 9, &[1, 2])];
    let [mut forwarder, mut standby] = hosts.each_ref().map(|host| relay(host, &[RULE]));
    assert!(forwards(&forwarder) && stands_by(&standby) && !forwards(&standby));
    let member = member(&b, (Ipv4Addr::new(239, 1, 2, 3), 5000), Ipv4Addr::new(10, 0, 2, 2));
    member.set_nonblocking(true).unwrap();
    let socket = sender(&a, address(1, 1));
    let (mut copies, mut buffer) = (Vec::<u32>::new(), [0; 64]);
    // Sends the next number, and counts what has come. Returns whether the number has.
    let mut exchange = |copies: &mut Vec<u32>| {
        copies.push(0);
        socket.send_to(&(copies.len() as u32 - 1).to_be_bytes(), GROUP).unwrap();
        thread::sleep(Duration::from_millis(5));
        while member.recv(&mut buffer).is_ok() {
            copies[u32::from_be_bytes(buffer[..4].try_into().unwrap()) as usize] += 1;
        }
        copies.last() > Some(&0)
    };
    for flap in 0..flaps {
        eventually("a datagram by the forwarder", || exchange(&mut copies));
        forwarder.child.kill().unwrap();
        forwarder.child.wait().unwrap();
        let killed = Instant::now();
        while !exchange(&mut copies) {
            assert!(killed.elapsed() < Duration::from_secs(3), "flap {flap}: {:?}", killed.elapsed());
        }
        forwarder = std::mem::replace(&mut standby, relay(&hosts[flap as usize % 2], &[RULE]));
        assert!(stands_by(&standby) && !forwards(&standby), "flap {flap}: {}", standby.stdout.text());
    }
    assert!(copies.iter().all(|count| *count <= 2), "more than two copies of a datagram");
    let twice = copies.iter().filter(|count| **count > 1).count();
    assert!(twice <= flaps as usize, "{twice} datagrams came twice");
    stop(forwarder);
    stop(standby);
}

#[test]
fn a_relay_that_stops_hands_over_at_once() {
    let network = Network::new(2);
    let (one, other) = (network.host("r8", 8, &[1, 2]), network.host("r9", 9, &[1, 2]));
    let forwarder = relay(&one, &[RULE]);
    let standby = relay(&other, &[RULE]);
    assert!(stands_by(&standby) && !forwards(&standby));
    stop(forwarder);
    let stopped = Instant::now();
    standby.stdout.wait_for(r#""event":"forwarding""#);
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    stop(standby);
}

#[test]
fn a_ring_of_three_relays_leaves_one_copy_on_each_segment() {
    let network = Network::new(3);
    let hosts =
        [network.host("r12", 8, &[1, 2]), network.host("r23", 9, &[2, 3]), network.host("r31", 10, &[3, 1])];
    let relays = hosts.each_ref().map(|host| relay(host, &[RULE]));
    relays.iter().for_each(|relay| eventually("a forwarder", || forwards(relay)));
    let (a, b, c) = (network.host("a", 1, &[1]), network.host("b", 2, &[2]), network.host("c", 3, &[3]));
    let receivers = [&b, &c].map(|host| recv(host, &[GROUP, "-i", "eth0", "--json", "--idle", "1s"]));
    for number in 0..20 {
        send(&a, &[GROUP, "-i", "eth0", "--ttl", "8", &number.to_string()]);
    }
    for receiver in receivers {
        assert_eq!(counts(receiver, (0..20).map(|number| number.to_string())), [1; 20]);
    }
    relays.into_iter().for_each(|relay| drop(stop(relay)));
}
