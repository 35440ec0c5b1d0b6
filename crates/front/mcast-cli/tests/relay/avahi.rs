//! mDNS between two segments, with avahi on both.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mcast_lab::Host;
use serde_json::Value;
use tempfile::TempDir;

use crate::kubernetes::can_drop_rights;
use crate::network::{Network, of_type, relay, stop};
use crate::support::{MCAST, Running, eventually, mcast, program, recv};
use crate::takeover::setting;

const DAEMON_SETTINGS: &str = "[server]\nuse-ipv4=yes\nuse-ipv6=yes\nallow-interfaces=eth0\nenable-dbus=yes\n\
    [publish]\npublish-hinfo=no\npublish-workstation=no\n";
const BUS_SETTINGS: &str = r#"<busconfig><type>system</type><listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

/// An avahi daemon on a host, with a bus of its own.
struct Avahi<'a> {
    host: &'a Host,
    folder: TempDir,
    running: Vec<Running>,
}

impl<'a> Avahi<'a> {
    fn start(host: &'a Host) -> Self {
        Self::start_with(host, DAEMON_SETTINGS, DAEMON_SETTINGS)
    }

    /// Starts one with these settings, and others in its usual file.
    fn start_with(host: &'a Host, settings: &str, usual: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let bus = write("bus.conf", &BUS_SETTINGS.replace("FOLDER", &path));
        let daemon = write(
            "avahi.conf",
            &settings.replace("[server]", &format!("[server]\nhost-name={}", host.name())),
        );
        let usual = write("usual.conf", usual);
        let bus = program(host, "dbus-daemon", &["--nofork", "--nopidfile", "--config-file", &bus], false);
        let socket = folder.path().join("bus");
        eventually("a bus", || socket.exists());
        let mut avahi = Self { host, folder, running: vec![bus] };
        // The daemon has its socket and its process id below /run.
        let script = format!(
            "mount -t tmpfs tmpfs /run && mount --bind {usual} /etc/avahi/avahi-daemon.conf && \
             PATH=$PATH:/usr/sbin exec avahi-daemon -f {daemon} --no-drop-root --no-chroot --no-rlimits"
        );
        let daemon = avahi.program("unshare", &["-m", "sh", "-c", &script]);
        daemon.stderr.wait_for("Server startup complete");
        avahi.running.push(daemon);
        avahi
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Running {
        let bus = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={}", self.folder.path().join("bus").display());
        program(self.host, "env", &[&[bus.as_str(), name], arguments].concat(), false)
    }

    fn publish(&mut self, name: &str, service: &str) {
        let running = self.program("avahi-publish", &["-s", name, service, "631", "color=yes"]);
        running.stderr.wait_for("Established under name");
        self.running.push(running);
    }

    /// Returns what is known of the services of a type.
    fn browse(&self, service: &str) -> String {
        self.program("avahi-browse", &["-r", "-p", "-t", service]).end().text().to_owned()
    }
}

impl Drop for Avahi<'_> {
    fn drop(&mut self) {
        // The bus at last.
        while let Some(running) = self.running.pop() {
            running.child.kill().unwrap();
        }
    }
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).exists())
        || Path::new("/usr/sbin").join(program).exists()
}

#[test]
fn avahi_finds_and_resolves_services_of_the_other_segment_except_denied_ones() {
    let programs = ["avahi-daemon", "avahi-publish", "avahi-browse", "dbus-daemon"];
    if !programs.iter().all(|program| is_installed(program))
        || Command::new("unshare").arg("-V").output().is_err()
    {
        mcast_lab::skip("mDNS with avahi: avahi-daemon, avahi-utils or dbus-daemon is not installed");
        return;
    }
    let network = Network::new(2);
    let (a, r, b) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]), network.host("b", 2, &[2]));
    let relay = relay(&r, &["mdns between eth0 and eth1 deny ssh"]);
    let (mut published, browsing) = (Avahi::start(&a), Avahi::start(&b));
    published.publish("A printer", "_ipp._tcp");
    published.publish("A shell", "_ssh._tcp");
    let resolved = |line: &str, family: &str, address: &str| {
        line.starts_with("=;eth0;") && line.contains(family) && line.contains(address)
    };
    let mut known = String::new();
    eventually("a printer, resolved in both families", || {
        known = browsing.browse("_ipp._tcp");
        known.lines().any(|line| resolved(line, ";IPv4;", ";10.0.1.1;"))
            && known.lines().any(|line| resolved(line, ";IPv6;", ";fd00:1::1;"))
    });
    assert!(!known.contains("fe80:"), "a link-local address of another segment: {known}");
    assert!(!known.contains("#2"), "a conflict: {known}");
    let denied = browsing.browse("_ssh._tcp");
    assert_eq!(denied, "", "a denied service");
    // A daemon that sees its own answers on another way renames its services after a while.
    let end = Instant::now() + Duration::from_secs(setting("MCAST_RELAY_MDNS_SECONDS", 30).into());
    while Instant::now() < end {
        for daemon in [&published, &browsing] {
            let known = daemon.browse("_ipp._tcp");
            assert!(!known.contains("#2"), "a conflict: {known}");
        }
        thread::sleep(Duration::from_secs(1));
    }
    let own = published.browse("_ipp._tcp");
    assert!(own.contains("A\\032printer") && !own.contains("#2"), "a conflict: {own}");
    drop((published, browsing));
    stop(relay);
}

/// Beside the socket for mDNS, avahi has one for its reflector and one for wide-area DNS-SD.
#[test]
fn a_reflector_beside_the_relay_is_named_by_a_check_and_at_the_start() {
    if !is_installed("avahi-daemon") || !is_installed("dbus-daemon") {
        mcast_lab::skip("a relay and avahi: avahi-daemon or dbus-daemon is not installed");
        return;
    }
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let rules = ["--profile", "home", "eth0", "eth1"];
    let settings = |reflects, wide_area| {
        DAEMON_SETTINGS.replace("allow-interfaces=eth0", "allow-interfaces=eth0,eth1")
            + &format!(
                "[wide-area]\nenable-wide-area={wide_area}\n[reflector]\nenable-reflector={reflects}\n"
            )
    };
    let reflectors = |events: &[Value], event: &str| -> Vec<String> {
        let found = of_type(events, event).into_iter();
        found
            .map(|event| {
                format!("{} {} {} {}", event["rule"], event["leg"], event["other_leg"], event["program"])
            })
            .collect()
    };
    for (reflects, wide_area) in [("no", "no"), ("no", "yes"), ("yes", "no"), ("yes", "yes")] {
        let settings = settings(reflects, wide_area);
        let avahi = Avahi::start_with(&r, &settings, &settings);
        let checked = mcast(&r, &[&["relay", "--check", "--json"][..], &rules].concat());
        let found = reflectors(&checked.json(), "reflector-found");
        assert_eq!(found.len(), usize::from(reflects == "yes"), "{reflects}, {wide_area}: {checked:?}");
        let is_named = |found: &str| {
            found.starts_with(r#""mdns between eth0 and eth1"#)
                && found.contains(r#" "eth0" "eth1" "avahi-daemon ("#)
        };
        assert!(found.iter().all(|found| is_named(found)), "{found:?}");
        if reflects == wide_area {
            let (events, _) = stop(relay(&r, &rules));
            assert_eq!(reflectors(&events, "reflector-found"), found);
        }
        drop(avahi);
    }
    // Started with another file (-f), whose name cannot be found out.
    let avahi = Avahi::start_with(&r, &settings("yes", "no"), &settings("no", "no"));
    let checked = mcast(&r, &[&["relay", "--check", "--json"][..], &rules].concat());
    assert_eq!(reflectors(&checked.json(), "reflector-likely").len(), 1, "{checked:?}");
    drop(avahi);
}

/// A program with the name of a reflector, which has joined the group of mDNS on both interfaces.
#[test]
fn a_reflector_that_starts_after_the_relay_is_named_with_and_without_the_right_to_inspect_it() {
    if !mcast_lab::has_program("setpriv", "--version", "a relay without rights") {
        return;
    }
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let rule = "mdns between eth0 and eth1";
    let folder = tempfile::tempdir().unwrap();
    let reflector = folder.path().join("mdns-repeater");
    std::os::unix::fs::symlink(MCAST, &reflector).unwrap();
    let without_rights = |arguments: &[&str]| {
        let drop = ["--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", MCAST];
        program(&r, "setpriv", &[&drop, arguments].concat(), false)
    };
    let running = [relay(&r, &[rule]), without_rights(&["relay", "--json", rule])];
    eventually("two relays", || running.iter().all(|relay| relay.stdout.text().contains("relay-appeared")));
    let joins = ["recv", "--quiet", "224.0.0.251%eth0:5353", "224.0.0.251%eth1:5353"];
    let reflecting = program(&r, reflector.display().to_string(), &joins, false);
    for relay in &running {
        // Relays give up the right when they have started.
        relay.stdout.wait_for("reflector-likely");
    }
    let named = |events: &[Value], event: &str| -> Vec<String> {
        let texts = of_type(events, event).into_iter().map(|event| event["text"].to_string());
        texts.filter(|text| text.contains(&format!("mdns-repeater ({})", reflecting.child.id()))).collect()
    };
    let inspected = mcast(&r, &["relay", "--check", "--json", rule]).json();
    assert_eq!(named(&inspected, "reflector-found").len(), 1, "{inspected:?}");
    assert_eq!(named(&inspected, "reflector-likely").len(), 0, "{inspected:?}");
    let uninspected = without_rights(&["relay", "--check", "--json", rule]).end().json();
    assert_eq!(named(&uninspected, "reflector-found").len(), 0, "{uninspected:?}");
    assert_eq!(named(&uninspected, "reflector-likely").len(), 1, "{uninspected:?}");
    for relay in running {
        let events = stop(relay).0;
        assert_eq!(named(&events, "reflector-likely").len(), 1, "{events:?}");
    }
}

/// As for the unit of the service, `/proc` shows only the relay.
#[test]
fn a_reflector_among_hidden_processes_is_found_by_its_settings() {
    if !can_drop_rights() {
        return;
    }
    let network = Network::new(2);
    let r = network.host("r", 9, &[1, 2]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("avahi-daemon.conf").display().to_string();
    let check = |settings: &str| {
        std::fs::write(&file, settings).unwrap();
        let script = format!(
            "mount -t proc -o hidepid=2 proc /proc && mount -t tmpfs tmpfs /etc/avahi && \
             cp {file} /etc/avahi && exec setpriv --reuid=65534 --regid=65534 --clear-groups {MCAST} relay --check \
             --json mdns between eth0 and eth1"
        );
        let ended = program(&r, "unshare", &["-m", "sh", "-c", &script], false).end().succeeded();
        of_type(&ended.json(), "reflector-likely").iter().map(|event| event["program"].to_string()).collect()
    };
    let _joining = recv(&r, &["224.0.0.251%eth0:5353", "224.0.0.251%eth1:5353"]);
    let named: Vec<String> = check("[reflector]\nenable-reflector=yes\n");
    assert_eq!(named, [r#""avahi-daemon""#]);
    let named: Vec<String> = check("[reflector]\nenable-reflector=no\n");
    assert_eq!(named, [""; 0]);
}

/// The relay has a socket for each interface, and announces on one what is in the network of the other.
#[test]
fn doctor_finds_nothing_wrong_on_a_gateway_with_a_relay() {
    if !is_installed("avahi-daemon") || !is_installed("avahi-publish") || !is_installed("dbus-daemon") {
        mcast_lab::skip("a relay and avahi: avahi-daemon, avahi-utils or dbus-daemon is not installed");
        return;
    }
    let network = Network::new(2);
    let (a, r) = (network.host("a", 1, &[1]), network.host("r", 9, &[1, 2]));
    r.add_route_via("0.0.0.0/0", "10.0.2.254").unwrap();
    let relay = relay(&r, &["--profile", "home", "eth0", "eth1"]);
    let mut avahi = Avahi::start(&a);
    avahi.publish("A printer", "_ipp._tcp");
    let _listener = a.run(|| std::net::TcpListener::bind("[::]:631").unwrap()).unwrap();
    for arguments in [&["A printer", "-i", "eth1"][..], &["A printer", "-i", "eth0"], &["A printer"], &[]] {
        let ended = mcast(&r, &[&["doctor", "-W", "2s"], arguments].concat());
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        assert!(!ended.text().contains("warning "), "{arguments:?}: {ended:?}");
    }
    drop(avahi);
    stop(relay);
}
