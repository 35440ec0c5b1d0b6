//! The causes, a module for each subject: pure functions from an observation to findings.
//!
//! To add a cause, add its constant and its check to the module of its subject, its page in `pages/`, and its line to the
//! table below.

pub(crate) mod answers;
mod between;
mod binding;
mod bridge_ports;
pub(crate) mod carriers;
mod damage;
mod dds;
mod duplicates;
mod early_filters;
pub(crate) mod filter_rules;
mod firewall_drops_data;
mod firewall_drops_igmp;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod frames;
mod hop_limits;
mod interfaces;
pub(crate) mod intervals;
mod lost_before_this_machine;
mod memberships;
mod networks;
pub(crate) mod no_multicast_route;
mod no_querier;
mod not_forwarded;
mod policy_rules;
mod programs;
pub(crate) mod protocols;
mod queriers;
mod receive_queues;
mod redirected;
pub(crate) mod refused_sends;
pub(crate) mod routes;
mod scope_section;
mod sending;
mod sending_sockets;
mod sent_elsewhere;
mod sent_to_another_group;
pub(crate) mod services;
pub(crate) mod silence;
mod sizes;
mod snooping;
mod source_filters;
mod sources;
mod speakers;
mod streams;
pub(crate) mod tc_filters;
mod through;
mod tunnels;
mod unsent;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mcast_sys::{trace_event, trace_span};
use serde::{Serialize, Serializer};

use crate::fate::depth::ExpectedFlow;
use crate::fate::sockets::{Blocked, ExaminedSocket};
use crate::fate::{self, Ahead, Stage, Way};
use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use crate::{Finding, Remedy};
use scope_section::Placeholders;

/// What is known about a cause, declared in the module of its subject.
struct Cause {
    check: Check,
    forecast: Forecast,
    stage: Stage,
    /// The remedies with commands, for its page.
    offers: fn(&Placeholders) -> Vec<Remedy>,
    references: &'static [&'static str],
    /// Whether datagrams that should arrive here are lost by it.
    loses_datagrams: bool,
}

/// The function that judges a cause.
enum Check {
    /// Called once.
    Observation(fn(&Observation) -> Vec<Finding>),
    /// Called for each group that the doctor or the program has joined on an interface.
    Interest(fn(&Observation, &Interest<'_>) -> Option<Finding>),
    /// Called for each socket that does not take what its program has joined.
    Blocked(fn(&Observation, &Blocked<'_>) -> Option<Finding>),
    /// Called for each socket of the examined programs.
    Socket(fn(&Observation, &ExaminedSocket<'_>) -> Option<Finding>),
    /// Called last, with the flows that do not arrive and that no other finding explains.
    Unexplained(fn(&Observation, &[ExpectedFlow<'_>]) -> Vec<Finding>),
    /// Judged by the path tests of `mcast-path`, because an observation of one machine does not show it.
    PathTest,
    /// Judged from the packets of a protocol without ports, or from the announcements of a name.
    Protocol,
}

/// The function that judges whether a cause takes datagrams that do not get to it yet, from what is known of its settings. Causes
/// with [`Check::Blocked`] are asked about the sockets in any case.
enum Forecast {
    /// Only what it loses shows it.
    None,
    /// Called with what arrives.
    Flow(fn(&Observation, &Flow) -> Option<Finding>),
    /// Called for each kind of way.
    Way(fn(&Ahead<'_>) -> Vec<Finding>),
}

impl Cause {
    /// Declares a cause with its check, and the RFCs and kernel documentation that it is based on.
    const fn new(check: Check, references: &'static [&'static str]) -> Self {
        Self {
            check,
            forecast: Forecast::None,
            stage: Stage::Network,
            offers: |_| Vec::new(),
            references,
            loses_datagrams: true,
        }
    }

    fn judge(&self, observation: &Observation) -> Vec<Finding> {
        match self.check {
            Check::Observation(check) => check(observation),
            Check::Interest(check) => {
                observation.interests().iter().filter_map(|interest| check(observation, interest)).collect()
            }
            Check::Blocked(check) => {
                observation.blocked().iter().filter_map(|blocked| check(observation, blocked)).collect()
            }
            Check::Socket(check) => {
                let sockets = observation.examined_sockets();
                sockets.iter().filter_map(|socket| check(observation, socket)).collect()
            }
            Check::Unexplained(_) | Check::PathTest | Check::Protocol => Vec::new(),
        }
    }

    fn judge_unexplained(&self, observation: &Observation, flows: &[ExpectedFlow<'_>]) -> Vec<Finding> {
        match self.check {
            Check::Unexplained(check) => check(observation, flows),
            _ => Vec::new(),
        }
    }

    fn predicted(&self, id: Id, ahead: &Ahead<'_>) -> Vec<Finding> {
        let observation = ahead.observation;
        match (&self.check, &self.forecast, ahead.way) {
            (_, Forecast::Way(judge), _) => judge(ahead),
            (_, _, _) if ahead.has(id) => Vec::new(),
            (_, Forecast::Flow(judge), Way::Arriving { seen, .. }) => {
                judge(observation, seen).into_iter().collect()
            }
            (Check::Blocked(check), ..) => {
                ahead.blocked().iter().filter_map(|blocked| check(observation, blocked)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Declares where in the receiver it acts; causes without this act before.
    const fn at(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// Declares how it is predicted.
    const fn predicted_by(self, forecast: Forecast) -> Self {
        Self { forecast, ..self }
    }

    /// Declares its remedies with commands, whose scope and undo its page then states.
    const fn offering(self, offers: fn(&Placeholders) -> Vec<Remedy>) -> Self {
        Self { offers, ..self }
    }

    /// Marks a cause that does not keep datagrams from arriving: it duplicates them, say, or harms other machines.
    const fn without_loss(self) -> Self {
        Self { loses_datagrams: false, ..self }
    }
}

/// Declares each cause by its constant, its variant of [`Id`], and its text form, which is also the name of its page.
macro_rules! causes {
    ($($cause:path: $variant:ident = $text:literal;)+) => {
        /// The stable id of a cause. Its text form, in kebab case, never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Id {
            $(
                #[doc = concat!("`", $text, "`: see its [page](Self::page).")]
                $variant,
            )+
        }

        impl Id {
            /// All ids.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Returns the page without what is made from the remedies.
            const fn written_page(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../../pages/", $text, ".md")),)+
                }
            }

            const fn cause(self) -> &'static Cause {
                match self {
                    $(Self::$variant => &$cause,)+
                }
            }
        }
    };
}

causes! {
    no_querier::CAUSE: NoQuerier = "no-querier";
    memberships::JOINED_OTHER_INTERFACE: JoinedOtherInterface = "joined-other-interface";
    routes::NO_ROUTE: NoRoute = "no-route";
    firewall_drops_data::CAUSE: FirewallDropsData = "firewall-drops-data";
    firewall_drops_igmp::CAUSE: FirewallDropsIgmp = "firewall-drops-igmp";
    routes::REVERSE_PATH_FILTER: ReversePathFilter = "reverse-path-filter";
    hop_limits::TTL_TOO_SMALL: TtlTooSmall = "ttl-too-small";
    receive_queues::RECEIVE_BUFFER_OVERFLOW: ReceiveBufferOverflow = "receive-buffer-overflow";
    sending::SENDER_QUEUE_DROPS: SenderQueueDrops = "sender-queue-drops";
    binding::WRONG_PORT: WrongPort = "wrong-port";
    binding::BOUND_TO_UNICAST: BoundToUnicast = "bound-to-unicast";
    duplicates::FOREIGN_GROUPS_LEAK: ForeignGroupsLeak = "foreign-groups-leak";
    binding::ADDRESS_IN_USE: AddressInUse = "address-in-use";
    duplicates::DUPLICATE_INTERFACES: DuplicateInterfaces = "duplicate-interfaces";
    duplicates::DUPLICATE_PATH: DuplicatePath = "duplicate-path";
    sent_elsewhere::LOOPBACK_OFF: LoopbackOff = "loopback-off";
    memberships::MEMBERSHIP_LIMIT: MembershipLimit = "membership-limit";
    source_filters::SSM_WITHOUT_SOURCE: SsmWithoutSource = "ssm-without-source";
    source_filters::SOURCE_NOT_ADMITTED: SourceNotAdmitted = "source-not-admitted";
    source_filters::IGMP_VERSION_FORCED: IgmpVersionForced = "igmp-version-forced";
    snooping::FLOOD_OFF: FloodOff = "flood-off";
    snooping::FAST_LEAVE: FastLeave = "fast-leave";
    snooping::MAC_ALIAS: MacAlias = "mac-alias";
    sizes::FRAGMENTS_LOST: FragmentsLost = "fragments-lost";
    sizes::MTU_TOO_SMALL: MtuTooSmall = "mtu-too-small";
    damage::BAD_CHECKSUM: BadChecksum = "bad-checksum";
    sources::SOURCE_ZERO: SourceZero = "source-zero";
    sources::SOURCE_IS_LOCAL: SourceIsLocal = "source-is-local";
    routes::IPV6_NOT_READY: Ipv6NotReady = "ipv6-not-ready";
    routes::IPV6_LOOPBACK_ROUTE: Ipv6LoopbackRoute = "ipv6-loopback-route";
    hop_limits::SCOPE_NEVER_LEAVES: ScopeNeverLeaves = "scope-never-leaves";
    interfaces::INTERFACE_RECREATED: InterfaceRecreated = "interface-recreated";
    networks::CONTAINER_BRIDGE: ContainerBridge = "container-bridge";
    networks::CLOUD_NETWORK: CloudNetwork = "cloud-network";
    routes::VPN_TAKES_DEFAULT: VpnTakesDefault = "vpn-takes-default";
    networks::WIRELESS: Wireless = "wireless";
    silence::NOTHING_ARRIVES: NothingArrives = "nothing-arrives";
    interfaces::INTERFACE_DOWN: InterfaceDown = "interface-down";
    receive_queues::BACKLOG_DROPS: BacklogDrops = "backlog-drops";
    snooping::SNOOPING_TABLE_FULL: SnoopingTableFull = "snooping-table-full";
    frames::VLAN_TAGGED: VlanTagged = "vlan-tagged";
    binding::CONNECTED_ELSEWHERE: ConnectedElsewhere = "connected-elsewhere";
    memberships::NOT_JOINED: NotJoined = "not-joined";
    not_forwarded::ROUTER_WRONG_INTERFACE: RouterWrongInterface = "router-wrong-interface";
    hop_limits::TTL_THRESHOLD: TtlThreshold = "ttl-threshold";
    sending::FIREWALL_DROPS_OUTPUT: FirewallDropsOutput = "firewall-drops-output";
    receive_queues::LOST_IN_THIS_MACHINE: LostInThisMachine = "lost-in-this-machine";
    early_filters::TC_DROPS: TcDrops = "tc-drops";
    early_filters::XDP_DROPS: XdpDrops = "xdp-drops";
    frames::FRAMES_TO_ANOTHER_HOST: FramesToAnotherHost = "frames-to-another-host";
    sources::INVALID_SOURCE: InvalidSource = "invalid-source";
    damage::MALFORMED_PACKETS: MalformedPackets = "malformed-packets";
    sending::DROPPED_WHEN_SENDING: DroppedWhenSending = "dropped-when-sending";
    binding::BOUND_TO_OTHER_GROUP: BoundToOtherGroup = "bound-to-other-group";
    binding::BOUND_TO_OTHER_INTERFACE: BoundToOtherInterface = "bound-to-other-interface";
    binding::FAMILY_MISMATCH: FamilyMismatch = "family-mismatch";
    binding::OWN_GROUPS_ONLY: OwnGroupsOnly = "own-groups-only";
    programs::PROGRAM_STOPPED: ProgramStopped = "program-stopped";
    programs::NOT_READ: NotRead = "not-read";
    programs::SOCKET_FILTER: SocketFilter = "socket-filter";
    memberships::LEFT_GROUP: LeftGroup = "left-group";
    sent_elsewhere::SENT_BY_OTHER_INTERFACE: SentByOtherInterface = "sent-by-other-interface";
    lost_before_this_machine::CAUSE: LostBeforeThisMachine = "lost-before-this-machine";
    queriers::TWO_QUERIERS: TwoQueriers = "two-queriers";
    queriers::QUERIER_MISCONFIGURED: QuerierMisconfigured = "querier-misconfigured";
    sent_to_another_group::CAUSE: SentToAnotherGroup = "sent-to-another-group";
    networks::MACVLAN_ISOLATION: MacvlanIsolation = "macvlan-isolation";
    PATH_LOSS: PathLoss = "path-loss";
    REPLIES_LOST: RepliesLost = "replies-lost";
    UNICAST_ONLY: UnicastOnly = "unicast-only";
    HOST_UNREACHABLE: HostUnreachable = "host-unreachable";
    bridge_ports::PORT_NOT_FORWARDING: PortNotForwarding = "port-not-forwarding";
    bridge_ports::PORT_ISOLATED: PortIsolated = "port-isolated";
    bridge_ports::PORT_LOCKED: PortLocked = "port-locked";
    not_forwarded::NOT_FORWARDED: NotForwarded = "not-forwarded";
    no_multicast_route::CAUSE: NoMulticastRoute = "no-multicast-route";
    silence::MEMBERS_GET_NOTHING: MembersGetNothing = "members-get-nothing";
    redirected::CAUSE: Redirected = "redirected";
    interfaces::NO_SUCH_INTERFACE: NoSuchInterface = "no-such-interface";
    sent_elsewhere::SENT_TO_UNICAST: SentToUnicast = "sent-to-unicast";
    tunnels::IPSEC_POLICY: IpsecPolicy = "ipsec-policy";
    tunnels::DECAPSULATED: Decapsulated = "decapsulated";
    bridge_ports::PORT_MISSING: PortMissing = "port-missing";
    snooping::PORT_GROUP_LIMIT: PortGroupLimit = "port-group-limit";
    streams::CONFLICTING_STREAMS: ConflictingStreams = "conflicting-streams";
    streams::STREAM_STOPPED: StreamStopped = "stream-stopped";
    programs::PROGRAM_ENDED: ProgramEnded = "program-ended";
    not_forwarded::NOT_RELAYED: NotRelayed = "not-relayed";
    policy_rules::CAUSE: PolicyRule = "policy-rule";
    no_querier::MEMBERSHIP_FORGOTTEN: MembershipForgotten = "membership-forgotten";
    answers::CAUSE: AnswersDropped = "answers-dropped";
    carriers::OTHER_VXLAN: OtherVxlan = "other-vxlan";
    speakers::TWO_MASTERS: TwoMasters = "two-masters";
    speakers::PROTOCOL_MISMATCH: ProtocolMismatch = "protocol-mismatch";
    binding::NOT_BOUND: NotBound = "not-bound";
    services::NOT_ANNOUNCED: NotAnnounced = "not-announced";
    services::ANNOUNCED_ELSEWHERE: AnnouncedElsewhere = "announced-elsewhere";
    services::UNREACHABLE_ADDRESS: UnreachableAddress = "unreachable-address";
    services::LINK_LOCAL_ONLY: LinkLocalOnly = "link-local-only";
    services::SERVICE_SILENT: ServiceSilent = "service-silent";
    dds::DIFFERENT_DDS_DOMAIN: DifferentDdsDomain = "different-dds-domain";
    dds::DDS_MISMATCH: DdsMismatch = "dds-mismatch";
    memberships::KERNEL_WITHOUT_IGMP: KernelWithoutIgmp = "kernel-without-igmp";
    services::NAME_CONFLICT: NameConflict = "name-conflict";
}

impl Id {
    /// Returns the RFCs and kernel documentation that the finding is based on.
    #[must_use]
    pub const fn references(self) -> &'static [&'static str] {
        self.cause().references
    }

    /// Returns the page that describes the cause and its remedies, in Markdown. Words in capitals in its commands are
    /// placeholders: INTERFACE, GROUP, PORT, SOURCE, BRIDGE.
    #[must_use]
    pub fn page(self) -> String {
        scope_section::insert(self.written_page(), &(self.cause().offers)(&Placeholders::new()))
    }

    /// Returns where it acts, apart from the hooks of the packet filter.
    pub(crate) const fn stage(self) -> Stage {
        self.cause().stage
    }

    /// Returns the findings about what was observed.
    pub(crate) fn judged(self, observation: &Observation) -> Vec<Finding> {
        self.cause().judge(observation)
    }

    /// Returns the findings about datagrams that do not get to the cause yet.
    pub(crate) fn predicted(self, ahead: &Ahead<'_>) -> Vec<Finding> {
        self.cause().predicted(self, ahead)
    }

    /// Returns whether datagrams that should arrive here are lost by the cause.
    pub(crate) const fn loses_datagrams(self) -> bool {
        self.cause().loses_datagrams
    }

    /// Returns whether every examination judges the cause; not only one of a path or of a protocol without ports.
    pub(crate) const fn is_judged_by_observation(self) -> bool {
        !matches!(self.cause().check, Check::PathTest | Check::Protocol)
    }

    /// Returns the summary, which is the first paragraph of the page.
    #[must_use]
    pub fn summary(self) -> String {
        let paragraph = self.written_page().split("\n\n").nth(1).unwrap_or_default();
        paragraph.lines().collect::<Vec<_>>().join(" ")
    }
}

/// Returns all findings of an observation, most severe first, then in the order in which the causes act. Every flow that does
/// not arrive is explained by one.
pub(crate) fn judge(observation: &Observation) -> Vec<Finding> {
    let span = trace_span!("judgement");
    let traced = |id: &Id, found: Vec<Finding>| {
        trace_event!(span, TRACE, "judged", cause = id, findings = found.len());
        for finding in &found {
            trace_event!(span, DEBUG, "found", cause = id, subject = finding.subject, why = finding.cause);
            for evidence in &finding.evidence {
                trace_event!(span, DEBUG, "evidence", cause = id, fact = evidence);
            }
        }
        found
    };
    let judged = Id::ALL.iter().flat_map(|id| traced(id, id.judged(observation)));
    let mut findings: Vec<_> = judged.collect();
    findings.extend(fate::behind_tags(observation, &findings));
    let mut unexplained = observation.expected_flows();
    unexplained.retain(|flow| {
        let is_missing = flow.status.depth.is_lost_here() || flow.status.depth.is_silent();
        let explanation = findings.iter().find(|finding| finding.explains(&flow.status));
        trace_event!(
            span,
            DEBUG,
            "flow",
            to = flow.status.destination,
            interface = flow.status.interface,
            depth = flow.status.depth,
            explained_by = explanation.map_or("nothing yet", |finding| finding.id.as_str()),
        );
        is_missing && explanation.is_none()
    });
    let judged =
        Id::ALL.iter().flat_map(|id| traced(id, id.cause().judge_unexplained(observation, &unexplained)));
    findings.extend(judged.collect::<Vec<_>>());
    findings.extend(fate::predicted(observation, &findings));
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), Stage::of(finding)));
    grouped(findings)
}

/// Leaves the first findings of each cause and severity, and puts the rest of them together: forged sources can cause any number.
fn grouped(findings: Vec<Finding>) -> Vec<Finding> {
    /// How many are left of those with the same cause. A report with one more would not be shorter.
    const MAX_ALIKE: usize = 5;
    const MAX_LISTED: usize = 10;
    let mut rest: BTreeMap<(Id, crate::Severity), Vec<Finding>> = BTreeMap::new();
    let mut kept: Vec<Finding> = Vec::new();
    let mut counts: BTreeMap<(Id, crate::Severity), usize> = BTreeMap::new();
    for finding in findings {
        let kind = (finding.id, finding.severity);
        let count = counts.entry(kind).or_default();
        *count += 1;
        if *count <= MAX_ALIKE { kept.push(finding) } else { rest.entry(kind).or_default().push(finding) }
    }
    for ((id, severity), alike) in rest {
        let listed: Vec<_> =
            alike.iter().take(MAX_LISTED).map(|finding| finding.subject.to_string()).collect();
        let more = if alike.len() > MAX_LISTED { "; …" } else { "" };
        let cause = format!("The same holds {} more times: {}{more}.", alike.len(), listed.join("; "));
        let flows = alike.into_iter().flat_map(|finding| finding.flows);
        kept.push(Finding::new(id, severity, cause).explaining(flows));
    }
    kept.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    kept
}

impl Observation {
    /// Returns whether the doctor's own socket received datagrams of a flow.
    fn is_received(&self, flow: &Flow) -> bool {
        self.trial().is_some_and(|trial| trial.received_from(flow.key.interface, flow.key.source) > 0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error for a text that is not the id of a finding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a finding")]
pub struct UnknownId(pub String);

impl FromStr for Id {
    type Err = UnknownId;

    fn from_str(text: &str) -> Result<Self, UnknownId> {
        Self::ALL.iter().copied().find(|id| id.as_str() == text).ok_or_else(|| UnknownId(text.to_owned()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A host answers neither probes to the group nor by unicast.
const HOST_UNREACHABLE: Cause = Cause::new(Check::PathTest, &[]);
/// Part of the probes between two machines is lost, at every size.
const PATH_LOSS: Cause = Cause::new(Check::PathTest, &["RFC 8085 section 3.1"]);
/// A listener receives probes, and its replies do not come back.
const REPLIES_LOST: Cause = Cause::new(Check::PathTest, &[]);
/// A host answers unicast, but nothing that is sent to the group reaches it.
const UNICAST_ONLY: Cause = Cause::new(Check::PathTest, &["RFC 4541 section 2"]);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn findings_that_are_alike_are_put_together() {
        let finding = |number: u8, severity| {
            Finding::new(Id::InvalidSource, severity, "x").from_source(IpAddr::from([10, 0, 0, number]))
        };
        let few: Vec<_> = (0..5).map(|number| finding(number, crate::Severity::Fault)).collect();
        assert_eq!(grouped(few.clone()), few);
        let mut many: Vec<_> = (0..162).map(|number| finding(number, crate::Severity::Warning)).collect();
        many.extend(few);
        let grouped = grouped(many);
        assert_eq!(grouped.len(), 11);
        assert!(
            grouped[10].cause.starts_with("The same holds 157 more times: from 10.0.0.5;"),
            "{}",
            grouped[10].cause
        );
    }

    /// The sections of every page, in this order.
    const SECTIONS: [&str; 6] =
        ["What you see", "Why", "How mcast detects it", "Remedy", "Check", "References"];

    #[test]
    fn ids_are_unique_and_parse_back() {
        let texts: BTreeSet<_> = Id::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(texts.len(), Id::ALL.len());
        for id in Id::ALL {
            assert_eq!(id.to_string().parse(), Ok(*id));
            assert!(id.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '6'), "{id}");
        }
    }

    #[test]
    fn every_page_has_a_title_a_summary_and_the_same_sections() {
        for id in Id::ALL {
            assert!(id.page().starts_with(&format!("# {id}\n\n")) && id.page().ends_with(".\n"), "{id}");
            assert!(id.summary().ends_with('.') && id.summary().len() < 160, "{id}: {}", id.summary());
            let page = id.page();
            let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
            assert_eq!(sections, SECTIONS, "{id}");
        }
    }

    #[test]
    fn pages_state_the_scope_and_the_undo_of_commands() {
        let states = |id: Id, text: &str| assert!(id.page().contains(text), "{id}: {}", id.page());
        states(
            Id::MtuTooSmall,
            "- `ip link set dev INTERFACE mtu 1500`: all traffic of INTERFACE; takes effect at once.",
        );
        states(Id::MtuTooSmall, "with it a remote session. Undo: `ip link set dev INTERFACE mtu VALUE`.");
        states(Id::FirewallDropsData, "datagrams to GROUP:PORT on INTERFACE, from any source");
        states(Id::FirewallDropsData, "Undo: Delete the rule by its handle");
        states(Id::ReversePathFilter, "Undo: `sysctl -w net.ipv4.conf.INTERFACE.rp_filter=VALUE`.");
        states(Id::NoRoute, "Undo: `ip route del 224.0.0.0/4 dev INTERFACE`.");
        let has_value = |id: &&Id| scope_section::WORDS.iter().any(|(value, _)| id.page().contains(value));
        assert_eq!(Id::ALL.iter().find(has_value), None, "a value in place of its word");
    }

    #[test]
    fn every_page_cites_the_references_of_its_finding() {
        for id in Id::ALL {
            let (_, references) = id.written_page().split_once("## References").unwrap();
            for reference in id.references() {
                assert!(references.contains(reference), "{id} does not cite {reference}");
            }
        }
    }

    #[test]
    fn every_cause_is_in_the_table_of_results() {
        let table = include_str!("../../tests/lab/results.md");
        for id in Id::ALL {
            assert!(table.contains(&format!("`{id}`")), "{id}: see tests/lab/goals.rs");
        }
    }

    #[test]
    fn names_of_other_findings_in_pages_exist() {
        for page in Id::ALL {
            for word in page.page().split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-') {
                let looks_like_one = Id::ALL.iter().any(|id| {
                    let (first, _) = id.as_str().split_once('-').unwrap_or_default();
                    !first.is_empty()
                        && word.starts_with(&format!("{first}-"))
                        && word.matches('-').count() >= 2
                });
                if looks_like_one && word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') {
                    assert!(word.parse::<Id>().is_ok(), "{page}: {word}");
                }
            }
        }
    }
}
