//! Networks described in a file.

mod build;
mod check;
mod file;
mod joined;
mod order;
mod run;
mod shipped;
mod units;

use std::{fs, net::IpAddr, path::Path, time::Duration};

use crate::{Impairment, InterfaceAddress, LabError, SwitchOptions, error::Doing};

pub use build::Network;
pub use run::{Event, Run, Stream};
pub use shipped::SHIPPED;

/// A network as a TOML file describes it, with the programs to run in it.
///
/// ```toml
/// description = "Two hosts on a switch"
/// time_limit = "30s"                          # optional: everything is stopped then
///
/// trunks = [["lan", "annex"]]                 # cables between switches; no circles
///
/// [switches.annex]
/// [switches.lan]                              # all keys are optional
/// snooping = true                             # groups go to their members only; default: flood
/// querier = true                              # asks hosts for their groups; default: doesn't
/// igmp_version = 3                            # also mld_version, hash_max, query_interval,
///                                             # query_response_interval, membership_interval, querier_address
/// [hosts.a]
/// interfaces.eth0 = { switch = "lan", addresses = ["10.0.0.1/24", "fd00::1/64"] }
/// routes = [{ to = "224.0.0.0/4", interface = "eth0" }, { to = "10.2.0.0/24", via = "10.0.0.254" }]
/// sysctls = { "net/ipv4/conf/all/rp_filter" = 1 }
/// run = [{ command = "mcast send 239.1.2.3:5000 hello", wait_for = ["listen"] }]
///
/// [hosts.b]
/// interfaces.eth0 = { switch = "lan", addresses = ["10.0.0.2/24"], impairment = { loss = 0.01, seed = 7 } }
/// run = [{ name = "listen", command = "mcast recv 239.1.2.3:5000 -c 1", joined = "239.1.2.3" }]
///
/// [routers.r]                                 # a host that forwards; has `groups` besides
/// interfaces.r0 = { switch = "lan", addresses = ["10.0.0.254/24"] }
/// interfaces.r1 = { switch = "wan", addresses = ["10.2.0.254/24"], mtu = 1400 }
/// groups = [{ group = "239.1.2.3", from = "r0", to = ["r1"] }]      # also source, ttl_threshold
///
/// [switches.wan]
///
/// [[links]]                                   # a cable between two hosts
/// ends = [{ host = "a", interface = "eth1", addresses = ["10.9.0.1/24"] },
///         { host = "b", interface = "eth1", addresses = ["10.9.0.2/24"] }]
/// impairment = { loss = 0.01, duplicate = 0.01, reorder = 0.01, delay = "20ms", jitter = "5ms",
///                rate = "10Mbit", queue = 65536, seed = 7, scope = "udp" }
/// ```
///
/// `run` lists commands for the shell, or tables with these keys:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `command` | the command | |
/// | `name` | what others call it by, one of its kind in the file | the host's name and `.1`, `.2`, … |
/// | `wait_for` | starts when these are ready | at once |
/// | `after` | starts when these have ended | at once |
/// | `ready` | it is ready when a line that it writes contains this | when it has started |
/// | `joined` | it is ready when its host has joined this group, and snooping switches know | when it has started |
/// | `background` | it is stopped when all that are not in the background have ended | `false` |
/// | `expect` | the exit status that means success | 0 |
///
/// Keys that are not known are errors, and errors name their line.
#[derive(Debug, Clone)]
pub struct Topology {
    description: String,
    time_limit: Option<Duration>,
    switches: Vec<(String, SwitchOptions)>,
    hosts: Vec<PlannedHost>,
    links: Vec<PlannedLink>,
    /// Pairs of switches.
    trunks: Vec<[String; 2]>,
    programs: Vec<Program>,
}

/// A program that a topology runs on one of its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// What it is called by, one of its kind in the topology.
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// The command, for `sh -c`.
    pub command: String,
    /// When others may count on it.
    pub ready: Ready,
    /// The programs, by their place in [`Topology::programs`], that must be ready before it starts.
    pub wait_for: Vec<usize>,
    /// The programs, by their place, that must have ended before it starts.
    pub after: Vec<usize>,
    /// Whether it is stopped when all others have ended.
    pub background: bool,
    /// The exit status that means success.
    pub expect: i32,
}

/// When a program counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ready {
    /// When it has started.
    Started,
    /// When a line that it writes contains this text.
    Writes(String),
    /// When its host has joined this group, and the snooping switches that the host is on have noticed.
    Joined(IpAddr),
}

#[derive(Debug, Clone)]
struct PlannedHost {
    name: String,
    kind: Kind,
    interfaces: Vec<PlannedInterface>,
    routes: Vec<PlannedRoute>,
    sysctls: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Kind {
    Host,
    Router { groups: Vec<PlannedGroup> },
}

#[derive(Debug, Clone)]
struct PlannedInterface {
    name: String,
    switch: String,
    addresses: Vec<InterfaceAddress>,
    mtu: Option<u32>,
    impairment: Option<Impairment>,
}

#[derive(Debug, Clone)]
struct PlannedRoute {
    to: InterfaceAddress,
    by: RouteBy,
}

#[derive(Debug, Clone)]
enum RouteBy {
    Interface(String),
    Gateway(IpAddr),
}

#[derive(Debug, Clone)]
struct PlannedGroup {
    group: IpAddr,
    source: Option<IpAddr>,
    from: String,
    to: Vec<String>,
    ttl_threshold: u8,
}

#[derive(Debug, Clone)]
struct PlannedLink {
    ends: [PlannedEnd; 2],
    impairment: Option<Impairment>,
}

#[derive(Debug, Clone)]
struct PlannedEnd {
    host: String,
    interface: String,
    addresses: Vec<InterfaceAddress>,
}

impl Topology {
    /// Reads a topology from text.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Topology`](crate::LabErrorKind::Topology), which names the line.
    pub fn parse(text: &str) -> Result<Self, LabError> {
        check::topology(text)
    }

    /// Reads a topology from a file.
    ///
    /// # Errors
    ///
    /// The system's error; [`LabErrorKind::Topology`](crate::LabErrorKind::Topology), which names the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LabError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
        Self::parse(&text)
    }

    /// What it is for, in its author's words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The names of its hosts and routers, in the order of the file.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// Its programs: those of the first host, then those of the second, and so on.
    #[must_use]
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Makes the network, without starting any program.
    ///
    /// # Errors
    ///
    /// As for [`Lab`](crate::Lab) and what it makes.
    pub fn build(&self) -> Result<Network, LabError> {
        Network::build(self)
    }
}
