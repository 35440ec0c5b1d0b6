//! Protocols that tshark dissects, beside programs that speak them: AVTP, LLMNR with scapy, and the first version of IGMP.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mcast_lab::SwitchOptions;
use mcast_sim::Dice;
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::DiscoveryOptions;

use crate::conversation::Conversation;
use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::{for_networks, is_short};
use crate::queriers::Members;
use crate::{PATIENCE, Running, Segment, field, found, has_modules, has_programs, is_root, wait_until};

/// Prints, for each line that it reads, the age in seconds and the fields of each packet that tshark has dissected, those that are equal
/// once: the filter and the fields are its arguments.
const DISSECTED: &str = r#"
import subprocess, sys, threading, time
fields = ["frame.time_epoch", *sys.argv[2:]]
capture = subprocess.Popen(["tcpdump", "-i", "eth0", "-U", "-w", "-", sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
# "listening on eth0", once it captures.
capture.stderr.readline()
threading.Thread(target=capture.stderr.read, daemon=True).start()
command = ["tshark", "-l", "-n", "-r", "-", "-T", "fields", "-E", "separator=;", "-E", "occurrence=f"]
shark = subprocess.Popen(command + [part for field in fields for part in ("-e", field)],
                         stdin=capture.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
print("ready", flush=True)
seen = {}
def read():
    for line in shark.stdout:
        epoch, _, rest = line.rstrip("\n").partition(";")
        seen.pop(rest, None)
        seen[rest] = float(epoch)
threading.Thread(target=read, daemon=True).start()
for line in sys.stdin:
    now = time.time()
    print("|".join(f"{now - epoch};{rest}" for rest, epoch in list(seen.items())), flush=True)
capture.terminate()
shark.terminate()
"#;

/// What tshark dissects on a host.
struct Shark(Conversation);

impl Shark {
    fn start(segment: &Segment, filter: &str, fields: &[&str]) -> Self {
        let arguments = [&["-c", DISSECTED, filter], fields].concat();
        let mut shark = Conversation::start(&segment.watcher, PYTHON, &arguments);
        assert_eq!(shark.line(), "ready");
        Self(shark)
    }

    /// Returns the age and the fields of packets, the oldest first.
    fn packets(&mut self) -> Vec<(Duration, Vec<String>)> {
        let shown = self.0.ask();
        let packets = shown.split('|').filter_map(|line| line.split_once(';'));
        let mut packets: Vec<_> = packets
            .map(|(age, rest)| {
                let age = Duration::from_secs_f64(age.parse::<f64>().unwrap().max(0.0));
                (age, rest.split(';').map(str::to_owned).collect())
            })
            .collect();
        packets.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        packets
    }
}

fn has_tshark(purpose: &str) -> bool {
    is_root(purpose) && has_programs(&["tshark", "tcpdump"])
}

const PYTHON: &str = "/usr/bin/python3";

/// Announces a device, unless its lifetime is 0, and sends streams: the number of the device, its lifetime in units of 2 s, the numbers of
/// streams that it can send and receive, its model, and the format of each stream.
const TALKER: &str = r#"
import signal, socket, struct, sys, time
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
own = link.getsockname()[4]
number, lifetime, talkers, listeners, model, *formats = map(int, sys.argv[1:])
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
def send(group, payload):
    link.send(bytes.fromhex(group) + own + b"\x22\xf0" + payload)
def announce(message):
    if lifetime:
        head = struct.pack("!BBHQQ", 0xfa, message, lifetime << 11 | 56, 0x1b92fffe000000 + number, model)
        rest = struct.pack("!IHHHHIIQB", 8, talkers, 0x4801, listeners, 0x4801, 0, 1, 0x1b92fffe0000ff, 0)
        send("91e0f0010000", (head + rest).ljust(68, b"\0"))
print("ready", flush=True)
beat = 0
while not ended:
    if beat % 5 == 0:
        announce(0)
    for index, kind in enumerate(formats):
        stream = 0x1b9200000000 + (number << 16) + index
        send("91e0f000fe%02x" % index, struct.pack("!BBBBQ", kind, 0x80, beat % 256, 0, stream).ljust(64, b"\0"))
    beat += 1
    time.sleep(0.05)
announce(1)
"#;

/// A device, and the formats of the streams that it sends.
#[derive(Clone)]
struct Talker {
    lifetime: u64,
    talkers: u64,
    listeners: u64,
    model: u64,
    formats: Vec<u64>,
}

/// Devices and streams of AVTP.
struct AvtpTalkers(Shark);

impl AvtpTalkers {
    /// The number of each format, its name, and the field in which tshark shows a stream of it.
    const FORMATS: [(u64, &'static str, &'static str); 4] = [
        (0, "IEC 61883", "iec61883.stream_id"),
        (2, "AAF audio", "aaf.stream_id"),
        (3, "compressed video", "cvf.stream_id"),
        (4, "clock reference", "crf.stream_id"),
    ];
    /// A stream without frames has ended.
    const STREAM: Duration = Duration::from_secs(10);
}

impl Peers for AvtpTalkers {
    type Peer = Talker;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Avtp];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    const LAPSES: Option<Duration> = Some(Duration::from_secs(11));
    const ANSWERS: bool = false;
    const SOCKETS: bool = false;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        let device = ["message_type", "entity_id", "entity_model_id", "valid_time"];
        let device = device.into_iter().chain(["talker_stream_sources", "listener_stream_sinks"]);
        let device = device.map(|name| format!("ieee17221.{name}"));
        let fields: Vec<String> = device.chain(Self::FORMATS.map(|(_, _, field)| field.to_owned())).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        Self(Shark::start(segment, "ether proto 0x22f0", &fields))
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> Talker {
        let formats: Vec<_> = (0..dice.below(3)).map(|_| dice.pick(&Self::FORMATS).0).collect();
        let is_device = formats.is_empty() || dice.chance(0.7);
        let lifetime = if is_device { 1 + dice.below(3) } else { 0 };
        let [talkers, listeners] = [(), ()].map(|()| dice.below(65));
        Talker { lifetime, talkers, listeners, model: dice.below(1 << 40), formats }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Talker) -> Running {
        let Talker { lifetime, talkers, listeners, model, formats } = peer;
        let number_of_device = number as u64;
        let all = [&number_of_device, lifetime, talkers, listeners, model].into_iter().chain(formats);
        let all: Vec<String> = all.map(ToString::to_string).collect();
        let arguments: Vec<&str> = ["-c", TALKER].into_iter().chain(all.iter().map(String::as_str)).collect();
        Running::ready(&segment.hosts[number], PYTHON, &arguments)
    }

    /// A stream ends without notice.
    fn says_goodbye(peer: &Talker) -> bool {
        peer.formats.is_empty()
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Talker)]) -> Facts {
        let mut facts = Facts::new();
        for (number, Talker { lifetime, talkers, listeners, model, formats }) in peers {
            if *lifetime > 0 {
                let device = 0x1b_92ff_fe00_0000 + number;
                facts.insert(format!(
                    "device {device:016x} of {model:016x}: sends {talkers}, receives {listeners}, for {} s",
                    2 * lifetime
                ));
            }
            for (index, format) in formats.iter().enumerate() {
                let stream = 0x1b92_0000_0000 + (number << 16) + index;
                let (_, name, _) = Self::FORMATS.iter().find(|(known, ..)| known == format).unwrap();
                facts.insert(format!("stream {stream:016x}: {name}"));
            }
        }
        facts
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let mut facts = Facts::new();
        for (age, fields) in self.0.packets() {
            let [message, device, model, valid, talkers, listeners, streams @ ..] = &fields[..] else {
                panic!("{fields:?}")
            };
            if !device.is_empty() {
                let device = format!("device {:016x} ", hex(device));
                // Later ones replace what was announced before.
                facts.retain(|fact| !fact.starts_with(&device));
                let is_departing = hex(message) == 1;
                let lifetime = 2 * valid.parse::<u64>().unwrap();
                if !is_departing && age < Duration::from_secs(lifetime) {
                    let model = hex(model);
                    facts.insert(format!(
                        "{device}of {model:016x}: sends {talkers}, receives {listeners}, for {lifetime} s"
                    ));
                }
            }
            for (stream, (_, name, _)) in streams.iter().zip(Self::FORMATS).filter(|(it, _)| !it.is_empty()) {
                let stream = format!("stream {:016x}: ", hex(stream));
                facts.retain(|fact| !fact.starts_with(&stream));
                if age < Self::STREAM {
                    facts.insert(stream + name);
                }
            }
        }
        facts
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let [model, talkers, listeners] =
            ["model", "talker streams", "listener streams"].map(|name| field(entry, name));
        let lifetime = entry.expires.unwrap().since(entry.last_seen).as_secs();
        vec![match model.is_empty() {
            true => format!("stream {}: {}", entry.name, field(entry, "format")),
            false => format!(
                "device {} of {model}: sends {talkers}, receives {listeners}, for {lifetime} s",
                entry.name
            ),
        }]
    }
}

#[test]
fn devices_and_streams_of_avtp_are_those_that_tshark_dissects_in_networks_drawn_by_seed() {
    if has_tshark("AVTP beside tshark") && has_modules(PYTHON, &["socket"]) {
        for_networks(2, both_list_the_same::<AvtpTalkers>);
    }
}

/// Answers for a name by LLMNR.
const RESPONDER: &str = r#"
import sys
from scapy.layers.llmnr import LLMNR_am, LLMNRQuery
name = sys.argv[1].encode() + b"."
class Responder(LLMNR_am):
    sniff_options = {"store": 0, "started_callback": lambda: print("ready", flush=True)}
    def is_request(self, request):
        return super().is_request(request) and request[LLMNRQuery].qd.qname == name
Responder(iface="eth0", match={name: (sys.argv[2], sys.argv[3])}, verbose=False)()
"#;

/// Returns the addresses with which hosts have answered for a name within this time.
fn answered(shark: &mut Shark, wanted: &str, within: Duration) -> Facts {
    let answers = shark.packets().into_iter().filter_map(|(age, fields)| {
        let [response, name, v4, v6] = &fields[..] else { panic!("{fields:?}") };
        let is_answer = ["1", "True"].contains(&response.as_str()) && name == wanted && age < within;
        is_answer.then(|| format!("{wanted} has {}", if v4.is_empty() { v6 } else { v4 }))
    });
    answers.collect()
}

/// Hosts appear, restart with another name and leave; after each of these, each name is asked for.
fn named_hosts_are_found(seed: u64) {
    const NAMES: [&str; 3] = ["printer", "PC7", "nas-2"];
    let mut dice = Dice::new(seed);
    let segment = Segment::new(3, if seed % 3 == 2 { 0.1 } else { 0.0 }, seed);
    let fields = ["dns.flags.response", "dns.resp.name", "dns.a", "dns.aaaa"];
    let mut shark = Shark::start(&segment, "udp port 5355", &fields);
    let mut running: [Option<(&str, Running)>; 3] = [const { None }; 3];
    for step in 0..if is_short() { 3 } else { 6 } {
        let number = dice.below(3) as usize;
        let was_there = running[number].take().is_some();
        if !was_there || dice.chance(0.5) {
            let used: Vec<&str> = running.iter().flatten().map(|(name, _)| *name).collect();
            let free: Vec<&str> = NAMES.into_iter().filter(|name| !used.contains(name)).collect();
            let (name, last) = (dice.pick(&free), number + 1);
            let arguments = ["-c", RESPONDER, name, &format!("10.0.0.{last}"), &format!("fd00::{last}")];
            let program = Running::ready(&segment.hosts[number], PYTHON, &arguments);
            running[number] = Some((name, program));
        }
        // Those that answer are asked for last, so that what others would have answered has arrived.
        let mut names: Vec<(&str, Facts)> = Vec::new();
        for name in NAMES {
            let holder = running.iter().position(|it| it.as_ref().is_some_and(|(held, _)| *held == name));
            let addresses =
                holder.iter().flat_map(|it| [format!("10.0.0.{}", it + 1), format!("fd00::{}", it + 1)]);
            names.push((name, addresses.map(|address| format!("{name} has {address}")).collect()));
        }
        names.sort_by_key(|(_, expected)| expected.len());
        let begin = Instant::now();
        let asked: Vec<_> = names
            .into_iter()
            .map(|(name, expected)| {
                let name_to_ask = Some(name.to_owned());
                let options =
                    DiscoveryOptions { ask: true, name: name_to_ask, ..DiscoveryOptions::default() };
                (name, expected, segment.watcher.run(move || Discovery::open(&options)).unwrap().unwrap())
            })
            .collect();
        for _ in 0..2 {
            for (name, expected, discovery) in asked.iter().rev() {
                let what = format!("seed {seed}, step {step}: {name}");
                // All questions or answers may be lost; a person asks again.
                let again = Cell::new(Instant::now() + Duration::from_secs(8));
                let took = wait_until(&what, discovery, expected, || {
                    if again.get() < Instant::now() {
                        again.set(Instant::now() + Duration::from_secs(8));
                        discovery.ask();
                    }
                    found(discovery, DiscoveryProtocol::Llmnr, |entry| {
                        // scapy broadcasts an answer if that of ARP was lost, so that all see it.
                        let own = entry.addresses.iter().filter(|_| entry.name.to_string() == *name);
                        own.map(|address| format!("{name} has {address}")).collect()
                    })
                });
                while answered(&mut shark, name, begin.elapsed()) != *expected {
                    assert!(begin.elapsed() < PATIENCE, "{what}: tshark shows {:?}", shark.packets());
                }
                println!("{what}: {} addresses after {took:?}", expected.len());
            }
        }
    }
}

#[test]
fn hosts_of_llmnr_are_those_whose_answers_tshark_dissects_in_networks_drawn_by_seed() {
    if has_tshark("LLMNR beside tshark") && has_modules(PYTHON, &["scapy"]) {
        for_networks(2, named_hosts_are_found);
    }
}

/// Speaks the first version of IGMP (RFC 1112): sends queries, or reports for groups, its arguments after its address.
const FIRST_IGMP: &str = r#"
import socket, struct, sys, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
print("ready", flush=True)
while True:
    for group in sys.argv[2:] or ["0.0.0.0"]:
        kind, to = (0x11, "224.0.0.1") if group == "0.0.0.0" else (0x12, group)
        words = struct.unpack("!4H", struct.pack("!BBH4s", kind, 0, 0, socket.inet_aton(group)))
        total = sum(words)
        total = (total & 0xffff) + (total >> 16)
        raw.sendto(struct.pack("!4H", words[0], ~total & 0xffff, *words[2:]), (to, 0))
    time.sleep(0.5)
"#;

fn first_igmp(segment: &Segment, number: usize, groups: &[String]) -> Running {
    let address = format!("10.0.0.{}", number + 1);
    let groups = groups.iter().map(String::as_str);
    let arguments: Vec<&str> = ["-c", FIRST_IGMP, &address].into_iter().chain(groups).collect();
    Running::ready(&segment.hosts[number], PYTHON, &arguments)
}

/// Returns what tshark shows of messages of the first version of IGMP, of this type, within this time.
fn first_messages(shark: &mut Shark, wanted: &str, within: Duration) -> Vec<[String; 2]> {
    let messages = shark.packets().into_iter().filter(|(age, _)| *age < within);
    let messages = messages.filter_map(|(_, fields)| {
        let [version, kind, group, source] = &fields[..] else { panic!("{fields:?}") };
        (version == "1" && kind == wanted).then(|| [source.clone(), group.clone()])
    });
    messages.collect()
}

const FIRST_FIELDS: [&str; 4] = ["igmp.version", "igmp.type", "igmp.maddr", "ip.src"];

/// Members that speak the first version of IGMP, in which nobody leaves.
struct FirstMembers(Members, Shark);

impl Peers for FirstMembers {
    /// The groups.
    type Peer = Vec<String>;
    const PROTOCOLS: &'static [DiscoveryProtocol] = Members::PROTOCOLS;
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    const LAPSES: Option<Duration> = Members::LAPSES;
    const ANSWERS: bool = false;
    const SOCKETS: bool = false;

    fn switch() -> SwitchOptions {
        Members::switch()
    }

    fn new(segment: &Segment, dice: &mut Dice) -> Self {
        Self(Members::new(segment, dice), Shark::start(segment, "igmp", &FIRST_FIELDS))
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> Vec<String> {
        let groups: BTreeSet<_> = (0..1 + dice.below(3)).map(|_| 1 + dice.below(4)).collect();
        groups.into_iter().map(|last| format!("239.1.1.{last}")).collect()
    }

    fn start(&self, segment: &Segment, number: usize, groups: &Vec<String>) -> Running {
        first_igmp(segment, number, groups)
    }

    fn says_goodbye(_groups: &Vec<String>) -> bool {
        false
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Vec<String>)]) -> Facts {
        let of = |(number, groups): &(usize, &Vec<String>)| {
            let line = |group| format!("h{} is a member of {group}", number + 1);
            groups.iter().map(line).collect::<Vec<_>>()
        };
        peers.iter().flat_map(of).collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        let reports = first_messages(&mut self.1, "0x12", Duration::from_millis(2_500)).into_iter();
        let line = |[source, group]: [String; 2]| {
            format!("h{} is a member of {group}", source.rsplit('.').next().unwrap())
        };
        reports.map(line).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        self.0.facts(entry)
    }
}

#[test]
fn members_by_the_first_version_of_igmp_are_those_that_tshark_dissects_in_networks_drawn_by_seed() {
    if has_tshark("the first version of IGMP beside tshark") && has_modules(PYTHON, &["socket"]) {
        for_networks(2, both_list_the_same::<FirstMembers>);
    }
}

/// Queries of the first version do not state when their sender is gone, so none leaves.
fn first_queriers_are_found(seed: u64) {
    let mut dice = Dice::new(seed);
    let segment = Segment::new(3, 0.0, seed);
    let mut shark = Shark::start(&segment, "igmp", &FIRST_FIELDS);
    let discovery = segment.discover(false, true);
    let mut running: BTreeMap<usize, Running> = BTreeMap::new();
    while running.len() < 3 {
        let number = dice.below(3) as usize;
        running.entry(number).or_insert_with(|| first_igmp(&segment, number, &[]));
        let expected: Facts = running.keys().map(|it| format!("10.0.0.{} of version 1", it + 1)).collect();
        let what = format!("seed {seed}: {} queriers", expected.len());
        let took = wait_until(&what, &discovery, &expected, || {
            found(&discovery, DiscoveryProtocol::Igmp, |entry| {
                vec![format!("{} of version {}", entry.name, field(entry, "version"))]
            })
        });
        let begin = Instant::now();
        let line = |[source, _]: [String; 2]| format!("{source} of version 1");
        while first_messages(&mut shark, "0x11", PATIENCE).into_iter().map(line).collect::<Facts>()
            != expected
        {
            assert!(begin.elapsed() < PATIENCE, "{what}: tshark shows {:?}", shark.packets());
        }
        println!("{what} after {took:?}");
    }
}

#[test]
fn queriers_of_the_first_version_of_igmp_are_those_that_tshark_dissects_in_networks_drawn_by_seed() {
    if has_tshark("the first version of IGMP beside tshark") && has_modules(PYTHON, &["socket"]) {
        for_networks(2, first_queriers_are_found);
    }
}
