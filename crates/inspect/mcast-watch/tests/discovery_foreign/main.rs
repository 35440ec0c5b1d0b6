//! Devices of programs that others wrote: what is discovered equals what their own browsers show on the same wire, in networks
//! drawn by seed.
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../specialists/conversation.rs"]
mod conversation;
mod dissected;
mod drawn;
mod lighting;
mod masters;
mod neighbors;
#[path = "../specialists/networks.rs"]
mod networks;
mod queriers;
mod routers;
mod sap;
mod small;
mod ssdp;
mod wsd;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast_lab::{Child, Host, Impairment, ImpairmentScope, Lab, Switch, SwitchOptions, skip};
use mcast_watch::Discovery;
use mcast_watch::discovery::{Discovered, DiscoveryProtocol};
use mcast_watch::live::DiscoveryOptions;

/// Longer than any of these programs takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hosts on one switch, and one that looks.
struct Segment {
    hosts: Vec<Host>,
    watcher: Host,
    switch: Switch,
    lab: Lab,
}

impl Segment {
    /// Creates a segment with this many hosts, `10.0.0.1` and so on, of which the odd ones lose every `loss`-th packet.
    fn new(hosts: u8, loss: f64, seed: u64) -> Self {
        Self::on(SwitchOptions::default(), hosts, loss, seed)
    }

    /// Creates one with such a switch.
    fn on(switch: SwitchOptions, hosts: u8, loss: f64, seed: u64) -> Self {
        let lab = Lab::new().unwrap();
        let switch = lab.switch_with("lan", switch).unwrap();
        let host = |number: u8| {
            let host = lab.host(&format!("h{number}")).unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            let addresses = addresses.each_ref().map(String::as_str);
            if loss > 0.0 && number % 2 == 1 {
                let impairment =
                    Impairment { loss, seed, scope: ImpairmentScope::All, ..Impairment::default() };
                lab.connect_badly(&host, "eth0", &switch, &addresses, impairment).unwrap();
            } else {
                host.connect("eth0", &switch, &addresses).unwrap();
            }
            // Some programs send by the route to the group.
            host.add_route("0.0.0.0/0", "eth0").unwrap();
            host
        };
        let all = (1..=hosts).map(host).collect();
        let watcher = host(200);
        Self { hosts: all, watcher, switch, lab }
    }

    /// Looks from the watcher. Without a capture, sockets have to find everything.
    fn discover(&self, ask: bool, capture: bool) -> Discovery {
        let universes = vec![1, 2, 7];
        let options = DiscoveryOptions { ask, capture, universes, ..DiscoveryOptions::default() };
        self.watcher.run(|| Discovery::open(&options)).unwrap().unwrap()
    }
}

/// A program on a host, which is ended when it is dropped.
struct Running(Child);

impl Running {
    fn start(host: &Host, program: &str, arguments: &[&str]) -> Self {
        let mut command = host.command(program).unwrap();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.own_group().spawn().unwrap())
    }

    /// Starts a program that prints a line when it is ready.
    fn ready(host: &Host, program: &str, arguments: &[&str]) -> Self {
        let mut command = host.command(program).unwrap();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.own_group().spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{program}: {line:?}");
        Self(child)
    }

    /// Asks the program to end, and waits.
    fn end(mut self) {
        self.0.signal(15).unwrap();
        self.0.wait_timeout(PATIENCE).unwrap();
    }

    /// Ends the program without a goodbye.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait_timeout(PATIENCE).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Runs a program to its end, and returns what it prints.
fn output(host: &Host, program: &str, arguments: &[&str]) -> String {
    let output = host.command(program).unwrap().args(arguments).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the value of a field, which is empty if there is none.
fn field(entry: &Discovered, name: &str) -> String {
    entry.field(name).map(ToString::to_string).unwrap_or_default()
}

/// Returns whether the test runs as root. Otherwise, it is skipped.
fn is_root(purpose: &str) -> bool {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        skip(format_args!("{purpose}: it must run as root"));
    }
    is_root
}

/// Returns what `facts` says of the entries of a protocol.
fn found<T: Ord>(
    discovery: &Discovery,
    protocol: DiscoveryProtocol,
    facts: impl Fn(&Discovered) -> Vec<T>,
) -> BTreeSet<T> {
    discovery.entries().iter().filter(|entry| entry.key.protocol == protocol).flat_map(facts).collect()
}

/// Waits until what was found is this; returns how long that took.
fn wait_until<T: Ord + std::fmt::Debug>(
    what: &str,
    discovery: &Discovery,
    expected: &BTreeSet<T>,
    find: impl Fn() -> BTreeSet<T>,
) -> Duration {
    let start = Instant::now();
    loop {
        let found = find();
        if found == *expected {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: missing {:?}, too many {:?}; {:?}",
            expected.difference(&found).collect::<Vec<_>>(),
            found.difference(expected).collect::<Vec<_>>(),
            discovery.counts(),
        );
        let _ = discovery.next_event(Some(Duration::from_millis(100)));
    }
}

/// Returns whether `/usr/bin/python3` has these modules. Without one, the test is skipped.
fn has_modules(python: &str, modules: &[&str]) -> bool {
    let import = format!("import {}", modules.join(", "));
    let status = std::process::Command::new(python).args(["-c", &import]).stderr(Stdio::null()).status();
    let has = status.is_ok_and(|status| status.success());
    if !has {
        skip(format_args!("{python} has no modules {}", modules.join(", ")));
    }
    has
}

/// Returns whether programs are on the path or in `/usr/sbin`. Without one, the test is skipped.
fn has_programs(names: &[&str]) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&paths).chain(["/usr/sbin".into()]).collect();
    let missing = names.iter().find(|name| !folders.iter().any(|folder| folder.join(name).exists()));
    if let Some(name) = missing {
        skip(format_args!("{name} is not installed"));
    }
    missing.is_none()
}
