//! Participants of DDS, such as nodes of ROS, that announce themselves, and what keeps them apart.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mcast_doctor::{Id, Options, Report, ServiceTarget, Severity, Verdict, examine_service};
use mcast_lab::{Child, Host};
use socket2::{Domain, Socket, Type};

use crate::net::{Net, Stream, assert_healthy, briefly, has_programs, nft};
use crate::treatment::{examine_and_treat, on};

crate::table::cases! {
    other_domain: DifferentDdsDomain, "a node of ROS in domain 42, those of the receiver in domain 0", || {
        examined(&[robot().domain(42)], &[pc().domain(0)])
    };
    other_tag: DifferentDdsDomain, "a node with a domain tag, those of the receiver without", || {
        examined(&[robot().text(0x4014, "alpha")], &[pc()])
    };
    best_effort_writer: DdsMismatch, "a best-effort writer, a reliable reader on the receiver", || {
        examined(&[robot(), robot().writer("rt/scan", 1)], &[pc(), pc().reader("rt/scan", 2)])
    };
    address_of_a_container: UnreachableAddress, "a node announces 192.0.2.7, to which no route leads", || {
        examined(&[node(1).unicast("192.0.2.7")], &[pc()])
    };
    own_address_of_a_container: UnreachableAddress, "the nodes of the receiver announce 192.0.2.7", || {
        examined(&[robot()], &[node(2).unicast("192.0.2.7")])
    };
    loopback_of_a_node: UnreachableAddress, "a node announces 127.0.0.1", || examined(&[node(1).unicast("127.0.0.1")], &[pc()]);
    own_loopback: UnreachableAddress, "the nodes of the receiver announce 127.0.0.1", || {
        examined(&[robot()], &[node(2).unicast("127.0.0.1")])
    };
    shared_memory_of_a_node: UnreachableAddress, "a node receives by shared memory only", || {
        examined(&[node(1).locator(0x0100_0000, [0; 16])], &[pc()])
    };
    own_shared_memory: UnreachableAddress, "the nodes of the receiver receive by shared memory only", || {
        examined(&[robot()], &[node(2).locator(0x0100_0000, [0; 16])])
    };
    node_without_ipv4: UnreachableAddress, "a node receives by IPv6 only, those of the receiver by IPv4", || {
        examined(&[node(1).unicast("fd09::1")], &[pc()])
    };
    link_local_node: LinkLocalOnly, "a node announces a link-local address of IPv6 only", || {
        examined(&[node(1).unicast("fe80::77")], &[node(2).unicast("fd09::2")])
    };
    volatile_writer: DdsMismatch, "a volatile writer, a reader on the receiver wants samples from before", || {
        let reader = pc().reader("rt/map", 2).parameter(0x1d, &1_u32.to_le_bytes());
        examined(&[robot(), robot().writer("rt/map", 2)], &[pc(), reader])
    };
    other_partition: DdsMismatch, "a writer in a partition, a reader on the receiver in none", || {
        let name = [&1_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), b"left\0"].concat();
        let writer = robot().writer("rt/map", 2).parameter(0x29, &name);
        examined(&[robot(), writer], &[pc(), pc().reader("rt/map", 2)])
    };
    other_type: DdsMismatch, "a writer and a reader on the receiver have types of other names", || {
        examined(&[robot(), robot().writer("rt/scan", 2)], &[pc(), pc().reader("rt/scan", 2).text(0x07, "demo::Map")])
    };
    announcements_are_dropped: FirewallDropsData, "`nft` input rule for the announcements of nodes", || {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook input", "udp dport 7400 counter drop");
        between(&net, &[robot().domain(0)], &[pc().domain(0)])
    };
    samples_are_dropped: AnswersDropped, "`nft` input rule for the ports of the nodes of the receiver", || {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook input", "udp dport 7410-7500 counter drop");
        between(&net, &[robot().domain(0)], &[pc().domain(0)])
    };
    cyclone_that_is_sent_nothing: ServiceSilent, "a node of Cyclone DDS, whose host drops what is sent to it alone", || {
        let net = Net::new();
        nft(&net.sender, "inet", "hook input", "udp dport != 7400 counter drop");
        let _robot = Cyclone::start(&net.sender, 0, "", &["w:rt/scan"]);
        examine_for(&net.receiver, "10.9.0.1", &patiently())
    };
    cyclone_in_another_domain: DifferentDdsDomain, "nodes of Cyclone DDS in domain 5, and in 0 on the receiver", || {
        let net = Net::new();
        let _robot = Cyclone::start(&net.sender, 5, "", &["w:rt/scan"]);
        let _pc = Cyclone::start(&net.receiver, 0, "", &["r:rt/scan"]);
        examine_for(&net.receiver, "rt/scan", &briefly())
    };
    cyclone_on_the_wrong_interface: AnnouncedElsewhere, "a node of Cyclone DDS on the receiver is restricted to `eth1` (CYCLONEDDS_URI)", || {
        let net = Net::new();
        let _second = net.second_lan();
        let _robot = Cyclone::start(&net.sender, 0, "", &["w:rt/scan"]);
        let _pc = Cyclone::start(&net.receiver, 0, "eth1", &["r:rt/scan"]);
        examine_for(&net.receiver, "10.9.0.1", &briefly())
    };
    cyclone_on_loopback: AnnouncedElsewhere, "a node of Cyclone DDS on the receiver is restricted to this host (ROS_LOCALHOST_ONLY)", || {
        let net = Net::new();
        let _robot = Cyclone::start(&net.sender, 0, "", &["w:rt/scan"]);
        let _pc = Cyclone::start(&net.receiver, 0, "lo", &["r:rt/scan"]);
        examine_for(&net.receiver, "10.9.0.1", &briefly())
    };
    cyclone_in_a_domain_that_is_not_asked: DifferentDdsDomain, "nodes of Cyclone DDS in domain 42, and in 0 on the receiver, whose topic is examined", || {
        nodes_of_cyclone((42, ""), (0, ""), "/scan")
    };
    own_cyclone_in_a_domain_that_is_not_asked: DifferentDdsDomain, "nodes of Cyclone DDS in domain 0, and in 42 on the receiver", || {
        nodes_of_cyclone((0, ""), (42, ""), "ros")
    };
    cyclone_that_is_restricted_to_its_host: NotAnnounced, "a node of Cyclone DDS restricted to its host, whose topic a node on the receiver reads", || {
        nodes_of_cyclone((0, "lo"), (0, ""), "/scan")
    };
    cyclones_behind_a_filter: AnswersDropped, "`nft` input rule for all that is sent to the receiver alone, nodes of Cyclone DDS on both, whose topic is examined", || {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook input", "ip daddr 10.9.0.2 udp dport 1024-65535 counter drop");
        let _robot = Cyclone::start(&net.sender, 0, "", &["w:rt/scan"]);
        let _pc = Cyclone::start(&net.receiver, 0, "", &["r:rt/scan"]);
        examine_for(&net.receiver, "/scan", &patiently())
    };
    cyclones_on_one_host: DifferentDdsDomain, "two nodes of Cyclone DDS on the receiver, in domains 0 and 3", || {
        let net = Net::new();
        let _talker = Cyclone::start(&net.receiver, 3, "", &["w:rt/scan"]);
        let _listener = Cyclone::start(&net.receiver, 0, "", &["r:rt/scan"]);
        examine_for(&net.receiver, "/scan", &patiently())
    };
    shorter_deadline: DdsMismatch, "a reader on the receiver requests a sample each 100 ms, a writer promises none", || {
        let reader = pc().reader("rt/scan", 2).parameter(0x23, &[0, 0, 0, 0, 0x99, 0x99, 0x99, 0x19]);
        examined(&[robot(), robot().writer("rt/scan", 2)], &[pc(), reader])
    };
    manual_liveliness: DdsMismatch, "a reader on the receiver requests signs of life by topic, a writer gives automatic ones", || {
        let reader = pc().reader("rt/scan", 2).parameter(0x1b, &[&2_u32.to_le_bytes()[..], &[0xff; 8]].concat());
        examined(&[robot(), robot().writer("rt/scan", 2)], &[pc(), reader])
    };
    exclusive_ownership: DdsMismatch, "a writer owns a topic alone, a reader on the receiver shares it", || {
        let writer = robot().writer("rt/scan", 2).parameter(0x1f, &1_u32.to_le_bytes());
        examined(&[robot(), writer], &[pc(), pc().reader("rt/scan", 2)])
    };
    other_destination_order: DdsMismatch, "a reader on the receiver orders samples by the time of the writer, which does not offer that", || {
        let reader = pc().reader("rt/scan", 2).parameter(0x25, &1_u32.to_le_bytes());
        examined(&[robot(), robot().writer("rt/scan", 2)], &[pc(), reader])
    };
    other_encoding: DdsMismatch, "a writer encodes by XCDR2, a reader on the receiver decodes XCDR1", || {
        let writer = robot().writer("rt/scan", 2).parameter(0x73, &[1, 0, 0, 0, 2, 0, 0, 0]);
        examined(&[robot(), writer], &[pc(), pc().reader("rt/scan", 2)])
    };
    other_namespace: DdsMismatch, "a writer of `/robot/scan`, a reader on the receiver of `/scan`", || {
        let net = Net::new();
        let _robot = announce(&net.sender, "eth0", &[robot(), robot().writer("rt/robot/scan", 2)]);
        let _pc = announce(&net.receiver, "eth0", &[pc(), pc().reader("rt/scan", 2)]);
        examine_for(&net.receiver, "/scan", &briefly())
    };
    nobody_writes: NotAnnounced, "a topic has readers on both hosts, and no writer", || {
        let net = Net::new();
        let _robot = announce(&net.sender, "eth0", &[robot(), robot().reader("rt/scan", 2)]);
        let _pc = announce(&net.receiver, "eth0", &[pc(), pc().reader("rt/scan", 2)]);
        examine_for(&net.receiver, "/scan", &briefly())
    };
    cyclone_with_a_tag: DifferentDdsDomain, "a node of Cyclone DDS with a domain tag, whose topic a node on the receiver reads", || {
        let often = "<SPDPInterval>500 ms</SPDPInterval>";
        let [there, here] = ["<Tag>alpha</Tag>", ""].map(|tag| format!("<Discovery>{tag}{often}</Discovery>"));
        cyclones(&there, &here, "/scan")
    };
    cyclone_with_an_external_address: UnreachableAddress, "a node of Cyclone DDS announces the address of a translation, to which no route leads", || {
        cyclones("<General><ExternalNetworkAddress>192.0.2.7</ExternalNetworkAddress></General>", "", "10.9.0.1")
    };
    topic_of_an_external_address: UnreachableAddress, "the same, and its topic is examined, which a node on the receiver reads", || {
        cyclones("<General><ExternalNetworkAddress>192.0.2.7</ExternalNetworkAddress></General>", "", "/scan")
    };
    topic_behind_a_relay: UnreachableAddress, "a node announces 192.0.2.7, and nothing of its topics, which a node on the receiver reads", || {
        let net = Net::new();
        let _robot = announce(&net.sender, "eth0", &[node(1).unicast("192.0.2.7")]);
        let _pc = announce(&net.receiver, "eth0", &[pc(), pc().reader("rt/scan", 2)]);
        examine_for(&net.receiver, "/scan", &briefly())
    };
    ends_in_two_networks: AnnouncedElsewhere, "a writer in the network of `eth0` of the receiver, a reader in that of `eth1`", || {
        let net = Net::new();
        let (second, _port) = net.second_lan();
        let (host, other) = (net.lab.host("other").unwrap(), node(3).unicast("10.8.0.3"));
        let _other_port = host.connect("eth0", &second, &["10.8.0.3/24"]).unwrap();
        let _robot = announce(&net.sender, "eth0", &[robot(), robot().writer("rt/scan", 2)]);
        let _pc = announce(&host, "eth0", &[other.clone(), other.reader("rt/scan", 2)]);
        examine_for(&net.receiver, "/scan", &briefly())
    };
    cyclone_by_ipv6: UnreachableAddress, "a node of Cyclone DDS uses IPv6 only, one on the receiver IPv4 only", || {
        cyclones("<General><Transport>udp6</Transport></General>", "", "/scan")
    };
    own_cyclone_by_ipv6: UnreachableAddress, "a node of Cyclone DDS on the receiver uses IPv6 only, another one IPv4 only", || {
        nodes_of_cyclone((0, ""), (0, "<General><Transport>udp6</Transport></General>"), "/scan")
    };
    cyclone_without_multicast: NotAnnounced, "a node of Cyclone DDS may not use multicast, and a node on the receiver reads its topic", || {
        cyclones("<General><AllowMulticast>false</AllowMulticast></General>", "", "/scan")
    };
    own_cyclone_without_multicast: AnnouncedElsewhere, "a node of Cyclone DDS on the receiver may not use multicast", || {
        cyclones("", "<General><AllowMulticast>false</AllowMulticast></General>", "10.9.0.1")
    };
    cyclones_behind_a_switch_that_drops_the_group: NotAnnounced, "a switch drops the group of DDS, nodes of Cyclone DDS on both sides", || {
        let net = Net::new();
        nft(&net.lan.inside(), "bridge", "hook forward", "ip daddr 239.255.0.1 counter drop");
        cyclones_in(&net, "", "", "/scan")
    };
    own_cyclone_does_not_leave: FirewallDropsOutput, "`nft` output rule of the receiver for the group of DDS, nodes of Cyclone DDS on both", || {
        let net = Net::new();
        nft(&net.receiver, "inet", "hook output", "ip daddr 239.255.0.1 counter drop");
        cyclones_in(&net, "", "", "/scan")
    };
    own_nodes_elsewhere: AnnouncedElsewhere, "the nodes of the receiver use `eth1`, a node is announced on `eth0`", || {
        let net = Net::new();
        let other = net.lab.switch("other").unwrap();
        let _second = net.receiver.connect("eth1", &other, &["10.8.0.2/24"]).unwrap();
        let _robot = announce(&net.sender, "eth0", &[robot()]);
        let _pc = announce(&net.receiver, "eth1", &[pc()]);
        examine(&net.receiver)
    };
}

/// The discovery data of a participant, or of a reader or writer of it.
#[derive(Clone)]
struct Sample {
    prefix: [u8; 12],
    writer: u32,
    parameters: Vec<u8>,
}

fn node(number: u8) -> Sample {
    let sample = Sample { prefix: [number; 12], writer: 0x0001_00c2, parameters: Vec::new() };
    sample.guid(0x50, 0x0000_01c1).text(0x62, if number == 1 { "talker" } else { "other" })
}

fn robot() -> Sample {
    node(1).unicast("10.9.0.1")
}

fn pc() -> Sample {
    node(2).unicast("10.9.0.2")
}

impl Sample {
    fn parameter(mut self, id: u16, value: &[u8]) -> Self {
        let padded = value.len().next_multiple_of(4);
        self.parameters.extend(id.to_le_bytes());
        self.parameters.extend((padded as u16).to_le_bytes());
        self.parameters.extend_from_slice(value);
        self.parameters.extend(std::iter::repeat_n(0, padded - value.len()));
        self
    }

    fn guid(self, id: u16, entity: u32) -> Self {
        let value = [&self.prefix[..], &entity.to_be_bytes()].concat();
        self.parameter(id, &value)
    }

    fn text(self, id: u16, text: &str) -> Self {
        let value = [&(text.len() as u32 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
        self.parameter(id, &value)
    }

    fn domain(self, domain: u32) -> Self {
        self.parameter(0x0f, &domain.to_le_bytes())
    }

    fn unicast(self, address: &str) -> Self {
        match address.parse().unwrap() {
            IpAddr::V4(address) => self.locator(1, address.to_ipv6_compatible().octets()),
            IpAddr::V6(address) => self.locator(2, address.octets()),
        }
    }

    fn locator(self, kind: u32, address: [u8; 16]) -> Self {
        self.parameter(0x31, &[&kind.to_le_bytes()[..], &7411_u32.to_le_bytes(), &address].concat())
    }

    /// Returns a writer or reader of a topic. Reliability is 1 for best effort, 2 for reliable.
    fn end(&self, writer: u32, entity: u32, topic: &str, reliability: u32) -> Self {
        let end = Self { prefix: self.prefix, writer, parameters: Vec::new() };
        let end = end.guid(0x5a, entity).text(0x05, topic).text(0x07, "demo::Scan");
        end.parameter(0x1a, &[&reliability.to_le_bytes()[..], &[0; 8]].concat())
    }

    fn writer(&self, topic: &str, reliability: u32) -> Self {
        self.end(0x0000_03c2, 0x103, topic, reliability)
    }

    fn reader(&self, topic: &str, reliability: u32) -> Self {
        self.end(0x0000_04c2, 0x104, topic, reliability)
    }

    fn submessage(&self) -> Vec<u8> {
        let mut body = vec![0, 0, 16, 0, 0, 0, 0, 0];
        body.extend(self.writer.to_be_bytes());
        body.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0]);
        body.extend_from_slice(&self.parameters);
        body.extend([1, 0, 0, 0]);
        [&[0x15, 5][..], &(body.len() as u16).to_le_bytes(), &body].concat()
    }
}

/// Announces a participant and what belongs to it on an interface, until it is dropped.
fn announce(host: &Host, interface: &'static str, samples: &[Sample]) -> Stream {
    let open = move || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        socket.bind_device(Some(interface.as_bytes())).unwrap();
        UdpSocket::from(socket)
    };
    let mut message = b"RTPS\x02\x05\x01\x10".to_vec();
    message.extend(samples[0].prefix);
    samples.iter().for_each(|sample| message.extend(sample.submessage()));
    Stream::of(host.run(open).unwrap(), (Ipv4Addr::new(239, 255, 0, 1), 7400).into(), move |_| {
        message.clone()
    })
}

fn examine(host: &Host) -> Report {
    examine_for(host, "talker", &briefly())
}

fn examine_for(host: &Host, name: &str, options: &Options) -> Report {
    let target = ServiceTarget::new(name);
    examine_and_treat(host, || {
        on(host, || examine_service(&target, options, &mut |_| ControlFlow::Continue(())).unwrap())
    })
}

/// Cyclone DDS announces itself every 8 s.
fn patiently() -> Options {
    briefly().listening(Duration::from_secs(5))
}

/// Looks for this name, with a writer on the sender and a reader on the receiver, each in this domain and on this interface.
fn nodes_of_cyclone(there: (u32, &str), here: (u32, &str), name: &str) -> Report {
    let net = Net::new();
    let _both = Cyclone::start_both(&net, there, here);
    examine_for(&net.receiver, name, &patiently())
}

/// Looks for this name, with a writer on the sender and a reader on the receiver, each with these settings of Cyclone DDS.
fn cyclones(there: &str, here: &str, name: &str) -> Report {
    cyclones_in(&Net::new(), there, here, name)
}

fn cyclones_in(net: &Net, there: &str, here: &str, name: &str) -> Report {
    let _both = Cyclone::start_both(net, (0, there), (0, here));
    examine_for(&net.receiver, name, &briefly())
}

/// Looks for the node `talker` of the sender, beside these nodes of the receiver.
fn examined(there: &[Sample], here: &[Sample]) -> Report {
    between(&Net::new(), there, here)
}

fn between(net: &Net, there: &[Sample], here: &[Sample]) -> Report {
    let _there = announce(&net.sender, "eth0", there);
    let _here = announce(&net.receiver, "eth0", here);
    examine(&net.receiver)
}

/// A participant of Cyclone DDS, which has writers and readers of topics.
struct Cyclone(Child);

impl Cyclone {
    /// Starts a participant of a domain, restricted to an interface or with settings unless that is empty, with `w:TOPIC` or
    /// `r:TOPIC` for each writer and reader.
    fn start(host: &Host, domain: u32, settings: &str, ends: &[&str]) -> Self {
        const NODE: &str = r#"
import sys
from dataclasses import dataclass
from cyclonedds.domain import DomainParticipant
from cyclonedds.topic import Topic
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.idl import IdlStruct
@dataclass
class Sample(IdlStruct, typename="demo::Sample"):
    text: str
participant = DomainParticipant(int(sys.argv[1]))
topics = {name: Topic(participant, name, Sample) for name in {arg[2:] for arg in sys.argv[2:]}}
ends = [(DataWriter if arg[0] == "w" else DataReader)(participant, topics[arg[2:]]) for arg in sys.argv[2:]]
print("up", flush=True)
sys.stdin.read()
"#;
        let mut command = host.command(python()).unwrap();
        let settings = match settings.starts_with('<') || settings.is_empty() {
            true => settings.to_owned(),
            false => {
                format!("<General><Interfaces><NetworkInterface name='{settings}'/></Interfaces></General>")
            }
        };
        command.env("CYCLONEDDS_URI", format!("<CycloneDDS><Domain>{settings}</Domain></CycloneDDS>"));
        command.args(["-c", NODE, &domain.to_string()]).args(ends);
        Self::of(command)
    }

    /// Starts a writer on the sender and a reader on the receiver, each in this domain and with these settings.
    fn start_both(net: &Net, there: (u32, &str), here: (u32, &str)) -> [Self; 2] {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| Self::start(&net.sender, there.0, there.1, &["w:rt/scan"]));
            let here = Self::start(&net.receiver, here.0, here.1, &["r:rt/scan"]);
            [there.join().unwrap(), here]
        })
    }

    /// Starts a program, and waits until it is up.
    fn of(mut command: mcast_lab::Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        Self(child)
    }
}

impl Drop for Cyclone {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Returns the Python of the environment that `cargo verify` makes for foreign programs.
pub(crate) fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/engines/bin/python")
}

/// Returns whether Cyclone DDS is installed; prints a note if not.
pub(crate) fn has_cyclone() -> bool {
    let output = std::process::Command::new(python()).args(["-c", "import cyclonedds"]).output();
    let is_installed = output.is_ok_and(|output| output.status.success());
    if !is_installed {
        mcast_lab::skip("this test needs cyclonedds (`cargo verify --only has:engines`)");
    }
    is_installed
}

#[test]
pub(crate) fn nodes_of_one_domain_whose_topics_match() {
    if !has_programs() {
        return;
    }
    let there = [robot().domain(0), robot().writer("rt/scan", 2)];
    let here = [pc().domain(0), pc().reader("rt/scan", 2)];
    assert_healthy(&examined(&there, &here));
}

#[test]
fn nodes_of_cyclone_dds_whose_topics_match() {
    if !has_programs() || !has_cyclone() {
        return;
    }
    let net = Net::new();
    let _robot = Cyclone::start(&net.sender, 0, "", &["w:rt/scan"]);
    let _pc = Cyclone::start(&net.receiver, 0, "", &["r:rt/scan"]);
    for name in ["10.9.0.1", "/scan", "dds"] {
        assert_healthy(&examine_for(&net.receiver, name, &patiently()));
    }
}

/// A writer offers more of each policy than the reader requests, and a node of another domain is there.
#[test]
pub(crate) fn writers_that_offer_more_than_readers_request() {
    if !has_programs() {
        return;
    }
    let long = |kind: u32, seconds: u32| [kind, seconds, 0].map(u32::to_le_bytes).concat();
    let writer = robot().writer("rt/scan", 2).parameter(0x1b, &long(2, 1)).parameter(0x23, &long(1, 0)[..8]);
    let writer = writer.parameter(0x1d, &1_u32.to_le_bytes()).parameter(0x25, &1_u32.to_le_bytes());
    let reader = pc().reader("rt/scan", 1).parameter(0x1b, &long(1, 2)).parameter(0x23, &long(2, 0)[..8]);
    let reader = reader.parameter(0x73, &[2, 0, 0, 0, 2, 0, 0, 0]);
    let net = Net::new();
    let _other = announce(&net.sender, "eth0", &[node(3).unicast("10.9.0.1").text(0x62, "third").domain(5)]);
    assert_healthy(&between(&net, &[robot(), writer], &[pc(), reader]));
}

/// Announcements by multicast and samples by unicast, and another node of the same host in a domain of its own.
#[test]
pub(crate) fn nodes_of_cyclone_dds_with_unusual_settings() {
    if !has_programs() || !has_cyclone() {
        return;
    }
    let settings = "<General><AllowMulticast>spdp</AllowMulticast></General>";
    let net = Net::new();
    let _third = Cyclone::start(&net.sender, 5, "", &["w:rt/map"]);
    assert_healthy(&cyclones_in(&net, settings, settings, "/scan"));
}

/// It has joined the group on the network, so that it is not restricted to its host.
#[test]
fn a_node_of_the_receiver_that_was_not_heard_yet_is_an_open_question() {
    if !has_programs() {
        return;
    }
    const SILENT: &str = r#"
import socket, sys, threading
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for s, port in zip(sockets, (7400, 7410)):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", port))
sockets[0].setsockopt(
    socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.255.0.1") + socket.inet_aton(sys.argv[1])
)
def read(s):
    while True:
        s.recv(9000)
for s in sockets:
    threading.Thread(target=read, args=(s,), daemon=True).start()
print("up", flush=True)
sys.stdin.read()
"#;
    let net = Net::new();
    let _robot = announce(&net.sender, "eth0", &[robot().domain(0)]);
    let examined = |own| {
        let mut command = net.receiver.command("python3").unwrap();
        command.args(["-c", SILENT, own]);
        let _node = Cyclone::of(command);
        examine(&net.receiver)
    };
    let report = examined("10.9.0.2");
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.severity > Severity::Note).collect();
    assert!(found.is_empty() && report.verdict() == Verdict::Unknown, "{report:#?}");
    let questions = format!("{:?}", report.open_questions);
    assert!(questions.contains("what python3 ("), "{questions}");
    let restricted = examined("127.0.0.1");
    assert!(
        restricted.findings.iter().any(|finding| finding.id == Id::AnnouncedElsewhere),
        "{restricted:#?}"
    );
}

/// They do not answer the doctor, which has no tag.
#[test]
fn topics_of_nodes_with_one_tag_are_an_open_question() {
    if !has_programs() {
        return;
    }
    let net = Net::new();
    let _robot = announce(&net.sender, "eth0", &[robot().text(0x4014, "alpha")]);
    let _pc = announce(&net.receiver, "eth0", &[pc().text(0x4014, "alpha")]);
    let report = examine_for(&net.receiver, "/scan", &briefly());
    assert_healthy(&report);
    let questions = format!("{:?}", report.open_questions);
    assert!(questions.contains("the domain tag \\\"alpha\\\""), "{questions}");
}
