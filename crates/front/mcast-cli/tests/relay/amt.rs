//! AMT: our gateway with our relay, and each of them with one that scapy writes.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use mcast_lab::Host;
use mcast_packet::UdpPacket;
use mcast_packet::payload::AmtMessage;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use crate::network::{Network, memory, of_type, relay, stop};
use crate::support::{MCAST, Running, eventually, mcast, program, start};

/// A source on segment 1, a relay between it and segment 2, and a gateway on segment 2 with segment 3 behind it.
struct Path {
    network: Network,
    source: Host,
    relay: Host,
    gateway: Host,
}

impl Path {
    fn new() -> Self {
        let network = Network::new(3);
        let source = network.host("source", 1, &[1]);
        let (relay, gateway) = (network.host("relay", 9, &[1, 2]), network.host("gateway", 5, &[2, 3]));
        source.add_route("224.0.0.0/4", "eth0").unwrap();
        source.add_route("ff00::/8", "eth0").unwrap();
        Self { network, source, relay, gateway }
    }

    /// Sends datagrams that cross networks, ten per second, until it is dropped.
    fn stream(&self, group: &str) -> Stream {
        let arguments =
            ["send", "-q", group, "-i", "eth0", "--ttl", "8", "--rate", "10pps", "-c", "600", "hello"];
        Stream(Some(start(&self.source, &arguments)))
    }
}

struct Stream(Option<Running>);

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            let _ = running.child.signal(libc::SIGKILL);
        }
    }
}

fn listen(address: &str, groups: &str) -> String {
    format!("{groups} from eth0 to amt-listen:{address}")
}

/// `mcast recv --amt`, once it has found the relay.
fn recv_by_amt(host: &Host, relay: &str, arguments: &[&str]) -> Running {
    let running = start(host, &[&["recv", "--amt", relay, "--json"], arguments].concat());
    running.stderr.wait_for("joined");
    running
}

fn lines(running: &Running) -> usize {
    running.stdout.text().lines().count()
}

/// Returns the Python that has scapy: that of the system may not be the first one.
fn scapy() -> Option<&'static str> {
    let has_scapy = |python: &&str| {
        let output = Command::new(python).args(["-c", "import scapy"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| has_scapy(python));
    if python.is_none() {
        mcast_lab::skip("AMT with peers of scapy: python3 has no scapy");
    }
    python
}

fn peer(host: &Host, python: &str, arguments: &[&str]) -> Running {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/amt_peer.py");
    // Without files of compiled code beside the script.
    program(host, python, &[&["-B", script], arguments].concat(), false)
}

const V4: (&str, &str) = ("10.0.1.1", "232.1.2.3");
const V6: (&str, &str) = ("fd00:1::1", "ff3e::8000:1");

fn membership((source, group): (&str, &str)) -> String {
    if group.contains(':') { format!("{source}@[{group}]:5000") } else { format!("{source}@{group}:5000") }
}

#[test]
fn both_families_pass_inside_of_both() {
    let path = Path::new();
    for outside in ["10.0.2.9", "fd00:2::9"] {
        let rules = [V4, V6].map(membership).map(|groups| listen(outside, &groups));
        let relay = relay(&path.relay, &[&rules[0], &rules[1]]);
        for inside in [V4, V6] {
            let (source, group) = inside;
            let to = if group.contains(':') { format!("[{group}]:5000") } else { format!("{group}:5000") };
            let receiver =
                recv_by_amt(&path.gateway, outside, &[&membership(inside), "-c", "3", "-W", "20s"]);
            let _stream = path.stream(&to);
            let received = receiver.end().succeeded();
            for datagram in received.json() {
                let facts =
                    ["source", "group", "interface", "text"].map(|name| datagram[name].as_str().unwrap());
                assert_eq!(facts, [source, group, "amt", "hello"], "{inside:?} in {outside}");
                assert_eq!((&datagram["ttl"], &datagram["port"]), (&7.into(), &5000.into()));
            }
            assert!(received.stderr.contains(&format!("through the AMT relay {outside}")), "{received:?}");
        }
        let (_, summary) = stop(relay);
        assert_eq!(summary["amt"]["gateways"], 0, "they have torn their tunnels down");
        assert!(summary["amt"]["sent"].as_u64().unwrap() >= 6);
        assert_eq!(summary["amt"]["refused"], Value::Array(Vec::new()));
    }
}

#[test]
fn a_rule_forwards_from_a_relay_to_a_segment_while_a_host_wants_it() {
    let path = Path::new();
    let host = path.network.host("host", 7, &[3]);
    let relayed = relay(&path.relay, &["239.1.2.3:5000 from eth0 to amt-listen:10.0.2.9"]);
    let gateway = relay(&path.gateway, &["239.1.2.3:5000 from amt:10.0.2.9 to eth1"]);
    let _stream = path.stream("239.1.2.3:5000");
    assert!(!gateway.stdout.text().contains("amt-connected"), "nobody wants it yet");
    let receiver = start(&host, &["recv", "239.1.2.3:5000", "-i", "eth0", "--json", "-c", "3", "-W", "20s"]);
    let received = receiver.end().succeeded();
    assert!(
        received
            .json()
            .iter()
            .all(|datagram| datagram["source"] == "10.0.3.5" && datagram["text"] == "hello")
    );
    let (events, summary) = stop(gateway);
    assert_eq!(of_type(&events, "amt-connected")[0]["address"], "10.0.2.9");
    assert!(summary["rules"][0]["copies"].as_u64().unwrap() >= 3, "{summary}");
    stop(relayed);
}

#[test]
fn several_gateways_behind_one_nat_each_receive_what_they_have_joined() {
    if !mcast_lab::has_program("nft", "--version", "gateways of AMT behind a NAT") {
        return;
    }
    let path = Path::new();
    path.gateway.sysctl("net/ipv4/ip_forward", "1").unwrap();
    let nat = "add table ip nat; \
        add chain ip nat post { type nat hook postrouting priority 100; }; \
        add rule ip nat post oifname eth0 masquerade";
    program(&path.gateway, "nft", &[nat], false).end().succeeded();
    let inside: Vec<Host> = (11..14)
        .map(|number| {
            let host = path.network.host(&format!("inside{number}"), number, &[3]);
            host.add_route_via("10.0.2.0/24", "10.0.3.5").unwrap();
            host
        })
        .collect();
    let relay = relay(&path.relay, &["232.1.0.0/16:5000 from eth0 to amt-listen:10.0.2.9"]);
    let groups = ["10.0.1.1@232.1.2.3:5000", "10.0.1.1@232.1.2.3:5000", "10.0.1.1@232.1.2.4:5000"];
    let receivers: Vec<_> = inside
        .iter()
        .zip(groups)
        .map(|(host, group)| recv_by_amt(host, "10.0.2.9", &[group, "-c", "5", "-W", "20s"]))
        .collect();
    let _streams = ["232.1.2.3:5000", "232.1.2.4:5000"].map(|group| path.stream(group));
    for (receiver, group) in receivers.into_iter().zip(groups) {
        let received = receiver.end().succeeded();
        let wanted = &group[9..18];
        assert!(received.json().iter().all(|datagram| datagram["group"] == wanted), "{received:?}");
    }
    stop(relay);
}

/// Limits the descriptors of a program to these many more than it has.
fn limit_descriptors(running: &Running, more: usize) {
    let id = running.child.id().to_string();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let limit = format!("--nofile={}:", open + more);
    assert!(Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
}

/// Linux limits how many sources a socket has in a group, here to one: each needs a socket of its own, and for a while there is
/// none.
#[test]
fn a_source_that_cannot_be_added_is_reported_and_added_when_it_can() {
    let path = Path::new();
    path.relay.sysctl("net/ipv4/igmp_max_msf", "1").unwrap();
    let relay = relay(&path.relay, &["232.1.0.0/16:5000 from eth0 to amt-listen:10.0.2.9"]);
    let receive = |membership| recv_by_amt(&path.gateway, "10.0.2.9", &[membership, "-c", "3", "-W", "20s"]);
    // Two gateways: each has a port of its own.
    let _of_another = receive("10.0.1.77@232.1.2.3:5000");
    let sources = || path.relay.read_proc_net("mcfilter").unwrap().to_lowercase();
    eventually("the first source", || sources().contains("0x0a00014d"));
    limit_descriptors(&relay, 0);
    let of_source = receive("10.0.1.1@232.1.2.3:5000");
    relay.stdout.wait_for(r#""event":"problem""#);
    limit_descriptors(&relay, 100);
    // What the leg joins changes, which is when it tries again.
    let _of_other_group = receive("10.0.1.1@232.1.2.4:5000");
    eventually("both sources, and that of the other group", || {
        sources().contains("0x0a00014d") && sources().matches("0x0a000101").count() == 2
    });
    let _stream = path.stream("232.1.2.3:5000");
    of_source.end().succeeded();
    stop(relay);
}

#[test]
fn a_gateway_finds_a_relay_again_that_was_killed() {
    let path = Path::new();
    let rule = listen("10.0.2.9", &membership(V4));
    let first = relay(&path.relay, &[&rule]);
    let receiver = recv_by_amt(&path.gateway, "10.0.2.9", &[&membership(V4)]);
    let _stream = path.stream("232.1.2.3:5000");
    eventually("datagrams", || lines(&receiver) >= 3);
    first.child.signal(libc::SIGKILL).unwrap();
    first.end();
    let second = relay(&path.relay, &[&rule]);
    let (before, since) = (lines(&receiver), Instant::now());
    eventually("datagrams of the restarted relay", || lines(&receiver) >= before + 3);
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    receiver.signalled(libc::SIGINT);
    stop(second);
}

#[test]
fn a_gateway_with_a_new_address_gets_one_copy_and_leaves_none_behind() {
    let path = Path::new();
    let relay = relay(&path.relay, &[&listen("10.0.2.9", &membership(V4))]);
    let receiver = recv_by_amt(&path.gateway, "10.0.2.9", &[&membership(V4)]);
    let _stream = path.stream("232.1.2.3:5000");
    eventually("datagrams", || lines(&receiver) >= 3);
    path.gateway.add_address("eth0", "10.0.2.6/24").unwrap();
    path.gateway.remove_address("eth0", "10.0.2.5/24").unwrap();
    let before = lines(&receiver);
    eventually("datagrams at the new address", || lines(&receiver) >= before + 10);
    let metrics = stop(relay).1;
    assert_eq!(metrics["amt"]["gateways"], 1, "the tunnel to the old address was torn down");
    receiver.signalled(libc::SIGINT);
}

#[test]
fn a_check_beside_a_running_relay_disturbs_nothing() {
    let path = Path::new();
    let rule = listen("10.0.2.9", &membership(V4));
    let running = relay(&path.relay, &[&rule]);
    let checked = mcast(&path.relay, &["relay", "--check", "--json", &rule]).succeeded();
    assert!(checked.text().contains("amt-listen:10.0.2.9"), "{checked:?}");
    stop(running);
}

/// Returns the bytes that an interface of a host has sent and received.
fn traffic(host: &Host, interface: &str) -> (u64, u64) {
    let table = host.read_proc_net("dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:"))).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    (numbers[8], numbers[0])
}

#[test]
fn a_hundred_thousand_forged_requests_leave_memory_and_state_unchanged() {
    let path = Path::new();
    let relay = relay(&path.relay, &[&listen("10.0.2.9", &membership(V4))]);
    // Every forged address is reachable, so that every answer would be sent.
    path.relay.add_route_via("11.0.0.0/8", "10.0.2.5").unwrap();
    let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)));
    let socket = path.gateway.run(open).unwrap().unwrap();
    let to = std::net::SocketAddr::from(([10, 0, 2, 9], AmtMessage::PORT));
    let mut request = [0; 8];
    AmtMessage::Request { nonce: 7, wants_mld: false }.emit(&mut request).unwrap();
    let flood = |count: u32| {
        for number in 0..count {
            let source = Ipv4Addr::from_bits(0x0b00_0000 | number.wrapping_mul(2_654_435_761) & 0x00ff_ffff);
            let packet = UdpPacket {
                source: (source, 4_000).into(),
                destination: to,
                hop_limit: 64,
                traffic_class: 0,
                payload: &request,
            };
            let mut buffer = [0; 64];
            let length = packet.emit(&mut buffer).unwrap();
            let _ = socket.send_to(&buffer[..length], &to.into());
        }
    };
    // The tables of limits fill once.
    flood(20_000);
    let (memory_before, traffic_before) = (memory(&relay), traffic(&path.relay, "eth1"));
    flood(100_000);
    let receiver = recv_by_amt(&path.gateway, "10.0.2.9", &[&membership(V4), "-c", "3", "-W", "20s"]);
    let _stream = path.stream("232.1.2.3:5000");
    receiver.end().succeeded();
    let (memory_after, traffic_after) = (memory(&relay), traffic(&path.relay, "eth1"));
    assert!(memory_after < memory_before + 1_024, "{memory_before} kB, then {memory_after} kB");
    let (sent, received) = (traffic_after.0 - traffic_before.0, traffic_after.1 - traffic_before.1);
    assert!(sent < received, "sent {sent} bytes for {received}");
    let (_, summary) = stop(relay);
    assert_eq!(summary["amt"]["gateways"], 0);
    let refused = summary["amt"]["refused"].as_array().unwrap();
    assert!(refused.iter().any(|entry| entry["reason"] == "too-many-requests"), "{refused:?}");
}

#[test]
fn a_gateway_of_scapy_receives_from_our_relay() {
    let Some(python) = scapy() else { return };
    let path = Path::new();
    for (outside, inside) in [("10.0.2.9", V4), ("10.0.2.9", V6), ("fd00:2::9", V4)] {
        let relay = relay(&path.relay, &[&listen(outside, &membership(inside))]);
        let (source, group) = inside;
        let to = if group.contains(':') { format!("[{group}]:5000") } else { format!("{group}:5000") };
        let _stream = path.stream(&to);
        let ended =
            peer(&path.gateway, python, &["gateway", outside, source, group, "5000", "5"]).end().succeeded();
        let advertised = format!("advertisement {outside}");
        let mut expected = vec![advertised.as_str(), "query 25"];
        expected.extend(["data hello"; 5]);
        expected.push("silence");
        assert_eq!(ended.lines(), expected, "{inside:?} in {outside}");
        let (_, summary) = stop(relay);
        assert_eq!(summary["amt"]["gateways"], 0);
    }
}

#[test]
fn our_gateway_receives_from_a_relay_of_scapy() {
    let Some(python) = scapy() else { return };
    let path = Path::new();
    for (outside, inside) in [("10.0.2.9", V4), ("10.0.2.9", V6), ("fd00:2::9", V6)] {
        let (source, group) = inside;
        let relay = peer(&path.relay, python, &["relay", outside, source, group, "5000", "3"]);
        relay.stdout.wait_for("ready");
        let receiver = recv_by_amt(&path.gateway, outside, &[&membership(inside), "-c", "3", "-W", "20s"]);
        let received = receiver.end().succeeded();
        let texts: Vec<_> = received.json().iter().map(|datagram| datagram["text"].clone()).collect();
        assert_eq!(texts, ["scapy 0", "scapy 1", "scapy 2"], "{received:?}");
        let ended = relay.end().succeeded();
        let lines = ended.lines();
        assert_eq!(lines[..3], ["ready", "discovery", "request"]);
        assert_eq!(lines[3], format!("update 1 {group} {source}"));
        assert!(lines.last().unwrap().starts_with("teardown "), "{lines:?}");
    }
}

#[test]
fn the_operator_of_a_source_names_the_relay_in_the_dns() {
    let Some(python) = scapy() else { return };
    let path = Path::new();
    let relay = relay(&path.relay, &[&listen("fd00:2::9", &membership(V4))]);
    let server = peer(&path.relay, python, &["dns", "10.0.2.9", V4.0, "fd00:2::9", "53", "1"]);
    server.stdout.wait_for("ready");
    let folder = tempfile::tempdir().unwrap();
    let resolver = folder.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 10.0.2.9\n").unwrap();
    // A file of its own in the place of the system's.
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec {MCAST} recv --amt driad {} --json -c 3 -W 20s",
        resolver.display(),
        membership(V4)
    );
    let receiver = program(&path.gateway, "unshare", &["--mount", "sh", "-c", &script], false);
    let _stream = path.stream("232.1.2.3:5000");
    let received = receiver.end().succeeded();
    assert!(received.stderr.contains("through the AMT relay fd00:2::9"), "{received:?}");
    assert_eq!(server.end().succeeded().lines(), ["ready", "relay fd00:2::9"]);
    stop(relay);
}

#[test]
fn mistakes_are_explained() {
    let network = Network::new(1);
    let host = network.host("host", 1, &[1]);
    let cases = [
        (vec!["recv", "232.1.2.3:5000", "--amt", "10.0.1.9"], "the group is source-specific"),
        (vec!["recv", "239.1.2.3:5000", "--amt", "driad"], "finds the relay of one source"),
        (vec!["recv", "239.1.2.3%eth0:5000", "--amt", "10.0.1.9"], "and not on an interface"),
        (vec!["recv", "239.1.2.3:5000", "--amt", "239.9.9.9"], "is not a relay of AMT"),
        (vec!["relay", "239.1.2.3:5000 from eth0 to amt:10.0.1.9"], "write it after from"),
        (vec!["relay", "239.1.2.3:5000 from amt-listen:10.0.1.1 to eth0"], "write it after to"),
        (vec!["relay", "239.1.2.3:5000 from eth0 to amt-listen:driad"], "is not an address to listen at"),
        (vec!["relay", "mdns from amt:10.0.1.9 to eth0"], "no broadcasts or discovery protocols"),
        (vec!["relay", "239.1.2.3:5000 from amt:driad to eth0"], "driad finds the relay of one source"),
    ];
    for (arguments, expected) in cases {
        let ended = mcast(&host, &arguments);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(expected), "{ended:?}");
    }
    let ended = mcast(&host, &["relay", "239.1.2.3:5000 from eth0 to amt-listen:192.0.2.77"]);
    assert_eq!(ended.status, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("cannot serve gateways of AMT at 192.0.2.77:2268"), "{ended:?}");
}
