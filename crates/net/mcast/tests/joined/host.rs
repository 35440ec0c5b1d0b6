//! A host with two interfaces, programs that join groups on it, and helpers for their memberships.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mcast::joined::{self, Holder, Holding, Memberships, SocketHolder};
use mcast::{InterfaceIndex, Membership, Receiver, SourceFilter};
use mcast_lab::{Child, Host, Lab};

/// How long a test waits for something that must happen.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the host `host` with `eth0` and `eth1`, each on a network of its own.
pub(crate) fn host_on_two_lans() -> (Lab, Host) {
    let lab = Lab::new().unwrap();
    let host = lab.host("host").unwrap();
    add_interfaces(&lab, &host);
    (lab, host)
}

pub(crate) fn add_interfaces(lab: &Lab, host: &Host) {
    for (number, name) in ["eth0", "eth1"].into_iter().enumerate() {
        let lan = lab.switch(&format!("{}-lan{number}", host.name())).unwrap();
        let addresses = [format!("10.{number}.0.1/24"), format!("fd0{number}::1/64")];
        host.connect(name, &lan, &[&addresses[0], &addresses[1]]).unwrap();
    }
}

pub(crate) fn index(host: &Host, interface: &str) -> InterfaceIndex {
    InterfaceIndex::new(host.interface_index(interface).unwrap()).unwrap()
}

pub(crate) fn survey(host: &Host) -> Memberships {
    host.run(joined::memberships).unwrap().unwrap()
}

/// Creates a receiver on this host.
pub(crate) fn join<const N: usize>(host: &Host, memberships: [&str; N]) -> Receiver {
    let memberships = memberships.map(|membership| membership.parse::<Membership>().unwrap());
    host.run(|| Receiver::builder().join_all(memberships).build()).unwrap().unwrap()
}

pub(crate) fn holdings_of<'a>(memberships: &'a Memberships, group: &str) -> Vec<&'a Holding> {
    let group = group.parse().unwrap();
    memberships.holdings.iter().filter(|holding| holding.group == group).collect()
}

pub(crate) fn sockets_of<'a>(memberships: &'a Memberships, group: &str) -> Vec<&'a SocketHolder> {
    holdings_of(memberships, group).into_iter().filter_map(|holding| socket(&holding.holder)).collect()
}

pub(crate) fn socket(holder: &Holder) -> Option<&SocketHolder> {
    match holder {
        Holder::Socket(socket) => Some(socket),
        _ => None,
    }
}

/// Returns the memberships of all sockets in text form, sorted.
pub(crate) fn joined_by_sockets(memberships: &Memberships) -> BTreeSet<String> {
    let of_sockets =
        memberships.holdings.iter().filter_map(|holding| Some((holding, socket(&holding.holder)?)));
    of_sockets
        .map(|(holding, holder)| {
            let sources: Vec<String> = holder.filter.sources().map(|source| source.to_string()).collect();
            let mode = match holder.filter {
                SourceFilter::Include(_) => "only",
                SourceFilter::Exclude(_) => "all but",
            };
            let port = holder.socket.port().map_or_else(|| "-".into(), |port| port.to_string());
            format!("{} {} {port} {mode} [{}]", holding.group, holding.interface_name, sources.join(" "))
        })
        .collect()
}

pub(crate) fn sources<const N: usize>(addresses: [&str; N]) -> BTreeSet<IpAddr> {
    addresses.map(|address| address.parse().unwrap()).into()
}

/// A Python program that runs on the host until it is dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts a script after the preamble, and waits until the script is done. Returns `None` if
    /// Python is missing, which is printed.
    pub(crate) fn start(host: &Host, script: &str) -> Option<Self> {
        if !mcast_lab::has_program("python3", "--version", "the sockets of a program in Python") {
            return None;
        }
        let script =
            format!("{PREAMBLE}{script}\nprint('ready', flush=True)\nfor line in sys.stdin: exec(line)\n");
        let mut command = host.command("python3").unwrap();
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the program failed");
        Some(Self { child })
    }

    /// Makes it run another line.
    pub(crate) fn run(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Joins and leaves as in RFC 3678, by the interface's name.
const PREAMBLE: &str = r"
import os, socket, struct, sys
def storage(address):
    if ':' in address:
        return struct.pack('=HHI16sI100x', socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, address), 0)
    return struct.pack('=H2x4s120x', socket.AF_INET, socket.inet_aton(address))
def request(option, opened, interface, group, source=None):
    level = socket.IPPROTO_IPV6 if ':' in group else socket.IPPROTO_IP
    value = struct.pack('@I0l', socket.if_nametoindex(interface)) + storage(group)
    opened.setsockopt(level, option, value + (storage(source) if source else b''))
def join(*arguments): request(46 if len(arguments) == 4 else 42, *arguments)
def leave(*arguments): request(47 if len(arguments) == 4 else 45, *arguments)
def block(*arguments): request(43, *arguments)
def udp(family, port, address=''):
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((address, port))
    return opened
V4, V6 = socket.AF_INET, socket.AF_INET6
";

/// Surveys until a condition holds.
pub(crate) fn eventually(host: &Host, what: &str, holds: impl Fn(&Memberships) -> bool) -> Memberships {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let memberships = survey(host);
        if holds(&memberships) {
            return memberships;
        }
        assert!(Instant::now() < deadline, "not before the deadline: {what}; but {memberships:#?}");
        std::thread::yield_now();
    }
}
