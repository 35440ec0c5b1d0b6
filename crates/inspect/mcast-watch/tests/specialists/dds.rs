//! Participants and topics, as Cyclone DDS lists them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab};
use mcast_sim::Dice;
use mcast_watch::Discovery;
use mcast_watch::discovery::{
    DdsMismatch, DdsObstacle, DdsPolicy, DdsSetting, Discovered, DiscoveredKind, DiscoveryProtocol,
    dds_obstacles,
};

use super::networks::{for_networks, is_short};
use super::{Conversation, agree, discover, entries, field};

/// A participant: the domain, and `w:TOPIC` or `r:TOPIC` for each writer and reader. It ends with its standard input.
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
print(participant.guid, flush=True)
sys.stdin.read()
# Says goodbye.
del ends, topics, participant
"#;

/// Prints its own identity, and for each line that it reads what it sees.
const SPECIALIST: &str = r#"
import sys
from cyclonedds.domain import DomainParticipant
from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsParticipant
from cyclonedds.builtin import BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription
from cyclonedds.core import InstanceState
participant = DomainParticipant(int(sys.argv[1]))
kinds = [("participant", BuiltinTopicDcpsParticipant), ("writer", BuiltinTopicDcpsPublication),
         ("reader", BuiltinTopicDcpsSubscription)]
readers = [(name, BuiltinDataReader(participant, kind)) for name, kind in kinds]
print(participant.guid, flush=True)
for line in sys.stdin:
    seen = []
    for name, reader in readers:
        for sample in reader.read(N=1000):
            if sample.sample_info.instance_state == InstanceState.Alive:
                topic = "" if name == "participant" else sample.topic_name + " " + sample.type_name
                seen.append(f"{name} {sample.key} {topic}".strip())
    print("|".join(seen), flush=True)
"#;

/// Participants of other implementations, with endpoints of their own.
const FAST_DDS: &str = r#"
import sys
import pi_fastdds
node = pi_fastdds.Comm({"device_name": "robot", "device_id": 7})
print("up", flush=True)
sys.stdin.read()
"#;
const DUST_DDS: &str = r#"
import sys
import dust_dds
node = dust_dds.DomainParticipantFactory.get_instance().create_participant(0)
print("up", flush=True)
sys.stdin.read()
"#;

/// Returns an interpreter that has the libraries, or skips the test.
fn python(libraries: &str) -> Option<String> {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/engines/bin/python");
    let candidates =
        [std::env::var("MCAST_DDS_PYTHON").ok(), Some(engines.display().to_string()), Some("python3".into())];
    let has_library = |python: &String| {
        Command::new(python)
            .args(["-c", "import cyclonedds"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().flatten().find(has_library);
    if found.is_none() {
        mcast_lab::skip(format_args!("DDS beside others: Python's {libraries} is not installed"));
    }
    found
}

fn node(host: &Host, python: &str, domain: u32, ends: &[String]) -> Conversation {
    let domain = domain.to_string();
    let ends = ends.iter().map(String::as_str);
    let arguments: Vec<_> = ["-c", NODE, &domain].into_iter().chain(ends).collect();
    let mut node = Conversation::start(host, python, &arguments);
    node.line();
    node
}

fn draw_ends(dice: &mut Dice) -> Vec<String> {
    let count = dice.below(4);
    (0..count)
        .map(|_| format!("{}:rt/topic{}", if dice.chance(0.5) { "w" } else { "r" }, dice.below(3)))
        .collect()
}

/// Waits until both list the same, with this number of participants and at least this number of others, and returns how long that took.
fn agree_on(
    what: &str,
    discovery: &Discovery,
    specialist: &mut Conversation,
    own: &str,
    (participants, others): (usize, usize),
) -> Duration {
    agree(
        what,
        discovery,
        Duration::from_secs(20),
        || {
            let seen = specialist.ask().replace('-', "");
            // Without itself, and without the observer, whose number is of no vendor.
            let is_other =
                |line: &&str| !line.is_empty() && !line.contains(&own[..24]) && !line.contains(" 0000");
            seen.split('|').filter(is_other).map(str::to_owned).collect::<BTreeSet<String>>()
        },
        || {
            let all = entries(discovery, DiscoveryProtocol::Rtps).into_iter();
            let all = all.filter(|entry| !entry.key.id.to_string().starts_with(&own[..24]));
            all.map(|entry| match entry.kind {
                DiscoveredKind::Participant => format!("participant {}000001c1", entry.key.id),
                _ => {
                    let id = entry.key.id.to_string().replace(':', "");
                    format!("{} {id} {} {}", field(&entry, "role"), entry.name, entry.service)
                }
            })
            .collect()
        },
        |seen| {
            let count = seen.iter().filter(|line| line.starts_with("participant")).count();
            count == participants && seen.len() - count >= others
        },
    )
}

/// Draws a network, in which participants appear and leave, and compares what both see after each change.
fn both_list_the_same(seed: u64) {
    let Some(python) = python("cyclonedds") else { return };
    let mut dice = Dice::new(seed);
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let hosts: Vec<Host> = ["a", "b", "c"].map(|name| lab.host(name).unwrap()).into();
    for (number, host) in hosts.iter().enumerate() {
        host.connect("eth0", &lan, &[&format!("10.0.0.{}/24", number + 1)]).unwrap();
        host.add_route("224.0.0.0/4", "eth0").unwrap();
    }
    let domain = dice.below(2) as u32;
    let mut nodes: Vec<Conversation> = Vec::new();
    // Those that were there before know nothing of the observer until it asks.
    for _ in 0..1 + dice.below(3) {
        let host = &hosts[dice.below(2) as usize];
        nodes.push(node(host, &python, domain, &draw_ends(&mut dice)));
    }
    let mut specialist = Conversation::start(&hosts[0], &python, &["-c", SPECIALIST, &domain.to_string()]);
    let own = specialist.line().replace('-', "");
    let discovery = discover(&hosts[2], true);
    for step in 0..if is_short() { 3 } else { 4 } {
        let count = nodes.len();
        if step == 0 {
            let start = Instant::now();
            let participants = || {
                let all = entries(&discovery, DiscoveryProtocol::Rtps);
                all.iter().filter(|entry| entry.kind == DiscoveredKind::Participant).count()
            };
            // The specialist is one, too.
            while participants() < count + 1 {
                assert!(start.elapsed() < Duration::from_secs(10), "{} of {count} answered", participants());
                drop(discovery.next_event(Some(Duration::from_millis(50))));
            }
            assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
            println!("seed {seed}: {count} participants answered within {:?}", start.elapsed());
        }
        let what = format!("seed {seed}, domain {domain}, step {step}, {count} participants");
        let took = agree_on(&what, &discovery, &mut specialist, &own, (count, 0));
        println!("seed {seed}, step {step}: {count} participants, agreed after {took:?}");
        if step == 0 {
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        if dice.chance(0.5) && !nodes.is_empty() {
            let gone = dice.below(nodes.len() as u64) as usize;
            let mut node = nodes.remove(gone).child;
            // One that crashes is listed until its lease of 10 s ends.
            if !is_short() && dice.chance(0.5) {
                node.signal(9).unwrap();
                node.wait().unwrap();
            } else {
                assert!(node.wait().unwrap().success());
            }
        } else {
            nodes.push(node(&hosts[dice.below(2) as usize], &python, domain, &draw_ends(&mut dice)));
        }
    }
}

#[test]
fn participants_and_topics_are_those_that_cyclone_dds_lists_in_networks_drawn_by_seed() {
    for_networks(2, both_list_the_same);
}

#[test]
fn participants_of_other_implementations_answer_and_are_those_that_cyclone_dds_lists() {
    let Some(python) = python("cyclonedds, dust_dds, pi_fastdds") else { return };
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| lab.host(name).unwrap());
    for (number, host) in [&a, &b, &c].into_iter().enumerate() {
        host.connect("eth0", &lan, &[&format!("10.0.0.{}/24", number + 1)]).unwrap();
        host.add_route("224.0.0.0/4", "eth0").unwrap();
    }
    let mut nodes = [(&a, FAST_DDS), (&b, DUST_DDS)]
        .map(|(host, program)| Conversation::start(host, &python, &["-c", program]));
    for node in &mut nodes {
        node.line();
    }
    let mut specialist = Conversation::start(&b, &python, &["-c", SPECIALIST, "0"]);
    let own = specialist.line().replace('-', "");
    let discovery = discover(&c, true);
    let took = agree_on("other implementations", &discovery, &mut specialist, &own, (2, 6));
    let all = entries(&discovery, DiscoveryProtocol::Rtps);
    let vendors: BTreeSet<_> = all.iter().map(|entry| field(entry, "vendor")).collect();
    assert!(vendors.contains("Fast DDS") && vendors.contains("Dust DDS"), "{vendors:?}");
    println!("{} entries, agreed after {took:?}", all.len());
}

/// Nodes that are restricted to IPv6 do not hear what is sent by IPv4. They list their topics only to participants that ask.
#[test]
fn participants_by_ipv6_answer_with_their_topics() {
    let Some(python) = python("cyclonedds") else { return };
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let [robot, observer] = ["robot", "observer"].map(|name| lab.host(name).unwrap());
    for (number, host) in [&robot, &observer].into_iter().enumerate() {
        host.connect("eth0", &lan, &[&format!("fd00::{}/64", number + 1)]).unwrap();
    }
    let uri = "CYCLONEDDS_URI=<CycloneDDS><Domain><General><Transport>udp6</Transport></General></Domain></CycloneDDS>";
    let mut node = Conversation::start(&robot, "env", &[uri, &python, "-c", NODE, "0", "w:rt/scan"]);
    node.line();
    let (discovery, start) = (discover(&observer, true), Instant::now());
    while !entries(&discovery, DiscoveryProtocol::Rtps)
        .iter()
        .any(|entry| entry.name.to_string() == "rt/scan")
    {
        assert!(start.elapsed() < Duration::from_secs(5), "{:#?}", discovery.entries());
        drop(discovery.next_event(Some(Duration::from_millis(50))));
    }
}

/// A writer that waits for a reader announces what it has to the group, and to nobody in particular.
#[test]
fn topics_are_found_beside_a_participant_that_does_not_answer() {
    let Some(python) = python("cyclonedds") else { return };
    if !mcast_lab::has_program("nft", "--version", "participants of DDS that hear nothing") {
        return;
    }
    let lab = Lab::new().unwrap();
    let [robot, deaf, observer] = robot_pc_and_observer(&lab);
    let rules =
        "add table ip deaf; add chain ip deaf input { type filter hook input priority 0; policy drop; }";
    assert!(deaf.command("nft").unwrap().arg(rules).status().unwrap().success());
    let seen = discover(&observer, false);
    let _nodes = [(&robot, "w:rt/scan"), (&deaf, "r:rt/scan")]
        .map(|(host, end)| node(host, &python, 0, &[end.to_owned()]));
    // The robot knows of the other one before it is asked.
    obstacles(&seen, 0);
    let (discovery, start) = (discover(&observer, true), Instant::now());
    let is_scan =
        |entry: &Discovered| entry.name.to_string() == "rt/scan" && field(entry, "role") == "writer";
    while !entries(&discovery, DiscoveryProtocol::Rtps).iter().any(is_scan) {
        assert!(start.elapsed() < Duration::from_secs(10), "{:#?}", discovery.entries());
        drop(discovery.next_event(Some(Duration::from_millis(50))));
    }
    println!("found after {:?}", start.elapsed());
}

/// Hosts on one network: a robot, a PC and an observer.
fn robot_pc_and_observer(lab: &Lab) -> [Host; 3] {
    let lan = lab.switch("lan").unwrap();
    let hosts = ["robot", "pc", "observer"].map(|name| lab.host(name).unwrap());
    for (number, host) in hosts.iter().enumerate() {
        host.connect("eth0", &lan, &[&format!("10.0.0.{}/24", number + 1)]).unwrap();
        host.add_route("224.0.0.0/4", "eth0").unwrap();
    }
    hosts
}

/// Returns what keeps the participants of the robot and the PC apart, once both and this number of their ends are known.
fn obstacles(discovery: &Discovery, ends: usize) -> (Vec<DdsObstacle>, Discovered) {
    let start = Instant::now();
    loop {
        let all = entries(discovery, DiscoveryProtocol::Rtps);
        let of = |address: &str| {
            let address: std::net::IpAddr = address.parse().unwrap();
            let is_of = |entry: &&Discovered| entry.source.ip() == Some(address);
            all.iter().filter(is_of).find(|entry| entry.kind == DiscoveredKind::Participant)
        };
        let known = all.iter().filter(|entry| entry.kind == DiscoveredKind::Endpoint).count();
        if let (Some(robot), Some(pc)) = (of("10.0.0.1"), of("10.0.0.2"))
            && known >= ends
        {
            let is_on_link =
                |_: &Discovered, address: std::net::IpAddr| address.to_string().starts_with("10.0.0.");
            return (dds_obstacles(robot, pc, &all, is_on_link), robot.clone());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "only {all:#?}");
        drop(discovery.next_event(Some(Duration::from_millis(100))));
    }
}

#[test]
fn setting_that_is_printed_lets_a_pc_find_the_topics_of_a_robot_that_announces_a_wrong_address() {
    let Some(python) = python("cyclonedds") else { return };
    let lab = Lab::new().unwrap();
    let [robot, pc, observer] = robot_pc_and_observer(&lab);
    let start = |uri: &str| {
        let uri = format!("CYCLONEDDS_URI={uri}");
        let mut node = Conversation::start(&robot, "env", &[&uri, &python, "-c", NODE, "0", "w:rt/scan"]);
        node.line();
        node
    };
    let wrong = "<CycloneDDS><Domain><General><ExternalNetworkAddress>172.17.0.2</ExternalNetworkAddress>\
                 </General></Domain></CycloneDDS>";
    let node = start(wrong);
    let mut specialist = Conversation::start(&pc, &python, &["-c", SPECIALIST, "0"]);
    specialist.line();
    let discovery = discover(&observer, true);
    let (found, entry) = obstacles(&discovery, 0);
    let addresses = vec!["172.17.0.2".parse().unwrap()];
    assert_eq!(
        found,
        [DdsObstacle::Unreachable { participant: entry.dds().unwrap().participant, addresses }]
    );
    assert!(!specialist.ask().contains("rt/scan"), "the PC finds it at a wrong address");
    node.child.kill().unwrap();
    let setting = DdsSetting::of(&entry, entry.source.ip().unwrap()).unwrap().to_string();
    let uri = setting.strip_prefix("CYCLONEDDS_URI='").and_then(|uri| uri.strip_suffix('\'')).unwrap();
    let _node = start(uri);
    let begin = Instant::now();
    while !specialist.ask().contains("rt/scan") {
        assert!(begin.elapsed() < Duration::from_secs(10), "the PC does not find it with {setting}");
        drop(discovery.next_event(Some(Duration::from_millis(100))));
    }
}

#[test]
fn ends_of_a_topic_that_never_match_are_named() {
    let Some(python) = python("cyclonedds") else { return };
    let lab = Lab::new().unwrap();
    let [robot, pc, observer] = robot_pc_and_observer(&lab);
    // Writers keep nothing, and readers want what was sent before.
    let wanting = NODE.replace(
        "participant, topics[arg[2:]])",
        "participant, topics[arg[2:]], qos=Qos(Policy.Durability.TransientLocal if arg[0] == 'r' else Policy.Durability.Volatile))",
    );
    let wanting = format!("from cyclonedds.core import Qos, Policy\n{wanting}");
    let start = |host: &Host, end: &str| {
        let mut node = Conversation::start(host, &python, &["-c", &wanting, "0", end]);
        node.line();
        node
    };
    let _nodes = [start(&robot, "w:rt/map"), start(&pc, "r:rt/map")];
    let discovery = discover(&observer, true);
    let (found, _) = obstacles(&discovery, 2);
    let [writer, reader] = [0, 1].map(DdsPolicy::Durability);
    let reason = DdsMismatch::Policy { writer, reader };
    assert_eq!(found, [DdsObstacle::Topic { topic: "rt/map".into(), reason }]);
}
