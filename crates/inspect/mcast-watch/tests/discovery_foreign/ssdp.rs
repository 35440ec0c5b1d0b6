//! SSDP with GSSDP, the stack of GNOME, and its browser `gssdp-discover`; and miniupnpd, the one of many routers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mcast_lab::Host;
use mcast_sim::Dice;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::describe;

use crate::networks::for_networks;
use crate::{PATIENCE, Running, Segment, found, has_modules, has_programs, output, wait_until};

/// Announces resources, each `TARGET|USN|LOCATION`, until it is asked to end; then says goodbye.
const DEVICES: &str = r#"
import signal, sys
import gi
gi.require_version("GSSDP", "1.6")
from gi.repository import GLib, GSSDP
client = GSSDP.Client.new_full("eth0", None, 0, GSSDP.UDAVersion.VERSION_1_0)
client.set_server_id("Foreign/1.0")
group = GSSDP.ResourceGroup.new(client)
group.set_max_age(int(sys.argv[1]))
group.set_message_delay(10)
for resource in sys.argv[2:]:
    target, usn, location = resource.split("|")
    group.add_resource_simple(target, usn, location)
group.set_available(True)
loop = GLib.MainLoop()
def end(*_):
    group.set_available(False)
    GLib.timeout_add(1000, loop.quit)
    return False
GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, end)
print("ready", flush=True)
loop.run()
"#;

/// A device with an identifier, and the types that it has beside `upnp:rootdevice`.
#[derive(Clone)]
struct Device {
    id: String,
    types: Vec<String>,
}

impl Device {
    fn drawn(dice: &mut Dice, number: usize) -> Self {
        let id = format!("{:08x}-0000-4000-8000-{number:012}", dice.next() & 0xffff_ffff);
        let mut types = vec![format!("urn:schemas-upnp-org:device:Kind{}:1", dice.below(5))];
        types.extend(
            (0..dice.below(4)).map(|service| format!("urn:schemas-upnp-org:service:Service{service}:1")),
        );
        Self { id, types }
    }

    /// Returns the identifier with each type.
    fn facts(&self) -> impl Iterator<Item = (String, String)> {
        let types = self.types.iter().cloned().chain(["upnp:rootdevice".to_owned()]);
        types.map(|kind| (self.id.clone(), kind))
    }

    fn start(&self, host: &Host, max_age: u32) -> Running {
        let location = format!("http://{}:80/d.xml", host.interface_address());
        let mut resources = vec![format!("uuid:{0}|uuid:{0}|{location}", self.id)];
        resources.extend(self.facts().map(|(id, kind)| format!("{kind}|uuid:{id}::{kind}|{location}")));
        let age = max_age.to_string();
        let mut arguments = vec!["-c", DEVICES, &age];
        arguments.extend(resources.iter().map(String::as_str));
        Running::ready(host, "/usr/bin/python3", &arguments)
    }
}

trait Address {
    fn interface_address(&self) -> String;
}

impl Address for Host {
    fn interface_address(&self) -> String {
        format!("10.0.0.{}", &self.name()[1..])
    }
}

fn facts(entry: &Discovered) -> Vec<(String, String)> {
    let id = entry.key.id.to_string();
    let types = entry
        .fields
        .iter()
        .filter(|field| [b"device".as_slice(), b"service", b"type"].contains(&field.name.as_bytes()));
    types.map(|field| (id.clone(), field.value.to_string())).collect()
}

/// Returns what `gssdp-discover` shows: each identifier with each type.
fn specialist(host: &Host) -> BTreeSet<(String, String)> {
    let text = output(host, "gssdp-discover", &["-i", "eth0", "-n", "3", "-m", "available"]);
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("USN:"));
    let pairs = names.filter_map(|name| name.trim().strip_prefix("uuid:")?.split_once("::"));
    pairs.map(|(id, kind)| (id.to_owned(), kind.to_owned())).collect()
}

/// Returns what it shows when it is started twice: it asks once, and several networks at a time may cost it an answer.
fn specialists(host: &Host) -> BTreeSet<(String, String)> {
    &specialist(host) | &specialist(host)
}

fn is_installed() -> bool {
    has_programs(&["gssdp-discover"]) && has_modules("/usr/bin/python3", &["gi"])
}

fn of_all(devices: &[Device]) -> BTreeSet<(String, String)> {
    devices.iter().flat_map(Device::facts).collect()
}

#[test]
fn devices_of_gssdp_are_those_that_its_browser_shows_in_networks_drawn_by_seed() {
    if !is_installed() {
        return;
    }
    for_networks(3, |seed| {
        let mut dice = Dice::new(seed);
        let loss = if seed % 3 == 2 { 0.1 } else { 0.0 };
        let segment = Segment::new(4, loss, seed);
        let mut devices: Vec<Device> = (0..4).map(|number| Device::drawn(&mut dice, number)).collect();
        let mut running: Vec<Option<Running>> = devices
            .iter()
            .zip(&segment.hosts)
            .map(|(device, host)| Some(device.start(host, 1_800)))
            .collect();
        // With a capture and by sockets alone, after the devices have announced themselves: they have to be asked.
        let discoveries = [segment.discover(true, true), segment.discover(true, false)];
        let expect = |what: &str, expected: &BTreeSet<(String, String)>| {
            for discovery in &discoveries {
                let find = || found(discovery, DiscoveryProtocol::Ssdp, facts);
                let took = wait_until(&format!("seed {seed}: {what}"), discovery, expected, find);
                eprintln!("seed {seed}: {what} after {took:?}");
            }
        };
        expect("asked", &of_all(&devices));
        if loss == 0.0 {
            assert_eq!(specialists(&segment.watcher), of_all(&devices), "seed {seed}: the specialist");
        }
        // One goes with a goodbye, which may be lost; one appears; one restarts with other services.
        let away = running[0].take().unwrap();
        away.end();
        if loss == 0.0 {
            expect("one less", &of_all(&devices[1..]));
        }
        let again = Device::drawn(&mut dice, 9);
        devices[0] = again;
        running[0] = Some(devices[0].start(&segment.hosts[0], 1_800));
        running[1].take().unwrap().end();
        devices[1].types.push("urn:schemas-upnp-org:service:Extra:1".to_owned());
        running[1] = Some(devices[1].start(&segment.hosts[1], 1_800));
        if loss == 0.0 {
            expect("one new, one with another service", &of_all(&devices));
            assert_eq!(specialists(&segment.watcher), of_all(&devices), "seed {seed}: the specialist");
        } else {
            for discovery in &discoveries {
                let has_all = || {
                    let found = found(discovery, DiscoveryProtocol::Ssdp, facts);
                    BTreeSet::from([of_all(&devices).difference(&found).count()])
                };
                discovery.ask();
                wait_until("all with losses", discovery, &BTreeSet::from([0]), has_all);
            }
        }
        drop(running);
        drop(segment.lab);
    });
}

#[test]
fn a_device_that_is_killed_lapses_after_its_lifetime() {
    if !is_installed() {
        return;
    }
    let segment = Segment::new(1, 0.0, 0);
    let device = Device::drawn(&mut Dice::new(7), 0);
    let discovery = segment.discover(false, true);
    // GSSDP repeats announcements before they lapse, and has a shortest lifetime of its own.
    let running = device.start(&segment.hosts[0], 5);
    let find = || found(&discovery, DiscoveryProtocol::Ssdp, facts);
    let took = wait_until("announced", &discovery, &of_all(std::slice::from_ref(&device)), find);
    assert!(took < Duration::from_secs(20), "{took:?}");
    running.kill();
    wait_until("lapsed", &discovery, &BTreeSet::new(), find);
}

/// The settings of miniupnpd, which would translate addresses between two interfaces.
const SETTINGS: &str = "ext_ifname=eth0\nlistening_ip=eth0\nport=5555\nenable_natpmp=no\nenable_upnp=yes\n\
    ext_ip=8.8.8.8\nfriendly_name=A foreign router\nmanufacturer_name=M & Co\nuuid=00000000-0000-4000-8000-00000000000";

#[test]
fn routers_of_miniupnpd_are_those_that_the_browser_shows_and_describe_themselves() {
    if !has_programs(&["miniupnpd", "gssdp-discover"]) {
        return;
    }
    let segment = Segment::new(2, 0.0, 0);
    let folder = tempfile::tempdir().unwrap();
    let running: Vec<Running> = segment
        .hosts
        .iter()
        .enumerate()
        .map(|(number, host)| {
            let file = folder.path().join(format!("{number}.conf"));
            // Its devices have the identifiers that follow.
            std::fs::write(&file, format!("{SETTINGS}{}\n", 4 * number)).unwrap();
            let process = folder.path().join(format!("{number}.pid"));
            let arguments = ["-d", "-f", file.to_str().unwrap(), "-P", process.to_str().unwrap()];
            Running::start(host, "/usr/sbin/miniupnpd", &arguments)
        })
        .collect();
    let discovery = segment.discover(true, false);
    let find = || found(&discovery, DiscoveryProtocol::Ssdp, facts);
    let routers = || {
        let is_router = |entry: &Discovered| entry.name.to_string() == "InternetGatewayDevice";
        found(&discovery, DiscoveryProtocol::Ssdp, |entry| vec![is_router(entry).then(|| entry.source.ip())])
    };
    let both = segment.hosts.iter().map(|host| Some(Some(host.interface_address().parse().unwrap())));
    // Each router has devices within it, which are entries of their own.
    let both: BTreeSet<_> = both.chain([None]).collect();
    // A router may be asked before it listens.
    let begin = Instant::now();
    loop {
        discovery.ask();
        let shown = specialist(&segment.watcher);
        let found = find();
        if routers() == both && !shown.is_empty() && found == shown {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "found {found:?}, shown {shown:?}");
    }
    let entries = discovery.entries();
    let router = entries.iter().find(|entry| entry.name.to_string() == "InternetGatewayDevice").unwrap();
    let fields = segment.watcher.run(|| describe(router)).unwrap().unwrap();
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.name.as_bytes() == name.as_bytes());
        field.map(|field| field.value.to_string()).unwrap_or_default()
    };
    assert_eq!(value("friendly name"), "A foreign router");
    drop(running);
}

/// Asks minissdpd for all that it knows, by the socket of its clients, and prints `USN` of each.
const CLIENT: &str = r#"
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(bytes([3, 0]))
data = b""
client.settimeout(2)
def need(count):
    global data
    while len(data) < count:
        more = client.recv(65536)
        if not more: sys.exit(0)
        data += more
def take(count):
    global data
    need(count)
    taken, data = data[:count], data[count:]
    return taken
def text():
    length = 0
    while True:
        byte = take(1)[0]
        length = length << 7 | byte & 0x7f
        if not byte & 0x80: return take(length).decode()
for _ in range(take(1)[0]):
    url, kind, name = text(), text(), text()
    print(name)
"#;

#[test]
fn devices_are_those_that_minissdpd_keeps() {
    if !is_installed() || !has_programs(&["minissdpd"]) {
        return;
    }
    let segment = Segment::new(4, 0.0, 0);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (socket, process) = (path("sock"), path("pid"));
    let arguments = ["-d", "-i", "eth0", "-s", &socket, "-p", &process, "-t", "255"];
    let _keeper = Running::start(&segment.hosts[3], "/usr/sbin/minissdpd", &arguments);
    let discovery = segment.discover(true, true);
    let mut dice = Dice::new(11);
    let devices: Vec<Device> = (0..3).map(|number| Device::drawn(&mut dice, number)).collect();
    let start = |(device, host): (&Device, &Host)| device.start(host, 1_800);
    let mut running: Vec<Running> = devices.iter().zip(&segment.hosts).map(start).collect();
    let kept = || {
        let text = output(&segment.hosts[3], "/usr/bin/python3", &["-c", CLIENT, &socket]);
        let names = text.lines().filter_map(|line| line.strip_prefix("uuid:")?.split_once("::"));
        names.map(|(id, kind)| (id.to_owned(), kind.to_owned())).collect::<BTreeSet<_>>()
    };
    let agree = |what: &str, devices: &[Device]| {
        let expected = of_all(devices);
        // It keeps what is announced and asks at its start only.
        wait_until(what, &discovery, &expected, kept);
        wait_until(what, &discovery, &expected, || found(&discovery, DiscoveryProtocol::Ssdp, facts));
    };
    agree("three devices", &devices);
    running.remove(0).end();
    agree("two devices", &devices[1..]);
}
