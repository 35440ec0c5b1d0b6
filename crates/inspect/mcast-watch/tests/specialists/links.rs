//! Neighbors, as lldpd lists them, virtual routers of keepalived, and OSPF routers, as BIRD lists them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use mcast_lab::{Child, Host, Lab, has_program, skip};
use mcast_watch::discovery::DiscoveryProtocol;

use super::{Conversation, agree, discover, entries, field};

const LIMIT: Duration = Duration::from_secs(40);

fn is_root(purpose: &str) -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        skip(format_args!("{purpose}: it must run as root"));
    }
    is_root
}

/// A switch or the observer, with the socket of its daemon.
struct Lldpd<'a> {
    host: &'a Host,
    socket: String,
    daemon: Child,
}

impl<'a> Lldpd<'a> {
    fn start(host: &'a Host, folder: &Path, options: &[&str]) -> Self {
        let socket = folder.join(format!("{}.sock", host.name())).display().to_string();
        let mut command = host.command("lldpd").unwrap();
        command.args(["-d", "-u", &socket, "-I", "eth0"]).args(options.iter().copied());
        Self { host, daemon: command.spawn().unwrap(), socket }
    }

    fn tool(&self, arguments: &[&str]) -> Option<String> {
        let mut command = self.host.command("lldpcli").unwrap();
        command.args(["-u", &self.socket]).args(arguments.iter().copied());
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Repeats until the daemon answers.
    fn configure(&self, arguments: &[&str]) {
        let start = std::time::Instant::now();
        while self.tool(&[&["configure"], arguments].concat()).is_none() {
            assert!(start.elapsed() < LIMIT, "the daemon does not answer");
            std::thread::yield_now();
        }
    }

    /// Returns protocol, name, port and lifetime of each neighbor.
    fn neighbors(&self) -> BTreeSet<(String, String, String, String)> {
        let text = self.tool(&["-f", "keyvalue", "show", "neighbors"]).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut entry = <[String; 4]>::default();
        // `lldp.eth0.chassis.name=sw1`: each neighbor begins with the protocol and ends with its lifetime.
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.to_owned();
            match name.rsplit("eth0.").next().unwrap_or_default() {
                "via" => entry = [value, String::new(), String::new(), String::new()],
                "chassis.name" => entry[1] = value,
                "port.local" | "port.ifname" => entry[2] = value,
                "port.ttl" => {
                    let [via, system, port, _] = entry.clone();
                    seen.insert((via, system, port, value));
                }
                _ => {}
            }
        }
        seen
    }
}

#[test]
fn neighbors_are_those_that_lldpd_lists_by_lldp_and_by_cdp() {
    let purpose = "neighbors beside lldpd";
    if !is_root(purpose) || !has_program("lldpd", "-v", purpose) {
        return;
    }
    fs::create_dir_all("/run/lldpd").unwrap();
    let lab = Lab::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (switch, observer) = (lab.host("sw1").unwrap(), lab.host("observer").unwrap());
    lab.link(&switch, "eth0", &["10.0.0.1/24"], &observer, "eth0", &["10.0.0.2/24"]).unwrap();
    let daemon = Lldpd::start(&switch, folder.path(), &["-l", "-ccccc", "-S", "Switch OS 7"]);
    let specialist = Lldpd::start(&observer, folder.path(), &["-l", "-c", "-H", "0"]);
    let discovery = discover(&observer, false);
    daemon.configure(&["system", "hostname", "sw1"]);
    daemon.configure(&["lldp", "portidsubtype", "local", "Gi1/0/7"]);
    daemon.configure(&["lldp", "tx-interval", "1"]);
    specialist.configure(&["lldp", "tx-interval", "1"]);
    let found = || {
        let both = [(DiscoveryProtocol::Lldp, "LLDP"), (DiscoveryProtocol::Cdp, "CDPv2")];
        let all = both.iter().flat_map(|(protocol, name)| {
            entries(&discovery, *protocol).into_iter().map(move |entry| (entry, *name))
        });
        let seconds = |entry: &mcast_watch::discovery::Discovered| {
            entry.expires.unwrap().since(entry.last_seen).as_secs().to_string()
        };
        all.map(|(entry, via)| {
            (via.to_owned(), entry.name.to_string(), field(&entry, "port"), seconds(&entry))
        })
        .collect::<BTreeSet<_>>()
    };
    agree(
        "the neighbors",
        &discovery,
        LIMIT,
        || specialist.neighbors(),
        found,
        |seen| {
            let ports: Vec<_> = seen.iter().map(|(via, name, ..)| (via.as_str(), name.as_str())).collect();
            ports == [("CDPv2", "sw1"), ("LLDP", "sw1")]
        },
    );
    let lldp = entries(&discovery, DiscoveryProtocol::Lldp).remove(0);
    assert_eq!((field(&lldp, "port"), field(&lldp, "system")), ("Gi1/0/7".into(), "Switch OS 7".into()));
    assert!(lldp.addresses.contains(&"10.0.0.1".parse().unwrap()), "{:?}", lldp.addresses);
    // It withdraws what it announced when it ends.
    daemon.daemon.signal(15).unwrap();
    agree("no neighbor", &discovery, LIMIT, || specialist.neighbors(), found, BTreeSet::is_empty);
    specialist.daemon.kill().unwrap();
}

#[test]
fn masters_of_a_virtual_router_are_those_that_hold_its_address() {
    let purpose = "virtual routers beside keepalived";
    if !is_root(purpose) || !has_program("keepalived", "-v", purpose) {
        return;
    }
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let routers: Vec<Host> = (1..=3)
        .map(|number| {
            let host = lab.host(&format!("r{number}")).unwrap();
            host.connect("eth0", &lan, &[&format!("10.0.0.{number}/24")]).unwrap();
            host
        })
        .collect();
    let observer = lab.host("observer").unwrap();
    observer.connect("eth0", &lan, &["10.0.0.99/24"]).unwrap();
    let start = |host: &Host, priority: u32| {
        let path =
            |ending: &str| folder.path().join(format!("{}.{ending}", host.name())).display().to_string();
        let settings = format!(
            "vrrp_instance one {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n\
             advert_int 1\n virtual_ipaddress {{ 10.0.0.254/24 }}\n}}\n"
        );
        fs::write(path("conf"), settings).unwrap();
        let mut command = host.command("keepalived").unwrap();
        let files = [("-p", path("pid")), ("-r", path("vrrp")), ("-c", path("checkers"))];
        command.args(["-n", "-P", "-f", &path("conf")]);
        for (option, file) in &files {
            command.args([option, &file.as_str()]);
        }
        command.own_group().spawn().unwrap()
    };
    let mut daemons: Vec<Child> =
        routers.iter().zip([110, 100, 90]).map(|(host, priority)| start(host, priority)).collect();
    let discovery = discover(&observer, false);
    let holders = || {
        let holds = |host: &&Host| {
            host.addresses("eth0").unwrap().iter().any(|held| held.to_string().starts_with("10.0.0.254"))
        };
        let numbered = routers.iter().zip(1..).filter(|(host, _)| holds(host));
        numbered.map(|(_, number)| format!("10.0.0.{number}")).collect::<BTreeSet<_>>()
    };
    let found = || {
        let all = entries(&discovery, DiscoveryProtocol::Vrrp).into_iter();
        all.inspect(|entry| assert_eq!(field(entry, "virtual address"), "10.0.0.254"))
            .map(|entry| entry.name.to_string())
            .collect()
    };
    let only = |expected: &'static str| move |seen: &BTreeSet<String>| seen.iter().eq([expected]);
    agree("the best router", &discovery, LIMIT, holders, found, only("10.0.0.1"));
    // It resigns: the next one takes over at once.
    daemons.remove(0).signal(15).unwrap();
    agree("the second router", &discovery, LIMIT, holders, found, only("10.0.0.2"));
    // The second one fails: it keeps the address, and is no longer heard of.
    daemons.remove(0).signal(9).unwrap();
    let others = || holders().into_iter().filter(|holder| holder != "10.0.0.2").collect();
    agree("the third router", &discovery, LIMIT, others, found, only("10.0.0.3"));
    daemons.remove(0).signal(15).unwrap();
    agree("no router", &discovery, LIMIT, BTreeSet::new, found, BTreeSet::is_empty);
}

#[test]
fn ospf_routers_are_those_that_bird_lists() {
    let purpose = "OSPF routers beside BIRD";
    if !is_root(purpose) || !has_program("bird", "--version", purpose) {
        return;
    }
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path =
        |name: &str, ending: &str| folder.path().join(format!("{name}.{ending}")).display().to_string();
    let mut daemons = Vec::new();
    let mut hosts = Vec::new();
    for number in 1..=3 {
        let host = lab.host(&format!("r{number}")).unwrap();
        host.connect("eth0", &lan, &[&format!("10.0.0.{number}/24")]).unwrap();
        let settings = format!(
            "router id 192.0.2.{number};\nprotocol device {{ scan time 1; }}\nprotocol ospf v2 one {{\n ipv4 {{ import none; export none; }};\n\
             area 0 {{ interface \"eth0\" {{ hello 1; dead 4; wait 2; }}; }};\n}}\n"
        );
        fs::write(path(host.name(), "conf"), settings).unwrap();
        let mut command = host.command("bird").unwrap();
        command.args(["-f", "-c", &path(host.name(), "conf"), "-s", &path(host.name(), "ctl")]);
        daemons.push(command.spawn().unwrap());
        hosts.push(host);
    }
    let observer = lab.host("observer").unwrap();
    observer.connect("eth0", &lan, &["10.0.0.99/24"]).unwrap();
    let discovery = discover(&observer, false);
    // What the first router lists, and itself.
    let specialist = || {
        let mut command = hosts[0].command("birdc").unwrap();
        command.args(["-s", &path("r1", "ctl"), "show", "ospf", "neighbors"]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ids = text.lines().filter_map(|line| line.split_whitespace().next());
        let ids = ids.filter(|id| id.starts_with("192.0.2.")).map(str::to_owned);
        ids.chain(["192.0.2.1".to_owned()]).collect::<BTreeSet<_>>()
    };
    let found =
        || entries(&discovery, DiscoveryProtocol::Ospf).iter().map(|entry| entry.name.to_string()).collect();
    agree("three routers", &discovery, LIMIT, specialist, found, |seen| seen.len() == 3);
    assert!(
        entries(&discovery, DiscoveryProtocol::Ospf)
            .iter()
            .all(|entry| field(entry, "dead interval") == "4 s")
    );
    daemons.remove(2).kill().unwrap();
    agree("two routers", &discovery, LIMIT, specialist, found, |seen| seen.len() == 2);
}

/// Daemons of FRR on a host: those that speak PIM.
fn start_frr(host: &Host, folder: &Path) -> Vec<Child> {
    let own = folder.join(host.name());
    fs::create_dir(&own).unwrap();
    // Its daemons run as another user.
    for (folder, mode) in [(folder, 0o755), (&own, 0o777)] {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = |name: &str| own.join(name).display().to_string();
    fs::write(path("conf"), "interface eth0\n ip pim\n ip pim hello 1 4\n").unwrap();
    let start = |daemon: &str| {
        let mut command = host.command(format!("/usr/lib/frr/{daemon}")).unwrap();
        let (socket, process) = (path("zserv.api"), path(&format!("{daemon}.pid")));
        command.args(["-f", &path("conf"), "-z", &socket, "-i", &process, "-A", "127.0.0.1"]);
        command.args(["--vty_socket", &own.display().to_string()]).own_group();
        command.spawn().unwrap()
    };
    vec![start("zebra"), start("pimd")]
}

#[test]
fn pim_routers_are_those_that_frr_lists() {
    let purpose = "PIM routers beside FRR";
    if !is_root(purpose) || !has_program("/usr/lib/frr/pimd", "--version", purpose) {
        return;
    }
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hosts: Vec<Host> = (1..=3)
        .map(|number| {
            let host = lab.host(&format!("r{number}")).unwrap();
            host.connect("eth0", &lan, &[&format!("10.0.0.{number}/24")]).unwrap();
            host
        })
        .collect();
    let mut daemons: Vec<_> = hosts.iter().map(|host| start_frr(host, folder.path())).collect();
    let observer = lab.host("observer").unwrap();
    observer.connect("eth0", &lan, &["10.0.0.99/24"]).unwrap();
    let discovery = discover(&observer, false);
    // What the first router lists, and itself.
    let specialist = || {
        let mut command = hosts[0].command("vtysh").unwrap();
        let folder = folder.path().join("r1").display().to_string();
        command.args(["--vty_socket", &folder, "-d", "pimd", "-c", "show ip pim neighbor"]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let neighbors = rows.filter(|row| row.first() == Some(&"eth0")).map(|row| row[1].to_owned());
        neighbors.chain(["10.0.0.1".to_owned()]).collect::<BTreeSet<_>>()
    };
    let found =
        || entries(&discovery, DiscoveryProtocol::Pim).iter().map(|entry| entry.name.to_string()).collect();
    agree("three routers", &discovery, LIMIT, specialist, found, |seen| seen.len() == 3);
    let all = entries(&discovery, DiscoveryProtocol::Pim);
    assert!(all.iter().all(|entry| field(entry, "hold time") == "4 s"), "{all:#?}");
    daemons.remove(2).iter_mut().for_each(|daemon| daemon.kill().unwrap());
    agree("two routers", &discovery, LIMIT, specialist, found, |seen| seen.len() == 2);
}

/// Speaks HSRP version 1 every 300 ms: no free program does, but that of a router of Cisco.
const HSRP_ROUTER: &str = r#"
import sys, time
from scapy.all import Ether, IP, UDP, get_if_hwaddr, sendp
from scapy.layers.hsrp import HSRP
state, priority, group, virtual, own = sys.argv[1:]
message = HSRP(state=int(state), priority=int(priority), group=int(group), virtualIP=virtual, hellotime=1, holdtime=3)
frame = Ether(dst="01:00:5e:00:00:02", src=get_if_hwaddr("eth0")) / IP(src=own, dst="224.0.0.2", ttl=1) / UDP(sport=1985, dport=1985) / message
while True:
    sendp(frame, iface="eth0", verbose=False)
    time.sleep(0.3)
"#;

/// Prints each message of HSRP as scapy reads it.
const HSRP_READER: &str = r#"
from scapy.all import IP, sniff
from scapy.layers.hsrp import HSRP
def show(packet):
    if HSRP in packet:
        read = packet[HSRP]
        states = {16: "active", 8: "standby", 4: "speak", 2: "listen", 1: "learn", 0: "initial"}
        print(packet[IP].src, read.group, states[read.state], read.priority, read.virtualIP, flush=True)
sniff(iface="eth0", filter="udp port 1985", prn=show, store=False, started_callback=lambda: print("ready", flush=True))
"#;

#[test]
fn hsrp_routers_are_those_that_scapy_reads() {
    const PYTHON: &str = "/usr/bin/python3";
    let purpose = "HSRP beside scapy";
    let has_scapy = std::process::Command::new(PYTHON).args(["-c", "import scapy"]).status();
    if !is_root(purpose) || !has_scapy.is_ok_and(|status| status.success()) {
        return skip(purpose);
    }
    let lab = Lab::new().unwrap();
    let lan = lab.switch("lan").unwrap();
    let observer = lab.host("observer").unwrap();
    observer.connect("eth0", &lan, &["10.0.0.99/24"]).unwrap();
    let discovery = discover(&observer, false);
    let mut reader = Conversation::start(&observer, PYTHON, &["-c", HSRP_READER]);
    assert_eq!(reader.line(), "ready");
    let mut routers = Vec::new();
    for (number, arguments) in
        [["16", "110", "5", "10.0.0.254"], ["8", "100", "5", "10.0.0.254"], ["16", "120", "7", "10.0.0.253"]]
            .iter()
            .enumerate()
    {
        let host = lab.host(&format!("r{number}")).unwrap();
        let own = format!("10.0.0.{}", number + 1);
        host.connect("eth0", &lan, &[&format!("{own}/24")]).unwrap();
        let mut command = host.command(PYTHON).unwrap();
        routers.push(command.args(["-c", HSRP_ROUTER]).args(arguments).arg(&own).spawn().unwrap());
    }
    let mut read = BTreeSet::new();
    agree(
        "three routers",
        &discovery,
        LIMIT,
        || {
            read.insert(reader.line());
            read.clone()
        },
        || {
            let all = entries(&discovery, DiscoveryProtocol::Hsrp).into_iter();
            all.map(|entry| {
                let group = entry.service.to_string().replace("group ", "");
                let values = ["state", "priority", "virtual address"].map(|name| field(&entry, name));
                format!("{} {group} {}", entry.name, values.join(" "))
            })
            .collect()
        },
        |seen| seen.len() == 3,
    );
    routers.iter_mut().for_each(|router| router.kill().unwrap());
    let found = || entries(&discovery, DiscoveryProtocol::Hsrp).len();
    agree("none", &discovery, LIMIT, || BTreeSet::from([0]), || BTreeSet::from([found()]), |_| true);
    reader.child.kill().unwrap();
}
