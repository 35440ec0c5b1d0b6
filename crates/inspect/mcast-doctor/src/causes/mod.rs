//! The causes, one module each: pure functions from an observation to findings.
//!
//! To add a cause, add its module, its page in `pages/`, and its line to the table below.

mod address_in_use;
mod backlog_drops;
mod bad_checksum;
mod bound_to_other_group;
mod bound_to_other_interface;
mod bound_to_unicast;
mod cloud_network;
mod conflicting_streams;
mod connected_elsewhere;
mod container_bridge;
mod decapsulated;
mod defective_flows;
mod dropped_when_sending;
mod duplicate_interfaces;
mod duplicate_path;
mod family_mismatch;
mod fast_leave;
pub(crate) mod filter_rules;
mod firewall_drops_data;
mod firewall_drops_igmp;
mod firewall_drops_output;
mod flood_off;
mod foreign_groups_leak;
mod forwarded_filters;
mod fragments_lost;
mod frames_to_another_host;
mod further;
mod igmp_version_forced;
mod ignored_query;
mod interface_down;
mod interface_recreated;
mod invalid_source;
mod ipsec_policy;
mod ipv6_loopback_route;
mod ipv6_not_ready;
mod joined_other_interface;
mod left_group;
mod loopback_off;
mod lost_before_this_machine;
mod lost_in_this_machine;
mod mac_alias;
mod macvlan_isolation;
mod malformed_packets;
mod members_get_nothing;
mod membership_limit;
mod mtu_too_small;
pub(crate) mod no_multicast_route;
mod no_querier;
mod no_route;
mod no_such_interface;
mod not_forwarded;
mod not_joined;
mod not_read;
mod not_relayed;
mod nothing_arrives;
mod order;
mod own_groups_only;
mod path_tests;
mod port_group_limit;
mod port_isolated;
mod port_locked;
mod port_missing;
mod port_not_forwarding;
mod program_ended;
mod program_stopped;
mod querier_misconfigured;
mod receive_buffer_overflow;
mod redirected;
mod reverse_path_filter;
mod router_wrong_interface;
mod scope_never_leaves;
mod scope_section;
mod sender_queue_drops;
mod sent_by_other_interface;
mod sent_to_another_group;
mod sent_to_unicast;
mod snooping_table_full;
mod socket_filter;
mod source_is_local;
mod source_not_admitted;
mod source_zero;
mod ssm_without_source;
mod stream_stopped;
mod tc_drops;
pub(crate) mod tc_filters;
mod ttl_threshold;
mod ttl_too_small;
mod two_queriers;
mod vlan_tagged;
mod vpn_takes_default;
mod wireless;
mod wrong_port;
mod xdp_drops;
mod xdp_programs;

#[cfg(test)]
pub(crate) mod fixtures;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use mcast_sys::{trace_event, trace_span};
use serde::{Serialize, Serializer};

use crate::acceptance::{Blocked, ExaminedSocket};
use crate::depth::ExpectedFlow;
use crate::observation::{Interest, Observation};
use crate::wire::Flow;
use crate::{Finding, Remedy};
use scope_section::Placeholders;

/// What is known about a cause, declared in its module.
struct Cause {
    check: Check,
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
    /// Judged by a [`PathTest`](crate::PathTest), because an observation of one machine does not show it.
    PathTest,
}

impl Cause {
    /// Declares a cause with its check, and the RFCs and kernel documentation that it is based on.
    const fn new(check: Check, references: &'static [&'static str]) -> Self {
        Self { check, offers: |_| Vec::new(), references, loses_datagrams: true }
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
            Check::Unexplained(_) | Check::PathTest => Vec::new(),
        }
    }

    fn judge_unexplained(&self, observation: &Observation, flows: &[ExpectedFlow<'_>]) -> Vec<Finding> {
        match self.check {
            Check::Unexplained(check) => check(observation, flows),
            _ => Vec::new(),
        }
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
    joined_other_interface::CAUSE: JoinedOtherInterface = "joined-other-interface";
    no_route::CAUSE: NoRoute = "no-route";
    firewall_drops_data::CAUSE: FirewallDropsData = "firewall-drops-data";
    firewall_drops_igmp::CAUSE: FirewallDropsIgmp = "firewall-drops-igmp";
    reverse_path_filter::CAUSE: ReversePathFilter = "reverse-path-filter";
    ttl_too_small::CAUSE: TtlTooSmall = "ttl-too-small";
    receive_buffer_overflow::CAUSE: ReceiveBufferOverflow = "receive-buffer-overflow";
    sender_queue_drops::CAUSE: SenderQueueDrops = "sender-queue-drops";
    wrong_port::CAUSE: WrongPort = "wrong-port";
    bound_to_unicast::CAUSE: BoundToUnicast = "bound-to-unicast";
    foreign_groups_leak::CAUSE: ForeignGroupsLeak = "foreign-groups-leak";
    address_in_use::CAUSE: AddressInUse = "address-in-use";
    duplicate_interfaces::CAUSE: DuplicateInterfaces = "duplicate-interfaces";
    duplicate_path::CAUSE: DuplicatePath = "duplicate-path";
    loopback_off::CAUSE: LoopbackOff = "loopback-off";
    membership_limit::CAUSE: MembershipLimit = "membership-limit";
    ssm_without_source::CAUSE: SsmWithoutSource = "ssm-without-source";
    source_not_admitted::CAUSE: SourceNotAdmitted = "source-not-admitted";
    igmp_version_forced::CAUSE: IgmpVersionForced = "igmp-version-forced";
    flood_off::CAUSE: FloodOff = "flood-off";
    fast_leave::CAUSE: FastLeave = "fast-leave";
    mac_alias::CAUSE: MacAlias = "mac-alias";
    fragments_lost::CAUSE: FragmentsLost = "fragments-lost";
    mtu_too_small::CAUSE: MtuTooSmall = "mtu-too-small";
    bad_checksum::CAUSE: BadChecksum = "bad-checksum";
    source_zero::CAUSE: SourceZero = "source-zero";
    source_is_local::CAUSE: SourceIsLocal = "source-is-local";
    ipv6_not_ready::CAUSE: Ipv6NotReady = "ipv6-not-ready";
    ipv6_loopback_route::CAUSE: Ipv6LoopbackRoute = "ipv6-loopback-route";
    scope_never_leaves::CAUSE: ScopeNeverLeaves = "scope-never-leaves";
    interface_recreated::CAUSE: InterfaceRecreated = "interface-recreated";
    container_bridge::CAUSE: ContainerBridge = "container-bridge";
    cloud_network::CAUSE: CloudNetwork = "cloud-network";
    vpn_takes_default::CAUSE: VpnTakesDefault = "vpn-takes-default";
    wireless::CAUSE: Wireless = "wireless";
    nothing_arrives::CAUSE: NothingArrives = "nothing-arrives";
    interface_down::CAUSE: InterfaceDown = "interface-down";
    backlog_drops::CAUSE: BacklogDrops = "backlog-drops";
    snooping_table_full::CAUSE: SnoopingTableFull = "snooping-table-full";
    vlan_tagged::CAUSE: VlanTagged = "vlan-tagged";
    connected_elsewhere::CAUSE: ConnectedElsewhere = "connected-elsewhere";
    not_joined::CAUSE: NotJoined = "not-joined";
    router_wrong_interface::CAUSE: RouterWrongInterface = "router-wrong-interface";
    ttl_threshold::CAUSE: TtlThreshold = "ttl-threshold";
    firewall_drops_output::CAUSE: FirewallDropsOutput = "firewall-drops-output";
    lost_in_this_machine::CAUSE: LostInThisMachine = "lost-in-this-machine";
    tc_drops::CAUSE: TcDrops = "tc-drops";
    xdp_drops::CAUSE: XdpDrops = "xdp-drops";
    frames_to_another_host::CAUSE: FramesToAnotherHost = "frames-to-another-host";
    invalid_source::CAUSE: InvalidSource = "invalid-source";
    malformed_packets::CAUSE: MalformedPackets = "malformed-packets";
    dropped_when_sending::CAUSE: DroppedWhenSending = "dropped-when-sending";
    bound_to_other_group::CAUSE: BoundToOtherGroup = "bound-to-other-group";
    bound_to_other_interface::CAUSE: BoundToOtherInterface = "bound-to-other-interface";
    family_mismatch::CAUSE: FamilyMismatch = "family-mismatch";
    own_groups_only::CAUSE: OwnGroupsOnly = "own-groups-only";
    program_stopped::CAUSE: ProgramStopped = "program-stopped";
    not_read::CAUSE: NotRead = "not-read";
    socket_filter::CAUSE: SocketFilter = "socket-filter";
    left_group::CAUSE: LeftGroup = "left-group";
    sent_by_other_interface::CAUSE: SentByOtherInterface = "sent-by-other-interface";
    lost_before_this_machine::CAUSE: LostBeforeThisMachine = "lost-before-this-machine";
    two_queriers::CAUSE: TwoQueriers = "two-queriers";
    querier_misconfigured::CAUSE: QuerierMisconfigured = "querier-misconfigured";
    sent_to_another_group::CAUSE: SentToAnotherGroup = "sent-to-another-group";
    macvlan_isolation::CAUSE: MacvlanIsolation = "macvlan-isolation";
    path_tests::PATH_LOSS: PathLoss = "path-loss";
    path_tests::REPLIES_LOST: RepliesLost = "replies-lost";
    path_tests::UNICAST_ONLY: UnicastOnly = "unicast-only";
    path_tests::HOST_UNREACHABLE: HostUnreachable = "host-unreachable";
    port_not_forwarding::CAUSE: PortNotForwarding = "port-not-forwarding";
    port_isolated::CAUSE: PortIsolated = "port-isolated";
    port_locked::CAUSE: PortLocked = "port-locked";
    not_forwarded::CAUSE: NotForwarded = "not-forwarded";
    no_multicast_route::CAUSE: NoMulticastRoute = "no-multicast-route";
    members_get_nothing::CAUSE: MembersGetNothing = "members-get-nothing";
    redirected::CAUSE: Redirected = "redirected";
    no_such_interface::CAUSE: NoSuchInterface = "no-such-interface";
    sent_to_unicast::CAUSE: SentToUnicast = "sent-to-unicast";
    ipsec_policy::CAUSE: IpsecPolicy = "ipsec-policy";
    decapsulated::CAUSE: Decapsulated = "decapsulated";
    port_missing::CAUSE: PortMissing = "port-missing";
    port_group_limit::CAUSE: PortGroupLimit = "port-group-limit";
    conflicting_streams::CAUSE: ConflictingStreams = "conflicting-streams";
    stream_stopped::CAUSE: StreamStopped = "stream-stopped";
    program_ended::CAUSE: ProgramEnded = "program-ended";
    not_relayed::CAUSE: NotRelayed = "not-relayed";
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

    /// Returns whether datagrams that should arrive here are lost by the cause.
    pub(crate) const fn loses_datagrams(self) -> bool {
        self.cause().loses_datagrams
    }

    /// Returns whether every examination judges the cause; not only a test of a path.
    pub(crate) const fn is_judged_by_observation(self) -> bool {
        !matches!(self.cause().check, Check::PathTest)
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
    let judged = Id::ALL.iter().flat_map(|id| traced(id, id.cause().judge(observation)));
    let mut findings: Vec<_> = judged.collect();
    findings.extend(further::behind_tags(observation, &findings));
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
    findings.extend(further::findings(observation, &findings));
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), order::of_finding(finding)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn findings_that_are_alike_are_put_together() {
        let finding = |number: u32, severity| {
            Finding::new(Id::InvalidSource, severity, "x").from_source(format!("10.0.0.{number}"))
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
    fn every_cause_is_in_the_guide() {
        let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs");
        let table = std::fs::read_to_string(guide.join("doctor-table.md")).unwrap();
        for id in Id::ALL {
            let page = std::fs::read_to_string(guide.join(format!("findings/{id}.md"))).unwrap_or_default();
            assert!(table.contains(&format!("`{id}`")) && page == id.page(), "{id}: run `cargo xtask docs`");
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
