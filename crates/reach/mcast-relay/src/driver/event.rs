//! What a running relay reports, and why it stops.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mcast_group::{GroupAddr, SafeText};
use mcast_http::{HttpEvent, HttpRefusal};
use mcast_json::{count_of, events};
use mcast_sys::{ClassifiedError, FailureClass};
use mcast_tunnel::{DownReason, LinkStatus, RefusedBy};

use crate::amt::GatewayEvent;
use crate::http::HttpRule;
use crate::{Leg, LegId, Namespace, PairStatus, PeerStatus, RelayEvent, RelayId, RelayNames, TooManyLegs};

events! {
    /// What happened.
    ///
    /// It is exhaustive: a program that shows events shows each.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum DriverEvent for names: &RelayNames {
        /// The state machine reports it.
        Relay(event: RelayEvent) through RelayEvent: event(names),
        /// An interface is up, or its addresses have changed.
        LegUp {
            /// The leg.
            leg: LegId,
            /// Its addresses.
            addresses: Vec<IpAddr>,
        } is Note "leg-up" { leg: names.leg(*leg), addresses: addresses.clone() }:
            match addresses.iter().map(ToString::to_string).collect::<Vec<_>>() {
                none if none.is_empty() => format!("{leg} is up: no address"),
                addresses => format!("{leg} is up: {}", addresses.join(", ")),
            },
        /// An interface is down or gone, or its namespace is.
        LegDown {
            /// The leg.
            leg: LegId,
            /// Why.
            reason: String,
        } is Problem "leg-down" { leg: names.leg(*leg), reason: reason.clone() }:
            // An engine of containers may have given the reason.
            format!("{leg} cannot be used: {}", escaped(&reason)),
        /// HTTP clients can connect to this address.
        HttpListening(address: SocketAddr) is Note "http-listening" { to: format!("http://{address}") }:
            format!("serving HTTP clients at {to}/status"),
        /// HTTP clients cannot connect to this address at present.
        HttpFailed {
            /// The address.
            address: SocketAddr,
            /// Why.
            problem: String,
            /// What to do about it, if anything general helps.
            remedy: Option<String>,
        } is Problem "http-failed" { to: format!("http://{address}"), reason: problem.clone() }: reason.clone();
            remedy.clone(),
        /// A request of an HTTP client was refused, or a client was disconnected.
        Http(event: HttpEvent) is Note "http-refused" {
            to: format!("http://{}", event.listener),
            client: event.client,
            reason: event.reason.name(),
            count: event.count,
        }: format!(
            "{} {client}{}: {}",
            if event.reason == HttpRefusal::Stalled { "client" } else { "request of" },
            others(count),
            escaped(&event.text)
        ),
        /// Something happened with the relay of AMT that is a leg.
        Amt {
            /// The leg.
            leg: LegId,
            /// What happened.
            event: GatewayEvent,
        } through GatewayEvent: event(names.leg(*leg)),
        /// The kernel dropped datagrams on a leg, because the receive buffer was full. Reported at most once per minute,
        /// with the number since the last report.
        ReceiveLost {
            /// The leg.
            leg: LegId,
            /// The number of datagrams.
            count: u64,
        } is Problem "receive-lost" { leg: names.leg(*leg), count: *count }:
            format!(
                "{} or coalesced buffers of several lost on {leg}: the kernel dropped them, because the receive buffer was full",
                count_of(count, "datagram")
            );
            Some("give the relay more processor time, or forward less: name groups in the rules that are needed".into()),
        /// Something does not work on a leg, while the rest continues.
        Problem {
            /// The leg.
            leg: LegId,
            /// What does not work, and why.
            problem: String,
            /// What to do about it, if anything general helps.
            remedy: Option<String>,
        } is Problem "problem" { leg: names.leg(*leg), reason: problem.clone() }:
            format!("{leg}: {}", escaped(&reason)); remedy.clone(),
        /// A program of this machine also carries the traffic of a rule between two of its legs, without announcing itself.
        ReflectorFound {
            /// The number of the rule.
            rule: usize,
            /// One leg.
            leg: LegId,
            /// The other leg.
            other_leg: LegId,
            /// The name and the number of the process.
            program: String,
        } is Problem "reflector-found" {
            rule: names.rule(*rule),
            leg: names.leg(*leg),
            other_leg: names.leg(*other_leg),
            program: program.clone(),
        }: format!("{program} on this machine also carries between {leg} and {other_leg} what this rule does: {rule}");
            Some(without_reflector(&program)),
        /// A program of this machine probably carries the traffic of a rule between two of its legs: it has the name of one that
        /// does, or its settings, and another process than the relay has joined the groups on both. It may not be inspected.
        ReflectorLikely {
            /// The number of the rule.
            rule: usize,
            /// One leg.
            leg: LegId,
            /// The other leg.
            other_leg: LegId,
            /// The name and the number of the process.
            program: String,
        } is Problem "reflector-likely" {
            rule: names.rule(*rule),
            leg: names.leg(*leg),
            other_leg: names.leg(*other_leg),
            program: program.clone(),
        }: format!("{program} on this machine probably carries between {leg} and {other_leg} what this rule does: {rule}");
            Some(format!("to be certain, run `mcast relay --check` with the same rules as root; {}", without_reflector(&program))),
        /// A tunnel is up, with a different relay at its other end.
        TunnelUp {
            /// The tunnel.
            leg: LegId,
            /// The relay at the other end.
            relay: RelayId,
            /// Its address.
            address: SocketAddr,
        } is Note "tunnel-up" { leg: names.leg(*leg), relay: relay.to_string(), peer: address.to_string() }:
            format!("{leg} is up: relay {relay} at {peer}"),
        /// A tunnel is down.
        TunnelDown {
            /// The tunnel.
            leg: LegId,
            /// Why.
            reason: DownReason,
        } is Problem "tunnel-down" { leg: names.leg(*leg), reason: why_down(*reason) }:
            format!("{leg} is down: {reason}"),
        /// The other end of a tunnel has another address.
        TunnelMoved {
            /// The tunnel.
            leg: LegId,
            /// The address.
            address: SocketAddr,
        } is Note "tunnel-moved" { leg: names.leg(*leg), peer: address.to_string() }:
            format!("the other end of {leg} is now at {peer}"),
        /// The other end refuses a tunnel.
        TunnelRefused {
            /// The tunnel.
            leg: LegId,
            /// Why.
            refusal: RefusedBy,
        } is Problem "tunnel-refused" { leg: names.leg(*leg), reason: why_refused(*refusal).0 }:
            format!("the other end refuses {leg}: {reason}"); Some(why_refused(*refusal).1.to_owned()),
        /// The other end of a tunnel does not answer.
        TunnelUnanswered {
            /// The tunnel.
            leg: LegId,
            /// The address that is dialed.
            host: String,
        } is Problem "tunnel-unanswered" { leg: names.leg(*leg), peer: host.clone() }:
            format!("{peer} does not answer for {leg}");
            Some("check that the relay there runs with --listen-tunnel, and that UDP datagrams of 1,200 bytes to it pass".into()),
        /// A tunnel had no room for datagrams: more were sent into it than its path carries.
        TunnelOverflow {
            /// The tunnel.
            leg: LegId,
            /// The number of datagrams that were dropped.
            count: u64,
        } is Problem "tunnel-overflow" { leg: names.leg(*leg), count: *count }:
            format!("{leg} had no room for {}", count_of(count, "datagram"));
            Some("limit the rule to what the path carries: rate 10Mbit".into()),
        /// The other end of a handshake has a key that does not belong to a peer.
        WrongTunnelKey {
            /// Its address; the last one of several.
            address: SocketAddr,
            /// How many attempts it stands for: more than 1 if there were more than
            /// [`ReportQuota::LOG`](mcast_pace::ReportQuota::LOG) allows.
            count: u64,
        } is Problem "tunnel-wrong-key" { peer: address.to_string(), count: *count }:
            format!("{peer}{} has a key that is not that of a peer", others(count));
            Some("if it is one, add the line `peer NAME KEY` with its public key to the key file here, and send SIGHUP".into()),
        /// A peer connects to a tunnel that no rule names, or that its key is not for.
        UnknownTunnel {
            /// Its name.
            name: String,
            /// The address; the last one of several.
            address: SocketAddr,
            /// How many attempts it stands for, as above.
            count: u64,
        } is Problem "tunnel-unknown" {
            count: *count,
            leg: format!("tunnel:{}", escaped(name)),
            peer: address.to_string(),
        }: format!("{peer}{} connects to {leg}, but no rule names that tunnel, or the key of the peer is for another one", others(count));
            Some(format!(
                "add a rule with {leg} and the line `peer {name} KEY` here, or correct the name there",
                name = escaped(name)
            )),
    }
}

/// Returns how to have only one of a relay and another program that carries the same.
fn without_reflector(program: &str) -> String {
    match program.starts_with("avahi-daemon") {
        true => {
            "set enable-reflector=no in avahi-daemon.conf and restart avahi-daemon, or remove the rule".into()
        }
        false => format!("stop {program}, or remove the rule"),
    }
}

/// Returns a text of others, so that it cannot control the terminal that shows it.
fn escaped(text: &str) -> SafeText<'_> {
    SafeText::new(text.as_bytes())
}

/// Returns what follows the last of several that are reported together.
fn others(count: u64) -> String {
    if count > 1 { format!(", the last of {}", mcast_json::count(count)) } else { String::new() }
}

const fn why_down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Silence => "nothing arrives from its other end",
        DownReason::Goodbye => "its other end has stopped",
        DownReason::KeyRemoved => "the key of its other end is no longer in the key file",
        DownReason::Removed => "no rule names it any longer",
        DownReason::Restarted => "its other end has started again",
        DownReason::Failed => "its other end has broken the protocol",
    }
}

/// Returns why a tunnel is refused, and what to do about it.
const fn why_refused(refusal: RefusedBy) -> (&'static str, &'static str) {
    match refusal {
        RefusedBy::UnknownName => (
            "no rule there names it, or its key file does not name this relay for it",
            "name it in a rule there, and in a line `peer` of its key file, or correct the name here",
        ),
        RefusedBy::UnknownKey => (
            "the key of this relay is not in the key file there",
            "add the line `peer NAME KEY` there, with the public key that `mcast keys show` prints here, and send it SIGHUP",
        ),
        RefusedBy::InUse => (
            "another relay uses it",
            "if that is a second relay of this site, it stands by, and takes over when the first one stops; otherwise \
             give every site a tunnel of its own",
        ),
    }
}

mcast_metrics::figures! {
    /// Counters beside those of the rules.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DriverCounts {
        /// Datagrams that the system dropped, because a receive buffer of the relay was full. It counts a coalesced buffer of
        /// several once.
        count lost as "lost_datagrams": u64,
        /// Copies and replies that the system did not take: queues were full, or there was no route.
        count unsent: u64,
        /// Datagrams to the port of announcements that were not valid announcements.
        count invalid_announcements: u64,
    }
}

mcast_metrics::figures! {
    /// Counters of AMT.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct AmtStatistics {
        /// Gateways of AMT that have joined something here.
        level gateways: u64,
        /// Datagrams sent to gateways of AMT.
        count sent: u64,
        /// Datagrams to gateways of AMT that the system did not take.
        count unsent: u64,
        other {
            /// Datagrams that arrived and were not used, by reason.
            pub refused: BTreeMap<&'static str, u64>,
        }
    }
}

impl AmtStatistics {
    pub(super) fn refuse(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// What a relay would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The pairs of the rules.
    pub pairs: Vec<PairStatus>,
    /// The other relays.
    pub peers: Vec<PeerStatus>,
    /// The tunnels.
    pub tunnels: Vec<LinkStatus>,
    /// What is served to HTTP clients.
    pub http: Vec<HttpRule>,
    /// What cannot be received, at most one for each rule and leg.
    pub unreceivable: Vec<Unreceivable>,
}

/// Something that a rule forwards and that cannot be received on a leg, although its interface is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreceivable {
    /// The number of the rule.
    pub rule: usize,
    /// The leg that it arrives on.
    pub from: LegId,
    /// What cannot be received, and why.
    pub problem: String,
    /// What to do about it, if anything general helps.
    pub remedy: Option<String>,
}

/// What fails without the right to send with the sources of others.
pub(super) const KEEP_SOURCE: &str = "send with the address of the sender, as keep-source requires";

/// Why a relay cannot run, or a leg cannot be used at present.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The rules name too many legs.
    #[error(transparent)]
    TooManyLegs(#[from] TooManyLegs),
    /// The system reported an error.
    #[error("cannot {operation}")]
    System {
        /// What failed.
        operation: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The port of a group, or of broadcasts, cannot be used.
    #[error("cannot receive {what}")]
    Bind {
        /// What cannot be received.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// HTTP clients cannot connect.
    #[error("cannot listen for HTTP clients at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A network namespace cannot be opened or entered.
    #[error("cannot enter the network namespace of {leg}")]
    Namespace {
        /// A leg in it.
        leg: Leg,
        /// The system's error.
        source: io::Error,
    },
    /// The process or the name whose network namespace a leg is in does not exist, or no longer.
    #[error("{}", absent(.leg))]
    NoNamespace {
        /// A leg in it.
        leg: Leg,
    },
    /// A container was not found.
    #[error("cannot find the container of {leg}")]
    Container {
        /// A leg in it.
        leg: Leg,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Gateways of AMT cannot be served at an address.
    #[error("cannot serve gateways of AMT at {address}")]
    AmtListener {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Other ends of tunnels cannot dial.
    #[error("cannot listen for tunnels at {address}")]
    TunnelListener {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A group that has to be taken off an interface cannot be.
    #[error("cannot take {address} off {interface}: {reason}")]
    NotTaken {
        /// The group.
        address: GroupAddr,
        /// The interface.
        interface: String,
        /// Why not.
        reason: String,
        /// Whether a permission is missing.
        is_permission: bool,
    },
    /// A group cannot be joined.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// Reports of memberships cannot be received, or queries not be sent.
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
}

impl DriverError {
    pub(super) fn system(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { operation, source }
    }

    /// Returns whether a permission is missing, which waiting does not change.
    pub(super) fn is_permission(&self) -> bool {
        match self {
            Self::System { source, .. }
            | Self::Bind { source, .. }
            | Self::Namespace { source, .. }
            | Self::Listen { source, .. }
            | Self::TunnelListener { source, .. }
            | Self::AmtListener { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Multicast(error) => error.kind() == mcast::ErrorKind::Permission,
            Self::Capture(error) => error.kind() == mcast_capture::ErrorKind::Permission,
            Self::Container { source, .. } => source
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied),
            Self::NotTaken { is_permission, .. } => *is_permission,
            Self::TooManyLegs(_) | Self::NoNamespace { .. } => false,
        }
    }
}

/// Returns why the network namespace of a leg does not exist.
fn absent(leg: &Leg) -> String {
    match &leg.namespace {
        Namespace::Process(number) => format!("process {number} has ended, or never ran"),
        Namespace::Named(name) => format!("there is no network namespace named {name}"),
        Namespace::Container(name) => format!("container {name} does not run"),
        Namespace::Own | Namespace::Amt(_) | Namespace::Tunnel => "its network namespace has gone".into(),
    }
}

impl ClassifiedError for DriverError {
    fn class(&self) -> Option<FailureClass> {
        match self {
            Self::TooManyLegs(_) => Some(FailureClass::Usage),
            Self::NoNamespace { .. } => Some(FailureClass::Environment),
            Self::Container { .. } | Self::Listen { .. } | Self::NotTaken { .. } if !self.is_permission() => {
                Some(FailureClass::Environment)
            }
            // The cause decides.
            _ => self.is_permission().then_some(FailureClass::Permission),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Namespace { .. } if self.is_permission() => "entering network namespaces needs CAP_SYS_ADMIN, and \
                CAP_SYS_PTRACE for those of other users' processes: run it as root"
                .into(),
            Self::NoNamespace { leg: Leg { namespace: Namespace::Named(name), .. } } => {
                format!("`ip netns list` lists the namespaces with a name; `ip netns add {name}` creates this one")
            }
            Self::NoNamespace { .. } => "name its network namespace with `ip netns attach NAME PID` while it runs, and write \
                netns:NAME: it then outlives the process"
                .into(),
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program uses the port without sharing it (SO_REUSEADDR): stop it, or make it share the port; \
                 `ss -ulpn` shows which"
                    .into()
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program uses this port: name another one in the rule, or stop that program".into()
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                "name an address that `mcast interfaces` lists in the rule; the relay listens once this machine has it".into()
            }
            Self::AmtListener { source, .. } | Self::TunnelListener { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "another program has this port; `ss -ulpn` shows which".into(),
                io::ErrorKind::AddrNotAvailable => "write an address of this machine: `mcast interfaces`".into(),
                io::ErrorKind::Unsupported => "this build has no hashes, which a relay of AMT needs".into(),
                _ => return None,
            },
            Self::NotTaken { is_permission: true, .. } => "run it as root, grant it with `setcap \
                cap_bpf,cap_net_admin,cap_net_raw,cap_ipc_lock+ep PROGRAM`, or use --wire auto"
                .into(),
            Self::NotTaken { .. } => "receive by the sockets where it is not possible: --wire auto".into(),
            Self::System { operation: KEEP_SOURCE, .. } if self.is_permission() => "keep-source needs CAP_NET_RAW: run it \
                as root, grant it with `setcap cap_net_raw+ep PROGRAM`, or remove keep-source"
                .into(),
            Self::Capture(_) if self.is_permission() => "receiving reports of memberships needs CAP_NET_RAW: run it as \
                root, grant it with `setcap cap_net_raw+ep PROGRAM`, or add the option `always` to the rule, which \
                then does not wait for members"
                .into(),
            _ => return None,
        })
    }

    fn transparent(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Multicast(error) => Some(error),
            Self::Capture(error) if !self.is_permission() => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_tunnel_from_the_other_end_cannot_control_a_terminal() {
        let name = "\x1b[31mevil\n".to_owned();
        let event = DriverEvent::UnknownTunnel { name, address: ([10, 0, 0, 7], 5700).into(), count: 1 };
        let report = event.report(&RelayNames::default());
        let leg = format!("{:?}", report.field("leg").unwrap());
        for text in [report.text, report.remedy.unwrap(), leg] {
            assert!(text.contains("evil") && !text.contains(['\x1b', '\n']), "{text:?}");
        }
    }
}
