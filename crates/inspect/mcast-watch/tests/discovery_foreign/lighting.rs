//! sACN with the package `sacn`; Art-Net with the package `aioartnet` and the daemon of OLA.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mcast_lab::Host;
use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};

use crate::conversation::Conversation;
use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, field, found, has_modules, has_programs, wait_until};

/// Sends universes, the numbers that end its arguments: the name, the address, `lists` to announce lists of universes, the priority and
/// the number that identifies it precede.
const SENDER: &str = r#"
import signal, sys, threading
import sacn
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
name, address, lists, priority, number = sys.argv[1:6]
sender = sacn.sACNsender(bind_address=address, source_name=name, universeDiscovery=lists == "lists",
                         cid=(int(number),) * 16)
sender.start()
for universe in sys.argv[6:]:
    sender.activate_output(int(universe))
    sender[int(universe)].multicast = True
    sender[int(universe)].priority = int(priority)
print("ready", flush=True)
end.wait()
for universe in sys.argv[6:]:
    sender.deactivate_output(int(universe))
sender.stop()
"#;

/// Prints, for each line that it reads, the sources that have sent a universe within the time in which they must.
const RECEIVER: &str = r#"
import socket, sys, threading, time
from sacn.messages.data_packet import DataPacket
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
receiver.bind(("", 5568))
for universe in (1, 2, 7):
    group = socket.inet_aton(f"239.255.0.{universe}") + socket.inet_aton(sys.argv[1])
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
seen = {}
def read():
    while True:
        try:
            packet = DataPacket.make_data_packet(receiver.recv(2000))
        except TypeError:
            continue
        key = (packet._cid, packet.universe)
        if packet.option_StreamTerminated:
            seen.pop(key, None)
        else:
            seen[key] = (time.monotonic(), packet)
threading.Thread(target=read, daemon=True).start()
for line in sys.stdin:
    now = time.monotonic()
    recent = [packet for at, packet in list(seen.values()) if now - at < 2.5]
    print("|".join(f"{it.sourceName.rstrip(chr(0))}: universe {it.universe}, priority {it.priority}" for it in recent), flush=True)
"#;

/// A source of universes.
#[derive(Clone)]
struct Source {
    name: String,
    universes: BTreeSet<u16>,
    priority: u64,
}

/// Sources, and a receiver of all of them.
struct Sacn {
    receiver: Conversation,
    announces_lists: bool,
}

impl Peers for Sacn {
    type Peer = Source;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Sacn];
    /// Data that do not change are repeated every second.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    /// Two lists of universes.
    const LAPSES: Option<Duration> = Some(Duration::from_secs(25));
    const ANSWERS: bool = false;

    fn new(segment: &Segment, dice: &mut Dice) -> Self {
        let receiver = Conversation::start(&segment.watcher, "python3", &["-c", RECEIVER, "10.0.0.200"]);
        Self { receiver, announces_lists: dice.chance(0.3) }
    }

    fn lapses(&self) -> Duration {
        // This sender broadcasts its lists, which only a capture sees. Without them, a universe is gone without data.
        if self.announces_lists { Duration::from_secs(25) } else { Duration::from_millis(2_500) }
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Source {
        let name = format!("{}{number}", dice.pick(&["Main ", "Büro", "desk.", "Backup "]));
        let count = 1 + dice.below(3);
        let universes = (0..count).map(|_| dice.pick(&[1, 2, 7])).collect();
        Source { name, universes, priority: dice.below(201) }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Source) -> Running {
        let address = format!("10.0.0.{}", number + 1);
        let lists = if self.announces_lists { "lists" } else { "none" };
        let (priority, identity) = (peer.priority.to_string(), (number + 1).to_string());
        let universes: Vec<_> = peer.universes.iter().map(ToString::to_string).collect();
        let mut arguments = vec!["-c", SENDER, &peer.name, &address, lists, &priority, &identity];
        arguments.extend(universes.iter().map(String::as_str));
        Running::ready(&segment.hosts[number], "python3", &arguments)
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Source)]) -> Facts {
        let of = |Source { name, universes, priority }: &Source| {
            let line = |universe| format!("{name}: universe {universe}, priority {priority}");
            universes.iter().map(line).collect::<Vec<_>>()
        };
        peers.iter().flat_map(|(_, source)| of(source)).collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        self.receiver.ask().split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        vec![format!("{}: {}, priority {}", entry.name, entry.service, field(entry, "priority"))]
    }
}

#[test]
fn universes_are_those_that_a_receiver_gets_in_networks_drawn_by_seed() {
    if has_modules("python3", &["sacn"]) {
        for_networks(3, both_list_the_same::<Sacn>);
    }
}

/// Answers polls as a node with ports, each `in` or `out` before its universe; or, without arguments, polls, and prints, for each
/// line that it reads, the ports of the nodes that have answered of late.
const NODE: &str = r#"
import asyncio, sys, threading, time
from aioartnet import ArtNetClient
name, *ports = sys.argv[1:] or ["controller"]
client = ArtNetClient(interface="eth0", passive=bool(ports), portName=name)
for port in ports:
    kind, universe = port.split(":")
    client.set_port_config(int(universe), is_input=kind == "in", is_output=kind == "out")
async def run():
    await client.connect()
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
if ports:
    threading.Event().wait()
for line in sys.stdin:
    lines = []
    for node in client.get_nodes():
        recent = time.time() - node.last_reply < 10
        for page, held in node._portBinds.items() if recent else []:
            kinds = [("inputs" if it.is_input else "outputs", it.universe.portaddress) for it in held]
            lines += [f"{node.longName} at {node.ip}, {page}: {kind} {number}" for kind, number in kinds]
    print("|".join(lines), flush=True)
"#;

/// A node of Art-Net.
#[derive(Clone)]
struct Node {
    name: String,
    /// Whether it sends each of its universes, or receives it.
    ports: BTreeMap<u16, bool>,
}

/// Nodes, and a controller that polls them.
struct ArtNetNodes {
    controller: Conversation,
    _host: Host,
}

impl Peers for ArtNetNodes {
    type Peer = Node;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::ArtNet];
    /// The controller polls every 2 s.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(2));
    const LAPSES: Option<Duration> = Some(Duration::from_secs(10));
    const ANSWERS: bool = true;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        let host = segment.lab.host("controller").unwrap();
        host.connect("eth0", &segment.switch, &["10.0.0.150/24"]).unwrap();
        let mut controller = Conversation::start(&host, "python3", &["-c", NODE]);
        assert_eq!(controller.line(), "ready");
        Self { controller, _host: host }
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Node {
        // The controller forgets the ports of a node only when it is renamed.
        let name = format!("{}{number}.{}", dice.pick(&["Stage ", "Büro", "node-"]), dice.below(10_000));
        let universes = [0, 1, 17, 300, 32_767];
        let ports = (0..1 + dice.below(3)).map(|_| (dice.pick(&universes), dice.chance(0.4)));
        Node { name, ports: ports.collect() }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Node) -> Running {
        let port = |(universe, is_input): (&u16, &bool)| match is_input {
            true => format!("in:{universe}"),
            false => format!("out:{universe}"),
        };
        let ports: Vec<_> = peer.ports.iter().map(port).collect();
        let mut arguments = vec!["-c", NODE, &peer.name];
        arguments.extend(ports.iter().map(String::as_str));
        Running::ready(&segment.hosts[number], "python3", &arguments)
    }

    fn says_goodbye(_peer: &Node) -> bool {
        false
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Node)]) -> Facts {
        let lines = peers.iter().flat_map(|(number, node)| {
            // Each port has a page of its own.
            node.ports.iter().zip(1..).map(move |((universe, is_input), page)| {
                let kind = if *is_input { "inputs" } else { "outputs" };
                let (name, last) = (&node.name, number + 1);
                format!("{name} (aioartnet) at 10.0.0.{last}, {page}: {kind} {universe}")
            })
        });
        lines.collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        let shown = self.controller.ask();
        let nodes = shown.split('|').filter(|line| !line.is_empty() && !line.starts_with("controller"));
        nodes.map(str::to_owned).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let index = field(entry, "bind index");
        let line = format!("{} at {}, {index}: {}", entry.name, entry.addresses[0], entry.service);
        // The controller is a node, too.
        Some(line).filter(|line| !line.starts_with("controller")).into_iter().collect()
    }
}

#[test]
fn nodes_are_those_that_aioartnet_lists_in_networks_drawn_by_seed() {
    if has_modules("python3", &["aioartnet"]) {
        for_networks(1, both_list_the_same::<ArtNetNodes>);
    }
}

/// The settings of OLA for Art-Net, with this name.
fn settings(folder: &std::path::Path, name: &str) {
    let plugins = ["artnet"];
    let text = format!(
        "enabled = true\nalways_broadcast = false\nip = \nlong_name = {name} of OLA\nnet = 0\noutput_ports = 1\n\
         short_name = {name}\nsubnet = 0\nuse_limited_broadcast = true\nuse_loopback = false\n"
    );
    for plugin in plugins {
        std::fs::write(folder.join(format!("ola-{plugin}.conf")), &text).unwrap();
    }
    for other in [
        "dummy",
        "e131",
        "espnet",
        "ftdidmx",
        "gpio",
        "karate",
        "kinet",
        "milinst",
        "nanoleaf",
        "opendmx",
        "openpixelcontrol",
        "osc",
        "pathport",
        "renard",
        "sandnet",
        "shownet",
        "spi",
        "stageprofi",
        "uartdmx",
        "usbdmx",
        "usbserial",
    ] {
        std::fs::write(folder.join(format!("ola-{other}.conf")), "enabled = false\n").unwrap();
    }
}

#[test]
fn nodes_of_ola_are_found_by_asking() {
    if !has_programs(&["olad", "setpriv"]) {
        return;
    }
    let segment = Segment::new(2, 0.0, 0);
    let folder = tempfile::tempdir().unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    let running: Vec<Running> = segment
        .hosts
        .iter()
        .map(|host| {
            let path = folder.path().join(host.name());
            std::fs::create_dir(&path).unwrap();
            settings(&path, host.name());
            // It does not run as root, and writes its settings.
            for entry in
                std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).chain([path.clone()])
            {
                std::os::unix::fs::chown(entry, Some(65_534), Some(65_534)).unwrap();
            }
            let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "olad"];
            let arguments = ["--no-http", "-c", path.to_str().unwrap(), "-l", "0"];
            Running::start(host, "setpriv", &[&user[..], &arguments].concat())
        })
        .collect();
    let discovery = segment.discover(true, false);
    let expected: BTreeSet<(String, String)> = ["h1", "h2"]
        .iter()
        .map(|name| (format!("{name} of OLA"), format!("10.0.0.{}", &name[1..])))
        .collect();
    let node = |entry: &Discovered| {
        entry.addresses.iter().map(|address| (entry.name.to_string(), address.to_string())).collect()
    };
    let took = wait_until("both nodes", &discovery, &expected, || {
        discovery.ask();
        found(&discovery, DiscoveryProtocol::ArtNet, node)
    });
    eprintln!("both nodes after {took:?}");
    drop(running);
}
