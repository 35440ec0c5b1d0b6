//! LLDP and CDP with lldpd, and the neighbors that it lists.

use std::fs;
use std::time::Duration;

use mcast_lab::Host;
use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use tempfile::TempDir;

use crate::drawn::{Facts, Peers, both_list_the_same};
use crate::networks::for_networks;
use crate::{Running, Segment, field, has_programs, is_root, output};

/// What a switch states about itself and about its port.
#[derive(Clone)]
struct Neighbor {
    name: String,
    system: String,
    port: String,
    port_description: String,
    vlan: Option<u64>,
    is_bridge: bool,
    speaks_cdp: bool,
}

/// Daemons on all hosts, and one that only listens.
struct Lldpd {
    folder: TempDir,
    _listener: Running,
}

/// A unit every second, which holds for four.
const LIFETIME: Duration = Duration::from_secs(4);

fn daemon(folder: &TempDir, host: &Host, settings: &str, options: &[&str]) -> Running {
    let path = |ending: &str| folder.path().join(format!("{}.{ending}", host.name())).display().to_string();
    fs::write(path("conf"), settings).unwrap();
    let (socket, settings) = (path("sock"), path("conf"));
    let _ = fs::remove_file(&socket);
    let own = ["-d", "-u", &socket, "-I", "eth0", "-O", &settings];
    Running::start(host, "lldpd", &[&own, options].concat())
}

impl Peers for Lldpd {
    type Peer = Neighbor;
    const PROTOCOLS: &'static [DiscoveryProtocol] = &[DiscoveryProtocol::Lldp, DiscoveryProtocol::Cdp];
    const ANNOUNCED: Option<Duration> = Some(Duration::from_secs(1));
    const LAPSES: Option<Duration> = Some(LIFETIME);
    const ANSWERS: bool = false;
    const ROUTE: bool = false;
    const SOCKETS: bool = false;

    fn new(segment: &Segment, _dice: &mut Dice) -> Self {
        fs::create_dir_all("/run/lldpd").unwrap();
        // Bridges forward no LLDP, unless they are set to; unmanaged switches do.
        let forward = ["link", "set", "br0", "type", "bridge", "group_fwd_mask", "0x4000"];
        output(&segment.switch.inside(), "ip", &forward);
        let folder = tempfile::tempdir().unwrap();
        let listener = daemon(&folder, &segment.watcher, "", &["-r", "-l", "-c", "-H", "0"]);
        Self { folder, _listener: listener }
    }

    fn draw(&self, dice: &mut Dice, number: usize) -> Neighbor {
        let drawn = dice.below(1_000);
        let name = dice.pick(&["sw", "Büro-sw", "core.example.com-", "AP "]);
        Neighbor {
            name: format!("{name}{number}-{drawn}"),
            system: format!("{} {drawn}", dice.pick(&["Switch OS", "Router OS = Release", "日本"])),
            port: format!("{}{drawn}", dice.pick(&["Gi1/0/", "ge-0/0/", "port "])),
            port_description: dice.pick(&["uplink", "to the rack; row 7", "Büro"]).to_owned(),
            vlan: dice.chance(0.5).then(|| 1 + dice.below(4_094)),
            is_bridge: dice.chance(0.5),
            speaks_cdp: dice.chance(0.5),
        }
    }

    fn start(&self, segment: &Segment, number: usize, peer: &Neighbor) -> Running {
        let Neighbor { name, system, port, port_description, .. } = peer;
        let mut settings = format!(
            "configure system hostname \"{name}\"\nconfigure system description \"{system}\"\n\
             configure lldp portidsubtype local \"{port}\" description \"{port_description}\"\n\
             configure lldp tx-interval 1\nconfigure lldp tx-hold 4\n"
        );
        if peer.is_bridge {
            settings += "configure system capabilities enabled bridge,router\n";
        }
        if let Some(vlan) = peer.vlan {
            // The VLAN of the port (IEEE 802.1Q annex D.2.1).
            let (high, low) = (vlan >> 8, vlan & 0xff);
            settings += &format!(
                "configure lldp custom-tlv add oui 00,80,c2 subtype 1 oui-info {high:02x},{low:02x}\n"
            );
        }
        let protocols: &[&str] = if peer.speaks_cdp { &["-l", "-ccccc"] } else { &["-l"] };
        daemon(&self.folder, &segment.hosts[number], &settings, protocols)
    }

    /// CDP has none.
    fn says_goodbye(peer: &Neighbor) -> bool {
        !peer.speaks_cdp
    }

    fn expected(&self, _segment: &Segment, peers: &[(usize, &Neighbor)]) -> Facts {
        let mut facts = Facts::new();
        for (number, peer) in peers {
            let address = format!("10.0.0.{}", number + 1);
            let capabilities = if peer.is_bridge { "bridge, router" } else { "station" };
            let vlan = peer.vlan.map(|vlan| vlan.to_string()).unwrap_or_default();
            facts.insert(format!(
                "LLDP {} at {address}: {}, port {} ({}), VLAN {vlan}, {capabilities}, for 4 s",
                peer.name, peer.system, peer.port, peer.port_description
            ));
            if peer.speaks_cdp {
                // It calls the port by its description.
                let Neighbor { name, system, port_description, .. } = peer;
                facts.insert(format!(
                    "CDP {name} at {address}: Linux running on {system}, port {port_description}, for 4 s"
                ));
            }
        }
        facts
    }

    fn specialist(&mut self, segment: &Segment) -> Facts {
        let socket = self.folder.path().join(format!("{}.sock", segment.watcher.name()));
        let arguments =
            ["-u", &socket.display().to_string(), "-f", "keyvalue", "show", "neighbors", "details"];
        let text = output(&segment.watcher, "lldpcli", &arguments);
        let mut all: Vec<Vec<(&str, &str)>> = Vec::new();
        // `lldp.eth0.chassis.name=sw1`: each neighbor begins with the protocol.
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let name = name.strip_prefix("lldp.eth0.").unwrap_or_default();
            if name == "via" {
                all.push(Vec::new());
            }
            all.iter_mut().next_back().into_iter().for_each(|entry| entry.push((name, value)));
        }
        let line = |entry: Vec<(&str, &str)>| {
            let values = |wanted: &str| {
                let values = entry.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value);
                values.collect::<Vec<_>>()
            };
            let value = |wanted: &str| values(wanted).join(" ");
            let address =
                values("chassis.mgmt-ip").into_iter().find(|ip| ip.starts_with("10.")).unwrap_or_default();
            let (name, system) = (value("chassis.name"), value("chassis.descr"));
            let lifetime = value("port.ttl");
            if value("via") != "LLDP" {
                let port = value("port.ifname");
                return format!("CDP {name} at {address}: {system}, port {port}, for {lifetime} s");
            }
            let names = [
                ("Bridge", "bridge"),
                ("Wlan", "access point"),
                ("Router", "router"),
                ("Station", "station"),
            ];
            let enabled = names.iter().filter(|(name, _)| value(&format!("chassis.{name}.enabled")) == "on");
            let capabilities = enabled.map(|(_, ours)| *ours).collect::<Vec<_>>().join(", ");
            let (port, description, vlan) = (value("port.local"), value("port.descr"), value("vlan.vlan-id"));
            format!(
                "LLDP {name} at {address}: {system}, port {port} ({description}), VLAN {vlan}, {capabilities}, for {lifetime} s"
            )
        };
        all.into_iter().map(line).collect()
    }

    fn facts(&self, entry: &Discovered) -> Vec<String> {
        let address = entry.addresses.iter().find(|address| address.is_ipv4()).map(ToString::to_string);
        let address = address.unwrap_or_default();
        let lifetime = entry.expires.unwrap().since(entry.last_seen).as_secs();
        let (name, system, port) = (&entry.name, field(entry, "system"), field(entry, "port"));
        vec![match entry.key.protocol {
            DiscoveryProtocol::Cdp => {
                // As lldpd puts it.
                let platform = field(entry, "platform");
                format!(
                    "CDP {name} at {address}: {platform} running on {system}, port {port}, for {lifetime} s"
                )
            }
            _ => {
                let [description, vlan, capabilities] =
                    ["port description", "VLAN", "capabilities"].map(|name| field(entry, name));
                format!(
                    "LLDP {name} at {address}: {system}, port {port} ({description}), VLAN {vlan}, {capabilities}, for {lifetime} s"
                )
            }
        }]
    }
}

#[test]
fn neighbors_are_those_that_lldpd_lists_in_networks_drawn_by_seed() {
    if is_root("neighbors beside lldpd") && has_programs(&["lldpd", "lldpcli"]) {
        for_networks(3, both_list_the_same::<Lldpd>);
    }
}
