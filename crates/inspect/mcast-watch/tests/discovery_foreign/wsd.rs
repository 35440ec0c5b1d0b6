//! WS-Discovery with wsdd, by which Samba servers show themselves to Windows, and which can look for others; and with the package
//! `WSDiscovery`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mcast_sim::Dice;
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::conversation::Conversation;
use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, found, has_modules, has_programs, wait_until};

/// Searches as wsdd does for Windows' computers, and logs what answers.
const BROWSER: &str = "exec timeout 20 wsdd -D -o -4 -vv -i eth0 2>&1";

/// The longest pause between two copies of a message (SOAP-over-UDP 1.1 section 4), and a bit more.
const REPEAT: Duration = Duration::from_millis(700);

fn id(entry: &Discovered) -> Vec<String> {
    vec![entry.key.id.to_string()]
}

fn identifier(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn start(segment: &Segment, number: usize) -> Running {
    let (id, name) = (identifier(number), format!("HOST{number}"));
    let host = &segment.hosts[number];
    // With HTTP, it waits for a name server to know the name of its host before it says Hello.
    Running::start(host, "/usr/sbin/wsdd", &["--no-http", "-i", "eth0", "-U", &id, "-n", &name])
}

/// Waits until nothing repeats its Hello or what it has answered, at this time at the earliest. A copy may arrive after a Bye.
fn wait_for_last_copy(discovery: &Discovery, earliest: Instant) {
    let (mut known, mut since) = (0, earliest);
    while since.elapsed() < REPEAT {
        let announcements = discovery.counts().announcements;
        if announcements != known {
            (known, since) = (announcements, Instant::now().max(earliest));
        }
        drop(discovery.next_event(Some(REPEAT / 10)));
    }
}

#[test]
fn computers_of_wsdd_are_found_by_asking_and_by_listening_and_leave_with_a_bye() {
    if !has_programs(&["wsdd"]) {
        return;
    }
    let segment = Segment::new(3, 0.0, 0);
    let urn = |number: usize| format!("urn:uuid:{}", identifier(number));
    let mut running: Vec<Running> = (0..2).map(|number| start(&segment, number)).collect();
    let two: BTreeSet<String> = (0..2).map(urn).collect();
    let find = |discovery| found(discovery, DiscoveryProtocol::WsDiscovery, id);
    // They say Hello. From then on, they are silent unless they are asked.
    let first = segment.discover(false, true);
    wait_until("a first Hello", &first, &two, || find(&first));
    let begin = Instant::now();
    let asking = segment.discover(true, false);
    let took = wait_until("asked", &asking, &two, || find(&asking));
    eprintln!("found by asking after {took:?}");
    let mut specialist = Conversation::start(&segment.watcher, "sh", &["-c", BROWSER]);
    let mut matches = BTreeSet::new();
    while matches != two {
        let line = specialist.line();
        let id = line.split_once("match for ").and_then(|(_, rest)| rest.split(' ').next());
        matches.extend(id.map(str::to_owned));
        assert!(matches.is_subset(&two), "{line}");
    }
    specialist.child.signal(15).unwrap();
    specialist.child.wait().unwrap();
    // A listener learns of the third by its Hello alone.
    wait_for_last_copy(&first, begin);
    let listening = segment.discover(false, true);
    running.push(start(&segment, 2));
    wait_until("a Hello", &listening, &BTreeSet::from([urn(2)]), || find(&listening));
    let three: BTreeSet<String> = (0..3).map(urn).collect();
    wait_until("a Hello while asking", &asking, &three, || find(&asking));
    wait_for_last_copy(&listening, begin);
    // The last of the first questions is sent after 4 s.
    wait_for_last_copy(&asking, begin + Duration::from_secs(4));
    running.pop().unwrap().end();
    wait_until("a Bye", &listening, &BTreeSet::new(), || find(&listening));
    wait_until("a Bye while asking", &asking, &two, || find(&asking));
    let entries = asking.entries();
    let computer = entries.iter().find(|entry| entry.key.protocol == DiscoveryProtocol::WsDiscovery).unwrap();
    assert_eq!(computer.name.to_string(), "Computer");
}

/// Publishes a device: its identifier, URL, types and scopes.
const PUBLISHER: &str = r#"
import logging, signal, sys, threading
from wsdiscovery import QName, Scope
from wsdiscovery.publishing import ThreadedWSPublishing
logging.disable()
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
identifier, url, types, scopes = sys.argv[1:]
publisher = ThreadedWSPublishing()
publisher.uuid = identifier
publisher.start()
publisher.publishService(types=[QName("http://example.com/ns", name) for name in types.split()],
                         scopes=[Scope(scope) for scope in scopes.split()], xAddrs=[url])
print("ready", flush=True)
end.wait()
publisher.clearLocalServices()
publisher.stop()
"#;

/// Searches for each line that it reads, and prints what it finds.
const SEARCHER: &str = r#"
import logging, sys
from wsdiscovery.discovery import ThreadedWSDiscovery
logging.disable()
searcher = ThreadedWSDiscovery()
searcher.start()
for line in sys.stdin:
    searcher.clearRemoteServices()
    found = searcher.searchServices(timeout=1)
    lines = []
    for it in found:
        types = " ".join(sorted(kind.getLocalname() for kind in it.getTypes()))
        scopes = " ".join(sorted(scope.getValue() for scope in it.getScopes()))
        lines.append(f"{it.getEPR()} at {' '.join(it.getXAddrs())}: {types} ({scopes})")
    print("|".join(lines), flush=True)
"#;

/// What a device states.
#[derive(Clone)]
struct Device {
    id: String,
    port: u64,
    types: BTreeSet<&'static str>,
    scopes: BTreeSet<String>,
}

/// Devices, and a program that searches.
struct WsDiscovery(Conversation);

impl Device {
    fn line(&self, number: usize) -> String {
        let Self { id, port, types, scopes } = self;
        let types: Vec<_> = types.iter().copied().collect();
        let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
        let (types, scopes) = (types.join(" "), scopes.join(" "));
        format!("{id} at http://10.0.0.{}:{port}/service: {types} ({scopes})", number + 1)
    }
}

impl Peers for WsDiscovery {
    type Peer = Device;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::WsDiscovery];
    /// A Hello is sent when the device starts, and not again.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    /// A device that crashes is listed until it has missed two questions, for 150 s.
    const LAPSES: Option<Duration> = None;
    const ANSWERS: bool = true;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        // The package answers by IPv4 only: a thread of it ends when it is asked by IPv6.
        for host in segment.hosts.iter().chain([&segment.watcher]) {
            host.sysctl("net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        }
        Self(Conversation::start(&segment.watcher, "python3", &["-c", SEARCHER]))
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Device {
        let types = ["Printer", "Scanner", "NetworkVideoTransmitter"];
        let types = (0..1 + dice.below(3)).map(|_| dice.pick(&types)).collect();
        let name = dice.pick(&["Gate", "B%C3%BCro", "a&b"]);
        let scopes =
            ["name", "hardware", "location"].map(|kind| format!("onvif://www.onvif.org/{kind}/{name}"));
        let scopes = scopes.into_iter().filter(|_| dice.chance(0.7)).collect();
        let id = format!("urn:uuid:{:08x}-0000-4000-8000-{number:012}", dice.next() & 0xffff_ffff);
        Device { id, port: 1 + dice.below(65_535), types, scopes }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Device) -> Running {
        let url = format!("http://10.0.0.{}:{}/service", number + 1, peer.port);
        let types = peer.types.iter().copied().collect::<Vec<_>>().join(" ");
        let scopes = peer.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let arguments = ["-c", PUBLISHER, &peer.id, &url, &types, &scopes];
        Running::ready(&segment.hosts[number], "python3", &arguments)
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Device)]) -> Facts {
        peers.iter().map(|(number, device)| device.line(*number)).collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        self.0.ask().split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let values = |name: &str| {
            let fields = entry.fields.iter().filter(|field| field.name.as_bytes() == name.as_bytes());
            let values: BTreeSet<_> = fields.map(|field| field.value.to_string()).collect();
            values.into_iter().collect::<Vec<_>>().join(" ")
        };
        let [url, types, scopes] = ["url", "type", "scope"].map(values);
        vec![format!("{} at {url}: {types} ({scopes})", entry.key.id)]
    }
}

#[test]
fn devices_are_those_that_a_search_finds_in_networks_drawn_by_seed() {
    if has_modules("python3", &["wsdiscovery"]) {
        for_networks(2, both_list_the_same::<WsDiscovery>);
    }
}
