//! PIM with FRR, OSPF with BIRD, and HSRP as scapy reads it: no free program speaks HSRP.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use mcast_lab::Host;
use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use tempfile::TempDir;

use crate::conversation::Conversation;
use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, field, has_modules, has_programs, is_root, output};

fn address(number: usize) -> String {
    format!("10.0.0.{}", number + 1)
}

/// Returns what the routers list together: each lists the others and, as it answers, is one.
fn listed_by_all(segment: &Segment, list: impl Fn(&Host) -> Option<Vec<String>>) -> Facts {
    segment.hosts.iter().filter_map(list).flatten().collect()
}

/// Routers that run zebra and pimd.
struct Pim(Frr);

/// What the daemons of FRR need on each host.
pub(crate) struct Frr(TempDir);

/// The two daemons, in one group of processes. `pimd` connects to `zebra` when it starts, and waits for 10 s if that fails.
const FRR: &str = r#"for daemon in zebra pimd; do
/usr/lib/frr/$daemon -f "$1/conf" -z "$1/zserv.api" -i "$1/$daemon.pid" -A 127.0.0.1 --vty_socket "$1" &
until [ -S "$1/zserv.api" ]; do sleep 0.02; done
done
wait"#;

impl Frr {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Its daemons run as another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn folder(&self, host: &Host) -> PathBuf {
        self.0.path().join(host.name())
    }

    /// Starts the daemons with these settings.
    pub(crate) fn start(&self, host: &Host, settings: &str) -> Running {
        let folder = self.folder(host);
        // What a daemon that was killed leaves behind would be taken for one that runs.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(folder.join("conf"), settings).unwrap();
        Running::start(host, "sh", &["-c", FRR, "sh", folder.to_str().unwrap()])
    }
}

impl Peers for Pim {
    /// The priority by which a designated router is elected.
    type Peer = u64;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Pim];
    /// A Hello each second, which holds for four. The daemons start within some seconds.
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(5));
    const LAPSES: Option<Duration> = Some(Duration::from_secs(4));
    const ANSWERS: bool = false;
    const ROUTE: bool = false;
    const SOCKETS: bool = false;

    fn new(_segment: &Segment, _dice: &mut Dice) -> Self {
        Self(Frr::new())
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> u64 {
        2 + dice.below(1_000)
    }

    fn start(&self, segment: &Segment, number: usize, priority: &u64) -> Running {
        let settings = format!("interface eth0\n ip pim\n ip pim hello 1 4\n ip pim drpriority {priority}\n");
        self.0.start(&segment.hosts[number], &settings)
    }

    /// `pimd` may send one more Hello behind its goodbye, when `zebra` ends at the same time.
    fn says_goodbye(_priority: &u64) -> bool {
        false
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &u64)]) -> Facts {
        peers.iter().map(|(number, priority)| format!("{} {priority}", address(*number))).collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        listed_by_all(segment, |host| {
            let folder = self.0.folder(host).display().to_string();
            let show = |what| output(host, "vtysh", &["--vty_socket", &folder, "-d", "pimd", "-c", what]);
            let rows = |text: String| -> Vec<Vec<String>> {
                text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
            };
            // Interface, state, address, neighbors.
            let own = rows(show("show ip pim interface"))
                .into_iter()
                .find(|row| row.len() > 3 && row[0] == "eth0")?;
            let settings = fs::read_to_string(self.0.folder(host).join("conf")).unwrap();
            let priority = settings.trim_end().rsplit(' ').next().unwrap();
            let neighbors = rows(show("show ip pim neighbor")).into_iter();
            let neighbors = neighbors.filter(|row| row.first().is_some_and(|first| first == "eth0"));
            let line = |row: Vec<String>| format!("{} {}", row[1], row.last().unwrap());
            Some(neighbors.map(line).chain([format!("{} {priority}", own[2])]).collect())
        })
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        assert_eq!(field(entry, "hold time"), "4 s");
        vec![format!("{} {}", entry.name, field(entry, "DR priority"))]
    }
}

#[test]
fn pim_routers_are_those_that_frr_lists_in_networks_drawn_by_seed() {
    if is_root("PIM routers beside FRR") && has_programs(&["/usr/lib/frr/pimd", "vtysh"]) {
        for_networks(2, both_list_the_same::<Pim>);
    }
}

/// Routers that run BIRD.
struct Ospf(TempDir);

impl Ospf {
    fn path(&self, host: &Host, ending: &str) -> String {
        self.0.path().join(format!("{}.{ending}", host.name())).display().to_string()
    }
}

impl Peers for Ospf {
    /// The last byte of the identifier.
    type Peer = u64;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Ospf];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(2));
    const LAPSES: Option<Duration> = Some(Duration::from_secs(4));
    const ANSWERS: bool = false;
    const ROUTE: bool = false;
    const SOCKETS: bool = false;

    fn new(_segment: &Segment, _dice: &mut Dice) -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> u64 {
        10 * dice.below(25) + number as u64 + 1
    }

    fn start(&self, segment: &Segment, number: usize, id: &u64) -> Running {
        let host = &segment.hosts[number];
        let settings = format!(
            "router id 192.0.2.{id};\nprotocol device {{ scan time 1; }}\n\
             protocol ospf v2 one {{\n ipv4 {{ import none; export none; }};\n\
             area 0 {{ interface \"eth0\" {{ hello 1; dead 4; wait 2; }}; }};\n}}\n"
        );
        let (conf, control) = (self.path(host, "conf"), self.path(host, "ctl"));
        fs::write(&conf, settings).unwrap();
        Running::start(host, "bird", &["-f", "-c", &conf, "-s", &control])
    }

    fn says_goodbye(_id: &u64) -> bool {
        false
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &u64)]) -> Facts {
        peers.iter().map(|(number, id)| format!("192.0.2.{id} at {}", address(*number))).collect()
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        listed_by_all(segment, |host| {
            let control = self.path(host, "ctl");
            let show = |what: &[&str]| output(host, "birdc", &[&["-s", &control, "show"], what].concat());
            let status = show(&["status"]);
            let own = status.lines().find_map(|line| line.strip_prefix("Router ID is "))?;
            // Identifier, priority, state, dead time, interface, address.
            let neighbors = show(&["ospf", "neighbors"]);
            let rows = neighbors.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let rows = rows.filter(|row| row.len() > 5 && row[0].starts_with("192.0.2."));
            let line = |row: Vec<&str>| format!("{} at {}", row[0], row[row.len() - 1]);
            Some(rows.map(line).chain([format!("{own} at 10.0.0.{}", &host.name()[1..])]).collect())
        })
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        assert_eq!(field(entry, "dead interval"), "4 s");
        vec![format!("{} at {}", entry.name, entry.addresses[0])]
    }
}

#[test]
fn ospf_routers_are_those_that_bird_lists_in_networks_drawn_by_seed() {
    if is_root("OSPF routers beside BIRD") && has_programs(&["bird", "birdc"]) {
        for_networks(2, both_list_the_same::<Ospf>);
    }
}

/// Speaks HSRP version 1 every 300 ms, until it is asked to end and resigns.
const HSRP_ROUTER: &str = r#"
import signal, sys, time
from scapy.all import Ether, IP, UDP, get_if_hwaddr, sendp
from scapy.layers.hsrp import HSRP
state, priority, group, virtual, own = sys.argv[1:]
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
def send(opcode):
    message = HSRP(opcode=opcode, state=int(state), priority=int(priority), group=int(group), virtualIP=virtual, hellotime=1, holdtime=3)
    head = Ether(dst="01:00:5e:00:00:02", src=get_if_hwaddr("eth0")) / IP(src=own, dst="224.0.0.2", ttl=1)
    sendp(head / UDP(sport=1985, dport=1985) / message, iface="eth0", verbose=False)
print("ready", flush=True)
while not ended:
    send(0)
    time.sleep(0.3)
send(2)
"#;

/// Prints, for each line that it reads, the routers as scapy reads them, until their hold time ends.
const HSRP_READER: &str = r#"
import sys, time
from scapy.all import AsyncSniffer, IP
from scapy.layers.hsrp import HSRP
states = {16: "active", 8: "standby", 4: "speak", 2: "listen", 1: "learn", 0: "initial"}
seen = {}
def keep(packet):
    if HSRP in packet:
        read = packet[HSRP]
        if read.opcode == 2:
            seen.pop(packet[IP].src, None)
        else:
            line = f"{packet[IP].src} {read.group} {states[read.state]} {read.priority} {read.virtualIP}"
            seen[packet[IP].src] = (time.monotonic() + read.holdtime, line)
AsyncSniffer(iface="eth0", filter="udp port 1985", prn=keep, store=False).start()
for line in sys.stdin:
    now = time.monotonic()
    print("|".join(line for until, line in list(seen.values()) if until > now), flush=True)
"#;

const PYTHON: &str = "/usr/bin/python3";

/// Routers that speak HSRP, and a reader.
struct Hsrp(Conversation);

impl Peers for Hsrp {
    /// State, priority, group and virtual address.
    type Peer = [String; 4];
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Hsrp];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    const LAPSES: Option<Duration> = Some(Duration::from_secs(3));
    const ANSWERS: bool = false;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        Self(Conversation::start(&segment.watcher, PYTHON, &["-c", HSRP_READER]))
    }

    fn draw(&self, dice: &mut Dice, _number: usize) -> [String; 4] {
        let state = dice.pick(&["16", "8", "4"]).to_owned();
        let group = dice.below(3);
        [state, dice.below(256).to_string(), group.to_string(), format!("10.0.0.{}", 240 + group)]
    }

    fn start(&self, segment: &Segment, number: usize, peer: &[String; 4]) -> Running {
        let own = address(number);
        let mut arguments = vec!["-c", HSRP_ROUTER];
        arguments.extend(peer.iter().chain([&own]).map(String::as_str));
        Running::ready(&segment.hosts[number], PYTHON, &arguments)
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &[String; 4])]) -> Facts {
        let line = |(number, [state, priority, group, virtual_address]): &(usize, &[String; 4])| {
            let state = match state.as_str() {
                "16" => "active",
                "8" => "standby",
                _ => "speak",
            };
            format!("{} {group} {state} {priority} {virtual_address}", address(*number))
        };
        peers.iter().map(line).collect()
    }

    fn specialist(&mut self, _segment: &Segment) -> Facts {
        self.0.ask().split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let group = entry.service.to_string().replace("group ", "");
        let [state, priority, address] =
            ["state", "priority", "virtual address"].map(|name| field(entry, name));
        vec![format!("{} {group} {state} {priority} {address}", entry.name)]
    }
}

#[test]
fn hsrp_routers_are_those_that_scapy_reads_in_networks_drawn_by_seed() {
    if is_root("HSRP beside scapy") && has_modules(PYTHON, &["scapy"]) {
        for_networks(2, both_list_the_same::<Hsrp>);
    }
}
