//! Replies come back to the host that asked.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use mcast_lab::Host;

use crate::network::{Network, address, member, relay, sender, stop};
use crate::support::{TIMEOUT, program};

const SSDP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 1900);
const ASKERS: usize = 20;

fn search(target: &str) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n"
    )
}

/// Answers each search with its target and the name of the responder, until the test ends.
fn respond(host: &Host, own: Ipv4Addr, name: &'static str) {
    let socket = host.run(|| UdpSocket::bind(("0.0.0.0", SSDP.1))).unwrap().unwrap();
    host.run(|| socket.join_multicast_v4(&SSDP.0, &own)).unwrap().unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let Some(target) = text.lines().find_map(|line| line.strip_prefix("ST: ")) else { continue };
            let answer = format!("HTTP/1.1 200 OK\r\nST: {target}\r\nUSN: {name}\r\n\r\n");
            let _ = socket.send_to(answer.as_bytes(), asker);
        }
    });
}

fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 1_500];
    let (length, source) = socket.recv_from(&mut buffer).expect("an answer");
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), source)
}

#[test]
fn twenty_askers_get_their_own_answers_through_a_stateful_firewall() {
    // A router between both segments that lets only known connections pass.
    ask_through(
        "add table ip firewall; \
        add chain ip firewall forward { type filter hook forward priority 0; policy drop; }; \
        add rule ip firewall forward ct state established,related accept",
    );
}

/// The rules of the guide, and without that for answers a positive control.
#[test]
fn the_firewall_of_the_guide_lets_answers_pass() {
    let guide = include_str!("../../../../../docs/how-to/across-vlans.md");
    let (_, rest) = guide.split_once("```nft\n").expect("rules in the guide");
    let (rules, _) = rest.split_once("```").expect("an end of the rules");
    assert!(rules.contains("policy drop") && rules.contains("udp dport 61440-62463 accept"));
    ask_through(rules);
}

fn ask_through(firewall: &str) {
    if !mcast_lab::has_program("nft", "--version", "answers through a stateful firewall") {
        return;
    }
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]));
    let (b, c) = (network.host("b", 2, &[2]), network.host("c", 3, &[2]));
    r.sysctl("net/ipv4/ip_forward", "1").unwrap();
    a.add_route_via("0.0.0.0/0", "10.0.1.9").unwrap();
    [&b, &c].iter().for_each(|host| host.add_route_via("0.0.0.0/0", "10.0.2.9").unwrap());
    program(&r, "nft", &[firewall], false).end().succeeded();

    respond(&b, Ipv4Addr::new(10, 0, 2, 2), "b");
    respond(&c, Ipv4Addr::new(10, 0, 2, 3), "c");
    let relay = relay(&r, &["ssdp between eth0 and eth1"]);
    let askers: Vec<_> = (0..ASKERS).map(|_| sender(&a, address(1, 1))).collect();
    for (number, asker) in askers.iter().enumerate() {
        asker.set_read_timeout(Some(TIMEOUT)).unwrap();
        asker.send_to(search(&format!("urn:test:{number}")).as_bytes(), SSDP).unwrap();
    }
    let mut relays = BTreeSet::new();
    for (number, asker) in askers.iter().enumerate() {
        let mut answers: Vec<_> = (0..2).map(|_| receive(asker)).collect();
        answers.sort();
        for ((answer, source), name) in answers.iter().zip(["b", "c"]) {
            assert_eq!(*answer, format!("HTTP/1.1 200 OK\r\nST: urn:test:{number}\r\nUSN: {name}\r\n\r\n"));
            assert_eq!(source.ip(), address(1, 9), "from the relay");
            relays.insert(*source);
        }
        asker.set_nonblocking(true).unwrap();
        assert!(asker.recv_from(&mut [0; 1]).is_err(), "the answer to another one");
    }
    assert_eq!(relays.len(), 2 * ASKERS, "each responder has an address of its own for each asker");
    let (_, summary) = stop(relay);
    assert_eq!(summary["rules"][0]["replies"], 2 * ASKERS as u64, "{summary}");
}

#[test]
fn a_sender_can_answer_a_reply() {
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let member = member(&b, (group, 5000), Ipv4Addr::new(10, 0, 2, 2));
    let relay = relay(&r, &["239.1.2.3:5000 from eth0 to eth1 always"]);
    let asker = sender(&a, address(1, 1));
    for socket in [&asker, &member] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    asker.send_to(b"who is there?", (group, 5000)).unwrap();
    let (question, from) = receive(&member);
    assert_eq!((question.as_str(), from.ip()), ("who is there?", address(2, 9)));
    member.send_to(b"I am", from).unwrap();
    let (answer, responder) = receive(&asker);
    assert_eq!((answer.as_str(), responder.ip()), ("I am", address(1, 9)));
    asker.send_to(b"good", responder).unwrap();
    assert_eq!(receive(&member), ("good".to_owned(), from));
    stop(relay);
}
