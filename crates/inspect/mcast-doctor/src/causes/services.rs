//! Judges what was observed of a name that a person looks for: whether it is announced, where, and whether this machine reaches it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mcast::group::WellKnown;
use mcast::interface::InterfaceAddress;
use mcast::{Family, InterfaceIndex};
use mcast_packet::payload::RtpsLocatorUse;
use mcast_watch::discovery::{Discovered, DiscoveredKind, DiscoveryProtocol, DiscoverySource};

use super::filter_rules::{FORWARDED, INCOMING, OUTGOING, Suspects, certain_drop};
use super::no_multicast_route::is_router;
use super::{Cause, Check, firewall_drops_data};
use crate::finding::list;
use crate::netfilter::KnownPacket;
use crate::observation::{Interest, Observation, Program};
use crate::remedies::{self, AnswerPort};
use crate::service::{Connection, ServiceSearch};
use crate::snapshot::{DroppingRule, Link, interface_setting};
use crate::{
    ArrivalStatus, Effect, Evidence, EvidenceKind, ExaminedPart, Finding, Id, LayerObservation, OpenQuestion,
    Remedy, RemedyScope, Report, Severity, Tool,
};

/// The longest list of names in a sentence.
const MAX_NAMED: usize = 3;
/// How alike a name is that may have been meant; 1 for equal.
const MIN_LIKENESS: f64 = 0.6;

/// Nothing with the name is announced here.
pub(super) const NOT_ANNOUNCED: Cause = Cause::new(Check::Protocol, &[]).without_loss();

/// The name is announced in another network of this machine than that of the programs.
pub(super) const ANNOUNCED_ELSEWHERE: Cause = Cause::new(Check::Protocol, &[]).without_loss();

/// The announced addresses are not those of a host that this machine reaches.
pub(super) const UNREACHABLE_ADDRESS: Cause =
    Cause::new(Check::Protocol, &["RFC 1122 section 3.3.1"]).without_loss().offering(|on| {
        let routes = setting_of_routes(&on.link);
        super::routes::enable(&on.link).into_iter().chain(take_routes(&on.link, &routes, 64)).collect()
    });

/// Two hosts announce different services by one name.
pub(super) const NAME_CONFLICT: Cause =
    Cause::new(Check::Protocol, &["RFC 6762 section 9", "RFC 6763 appendix D"]).without_loss();

/// Only link-local addresses of IPv6 are announced.
pub(super) const LINK_LOCAL_ONLY: Cause =
    Cause::new(Check::Protocol, &["RFC 4007 section 11"]).without_loss();

/// It is announced, and does not take connections.
pub(super) const SERVICE_SILENT: Cause = Cause::new(Check::Protocol, &["RFC 9293 section 3.5"])
    .without_loss()
    .offering(|on| take_routes(&on.link, &setting_of_routes(&on.link), 64).into());

/// What an announced address is for this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// In the network where it was announced.
    OnLink,
    /// Link-local in IPv6: programs need the interface, too.
    LinkLocal,
    /// Behind a router.
    Routed(InterfaceIndex),
    /// In the network of another interface, from which the announcement was carried here.
    Carried(InterfaceIndex),
    /// In the network of another interface.
    OtherNetwork(InterfaceIndex),
    /// In the network where it was announced, but a route leads to another interface.
    Diverted(InterfaceIndex),
    /// An address of this machine, which the announcing host has, too.
    Own(InterfaceIndex),
    Loopback,
    /// No route leads there.
    NoRoute,
    /// It was not looked up.
    Unknown,
}

impl Reach {
    pub(super) const fn is_good(&self) -> bool {
        matches!(self, Self::OnLink | Self::LinkLocal | Self::Routed(_) | Self::Carried(_) | Self::Unknown)
    }
}

pub(super) struct Judgement<'a> {
    pub(super) observation: &'a Observation,
    pub(super) search: &'a ServiceSearch,
}

/// Returns the report on a name. The observation is that of the machine.
pub(crate) fn report(observation: &Observation, search: &ServiceSearch) -> Report {
    let judgement = Judgement { observation, search };
    let here: Vec<&Discovered> =
        search.found.iter().filter(|entry| search.wanted.contains(&entry.key.place.interface)).collect();
    let mut findings = judgement.refused_queries();
    match (here.is_empty(), search.found.is_empty()) {
        (true, true) => {
            // Of participants that get no answers, no topic is known.
            let participants = search.others.iter().chain(&search.own);
            let of_dds = participants.filter(|entry| entry.kind == DiscoveredKind::Participant);
            let of_dds: Vec<_> = of_dds.filter(|_| search.target.is_of_dds()).collect();
            findings.extend(super::dds::findings(&judgement, &of_dds));
            if findings.is_empty() && super::dds::tagged(&judgement).is_none() {
                findings.push(judgement.not_announced());
            }
        }
        (true, false) => findings.extend(judgement.announced_elsewhere()),
        (false, _) => {
            here.iter().for_each(|entry| findings.extend(judgement.reachability(entry)));
            findings.extend(super::dds::findings(&judgement, &here));
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings.iter_mut().flat_map(|finding| &mut finding.remedies).for_each(Remedy::add_undo);
    let mut report = Report {
        arrival: ArrivalStatus::NotObserved,
        observations: judgement.observations(&here),
        examined: vec![ExaminedPart::new(format!(
            "announcements on {}, for {:.1} s",
            judgement.names(&search.listened_on),
            search.listened.as_secs_f64()
        ))],
        findings: super::grouped(findings),
        ..Report::default()
    };
    report.open_questions.extend(super::dds::without_topics(&judgement, &here));
    let is_found = !here.is_empty();
    report.open_questions.extend(super::dds::unheard(&judgement));
    report.open_questions.extend(super::dds::tagged(&judgement).filter(|_| !is_found));
    report.open_questions.extend(search.gaps.iter().map(|gap| {
        // What was not seen matters only if the name was not found.
        let effect = if is_found { Effect::Minor } else { Effect::NeedsRights };
        OpenQuestion::new("what announces itself by other protocols", gap.clone()).with_effect(effect)
    }));
    report
}

impl Judgement<'_> {
    pub(super) fn name(&self, interface: InterfaceIndex) -> String {
        self.observation.link_name(interface)
    }

    fn names(&self, interfaces: &[InterfaceIndex]) -> String {
        list(interfaces.iter().map(|interface| self.name(*interface)).collect::<BTreeSet<_>>())
    }

    fn observations(&self, here: &[&Discovered]) -> Vec<LayerObservation> {
        let announced = here.iter().map(|entry| {
            let at = match self.destinations(entry).as_slice() {
                [] => String::new(),
                all => format!(", at {}", list(all)),
            };
            let from = entry.source;
            let remarks = ["conflict", "remark"]
                .iter()
                .filter_map(|name| Some(format!("; {name}: {}", entry.field(name)?)));
            let remarks: String = remarks.collect();
            LayerObservation::new(
                "announcement",
                format!(
                    "{} on {}, from {from}{at}{remarks}",
                    title(entry),
                    self.name(entry.key.place.interface)
                ),
            )
        });
        let connected = self.search.connections.iter().map(|(address, connection)| {
            LayerObservation::new("connection", format!("{address} {connection}"))
        });
        announced.chain(connected).collect()
    }

    /// Returns the addresses with the port, if there is one.
    fn destinations(&self, entry: &Discovered) -> Vec<String> {
        let at = |address: &IpAddr| match entry.port {
            Some(port) => SocketAddr::new(*address, port).to_string(),
            None => address.to_string(),
        };
        entry.addresses.iter().map(at).collect()
    }

    /// The packet filter of this machine drops the queries of its programs.
    fn refused_queries(&self) -> Vec<Finding> {
        let Some(group) = self.search.group() else { return Vec::new() };
        let links = self.search.wanted.iter().filter_map(|interface| self.observation.link(*interface));
        links.filter_map(|link| super::unsent::refused(self.observation, link, group.into())).collect()
    }

    /// Returns who announces the first of these, as evidence.
    pub(super) fn announcements<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a Discovered>,
    ) -> impl Iterator<Item = Evidence> {
        let announced = |entry: &Discovered| {
            let by = format!("{} announced by {}", title(entry), entry.source);
            Evidence::new(EvidenceKind::Packet, self.name(entry.key.place.interface), by)
        };
        entries.into_iter().take(MAX_NAMED).map(announced)
    }

    fn not_announced(&self) -> Finding {
        let search = self.search;
        let others = match search.others.len() {
            0 => "No other host announced anything".to_owned(),
            1 => "One other thing was announced".to_owned(),
            number => format!("{number} other things were announced"),
        };
        let cause = format!(
            "Nothing with {} was announced on {} in {:.1} s, although the doctor sent queries for it. {others}.",
            search.target.described(),
            self.names(&search.listened_on),
            search.listened.as_secs_f64()
        );
        let mut finding = Finding::fault(Id::NotAnnounced, cause)
            .on_interfaces(search.listened_on.iter().map(|interface| self.name(*interface)));
        for protocol in DiscoveryProtocol::ALL {
            let by_it = || search.others.iter().filter(|entry| entry.key.protocol == protocol);
            let number = by_it().count();
            if number > 0 {
                let closest = Discovered::closest(by_it(), &search.target.name).into_iter();
                let closest = list(closest.map(|(_, name)| format!("\"{name}\"")));
                let seen = format!("{number} announced, none with this name; the closest: {closest}");
                finding = finding.evidence(EvidenceKind::Packet, protocol.to_string(), seen);
            }
        }
        for error in search.undescribed.iter().take(MAX_NAMED) {
            let unread = format!("the name of a device was not read: {error}");
            finding = finding.evidence(EvidenceKind::Answer, "description", unread);
        }
        if search.target.is_of_dds() {
            finding = citing(finding, DiscoveryProtocol::Rtps);
        }
        if search.wrong_ports > 0 {
            let seen =
                format!("{} answers from another port than 5353, which programs ignore", search.wrong_ports);
            finding = finding.evidence(EvidenceKind::Packet, "mDNS", seen).advise(
                Tool::Network,
                "Let responders answer from port 5353: address translation in front of one, as of containers and virtual machines, changes the port, and so does a responder that sends from another socket. Use host networking or a bridge.",
            );
        }
        let similar = self.similar();
        if !similar.is_empty() {
            finding = finding.advise(
                Tool::Mcast,
                format!("Check the name. Similar names are announced: {}.", list(similar)),
            );
        }
        let finding = finding.advise(
            Tool::Network,
            "Announcements do not leave their network. If it is in another VLAN or behind a router, run `mcast discover` on a machine there, and carry announcements between the two with `mcast relay --profile home`. If it is in this network, check that it is on, and that the access point does not isolate its clients.",
        );
        finding.advise(
            Tool::Mcast,
            "Switches (LLDP), sessions (SAP) and lights (sACN) do not answer queries, and announce themselves every 10 s to 5 min: listen longer, with `-W 5m`.",
        )
    }

    /// Returns the most similar names.
    pub(super) fn similar(&self) -> Vec<String> {
        let closest = Discovered::closest(&self.search.others, &self.search.target.name).into_iter();
        let alike = closest.filter(|(likeness, _)| *likeness >= MIN_LIKENESS);
        alike.map(|(_, name)| format!("\"{name}\"")).collect()
    }

    /// Returns where relays of this machine have joined the group, if they have on all of these interfaces.
    fn relayed(&self, interfaces: &[InterfaceIndex]) -> Vec<(&Program, Interest<'_>)> {
        let is_meant = |interest: &Interest<'_>| {
            Some(interest.address()) == self.search.group() && interfaces.contains(&interest.interface)
        };
        let joined = self.observation.joined_by_programs().filter(|(_, interest)| is_meant(interest));
        let joined: Vec<_> = joined.collect();
        let is_joined = |index: &InterfaceIndex| joined.iter().any(|(_, known)| known.interface == *index);
        if interfaces.iter().all(is_joined) { joined } else { Vec::new() }
    }

    /// Returns that it is not announced where it is looked for; where a relay should carry it there, with the rules of this machine
    /// that keep announcements or queries from the relay.
    fn announced_elsewhere(&self) -> Vec<Finding> {
        let search = self.search;
        let places: BTreeSet<_> = search.found.iter().map(|entry| entry.key.place.interface).collect();
        let places: Vec<_> = places.into_iter().collect();
        let wanted: Vec<_> = search.wanted.iter().copied().collect();
        let (there, here) = (self.names(&places), self.names(&wanted));
        let cause = format!(
            "{} is announced on {there} but not on {here}: announcements do not leave their network.",
            search.target
        );
        let all: Vec<_> = places.iter().chain(&wanted).copied().collect();
        let relayed = self.relayed(&all);
        let dropped =
            relayed.iter().filter_map(|joined| firewall_drops_data::for_program(self.observation, *joined));
        let mut findings: Vec<_> =
            dropped.map(|finding| Finding { severity: Severity::Fault, ..finding }).collect();
        let severity = if findings.is_empty() { Severity::Fault } else { Severity::Warning };
        let advice = match relayed.first() {
            Some((relay, _)) => format!(
                "{} should carry announcements between these networks: compare its rules, such as the services that `deny` names, and the counts in its last lines.",
                relay.name
            ),
            None => format!(
                "Carry announcements between the networks, on this machine: `mcast relay --profile home {}`.",
                all.iter().map(|interface| self.name(*interface)).collect::<Vec<_>>().join(" ")
            ),
        };
        let finding = Finding::new(Id::AnnouncedElsewhere, severity, cause)
            .on_interfaces(wanted.iter().map(|interface| self.name(*interface)));
        let finding = finding.with_all_evidence(self.announcements(&search.found));
        let finding = search.found.iter().fold(finding, |finding, entry| citing(finding, entry.key.protocol));
        findings.push(
            finding
                .advise(Tool::Mcast, advice)
                .advise(Tool::Program, format!("Make the program search on {there}, or move it there.")),
        );
        findings
    }

    /// Judges whether this machine reaches what is announced.
    pub(super) fn reachability(&self, entry: &Discovered) -> Vec<Finding> {
        let reach: Vec<_> =
            entry.addresses.iter().map(|address| (*address, self.reach(entry, *address))).collect();
        let mut findings = Vec::new();
        findings.extend(self.without_address(entry));
        findings.extend(self.link_local(entry, &reach));
        findings.extend(self.bad_addresses(entry, &reach));
        findings.extend(self.name_conflict(entry));
        findings.extend(self.dropped_answers_of_mdns(entry));
        if findings.iter().all(|finding| finding.severity < Severity::Fault) {
            findings.extend(self.silent(entry));
        }
        findings
    }

    pub(super) fn reach(&self, entry: &Discovered, address: IpAddr) -> Reach {
        let machine = &self.observation.after;
        let announced_on = entry.key.place.interface;
        let is_foreign = !self.is_own(entry);
        let having = |wanted: &dyn Fn(&InterfaceAddress) -> bool| {
            let has = |link: &&crate::snapshot::Link| link.interface.addresses.iter().any(wanted);
            let mut links: Vec<_> =
                machine.links.iter().filter(has).map(crate::snapshot::Link::index).collect();
            // The network of the announcement, if several have the address.
            links.sort_by_key(|index| *index != announced_on);
            links.first().copied()
        };
        // A relay of this machine announces what is in another of its networks, and others may copy announcements unchanged.
        let is_there = |interface| {
            let is_same = |other: &&Discovered| {
                (other.key.protocol, &other.key.id) == (entry.key.protocol, &entry.key.id)
            };
            let mut there = self.search.found.iter().filter(is_same);
            !is_foreign || there.any(|other| other.key.place.interface == interface && !self.is_own(other))
        };
        if address.is_loopback() {
            return if is_foreign { Reach::Loopback } else { Reach::OnLink };
        }
        if let Some(owner) = having(&|own| own.address == address) {
            return if is_foreign { Reach::Own(owner) } else { Reach::OnLink };
        }
        if let IpAddr::V6(v6) = address
            && v6.is_unicast_link_local()
        {
            return Reach::LinkLocal;
        }
        match having(&|own| own.contains(address)) {
            Some(interface) if interface != announced_on && is_there(interface) => Reach::Carried(interface),
            Some(interface) if interface != announced_on => Reach::OtherNetwork(interface),
            _ if self.is_accepted(entry, address) => Reach::OnLink,
            // A route to the host, or a rule, may lead into a tunnel.
            Some(_) => match self.observation.source_routes.get(&address) {
                Some(Some(interface)) if *interface != announced_on => Reach::Diverted(*interface),
                _ => Reach::OnLink,
            },
            None => match self.observation.source_routes.get(&address) {
                Some(Some(interface)) => Reach::Routed(*interface),
                Some(None) => Reach::NoRoute,
                None => Reach::Unknown,
            },
        }
    }

    fn is_accepted(&self, entry: &Discovered, address: IpAddr) -> bool {
        let connection = |port| self.search.connections.get(&SocketAddr::new(address, port));
        entry.port.and_then(connection) == Some(&Connection::Accepted)
    }

    pub(super) fn about(&self, id: Id, severity: Severity, entry: &Discovered, cause: String) -> Finding {
        let finding = Finding::new(id, severity, cause).on_interface(self.name(entry.key.place.interface));
        let finding = citing(finding, entry.key.protocol);
        match entry.source {
            DiscoverySource::Ip(source) => finding.from_source(source.ip()),
            DiscoverySource::Mac(_) => finding,
        }
    }

    /// A service without an address: programs see its name, and cannot connect.
    fn without_address(&self, entry: &Discovered) -> Option<Finding> {
        if !entry.addresses.is_empty() {
            return None;
        }
        let mut locators = entry.dds().into_iter().flat_map(|dds| &dds.locators);
        if let Some((_, locator)) = locators.find(|(usage, _)| *usage == RtpsLocatorUse::Unicast) {
            let cause = format!(
                "{} receives at {locator} only: programs on other hosts see it, and exchange nothing with it.",
                title(entry)
            );
            let finding = self.about(Id::UnreachableAddress, Severity::Fault, entry, cause);
            let finding =
                finding.evidence(EvidenceKind::Packet, "announcement", format!("locator {locator}"));
            return Some(super::dds::with_setting(finding, entry));
        }
        entry.port?;
        let host = if entry.host.is_empty() { "its host".to_owned() } else { entry.host.to_string() };
        let cause = format!(
            "{} is announced without an address of {host}: programs list it but cannot connect.",
            title(entry)
        );
        Some(self.about(Id::UnreachableAddress, Severity::Fault, entry, cause).advise(
            Tool::Program,
            format!("Restart the responder on that host (avahi-daemon, mDNSResponder, systemd-resolved), and make it announce {host} on this network, too."),
        ))
    }

    fn link_local(&self, entry: &Discovered, reach: &[(IpAddr, Reach)]) -> Option<Finding> {
        let is_only = !reach.is_empty() && reach.iter().all(|(_, reach)| *reach == Reach::LinkLocal);
        if !is_only {
            return None;
        }
        let addresses = list(reach.iter().map(|(address, _)| address));
        let interface = self.name(entry.key.place.interface);
        let cause = format!(
            "{} is announced with the link-local address {addresses} only: a program that does not pass on the interface ({addresses}%{interface}) cannot connect.",
            title(entry)
        );
        Some(self.about(Id::LinkLocalOnly, Severity::Warning, entry, cause).advise(
            Tool::Network,
            "Give its host an IPv4 address, or an IPv6 prefix by router advertisements (a unique local one, fd00::/8, is enough), or write the interface after the address.",
        ))
    }

    fn bad_addresses(&self, entry: &Discovered, reach: &[(IpAddr, Reach)]) -> Option<Finding> {
        let bad: Vec<_> = reach.iter().filter(|(_, reach)| !reach.is_good()).collect();
        if bad.is_empty() {
            return None;
        }
        let why = |(address, reach): &&(IpAddr, Reach)| match reach {
            Reach::Own(interface) => format!(
                "{address} is an address of this machine, on {}: both hosts have the same private network, such as that of a container bridge",
                self.name(*interface)
            ),
            Reach::Loopback => format!("{address} is the loopback address"),
            Reach::OtherNetwork(interface) => {
                format!("{address} is in the network of {}, so connections go there", self.name(*interface))
            }
            Reach::Diverted(interface) => format!(
                "a route or rule of this machine leads to {address} by {}, as of a VPN, although its network is here: see `ip route get {address}`",
                self.name(*interface)
            ),
            _ => format!("no route leads to {address}"),
        };
        // Its announcements arrive, so it is here.
        let is_own = |(address, reach): &&(IpAddr, Reach)| {
            entry.source.ip() == Some(*address) && !matches!(reach, Reach::Diverted(_))
        };
        let here = match bad.iter().any(is_own) {
            true => {
                "; it announces itself from there, so the netmask of one of the two is wrong, or a relay has carried the announcement unchanged"
            }
            false => "",
        };
        let reasons: Vec<_> = bad.iter().map(why).collect();
        let good = reach.iter().filter(|(_, reach)| reach.is_good()).map(|(address, _)| address);
        let good: Vec<_> = good.collect();
        let (severity, effect) = match good.as_slice() {
            // Many machines have the same network of containers.
            [] if bad.iter().any(|(address, _)| self.is_accepted(entry, *address)) => (
                Severity::Warning,
                "something there accepts connections, which is another host unless a relay carries announcements from there to here"
                    .to_owned(),
            ),
            [] => (Severity::Fault, "no program on this machine can connect".to_owned()),
            good => (
                Severity::Warning,
                format!(
                    "a program that tries this address first waits, or fails; {} can be reached",
                    list(good)
                ),
            ),
        };
        let cause = format!(
            "{} is announced on {} with an address that leads elsewhere: {}{here}; {effect}.",
            title(entry),
            self.name(entry.key.place.interface),
            reasons.join("; ")
        );
        let finding = self.about(Id::UnreachableAddress, severity, entry, cause);
        let finding = bad.iter().fold(finding, |finding, (address, _)| {
            finding.evidence(EvidenceKind::Packet, "announcement", format!("address {address}"))
        });
        if bad.iter().all(|(_, reach)| matches!(reach, Reach::Diverted(_))) {
            return Some(finding.advise(
                Tool::Network,
                "Exclude the local network from the tunnel: allow access to it in the settings of the VPN, or remove the local prefix from its routes (AllowedIPs in WireGuard).",
            ));
        }
        if entry.key.protocol == DiscoveryProtocol::Rtps {
            return Some(super::dds::with_setting(finding, entry));
        }
        let is_unrouted = |(address, reach): &&(IpAddr, Reach)| address.is_ipv6() && *reach == Reach::NoRoute;
        let device = self.observation.after.link(entry.key.place.interface);
        if let Some(link) = device.filter(|_| bad.iter().all(is_unrouted)) {
            return Some(self.with_route(finding, link));
        }
        Some(finding.advise(
            Tool::Program,
            "On that host, make the responder announce only the interface of this network: for avahi-daemon, `allow-interfaces=` or `deny-interfaces=docker0` in avahi-daemon.conf; for a program in a container, host networking or its option for the advertised address. A host name that /etc/hosts maps to 127.0.1.1 is announced with that address by some programs.",
        ))
    }

    /// Adds how this machine gets a route to what a router beside it announces, such as the mesh of Thread.
    fn with_route(&self, finding: Finding, link: &Link) -> Finding {
        let machine = &self.observation.after;
        let setting = |key| interface_setting(Family::V6, link.name(), key);
        let disabled = setting("disable_ipv6");
        if machine.number(&disabled) == Some(1) {
            let remedies = super::routes::enable(link);
            return finding.evidence(EvidenceKind::Setting, disabled, 1).with_remedies(remedies);
        }
        // A router believes others only with 2.
        let accepted = if is_router(self.observation, Family::V6) { 2 } else { 1 };
        let needed = [(setting("accept_ra"), accepted), (setting_of_routes(link), 64)];
        // Services that configure interfaces evaluate advertisements themselves, and keep the kernel from it.
        let needed = needed.into_iter().filter(|_| link.config_service.is_none());
        let mut finding = needed.fold(finding, |finding, (name, needed)| {
            match machine.number(&name).filter(|value| *value < needed) {
                Some(value) => finding
                    .evidence(EvidenceKind::Setting, name.clone(), value)
                    .with_remedies(take_routes(link, &name, needed)),
                None => finding,
            }
        });
        finding.references.push("RFC 4191 section 2.3".to_owned());
        finding.advise(
            Tool::Network,
            format!(
                "A border router, such as that of a Thread network with Matter devices, announces the route to its devices in router advertisements: `rdisc6 {}` asks for one. It has to be in this network, and what is between must pass ff02::1. If the address is not meant for this network, make the responder on that host announce another one.",
                link.name()
            ),
        )
    }

    /// Two hosts announce different services by one name.
    fn name_conflict(&self, entry: &Discovered) -> Option<Finding> {
        // Other protocols have fields with names from the network.
        let is_of_mdns = entry.key.protocol == DiscoveryProtocol::Mdns;
        let other =
            entry.field("conflict").filter(|_| is_of_mdns && entry.kind == DiscoveredKind::Service)?;
        let (own, host) = (title(entry), &entry.host);
        let cause = format!(
            "Two hosts announce {own}: {host} and {other}. Programs connect to one of them, now this one, now the other."
        );
        let finding = self.about(Id::NameConflict, Severity::Fault, entry, cause);
        let finding = finding.evidence(EvidenceKind::Packet, "announcement", format!("conflict: {other}"));
        Some(finding.advise(
            Tool::Program,
            "Give one of the two another name. Responders choose one by themselves (`Office printer #2`) if they hear each other: see why they do not, such as a relay between their networks that was started later.",
        ))
    }

    /// Answers that are sent to this machine alone: those to questions of a program that has just started (RFC 6762 section 5.4).
    fn dropped_answers_of_mdns(&self, entry: &Discovered) -> Option<Finding> {
        let group = self.search.group().filter(|_| entry.key.protocol == DiscoveryProtocol::Mdns)?;
        let mut own = self.own_addresses_on(entry.key.place.interface);
        let own = own.find(|own| own.is_ipv4() == group.group.addr().is_ipv4())?;
        let own = SocketAddr::new(own, group.port);
        let (finding, rule) = self.dropped_answers(entry, own, Severity::Warning)?;
        let port = AnswerPort::From(group.port);
        let remedies = remedies::admit_answers(&self.name(entry.key.place.interface), own, port, Some(&rule));
        Some(finding.with_remedies(remedies))
    }

    /// The packet filter of this machine passes announcements, and drops what their host sends to this address.
    pub(super) fn dropped_answers(
        &self,
        entry: &Discovered,
        to: SocketAddr,
        severity: Severity,
    ) -> Option<(Finding, DroppingRule)> {
        let DiscoverySource::Ip(source) = entry.source else { return None };
        let (interface, device) = (entry.key.place.interface, self.name(entry.key.place.interface));
        let dropping = |packet: KnownPacket| {
            let packet = packet.arriving_on(interface, &device);
            certain_drop(self.observation, &packet, &INCOMING, &device)
        };
        let group = self.search.group()?.into();
        if self.observation.after.is_own(source.ip())
            || dropping(KnownPacket::datagram(source, group, None)).is_some()
        {
            return None;
        }
        let outcome = dropping(KnownPacket::unicast(source, to))?;
        let suspects = Suspects::certain(vec![outcome]);
        let rule = suspects.rule()?.clone();
        let cause = format!(
            "{} is announced to {group}, and the packet filter of this machine drops what its host sends to {to}: {}.",
            title(entry),
            suspects.clause()
        );
        let finding = self.about(Id::AnswersDropped, severity, entry, cause);
        Some((finding.with_all_evidence(suspects.evidence(self.observation)), rule))
    }

    /// The packet filter of this machine drops connections to an address: those of its own programs, or those from the network in
    /// which a relay announces it.
    fn dropped_connection(
        &self,
        entry: &Discovered,
        (to, connection): (SocketAddr, &Connection),
    ) -> Option<(String, Suspects)> {
        let here = entry.key.place.interface;
        let (there, is_forwarded) = match self.reach(entry, to.ip()) {
            Reach::Carried(there) => (there, is_router(self.observation, Family::of(to.ip()))),
            _ => (here, false),
        };
        let device = self.name(there);
        let packet = |from| {
            let own = self.own_addresses_on(from).find(|own| own.is_ipv4() == to.is_ipv4())?;
            Some(KnownPacket::connection(own, to).leaving_by(there, &device))
        };
        let dropped = |packet: &KnownPacket, places, what| {
            let rule = certain_drop(self.observation, packet, places, &device)?;
            Some((what, Suspects::certain(vec![rule])))
        };
        let forwarded = || {
            let packet = packet(here).filter(|_| is_forwarded)?.arriving_on(here, &self.name(here));
            dropped(&packet, &FORWARDED, format!("{to} from {}", self.name(here)))
        };
        let own = || {
            let packet = packet(there).filter(|_| *connection != Connection::Accepted)?;
            dropped(&packet, &OUTGOING, to.to_string())
        };
        forwarded().or_else(own)
    }

    /// It is announced, and its port does not take connections.
    fn silent(&self, entry: &Discovered) -> Option<Finding> {
        let port = entry.port?;
        let tried = entry.addresses.iter().filter_map(|address| {
            let address = SocketAddr::new(*address, port);
            Some((address, self.search.connections.get(&address)?))
        });
        let tried: Vec<_> = tried.collect();
        let dropped: Vec<_> =
            tried.iter().filter_map(|tried| self.dropped_connection(entry, *tried)).collect();
        let is_proof = must_listen(entry, port);
        // A host that refuses is there.
        let answers = |connection: &Connection| {
            *connection == Connection::Accepted || (!is_proof && *connection == Connection::Refused)
        };
        let is_answered = tried.iter().any(|(_, connection)| answers(connection));
        if tried.is_empty() || (is_answered && (!is_proof || dropped.len() < tried.len())) {
            return None;
        }
        let refused = tried.iter().filter(|(_, connection)| **connection == Connection::Refused);
        let refused: Vec<_> = refused.map(|(address, _)| address).collect();
        let addresses = list(tried.iter().map(|(address, _)| address));
        let finding = |cause| {
            let is_unknown = !is_proof && !tried.iter().any(|(_, connection)| connection.is_unreachable());
            let severity = if is_unknown { Severity::Warning } else { Severity::Fault };
            let finding = self.about(Id::ServiceSilent, severity, entry, cause);
            tried.iter().fold(finding, |finding, (address, connection)| {
                finding.evidence(EvidenceKind::Answer, address.to_string(), connection.to_string())
            })
        };
        if let Some((address, suspects)) = dropped.first().filter(|_| is_proof) {
            let cause = format!(
                "{} is announced, and the packet filter of this machine drops connections to {address}: {}.",
                title(entry),
                suspects.clause()
            );
            let advice = format!("Admit TCP to {address} in the rules of this machine.");
            return Some(
                finding(cause)
                    .with_all_evidence(suspects.evidence(self.observation))
                    .advise(Tool::Nft, advice),
            );
        }
        let is_absent = tried.iter().all(|(_, connection)| connection.is_unreachable());
        // The default route leads to another router than that of its network.
        let is_routed = |(address, _): &(SocketAddr, &Connection)| {
            address.is_ipv6() && matches!(self.reach(entry, address.ip()), Reach::Routed(_))
        };
        let link = self.observation.after.link(entry.key.place.interface);
        let behind = |finding| match link.filter(|_| tried.iter().all(is_routed)) {
            Some(link) => self.with_route(finding, link),
            None => finding,
        };
        Some(match refused.is_empty() {
            false => finding(format!(
                "{} is announced, but nothing listens at {}: its host refuses connections.",
                title(entry),
                list(refused)
            ))
            .advise(
                Tool::Program,
                "Start the service on that host, or run `ss -ltn` there to see on which address and port it listens. An announcement from a file (avahi's /etc/avahi/services) remains after the service has stopped.",
            ),
            true if is_absent => behind(
                finding(format!(
                "{} is announced, and no host answers at {addresses}: it is off and another one repeats its announcement, its netmask or address is wrong, or an access point isolates its clients.",
                title(entry)
            )))
            .advise(
                Tool::Network,
                format!("Compare its address and netmask with those of this machine, and see who announces it: {}.", entry.source),
            ),
            true => behind(finding(format!(
                "{} is announced by multicast, but {addresses} does not answer: unicast between it and this machine is blocked.",
                title(entry)
            )))
            .advise(
                Tool::Network,
                "Check the firewall of that host, the rules between the two VLANs (allow connections to that port, and their replies), and client isolation on the access point. A relay carries announcements only: connections need a route in both directions.",
            ),
        })
    }
}

/// The longest prefix to which the kernel takes a route from router advertisements; 0, its default, is none.
fn setting_of_routes(link: &Link) -> String {
    interface_setting(Family::V6, link.name(), "accept_ra_rt_info_max_plen")
}

fn take_routes(link: &Link, setting: &str, value: i64) -> [Remedy; 2] {
    let scope = RemedyScope::new(format!("routes that routers on {} announce", link.name()))
        .warning("routes that were taken last until their lifetime ends");
    remedies::sysctl(setting, value, scope)
}

/// Whether the service of an entry listens on its port for TCP, as its type says. Operational nodes of Matter use UDP, and what only
/// describes a host, such as the computers of avahi and disks for Time Machine, has the port of discard.
fn must_listen(entry: &Discovered, port: u16) -> bool {
    const DISCARD: u16 = 9;
    port != DISCARD && !entry.service.as_bytes().eq_ignore_ascii_case(b"_matter._tcp")
}

/// Adds the document that defines the groups of a protocol, unless its cause is one of that protocol.
fn citing(mut finding: Finding, protocol: DiscoveryProtocol) -> Finding {
    let known = WellKnown::named(protocol.name()).first().map(|known| known.reference.to_string());
    let is_of_protocol = matches!(finding.id, Id::NameConflict | Id::DifferentDdsDomain | Id::DdsMismatch);
    let known = known.filter(|known| !is_of_protocol && !finding.references.contains(known));
    finding.references.extend(known);
    finding
}

/// Returns what a person knows it by: `"Office" (_ipp._tcp)`.
pub(super) fn title(entry: &Discovered) -> String {
    let name = entry.given_names().next().unwrap_or(&entry.name);
    match entry.service.is_empty() {
        true => format!("\"{name}\" ({}, {})", entry.kind, entry.key.protocol),
        false => format!("\"{name}\" ({})", entry.service),
    }
}

#[cfg(test)]
pub(super) use tests::{host, search};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use mcast::{InterfaceSelector, Membership};
    use mcast_watch::Time;
    use mcast_watch::discovery::{DescriptionError, DiscoveredField, DiscoveryKey, DiscoveryPlace};

    use super::*;
    use crate::causes::fixtures::{ETH0, ETH1, machine, ruleset};
    use crate::netfilter::{Hook, RuleEffect};
    use crate::observation::ProgramSocket;
    use crate::service::ServiceTarget;
    use crate::snapshot::Snapshot;

    const PRINTER: &str = "Office printer";

    /// Returns a printer that announces these addresses.
    fn printer(interface: InterfaceIndex, addresses: &[&str]) -> Discovered {
        let place = DiscoveryPlace { interface, vlan: None };
        let key = DiscoveryKey { protocol: DiscoveryProtocol::Mdns, place, id: PRINTER.into() };
        let source = DiscoverySource::Ip(([10, 9, 0, 77], 5353).into());
        let mut entry = Discovered::new(key, DiscoveredKind::Service, source, Time::from_secs(1));
        entry.service = "_ipp._tcp".into();
        entry.host = "printer.local".into();
        entry.port = Some(631);
        entry.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        entry
    }

    pub(in crate::causes) fn search(found: Vec<Discovered>) -> ServiceSearch {
        ServiceSearch {
            target: ServiceTarget::new(PRINTER),
            wanted: [ETH0].into(),
            found,
            others: Vec::new(),
            own: Vec::new(),
            own_programs: BTreeSet::new(),
            is_own_restricted: true,
            listened_on: vec![ETH0, ETH1],
            listened: Duration::from_secs(5),
            wrong_ports: 0,
            undescribed: Vec::new(),
            gaps: Vec::new(),
            connections: BTreeMap::new(),
        }
    }

    /// Returns a machine with these addresses.
    fn with(addresses: &[(InterfaceIndex, &str, u8)]) -> Observation {
        let mut machine: Snapshot = machine();
        for link in &mut machine.links {
            link.interface.addresses = addresses
                .iter()
                .filter(|(index, ..)| *index == link.index())
                .map(|(_, address, prefix)| InterfaceAddress::new(address.parse().unwrap(), *prefix))
                .collect();
        }
        Observation { before: machine.clone(), after: machine, ..Observation::default() }
    }

    pub(in crate::causes) fn host() -> Observation {
        with(&[(ETH0, "10.9.0.2", 24), (ETH1, "172.17.0.1", 16)])
    }

    fn ids(report: &Report) -> Vec<(&'static str, Severity)> {
        report.findings.iter().map(|finding| (finding.id.as_str(), finding.severity)).collect()
    }

    fn judged(observation: &Observation, found: Vec<Discovered>) -> Vec<(&'static str, Severity)> {
        ids(&report(observation, &search(found)))
    }

    #[test]
    fn what_is_announced_here_with_an_address_of_the_network_is_healthy() {
        assert_eq!(judged(&host(), vec![printer(ETH0, &["10.9.0.77"])]), []);
        let both = printer(ETH0, &["10.9.0.77", "fe80::77"]);
        assert_eq!(judged(&host(), vec![both]), []);
    }

    #[test]
    fn what_is_not_announced_is_a_fault_that_lists_similar_names() {
        let mut other = printer(ETH0, &["10.9.0.77"]);
        other.name = "Office printr".into();
        let observed = ServiceSearch { others: vec![other], ..search(Vec::new()) };
        let report = report(&host(), &observed);
        assert_eq!(ids(&report), [("not-announced", Severity::Fault)]);
        assert!(
            report.findings[0].remedies.iter().any(|remedy| format!("{remedy:?}").contains("Office printr"))
        );
        let cause = &report.findings[0].cause;
        assert!(
            cause.contains(
                "in 5.0 s, although the doctor sent queries for it. One other thing was announced."
            ),
            "{cause}"
        );
    }

    #[test]
    fn what_is_not_announced_names_the_closest_of_each_protocol_and_what_was_not_read() {
        let device = |friendly: &str| {
            let mut device = printer(ETH0, &["10.9.0.77"]);
            (device.key.protocol, device.name) = (DiscoveryProtocol::Ssdp, "MediaServer".into());
            device.fields.push(DiscoveredField::new("friendly name", friendly));
            device
        };
        let (url, announced_by) = ("10.2.0.3".parse().unwrap(), "10.9.0.254".parse().unwrap());
        let undescribed = vec![DescriptionError::OtherHost { url, announced_by }.into()];
        let others = vec![device("Cellar NAS"), device("Office printed"), printer(ETH0, &[])];
        let report = report(&host(), &ServiceSearch { others, undescribed, ..search(Vec::new()) });
        let evidence = report.findings[0].evidence.iter().map(|evidence| evidence.value.clone());
        let evidence = evidence.collect::<Vec<_>>().join("\n");
        for part in [
            "2 announced, none with this name; the closest: \"Office printed\"",
            "\"Cellar NAS\"",
            "not read: its URL leads to 10.2.0.3, but it was announced by 10.9.0.254",
        ] {
            assert!(evidence.contains(part), "{part}: {evidence}");
        }
    }

    /// Documents of other protocols than that of the finding confuse.
    #[test]
    fn findings_cite_the_document_of_their_protocol() {
        use DiscoveryProtocol::{Knx, Mdns, Ptp, Rtps, Ssdp};
        let cited = |protocol, interface, address| {
            let mut entry = printer(interface, &[address]);
            entry.key.protocol = protocol;
            let report = report(&host(), &search(vec![entry]));
            report.findings[0].references.join("; ")
        };
        for (protocol, document) in [
            (Mdns, "RFC 6762 section 11"),
            (Ssdp, "UPnP Device Architecture 2.0"),
            (Rtps, "OMG DDSI-RTPS 2.5"),
            (Ptp, "IEEE 1588-2019 Annex C"),
            (Knx, "KNXnet/IP (ISO 22510)"),
        ] {
            assert_eq!(cited(protocol, ETH1, "172.17.0.9"), document);
            let unreachable = cited(protocol, ETH0, "127.0.1.1");
            assert_eq!(unreachable, format!("RFC 1122 section 3.3.1; {document}"));
        }
        let absent = |name: &str| {
            let target = ServiceTarget::new(name);
            report(&host(), &ServiceSearch { target, ..search(Vec::new()) }).findings[0].references.clone()
        };
        assert_eq!(absent("Office printer"), [""; 0]);
        assert_eq!(absent("/chatter"), ["OMG DDSI-RTPS 2.5"]);
    }

    #[test]
    fn what_another_network_announces_is_offered_to_a_relay() {
        let report = report(&host(), &search(vec![printer(ETH1, &["172.17.0.9"])]));
        assert_eq!(ids(&report), [("announced-elsewhere", Severity::Fault)]);
        let remedy = format!("{:?}", report.findings[0].remedies[0]);
        assert!(remedy.contains("`mcast relay --profile home eth1 eth0`"), "{remedy}");
    }

    /// What public reports describe: each with the addresses that a device announced, and what is wrong.
    #[test]
    fn addresses_that_lead_elsewhere_are_named() {
        let fault = ("unreachable-address", Severity::Fault);
        let warning = ("unreachable-address", Severity::Warning);
        for (addresses, expected) in [
            // The bridge of its containers comes first, its own address second.
            (&["172.17.0.1", "10.9.0.77"][..], Some(warning)),
            (&["172.17.0.1"], Some(fault)),
            // The network of this machine's containers, not of the device.
            (&["172.17.0.5"], Some(fault)),
            // Its hosts file maps its name to loopback.
            (&["127.0.1.1"], Some(fault)),
            (&["127.0.1.1", "10.9.0.77"], Some(warning)),
            (&["::1", "10.9.0.77"], Some(warning)),
            // A service whose host announces no address.
            (&[], Some(fault)),
            (&["fe80::77"], Some(("link-local-only", Severity::Warning))),
            (&["fe80::77", "172.17.0.1"], Some(warning)),
            (&["10.9.0.77"], None),
        ] {
            let found = judged(&host(), vec![printer(ETH0, addresses)]);
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{addresses:?}");
        }
    }

    #[test]
    fn an_address_behind_a_router_is_healthy_and_one_without_a_route_is_not() {
        let mut observation = host();
        let address: IpAddr = "192.168.7.7".parse().unwrap();
        observation.source_routes.insert(address, Some(ETH0));
        assert_eq!(judged(&observation, vec![printer(ETH0, &["192.168.7.7"])]), []);
        observation.source_routes.insert(address, None);
        let found = judged(&observation, vec![printer(ETH0, &["192.168.7.7"])]);
        assert_eq!(found, [("unreachable-address", Severity::Fault)]);
        // In the network of the announcement, and a route to the host leads into a tunnel.
        for (interface, expected) in [(ETH0, 0), (ETH1, 1)] {
            observation.source_routes.insert("10.9.0.77".parse().unwrap(), Some(interface));
            assert_eq!(judged(&observation, vec![printer(ETH0, &["10.9.0.77"])]).len(), expected);
        }
    }

    /// A relay or reflector of this machine announces with an address of this machine what is in another of its networks; a copier
    /// keeps the source.
    #[test]
    fn what_this_machine_carries_from_another_of_its_networks_is_healthy() {
        let carried = |source: [u8; 4]| {
            let mut copy = printer(ETH0, &["172.17.0.5"]);
            copy.source = DiscoverySource::Ip((source, 5353).into());
            copy
        };
        let original = || {
            let mut entry = carried([172, 17, 0, 5]);
            entry.key.place.interface = ETH1;
            entry
        };
        assert_eq!(judged(&host(), vec![carried([10, 9, 0, 2])]), []);
        assert_eq!(judged(&host(), vec![carried([172, 17, 0, 5]), original()]), []);
        let fault = [("unreachable-address", Severity::Fault)];
        assert_eq!(judged(&host(), vec![carried([172, 17, 0, 5])]), fault);
        // Here, this machine has carried it to the other network, which shows nothing.
        let mut carried_there = original();
        carried_there.source = DiscoverySource::Ip(([172, 17, 0, 1], 5353).into());
        assert_eq!(judged(&host(), vec![carried([10, 9, 0, 77]), carried_there]), fault);
    }

    #[test]
    fn an_address_of_another_network_that_accepts_connections_may_be_that_of_another_host() {
        let outcome = |connection| {
            let connections = [("172.17.0.5:631".parse().unwrap(), connection)].into();
            let found = vec![printer(ETH0, &["172.17.0.5"])];
            ids(&report(&host(), &ServiceSearch { connections, ..search(found) }))
        };
        assert_eq!(outcome(Connection::Accepted), [("unreachable-address", Severity::Warning)]);
        assert_eq!(outcome(Connection::Silent), [("unreachable-address", Severity::Fault)]);
    }

    #[test]
    fn an_address_that_accepts_connections_is_not_unreachable() {
        let outcome = |connection| {
            let mut observation = host();
            observation.source_routes.insert("10.9.0.77".parse().unwrap(), Some(ETH1));
            let connections = [("10.9.0.77:631".parse().unwrap(), connection)].into();
            ids(&report(
                &observation,
                &ServiceSearch { connections, ..search(vec![printer(ETH0, &["10.9.0.77"])]) },
            ))
        };
        assert_eq!(outcome(Connection::Accepted), []);
        assert_eq!(outcome(Connection::Silent), [("unreachable-address", Severity::Fault)]);
    }

    /// This machine connects, and hosts on `eth0` do not if it forwards for them.
    #[test]
    fn a_rule_between_the_networks_of_a_gateway_is_named() {
        let outcome = |forwards| {
            let mut copy = printer(ETH0, &["172.17.0.5"]);
            copy.source = DiscoverySource::Ip(([10, 9, 0, 2], 5353).into());
            let mut observation = host();
            observation.after.settings.insert("net.ipv4.ip_forward".into(), forwards);
            observation.after.ruleset = ruleset(Hook::Forward, RuleEffect::Drop, None);
            let connections = [("172.17.0.5:631".parse().unwrap(), Connection::Accepted)].into();
            report(&observation, &ServiceSearch { connections, ..search(vec![copy]) })
        };
        let report = outcome("1".to_owned());
        assert_eq!(ids(&report), [("service-silent", Severity::Fault)]);
        assert!(report.findings[0].cause.contains("connections to 172.17.0.5:631 from eth0"), "{report:#?}");
        assert_eq!(ids(&outcome("0".to_owned())), []);
    }

    #[test]
    fn what_keeps_a_relay_from_announcements_explains_that_they_are_elsewhere() {
        let outcome = |legs: &[InterfaceIndex], drops: bool| {
            let search = search(vec![printer(ETH1, &["172.17.0.5"])]);
            let mut observation = host();
            let socket = |interface: &InterfaceIndex| {
                let membership =
                    Membership::new(search.group().unwrap()).on(InterfaceSelector::Index(*interface));
                ProgramSocket {
                    local: Some("0.0.0.0:5353".parse().unwrap()),
                    memberships: vec![membership.clone()],
                    memberships_after: vec![membership],
                    ..ProgramSocket::new(9, "mcast (7)".into())
                }
            };
            let sockets = legs.iter().map(socket).collect();
            observation.programs = vec![Program { name: "mcast (7)".into(), sockets, ..Program::default() }];
            if drops {
                observation.after.ruleset = ruleset(Hook::Input, RuleEffect::Drop, None);
            }
            let report = report(&observation, &search);
            let interfaces = |finding: &Finding| finding.subject.interfaces.join(" ");
            let found: Vec<_> = report
                .findings
                .iter()
                .map(|finding| (finding.id, finding.severity, interfaces(finding)))
                .collect();
            (found, format!("{report:?}").contains("--profile home eth1 eth0"))
        };
        let elsewhere = |severity| (Id::AnnouncedElsewhere, severity, "eth0".to_owned());
        let dropped = |on: &str| (Id::FirewallDropsData, Severity::Fault, on.to_owned());
        let relayed = vec![dropped("eth0"), dropped("eth1"), elsewhere(Severity::Warning)];
        assert_eq!(outcome(&[ETH0, ETH1], true), (relayed, false));
        assert_eq!(outcome(&[ETH0, ETH1], false), (vec![elsewhere(Severity::Fault)], false));
        for without in [&[][..], &[ETH1]] {
            assert_eq!(outcome(without, true), (vec![elsewhere(Severity::Fault)], true), "no relay");
        }
    }

    #[test]
    fn the_service_of_this_machine_is_announced_with_its_own_address() {
        let mut own = printer(ETH0, &["10.9.0.2", "172.17.0.1"]);
        own.source = DiscoverySource::Ip(([10, 9, 0, 2], 5353).into());
        assert_eq!(judged(&host(), vec![own]), []);
    }

    #[test]
    fn a_port_that_refuses_or_does_not_answer_is_a_fault_unless_another_address_accepts() {
        let addresses = ["10.9.0.77:631", "10.9.0.78:631"].map(|address| address.parse().unwrap());
        let tried = |outcomes: &[Connection]| {
            let connections = addresses.into_iter().zip(outcomes.iter().cloned()).collect();
            let found = vec![printer(ETH0, &["10.9.0.77", "10.9.0.78"])];
            let report = report(&host(), &ServiceSearch { connections, ..search(found) });
            report.findings.iter().map(|finding| finding.cause.clone()).collect::<Vec<_>>()
        };
        assert_eq!(tried(&[Connection::Silent, Connection::Accepted]), Vec::<String>::new());
        assert!(tried(&[Connection::Silent, Connection::Silent])[0].contains("unicast between"));
        assert!(
            tried(&[Connection::Silent, Connection::Refused])[0].contains("nothing listens at 10.9.0.78")
        );
    }

    #[test]
    fn two_services_of_one_name_are_a_fault_and_two_addresses_of_one_host_are_not() {
        let conflicting = |kind| {
            let mut entry = printer(ETH0, &["10.9.0.77"]);
            entry.kind = kind;
            entry.fields.push(DiscoveredField::new("conflict", "copier.local:631 by 10.9.0.3"));
            judged(&host(), vec![entry])
        };
        assert_eq!(conflicting(DiscoveredKind::Service), [("name-conflict", Severity::Fault)]);
        assert_eq!(conflicting(DiscoveredKind::Host), []);
    }

    #[test]
    fn names_of_fields_that_come_from_the_network_are_no_facts() {
        for name in ["conflict", "unicast", "domain tag", "role", "unanswered"] {
            let mut entry = printer(ETH0, &["10.9.0.77"]);
            entry.key.protocol = DiscoveryProtocol::Coap;
            entry.fields.push(DiscoveredField::new(name, "writer"));
            assert_eq!(judged(&host(), vec![entry.clone()]), [], "{name}");
            (entry.addresses, entry.port) = (Vec::new(), None);
            assert_eq!(judged(&host(), vec![entry]), [], "{name} without an address");
        }
    }

    #[test]
    fn what_could_not_be_seen_leaves_an_absence_open() {
        let gaps = vec!["no right to capture".to_owned()];
        let open = |found| {
            let report = report(&host(), &ServiceSearch { gaps: gaps.clone(), ..search(found) });
            report.open_questions[0].effect
        };
        assert_eq!(open(Vec::new()), Effect::NeedsRights);
        assert_eq!(open(vec![printer(ETH0, &["10.9.0.77"])]), Effect::Minor);
    }
}
