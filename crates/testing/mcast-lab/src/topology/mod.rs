//! Networks described in a file.

mod build;
mod check;
mod drawing;
mod file;
mod program_run;

use std::{fs, net::IpAddr, path::Path, time::Duration};

use crate::{CidrAddress, Impairment, LabError, SwitchOptions, error::ErrorContext};

pub use build::LabNetwork;
pub use program_run::{OutputStream, ProgramEvent, ProgramRun};

/// The topologies that are included in the crate: name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("four-hosts", include_str!("../../topologies/four-hosts.toml")),
    ("four-hosts-flooding", include_str!("../../topologies/four-hosts-flooding.toml")),
    ("two-nics", include_str!("../../topologies/two-nics.toml")),
    ("two-lans", include_str!("../../topologies/two-lans.toml")),
    ("vlans", include_str!("../../topologies/vlans.toml")),
    ("three-vlans", include_str!("../../topologies/three-vlans.toml")),
    ("querier-missing", include_str!("../../topologies/querier-missing.toml")),
    ("lossy", include_str!("../../topologies/lossy.toml")),
    ("price-feed", include_str!("../../topologies/price-feed.toml")),
    ("sites", include_str!("../../topologies/sites.toml")),
];

/// A network and the programs to run in it, as described by a TOML file.
///
/// ```toml
/// description = "Two hosts on a switch"
/// time_limit = "30s"                          # optional: stop all programs after this time
///
/// trunks = [["lan", "annex"]]                 # cables between switches; no loops
///
/// [switches.annex]
/// [switches.lan]                              # all keys are optional
/// snooping = true                             # forward groups to their members only; default: false
/// querier = true                              # send queries; default: false
/// igmp_version = 3                            # also mld_version, hash_max, query_interval,
///                                             # query_response_interval, membership_interval, querier_address
/// [hosts.a]
/// interfaces.eth0 = { switch = "lan", addresses = ["10.0.0.1/24", "fd00::1/64"] }
/// routes = [{ to = "224.0.0.0/4", interface = "eth0" }, { to = "10.2.0.0/24", via = "10.0.0.254" }]
/// sysctls = { "net/ipv4/conf/all/rp_filter" = 1 }
/// run = [{ command = "mcast send 239.255.2.3:5000 hello", wait_for = ["listen"] }]
///
/// [hosts.b]
/// interfaces.eth0 = { switch = "lan", addresses = ["10.0.0.2/24"], impairment = { loss = 0.01, seed = 7 } }
/// run = [{ name = "listen", command = "mcast recv 239.255.2.3:5000 -c 1", joined = "239.255.2.3" }]
///
/// [routers.r]                                 # a host that forwards, with `groups` as well
/// interfaces.r0 = { switch = "lan", addresses = ["10.0.0.254/24"] }
/// interfaces.r1 = { switch = "wan", addresses = ["10.2.0.254/24"], mtu = 1400 }
/// groups = [{ group = "239.255.2.3", from = "r0", to = ["r1"] }]      # also source, ttl_threshold
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
/// `run` is a list of shell commands, or of tables with these keys:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `command` | the command | |
/// | `name` | the name of the program, unique in the file | the host's name and `.1`, `.2`, … |
/// | `wait_for` | start when these programs are ready | start at once |
/// | `after` | start when these programs have ended | start at once |
/// | `ready` | the program is ready when it writes a line that contains this text | ready when started |
/// | `joined` | the program is ready when its host has joined this group and snooping switches have learnt it | ready when started |
/// | `background` | stop the program when all programs that are not in the background have ended | `false` |
/// | `expect` | the exit status that means success | 0 |
///
/// Unknown keys are errors. Errors give the line number.
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
    /// The name, unique in the topology.
    pub name: String,
    /// The name of its host.
    pub host: String,
    /// The command, for `sh -c`.
    pub command: String,
    /// When it is ready.
    pub ready: ReadyWhen,
    /// The programs that must be ready before it starts, by their index in [`Topology::programs`].
    pub wait_for: Vec<usize>,
    /// The programs that must have ended before it starts, by their index.
    pub after: Vec<usize>,
    /// Whether it is stopped when all programs that are not in the background have ended.
    pub background: bool,
    /// The exit status that means success.
    pub expect: i32,
}

/// When a program is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadyWhen {
    /// When it has started.
    Started,
    /// When it writes a line that contains this text.
    Writes(String),
    /// When its host has joined this group, and the snooping switches of the host have learnt it.
    Joined(IpAddr),
}

#[derive(Debug, Clone)]
struct PlannedHost {
    name: String,
    kind: HostKind,
    interfaces: Vec<PlannedInterface>,
    routes: Vec<PlannedRoute>,
    sysctls: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum HostKind {
    Host,
    Router { groups: Vec<PlannedGroup> },
}

#[derive(Debug, Clone)]
struct PlannedInterface {
    name: String,
    switch: String,
    addresses: Vec<CidrAddress>,
    mtu: Option<u32>,
    impairment: Option<Impairment>,
}

#[derive(Debug, Clone)]
struct PlannedRoute {
    to: CidrAddress,
    next_hop: NextHop,
}

#[derive(Debug, Clone)]
enum NextHop {
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
    addresses: Vec<CidrAddress>,
}

impl Topology {
    /// Parses a topology.
    ///
    /// # Errors
    ///
    /// [`LabErrorKind::Topology`](crate::LabErrorKind::Topology), with the line number.
    pub fn parse(text: &str) -> Result<Self, LabError> {
        check::topology(text)
    }

    /// Reads a topology from a file.
    ///
    /// # Errors
    ///
    /// The system's error, or [`LabErrorKind::Topology`](crate::LabErrorKind::Topology) with the line number.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LabError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).context(|| format!("read {}", path.display()))?;
        Self::parse(&text)
    }

    /// Returns one of the [topologies that are included in the crate](SHIPPED), or `None` if none has this name.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Result<Self, LabError>> {
        let (_, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Self::parse(text))
    }

    /// Returns the description from the file.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the names of the hosts and routers, in the order of the file.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// Returns the programs: those of the first host, then those of the second, and so on.
    #[must_use]
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Builds the network, without starting any program.
    ///
    /// # Errors
    ///
    /// As for the methods of [`Lab`](crate::Lab) and [`Host`](crate::Host).
    pub fn build(&self) -> Result<LabNetwork, LabError> {
        LabNetwork::build(self)
    }
}
