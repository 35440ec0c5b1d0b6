//! The messages between the coordinator of a fleet and its members: one JSON object per line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The version of these messages.
pub(super) const PROTOCOL: u32 = 2;

/// A command to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(super) enum MemberCommand {
    /// Probe all groups, and these members by unicast.
    Probe { count: u16, ttl: u8, peers: Vec<Peer> },
    /// Report what has arrived and what was found.
    Report,
}

/// Another member, as a destination of unicast probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) listener: u64,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
}

/// A message of a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum MemberEvent {
    /// It has joined, and listens.
    Hello(Hello),
    /// The result of a probe command, for one group.
    Probed(Probed),
    /// All groups are probed.
    ProbesDone,
    /// What has arrived and what was found.
    Report(MemberReport),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) version: String,
    /// The id of its listener.
    pub(super) listener: u64,
    pub(super) unicast_port: u16,
    /// The groups that it has joined.
    pub(super) groups: Vec<String>,
    /// The addresses of the interfaces on which it has joined.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether it can capture.
    pub(super) captures: bool,
}

/// The probes that one machine has sent to one group on one interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Probed {
    pub(super) group: String,
    /// The name of the interface, if it is known.
    pub(super) interface: Option<String>,
    pub(super) session: u64,
    /// The largest payload that fits in one frame.
    pub(super) frame: usize,
    pub(super) cases: Vec<ProbedCase>,
    /// The number of routers on the way to the listeners that answered.
    pub(super) hops: Vec<(u64, u8)>,
    pub(super) unicast: Vec<ProbedPeer>,
    /// Why the group could not be probed.
    pub(super) error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProbedCase {
    pub(super) size: usize,
    pub(super) ttl: u8,
    pub(super) sent: u64,
    /// The listeners that answered, with the number of answers.
    pub(super) answered: Vec<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProbedPeer {
    pub(super) listener: u64,
    /// Whether it has an address in the network of the interface; `None` if one of the two has no address.
    pub(super) is_on_link: Option<bool>,
    pub(super) sent: u64,
    pub(super) answered: u64,
}

/// What a member found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MemberReport {
    pub(super) arrivals: Vec<Arrivals>,
    /// Sessions of which `arrivals` contains nothing any more.
    pub(super) forgotten: u64,
    pub(super) findings: Vec<OwnFinding>,
    pub(super) switch_ports: Vec<SwitchPort>,
}

/// What has arrived of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arrivals {
    pub(super) session: u64,
    /// Probes to the group: size, hop limit, number.
    pub(super) probes: Vec<(usize, u8, u64)>,
}

/// A finding of a machine about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OwnFinding {
    pub(super) id: String,
    pub(super) is_fault: bool,
    pub(super) cause: String,
    /// The command that fixes it there, or advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// The switch port at the other end of an interface, as LLDP names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SwitchPort {
    /// Interface of the machine
    pub interface: String,
    /// Name of the switch, or its address
    pub switch: String,
    /// Port of the switch
    pub port: String,
}
