//! What the relay reports, what it asks its driver to do, and what it counts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mcast_group::{Family, Group, SourceFilter};
use mcast_json::{EventField, EventValue, count_of, events};
use mcast_pace::{ClockTime, Limiter, Rate, TokenBucket};
use mcast_packet::MacAddress;
use mcast_tunnel::RelayPath;

use crate::names::RelayNames;
use crate::paths::{PathId, PathPort, PathSide};
use crate::peers::RelayId;
use crate::rule::{LegId, LocalDiscovery, Rule};

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayOutput {
    /// Open a socket. [`crate::Relay::handle_path_failure`] reports if that fails. It receives unicast only.
    OpenPath {
        /// Its name from now on.
        path: PathId,
        /// Where it sends.
        side: PathSide,
        /// Its family.
        family: Family,
        /// Its local port.
        port: PathPort,
    },
    /// Close a socket.
    ClosePath(PathId),
    /// Send a datagram.
    Send {
        /// The socket.
        path: PathId,
        /// Where the datagram came from that this is a copy of. Only a tunnel carries it.
        source: SocketAddr,
        /// The way of the copy through tunnels. Only a tunnel carries it. For the copies of datagrams that arrived together,
        /// that of the first one: each other one has the number after the one before it.
        trail: RelayPath,
        /// The time in which a tunnel repairs it.
        repair: Option<Duration>,
        /// The group, or a unicast or broadcast address.
        destination: SocketAddr,
        /// The hop limit; `None` for the system's default for unicast.
        hop_limit: Option<u8>,
        /// The payload.
        payload: CopyPayload,
    },
    /// Send a datagram to the gateways of AMT that have joined its group, with its original source.
    Encapsulate {
        /// The address at which they have requested it.
        listener: SocketAddr,
        /// The source.
        source: SocketAddr,
        /// The group and port.
        destination: SocketAddr,
        /// The hop limit.
        hop_limit: u8,
        /// The payload.
        payload: CopyPayload,
    },
    /// Receive a group on a leg from these sources, instead of those before; from none: leave it. For a tunnel,
    /// [`crate::Relay::wants`] has changed.
    Join {
        /// The leg.
        leg: LegId,
        /// The group.
        group: Group,
        /// The sources.
        sources: SourceFilter,
    },
    /// Send this announcement to [`crate::ANNOUNCEMENT_GROUPS`] on a leg, with hop limit 1, from any port.
    Announce {
        /// The leg.
        leg: LegId,
        /// The datagram.
        bytes: Box<[u8]>,
    },
    /// Report an event.
    Event(RelayEvent),
}

/// The payload of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyPayload {
    /// That of the datagram, or those of the coalesced datagrams, that the relay has handled last. The driver takes all outputs
    /// before it passes another.
    AsReceived,
    /// These bytes.
    Other(Box<[u8]>),
}

events! {
    /// What happened.
    ///
    /// It is exhaustive: a program that shows events shows each.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum RelayEvent for names: &RelayNames {
        /// Another relay announces itself on this leg.
        PeerAppeared {
            /// The relay.
            relay: RelayId,
            /// The leg.
            leg: LegId,
        } is Note "relay-appeared" { relay: relay.to_string(), leg: names.leg(*leg) }:
            format!("relay {relay} is on {leg}"),
        /// Another relay has stopped, or its announcements no longer arrive.
        PeerDisappeared {
            /// The relay.
            relay: RelayId,
        } is Note "relay-disappeared" { relay: relay.to_string() }:
            format!("relay {relay} has stopped or is unreachable"),
        /// This relay forwards a rule from a leg to a side now.
        Forwarding {
            /// The number of the rule.
            rule: usize,
            /// The leg.
            from: LegId,
            /// The side.
            to: PathSide,
        } is Note "forwarding" { rule: names.rule(*rule), from: names.leg(*from), to: names.side(*to) }:
            format!("forwarding from {from} to {to}: {rule}"),
        /// Another relay forwards a rule, and this one stands by.
        StandingBy {
            /// The number of the rule.
            rule: usize,
            /// The leg.
            from: LegId,
            /// The side.
            to: PathSide,
            /// The other relay.
            relay: RelayId,
        } is Note "standing-by" {
            rule: names.rule(*rule),
            from: names.leg(*from),
            to: names.side(*to),
            relay: relay.to_string(),
        }: format!("standing by from {from} to {to}, relay {relay} forwards: {rule}"),
        /// Two legs are on the same segment: nothing is forwarded between them.
        SameSegment {
            /// One leg.
            one: LegId,
            /// The other leg.
            other: LegId,
        } is Problem "same-segment" { leg: names.leg(*one), other_leg: names.leg(*other) }:
            format!("{leg} and {other_leg} are on the same segment: nothing is forwarded between them");
            Some(format!("remove {leg} or {other_leg} from the rule, or connect it to another network")),
        /// A source returns the copies of this relay, so that datagrams circulate: it also relays, without announcing
        /// itself. Its repeats are dropped until it returns nothing any more.
        LoopFound {
            /// The leg.
            leg: LegId,
            /// The address of the source.
            source: IpAddr,
            /// Its Ethernet address, if known.
            mac: Option<MacAddress>,
            /// The group that it relays.
            destination: SocketAddr,
        } is Problem "loop-found" {
            leg: names.leg(*leg),
            address: *source,
            mac: mac.map(|mac| mac.to_string()),
            destination: destination.to_string(),
        }: format!(
            "{address}{} on {leg} also relays {destination}: its repeats are dropped until it returns nothing any more",
            mac.as_ref().map(|mac| format!(" ({mac})")).unwrap_or_default()
        ); Some(format!("turn off the relay (mDNS repeater, UDP broadcast relay) at {address}")),
        /// Memberships that hosts on a leg report are ignored, because one host, or all of them together, have joined too
        /// many groups. Reported at most once per minute and leg.
        TooManyGroups {
            /// The leg.
            leg: LegId,
            /// The host for which most groups count.
            host: IpAddr,
            /// The number of these groups.
            groups: usize,
            /// The reports that were ignored since the last event.
            count: u64,
        } is Problem "too-many-groups" { leg: names.leg(*leg), address: *host, count: *count }:
            format!(
                "{} ignored or displaced on {leg}, too many groups are joined: {address} has most, {groups} of them",
                count_of(count, "membership report")
            );
            Some(format!("find out what {address} does, and stop it")),
        /// A router, such as the kernel's multicast routing, forwards between the same networks as this relay: a datagram of a
        /// host on one leg arrived on another one. It is not forwarded. Reported at most once per minute and pair of legs.
        RouterFound {
            /// The leg that it arrived on.
            leg: LegId,
            /// The leg of its source.
            home: LegId,
            /// The source.
            source: IpAddr,
            /// The group that is routed.
            destination: SocketAddr,
        } is Problem "router-found" {
            leg: names.leg(*leg),
            other_leg: names.leg(*home),
            address: *source,
            destination: destination.to_string(),
        }: format!(
            "a router also forwards {destination} from {other_leg} to {leg}: datagrams of {address}, which is on {other_leg}, \
             arrive on {leg} and are not forwarded"
        ); Some("use the router (smcroute, pimd, igmpproxy, the kernel's routes) or this rule, not both".into()),
        /// The copies of another relay arrive, and would be forwarded to a network without that relay. Copies are not
        /// forwarded again, so relays in a chain do not reach its end. Reported at most once per minute, relay and leg.
        ChainFound {
            /// The other relay.
            relay: RelayId,
            /// The leg on which its copies arrive.
            leg: LegId,
            /// The side that does not receive them.
            to: PathSide,
        } is Problem "chain-found" { relay: relay.to_string(), leg: names.leg(*leg), to: names.side(*to) }:
            format!(
                "copies that relay {relay} sends on {leg} are not forwarded to {to}: no relay forwards the copies of another one"
            );
            Some(format!("forward to {to} from where the senders are, or connect the relays by a tunnel")),
        /// Copies of a sender have the address of the relay, although the rule keeps sources: the sender is not in a network
        /// of the leg on which it arrives, or its address is valid on one link only. Reported at most once per minute, rule
        /// and leg.
        SourceReplaced {
            /// The number of the rule.
            rule: usize,
            /// The leg.
            leg: LegId,
            /// The address of the sender.
            source: IpAddr,
        } is Problem "source-replaced" { rule: names.rule(*rule), leg: names.leg(*leg), address: *source }:
            format!(
                "copies of what {address} sends on {leg} have the address of the relay: it is in no network of {leg} alone, or \
                 valid on one link only: {rule}"
            );
            Some(format!("give {leg} an address in the network of {address}, or remove keep-source")),
        /// Datagrams of a rule were not forwarded. Reported at most once per minute, rule and reason, with their number.
        NotForwarded {
            /// The number of the rule.
            rule: usize,
            /// The reason.
            reason: RefusalReason,
            /// The number of datagrams since the last report.
            count: u64,
            /// The address that has most paths, if there are too many of these.
            culprit: Option<IpAddr>,
        } is Problem "not-forwarded" {
            rule: names.rule(*rule),
            address: *culprit,
            count: *count,
            reason: *reason,
        }: format!(
            "{} not forwarded, {}{}: {rule}",
            count_of(count, "datagram"),
            reason.why(),
            address.map(|address| format!(", most of them at {address}")).unwrap_or_default()
        ); reason.remedy().map(Into::into),
        /// Hosts on a leg request a group from sources other than the relay, so they would not receive its copies.
        OtherSources {
            /// The leg.
            leg: LegId,
            /// The group.
            group: Group,
        } is Problem "other-sources" { leg: names.leg(*leg), group: group.to_string() }:
            format!(
                "hosts on {leg} have joined {group} from other sources than the relay, and would not receive its copies"
            );
            Some("join it there from the address of the relay, or without a source".into()),
        /// No host has reported memberships on a leg, although it was queried twice. Rules that send there need `always`.
        NoReports {
            /// The leg.
            leg: LegId,
        } is Problem "no-reports" { leg: names.leg(*leg) }:
            format!("no host on {leg} has reported a membership");
            Some("if hosts there do not report, add the option `always` to the rule".into()),
    }
}

mcast_group::named! {
    /// Why a datagram was not forwarded.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum RefusalReason {
        /// This relay had sent it.
        OwnCopy = "own-copy",
        /// Another relay had sent it.
        CopyOfPeer = "copy-of-peer",
        /// Another relay forwards the rule.
        Standby = "standby",
        /// This relay has just started, and waits for the announcements of others.
        Starting = "starting",
        /// All legs it would be sent on are down, or on the segment it arrived on.
        NoLeg = "no-leg",
        /// Nobody downstream has joined its group.
        NotWanted = "not-wanted",
        /// It repeats a datagram of a discovery protocol.
        Repeat = "repeat",
        /// A box that also relays had sent it back.
        Echo = "echo",
        /// Too many repeats of its source are held back until it is clear whether they are a loop.
        TooManyRepeats = "too-many-repeats",
        /// Its hop limit is used up. With `ttl N`, the rule forwards such datagrams.
        HopLimit = "hop-limit",
        /// The rule or the source sends more than its limit.
        RateLimit = "rate-limit",
        /// There are too many paths.
        TooManyPaths = "too-many-paths",
        /// It contains nothing that the rule forwards.
        Filtered = "filtered",
        /// The unicast target cannot be reached at present.
        Unreachable = "unreachable",
        /// It came back through tunnels to a relay that it had passed.
        Returned = "returned",
        /// It has already come through another tunnel.
        Duplicate = "duplicate",
        /// It has passed too many relays.
        TooManyHops = "too-many-hops",
        /// It is the copy of a router.
        Routed = "routed",
        /// It is a reply, which the rule does not return.
        Reply = "reply",
    }
    /// Returns its name in JSON and metrics.
    fn name;
}

impl RefusalReason {
    /// Returns it in words, as they follow "not forwarded".
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::HopLimit => "because the TTL was 1",
            Self::RateLimit => "above the rate",
            Self::TooManyPaths => "too many senders",
            Self::Unreachable => "the target cannot be reached",
            Self::TooManyRepeats => "too many repeats at once to determine whether they are a loop",
            Self::OwnCopy => "sent by this relay",
            Self::CopyOfPeer => "sent by another relay",
            Self::Standby => "another relay forwards",
            Self::Starting => "waiting for other relays",
            Self::Reply => "replies",
            Self::Routed => "copies of a router",
            Self::NoLeg => "no usable interface",
            Self::NotWanted => "nobody has joined",
            Self::Repeat => "repeated",
            Self::Echo => "sent back by a box that also relays",
            Self::Returned => "returned by tunnels",
            Self::Duplicate => "arrived by another tunnel before",
            Self::TooManyHops => "they have passed too many relays",
            Self::Filtered => "contain nothing that the rule forwards",
        }
    }

    /// Returns what to do about it.
    const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::HopLimit => Some("add the option `ttl N` to the rule, or send with a larger TTL"),
            Self::RateLimit => Some("raise the rate of the rule, if it should pass"),
            Self::TooManyPaths => Some("raise --max-paths, or lower --path-idle"),
            Self::TooManyHops => Some("connect the sites through fewer relays: at most 8 in a row"),
            _ => None,
        }
    }

    /// Returns whether somebody has to do something about it, so that it is reported as an event.
    const fn is_reported(self) -> bool {
        matches!(
            self,
            Self::TooManyRepeats
                | Self::HopLimit
                | Self::RateLimit
                | Self::TooManyPaths
                | Self::Unreachable
                | Self::TooManyHops
        )
    }
}

impl EventField for RefusalReason {
    fn value(&self) -> Option<EventValue> {
        self.name().value()
    }
}

/// Time between two events about the same rule and reason.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

mcast_metrics::figures! {
    /// What a rule has forwarded and refused.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct RuleCounts {
        /// Datagrams that arrived and that the rule names.
        count arrived as "received_datagrams": u64,
        /// Copies sent.
        count copies: u64,
        /// Bytes of payload in the copies sent.
        count bytes as "copied_bytes": u64,
        /// Replies sent to senders, and answers of senders to these.
        count replies: u64,
        other {
            refused: [u64; RefusalReason::ALL.len()],
            reported: [Option<(ClockTime, u64)>; RefusalReason::ALL.len()],
        }
    }
}

impl RuleCounts {
    /// Returns the number of datagrams that were not forwarded for this reason.
    #[must_use]
    pub fn refused(&self, reason: RefusalReason) -> u64 {
        self.refused[reason as usize]
    }

    /// Returns every reason for which datagrams were refused, with their number.
    pub fn refusals(&self) -> impl Iterator<Item = (RefusalReason, u64)> {
        RefusalReason::ALL.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }

    /// Counts a refused datagram. Returns an event if one is due.
    pub(crate) fn refuse(
        &mut self,
        now: ClockTime,
        rule: usize,
        reason: RefusalReason,
    ) -> Option<RelayEvent> {
        self.refused[reason as usize] += 1;
        if !reason.is_reported() {
            return None;
        }
        let total = self.refused(reason);
        let reported = &mut self.reported[reason as usize];
        let before = match *reported {
            Some((last, _)) if now < last + REPORT_INTERVAL => return None,
            Some((_, count)) => count,
            None => 0,
        };
        *reported = Some((now, total));
        Some(RelayEvent::NotForwarded { rule, reason, count: total - before, culprit: None })
    }
}

/// Tokens per datagram, so that rates below one datagram per second can be expressed.
const DATAGRAM: u64 = 1_000;
/// The smallest bursts that pass.
const MIN_BURST_DATAGRAMS: u64 = 32 * DATAGRAM;
const MIN_BURST_BITS: u64 = 65_536 * 8;

#[derive(Debug)]
pub(crate) struct Limits {
    sources: Option<Limiter>,
    rate: Option<(Rate, TokenBucket)>,
}

impl Limits {
    pub(crate) fn new(rule: &Rule) -> Self {
        let limiter = |_| Limiter::new(LocalDiscovery::EACH_SOURCE, LocalDiscovery::ALL_SOURCES);
        let bucket = |rate: Rate| {
            let (tokens, smallest) = match rate {
                Rate::Datagrams(rate) => (rate * DATAGRAM as f64, MIN_BURST_DATAGRAMS),
                Rate::Bits(rate) => (rate, MIN_BURST_BITS),
            };
            let tokens = tokens as u64;
            // A tenth of a second.
            (rate, TokenBucket::new(tokens, (tokens / 10).max(smallest), 0))
        };
        Self { sources: rule.traffic.protocol.map(limiter), rate: rule.rate.map(bucket) }
    }

    /// Returns whether there are any.
    pub(crate) const fn limits(&self) -> bool {
        self.sources.is_some() || self.rate.is_some()
    }

    /// Returns whether a datagram of this length passes.
    pub(crate) fn allow(&mut self, now: ClockTime, source: IpAddr, length: usize) -> bool {
        if let Some(limiter) = &mut self.sources
            && !limiter.allows(now, source)
        {
            return false;
        }
        let Some((rate, bucket)) = &mut self.rate else { return true };
        bucket.refill(now.0);
        bucket.take(match rate {
            Rate::Datagrams(_) => DATAGRAM,
            Rate::Bits(_) => (length as u64).saturating_mul(8),
        })
    }
}
