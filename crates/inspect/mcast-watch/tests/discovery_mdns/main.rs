//! The services that are listed equal those that avahi and zeroconf list on the same wire, in networks drawn by seed.
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../specialists/networks.rs"]
mod networks;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::{Host, Lab, Switch};
use mcast_sim::Dice;
use mcast_watch::discovery::{DiscoveredKind, DiscoveryProtocol};
use mcast_watch::live::{Discovery, DiscoveryOptions};
use tempfile::TempDir;

use networks::{for_networks, is_short};

/// The name and type of a service.
type Service = (String, String);

const TYPES: [&str; 4] = ["_ipp._tcp", "_http._tcp", "_matterc._udp", "_x-rare._tcp"];
const NAMES: [&str; 6] = ["Printer", "Büro 2.OG", "a b", "KITCHEN", "Light (1)", "日本"];
/// How long a change may take until all list it, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(30);

const DAEMON: &str = "[server]\nhost-name=HOST\nuse-ipv4=yes\nuse-ipv6=yes\nallow-interfaces=eth0\nenable-dbus=BUS\n\
    [publish]\npublish-hinfo=no\npublish-workstation=no\n";
const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

/// A program on a host. Dropping it kills it.
struct Program {
    child: mcast_lab::Child,
    input: std::process::ChildStdin,
    lines: Receiver<String>,
}

impl Program {
    /// Starts a program, and reads the lines that it writes to both outputs.
    fn start(host: &Host, program: &str, arguments: &[&str]) -> Self {
        let mut command = host.command(program).unwrap();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let send = send.clone();
            thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
            });
        }
        let input = child.stdin.take().unwrap();
        Self { child, input, lines }
    }

    fn wait_for(&self, text: &str) {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no {text:?}: {seen:#?}"),
            }
        }
    }

    /// Writes a command, and returns the line that answers.
    fn answer(&mut self, words: &[&str]) -> String {
        writeln!(self.input, "{}", words.join("\t")).unwrap();
        self.lines.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// An avahi daemon that publishes the files of a folder; with a bus, it can be browsed.
struct Avahi<'a> {
    host: &'a Host,
    folder: TempDir,
    daemon: Option<Program>,
    bus: Option<Program>,
}

impl<'a> Avahi<'a> {
    fn new(host: &'a Host, with_bus: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        fs::create_dir(folder.path().join("services")).unwrap();
        fs::write(folder.path().join("bus.conf"), BUS.replace("FOLDER", &path)).unwrap();
        let daemon = DAEMON.replace("HOST", host.name()).replace("BUS", if with_bus { "yes" } else { "no" });
        fs::write(folder.path().join("avahi.conf"), daemon).unwrap();
        let bus = with_bus.then(|| {
            let settings = format!("{path}/bus.conf");
            let bus =
                Program::start(host, "dbus-daemon", &["--nofork", "--nopidfile", "--config-file", &settings]);
            let end = Instant::now() + PATIENCE;
            while !folder.path().join("bus").exists() {
                assert!(Instant::now() < end, "no bus");
                thread::yield_now();
            }
            bus
        });
        let mut avahi = Self { host, folder, daemon: None, bus };
        avahi.restart();
        avahi
    }

    /// Starts the daemon; one that runs is killed without a goodbye.
    fn restart(&mut self) {
        drop(self.daemon.take());
        let path = self.folder.path().display();
        // The daemon has its socket and its process id below /run.
        let script = format!(
            "mount -t tmpfs tmpfs /run && mount --bind {path}/services /etc/avahi/services && \
             PATH=$PATH:/usr/sbin exec avahi-daemon -f {path}/avahi.conf --no-drop-root --no-chroot --no-rlimits"
        );
        let bus = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={path}/bus");
        let daemon = Program::start(self.host, "env", &[&bus, "unshare", "-m", "sh", "-c", &script]);
        daemon.wait_for("Server startup complete");
        self.daemon = Some(daemon);
    }

    fn file(&self, (name, kind): &Service) -> std::path::PathBuf {
        let number = NAMES.iter().position(|known| known == name).unwrap();
        self.folder.path().join("services").join(format!("{number}{kind}.service"))
    }

    fn publish(&self, service: &Service, port: u16) {
        let (name, kind) = service;
        let text = format!(
            "<service-group><name>{name}</name><service><type>{kind}</type><port>{port}</port>\
             <txt-record>ty=Model 7</txt-record></service></service-group>"
        );
        // Complete before the daemon sees it.
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.file(service)).unwrap();
    }

    fn remove(&self, service: &Service) {
        fs::remove_file(self.file(service)).unwrap();
    }

    /// Returns what the daemon lists.
    fn browse(&self) -> BTreeSet<Service> {
        self.rows().into_iter().map(|(_, service)| service).collect()
    }

    /// Returns what it lists by each of the families, `IPv4` and `IPv6`.
    fn rows(&self) -> BTreeSet<(String, Service)> {
        let bus = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={}/bus", self.folder.path().display());
        assert!(self.bus.is_some());
        let output = self
            .host
            .command("env")
            .unwrap()
            .args([&bus, "avahi-browse", "-a", "-p", "-t", "-k"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().map(|line| line.split(';').collect::<Vec<_>>());
        let service = |row: Vec<&str>| (row[2].to_owned(), (unescaped(row[3]), row[4].to_owned()));
        rows.filter(|row| row[0] == "+").map(service).collect()
    }
}

/// Reads the escapes of avahi: `\032` for a byte, `\.` for a dot.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = if byte == b'\\' { rest.next().unwrap() } else { byte };
        if byte == b'\\' && escaped.is_ascii_digit() {
            let digits = [escaped, rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(std::str::from_utf8(&digits).unwrap().parse().unwrap());
        } else {
            bytes.push(escaped);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A switch with hosts that publish by avahi and zeroconf, and hosts that browse by each of them and by us.
struct Network {
    _lab: Lab,
    _switch: Switch,
    hosts: Vec<Host>,
}

impl Network {
    fn new() -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch("s").unwrap();
        let hosts = (1..=5_u8).map(|number| {
            let host = lab.host(&format!("h{number}")).unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            host.connect("eth0", &switch, &addresses.each_ref().map(String::as_str)).unwrap();
            host
        });
        Self { hosts: hosts.collect(), _switch: switch, _lab: lab }
    }

    fn discover(&self, ask: bool) -> Discovery {
        let options = DiscoveryOptions { ask, ..DiscoveryOptions::default() };
        self.hosts[0].run(|| Discovery::open(&options)).unwrap().unwrap()
    }

    fn zeroconf(&self, python: &str, number: usize) -> Program {
        self.zeroconf_by(python, number, &format!("10.0.0.{}", number + 1))
    }

    /// Starts a peer that speaks by the family of this address of its host.
    fn zeroconf_by(&self, python: &str, number: usize, own: &str) -> Program {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/discovery_mdns/peer.py");
        let address = format!("10.0.0.{}", number + 1);
        let host = &self.hosts[number];
        let peer = Program::start(host, python, &[script, host.name(), &address, own]);
        peer.wait_for("ready");
        peer
    }
}

fn listed(discovery: &Discovery) -> BTreeSet<Service> {
    let entries = discovery.entries().into_iter().filter(|entry| {
        entry.key.protocol == DiscoveryProtocol::Mdns && entry.kind == DiscoveredKind::Service
    });
    entries
        .map(|entry| (String::from_utf8(entry.name.as_bytes().to_vec()).unwrap(), entry.service.to_string()))
        .collect()
}

/// Returns the Python that has zeroconf, if that and avahi are installed.
fn specialists() -> Option<&'static str> {
    let is_installed = |program: &&str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|folder| folder.join(program).exists())
            || Path::new("/usr/sbin").join(program).exists()
    };
    let has_zeroconf = |python: &&str| {
        Command::new(python)
            .args(["-c", "import zeroconf"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let programs = ["avahi-daemon", "avahi-browse", "dbus-daemon", "unshare"];
    if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
        mcast_lab::skip(format_args!("mDNS beside avahi and zeroconf: {missing} is not installed"));
        return None;
    }
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_zeroconf);
    if python.is_none() {
        mcast_lab::skip("mDNS beside avahi and zeroconf: python3 has no zeroconf");
    }
    python
}

fn draw_service(dice: &mut Dice) -> Service {
    (dice.pick(&NAMES).to_owned(), dice.pick(&TYPES).to_owned())
}

/// Services come, go, are renamed and survive the crash of their host; after each step, all list the same.
fn assert_lists_equal(python: &str, seed: u64) {
    let steps = if is_short() { 4 } else { 8 };
    let network = Network::new();
    let browser = Avahi::new(&network.hosts[1], true);
    let mut avahi = Avahi::new(&network.hosts[2], false);
    let mut browsing = network.zeroconf(python, 3);
    let mut peer = network.zeroconf(python, 4);
    assert_eq!(browsing.answer(&[&["browse"], &TYPES[..]].concat()), "done");
    let discovery = network.discover(true);
    let mut dice = Dice::new(seed);
    let (mut by_avahi, mut by_peer) = (BTreeSet::new(), BTreeSet::new());
    for step in 0..steps {
        let service = draw_service(&mut dice);
        let port = 1_000 + step as u16;
        let action = dice.below(6);
        match action {
            // Twice as many come as go.
            0 | 1 if !by_peer.contains(&service) && by_avahi.insert(service.clone()) => {
                avahi.publish(&service, port);
            }
            // zeroconf writes a dot as the end of a label, which avahi does not list.
            2 | 3
                if !service.0.contains('.')
                    && !by_avahi.contains(&service)
                    && by_peer.insert(service.clone()) =>
            {
                assert_eq!(peer.answer(&["add", &service.0, &service.1, &port.to_string()]), "done");
            }
            4 => avahi.restart(),
            _ => {
                if let Some(service) = by_avahi.pop_first() {
                    avahi.remove(&service);
                }
                if let Some((name, kind)) = by_peer.pop_last() {
                    assert_eq!(peer.answer(&["remove", &name, &kind]), "done");
                }
            }
        }
        println!("seed {seed}, step {step}, action {action}: {service:?}");
        let expected: BTreeSet<_> = by_avahi.union(&by_peer).cloned().collect();
        let end = Instant::now() + PATIENCE;
        loop {
            let ours = listed(&discovery);
            let of_zeroconf: BTreeSet<Service> = browsing
                .answer(&["list"])
                .split('\t')
                .filter_map(|row| row.split_once('|'))
                .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
                .collect();
            let of_avahi = browser.browse();
            if ours == of_avahi && ours == of_zeroconf && ours == expected {
                break;
            }
            assert!(
                Instant::now() < end,
                "{expected:?} is published\nlisted {ours:?}\navahi  {of_avahi:?}\nzeroconf {of_zeroconf:?}"
            );
        }
    }
}

#[test]
fn services_are_those_of_avahi_and_zeroconf_in_networks_drawn_by_seed() {
    let Some(python) = specialists() else { return };
    for_networks(2, |seed| assert_lists_equal(python, seed));
}

#[test]
fn services_are_found_within_two_seconds_of_asking_and_resolved() {
    let Some(python) = specialists() else { return };
    let network = Network::new();
    let avahi = Avahi::new(&network.hosts[2], false);
    let mut peer = network.zeroconf(python, 4);
    let printer = ("Büro 2.OG".to_owned(), "_ipp._tcp".to_owned());
    let rare = ("a b".to_owned(), "_x-rare._tcp".to_owned());
    avahi.publish(&printer, 631);
    assert_eq!(peer.answer(&["add", &rare.0, &rare.1, "8080"]), "done");
    // Until another has listed both, they may not be published yet.
    let passive = network.discover(false);
    let mut control = network.zeroconf(python, 3);
    assert_eq!(control.answer(&[&["browse"], &TYPES[..]].concat()), "done");
    let end = Instant::now() + PATIENCE;
    while control.answer(&["list"]).split('\t').count() < 2 {
        assert!(Instant::now() < end, "nothing is published");
    }
    drop(passive);
    let (start, discovery) = (Instant::now(), network.discover(true));
    let is_complete = |name: &str, port: u16, model: &str| {
        discovery.entries().iter().any(|entry| {
            entry.name.as_bytes() == name.as_bytes()
                && entry.port == Some(port)
                && entry.addresses.iter().any(std::net::IpAddr::is_ipv4)
                && entry.fields.iter().any(|field| field.value.as_bytes() == model.as_bytes())
        })
    };
    while !(is_complete(&printer.0, 631, "Model 7") && is_complete(&rare.0, 8_080, "Model 7")) {
        assert!(start.elapsed() < PATIENCE, "{:#?}", discovery.entries());
        let _event = discovery.next_event(Some(Duration::from_millis(50)));
    }
    let spent = start.elapsed();
    println!("found and resolved after {spent:?}");
    assert!(spent < Duration::from_secs(2), "{spent:?}");
    let binary = discovery.entries().iter().any(|entry| {
        entry
            .fields
            .iter()
            .any(|field| field.name.as_bytes() == b"raw" && field.value.as_bytes() == b"\x00\xff\n")
    });
    assert!(binary, "a binary value");
}

/// As a host withdraws it that loses its addresses of one family.
#[test]
fn service_that_is_withdrawn_by_ipv6_is_listed_as_long_as_it_is_published_by_ipv4() {
    let Some(python) = specialists() else { return };
    let network = Network::new();
    let avahi = Avahi::new(&network.hosts[1], true);
    // Nobody asks it again.
    let discovery = network.discover(false);
    let printer: Service = ("Printer".into(), "_ipp._tcp".into());
    let agree = |families: &[&str], others: &[Service]| {
        let end = Instant::now() + PATIENCE;
        let of_family = |family: &&str| ((*family).to_owned(), printer.clone());
        let theirs: BTreeSet<_> = families.iter().map(of_family).collect();
        let published = families.first().map(|_| printer.clone());
        let ours: BTreeSet<_> = published.into_iter().chain(others.iter().cloned()).collect();
        loop {
            let mut rows = avahi.rows();
            rows.retain(|(_, service)| *service == printer);
            let found = listed(&discovery);
            if rows == theirs && found == ours {
                break;
            }
            assert!(Instant::now() < end, "{families:?}: avahi lists {rows:?}, listed {found:?}");
        }
    };
    let mut peers = ["10.0.0.5", "fd00::5"].map(|own| network.zeroconf_by(python, 4, own));
    for peer in &mut peers {
        assert_eq!(peer.answer(&["add", &printer.0, &printer.1, "631"]), "done");
    }
    let [by_v4, by_v6] = &mut peers;
    agree(&["IPv4", "IPv6"], &[]);
    assert_eq!(by_v6.answer(&["remove", &printer.0, &printer.1]), "done");
    agree(&["IPv4"], &[]);
    // What is probed and announced after the goodbye arrives when it would have taken effect.
    let later: Service = ("KITCHEN".into(), "_http._tcp".into());
    assert_eq!(by_v4.answer(&["add", &later.0, &later.1, "80"]), "done");
    agree(&["IPv4"], std::slice::from_ref(&later));
    assert_eq!(by_v4.answer(&["remove", &printer.0, &printer.1]), "done");
    agree(&[], &[later]);
}

/// Returns systemd-resolved as `cargo verify --only specialists` unpacks it: its package would take over the names of the machine.
fn resolved() -> Option<String> {
    let unpacked =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/resolved/lib/systemd/systemd-resolved");
    let candidates = [unpacked, "/usr/lib/systemd/systemd-resolved"];
    let found = candidates.into_iter().find(|path| Path::new(path).exists()).map(str::to_owned);
    if found.is_none() {
        mcast_lab::skip("mDNS beside systemd-resolved: it is not there");
    }
    found
}

/// Its users and its files are its own; what would be managed by networkd is in the file of the link.
const RESOLVED: &str = r#"set -e
echo 'systemd-resolve:x:65533:65533::/:/bin/false' | cat /etc/passwd - > $1/passwd
echo 'systemd-resolve:x:65533:' | cat /etc/group - > $1/group
mount --bind $1/passwd /etc/passwd
mount --bind $1/group /etc/group
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind $1/etc /etc/systemd
hostname $2
mkdir -p /run/systemd/resolve /run/systemd/netif/links
chown 65533:65533 /run/systemd/resolve
printf 'ADMIN_STATE=configured\nOPER_STATE=routable\nMDNS=yes\n' > /run/systemd/netif/links/$3
exec $4"#;

/// systemd-resolved on a host, which publishes the files of a folder.
struct Resolved<'a> {
    host: &'a Host,
    program: String,
    folder: TempDir,
}

impl<'a> Resolved<'a> {
    fn new(host: &'a Host, program: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/dnssd")).unwrap();
        let settings = "[Resolve]\nMulticastDNS=yes\nLLMNR=no\nDNSStubListener=no\n";
        fs::write(folder.path().join("etc/resolved.conf"), settings).unwrap();
        Self { host, program, folder }
    }

    fn file(&self, number: u32) -> std::path::PathBuf {
        self.folder.path().join(format!("etc/dnssd/{number}.dnssd"))
    }

    fn publish(&self, number: u32, name: &str) {
        let text =
            format!("[Service]\nName={name}\nType=_ipp._tcp\nPort={}\nTxtText=ty=Model7\n", 631 + number);
        fs::write(self.file(number), text).unwrap();
        // It runs as another user.
        let open = ["-R", "a+rX", &self.folder.path().display().to_string()].map(str::to_owned);
        assert!(Command::new("chmod").args(&open).status().unwrap().success());
    }

    fn start(&self) -> Program {
        let index = self.host.interface_index("eth0").unwrap().to_string();
        let (path, name) = (self.folder.path().display().to_string(), self.host.name());
        let arguments = ["--mount", "--uts", "sh", "-c", RESOLVED, "sh", &path, name, &index, &self.program];
        Program::start(self.host, "unshare", &arguments)
    }
}

/// Waits until avahi lists these services of one type, and discovery these and others.
fn agree_on(discovery: &Discovery, browser: &Avahi<'_>, expected: &[&str], others: &[&str]) {
    let services = |names: &[&str]| -> BTreeSet<Service> {
        names.iter().map(|name| ((*name).to_owned(), "_ipp._tcp".to_owned())).collect()
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let (ours, theirs) = (listed(discovery), browser.browse());
        if theirs == services(expected) && ours == services(&[expected, others].concat()) {
            break;
        }
        assert!(Instant::now() < end, "{expected:?} and {others:?}: listed {ours:?}, avahi {theirs:?}");
    }
}

#[test]
fn services_of_systemd_resolved_are_those_that_avahi_lists() {
    let (Some(_), Some(resolved)) = (specialists(), resolved()) else { return };
    let network = Network::new();
    let browser = Avahi::new(&network.hosts[1], true);
    let discovery = network.discover(true);
    let resolved = Resolved::new(&network.hosts[2], resolved);
    resolved.publish(0, "Printer");
    resolved.publish(1, "a b");
    let daemon = resolved.start();
    agree_on(&discovery, &browser, &["Printer", "a b"], &[]);
    let entry = discovery.entries().into_iter().find(|entry| entry.name == "Printer".into()).unwrap();
    assert_eq!((entry.port, entry.host.to_string().as_str()), (Some(631), "h3.local"));
    // Killed, it says no goodbye, so that what is gone is listed until it lapses.
    drop(daemon);
    fs::remove_file(resolved.file(0)).unwrap();
    resolved.publish(2, "KITCHEN");
    let _daemon = resolved.start();
    agree_on(&discovery, &browser, &["Printer", "KITCHEN", "a b"], &[]);
}

/// The name of an instance is one label, in which a dot is a character like others (RFC 6763 sections 4.1.1 and 4.3). systemd-resolved
/// divides it at the dot into two labels. avahi expects the type after the first label, and drops such a name.
#[test]
fn name_that_systemd_resolved_divides_at_its_dot_is_listed_and_avahi_drops_it() {
    let (Some(_), Some(resolved)) = (specialists(), resolved()) else { return };
    let network = Network::new();
    let browser = Avahi::new(&network.hosts[1], true);
    let discovery = network.discover(true);
    let listener = network.hosts[3].run(|| UdpSocket::bind(("0.0.0.0", 5_353)).unwrap()).unwrap();
    listener.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 251), &Ipv4Addr::new(10, 0, 0, 4)).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let resolved = Resolved::new(&network.hosts[2], resolved);
    resolved.publish(0, "Printer");
    resolved.publish(1, "Room 2.OG");
    let _daemon = resolved.start();
    let mut buffer = [0; 9_000];
    let has = |message: &[u8], labels: &[u8]| message.windows(labels.len()).any(|part| part == labels);
    loop {
        let length = listener.recv(&mut buffer).unwrap();
        assert!(!has(&buffer[..length], b"\x09Room 2.OG"), "it is one label");
        if has(&buffer[..length], b"\x06Room 2\x02OG\x04_ipp") {
            break;
        }
    }
    agree_on(&discovery, &browser, &["Printer"], &["Room 2.OG"]);
}
