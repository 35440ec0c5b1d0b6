//! What is known of one thing that announces itself, and of where it was announced.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mcast_group::{InterfaceIndex, InterfaceSelector, Membership};
use mcast_packet::MacAddress;

use super::facts::{DdsEndpoint, DdsFacts, DiscoveredFacts};
pub use super::text::UntrustedText;
use crate::clock::Time;

/// A thing that announces itself on a network: a service, a device, a stream, a clock, a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// Identifies it.
    pub key: DiscoveryKey,
    /// What it is.
    pub kind: DiscoveredKind,
    /// The name that a person knows it by, such as `Office printer`.
    pub name: UntrustedText,
    /// The type that its protocol states, such as `_ipp._tcp` or `domain 0`; empty if there is none.
    pub service: UntrustedText,
    /// The name of its host; empty if it is not announced.
    pub host: UntrustedText,
    /// The addresses where it can be reached, as announced.
    pub addresses: Vec<IpAddr>,
    /// The port where it can be reached.
    pub port: Option<u16>,
    /// Its URL; empty if none is announced.
    pub url: UntrustedText,
    /// The sender of the latest announcement.
    pub source: DiscoverySource,
    /// Everything else that was announced, in the order of the protocol.
    pub fields: Vec<DiscoveredField>,
    /// What of that is judged, with its types.
    pub facts: Option<Arc<DiscoveredFacts>>,
    /// When it was first announced.
    pub first_seen: Time,
    /// When it was last announced.
    pub last_seen: Time,
    /// When it lapses unless it is announced again; `None` if its protocol has no lifetime.
    pub expires: Option<Time>,
    /// How many announcements of it arrived.
    pub announcements: u64,
}

/// A named value of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredField {
    /// The name, such as `model`.
    pub name: UntrustedText,
    /// The value.
    pub value: UntrustedText,
}

/// Identifies a thing: the same identifier on two networks is two things.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiscoveryKey {
    /// The protocol of its announcements.
    pub protocol: DiscoveryProtocol,
    /// Where they arrive.
    pub place: DiscoveryPlace,
    /// What its protocol identifies it by, such as the name of a service or the identity of a clock.
    pub id: UntrustedText,
}

/// A network: an interface, and a VLAN on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiscoveryPlace {
    /// The interface on which an announcement arrived.
    pub interface: InterfaceIndex,
    /// The VLAN that it was tagged with.
    pub vlan: Option<u16>,
}

/// The sender of an announcement. Senders can be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiscoverySource {
    /// The address of an IP packet, with the port of a datagram, otherwise port 0.
    Ip(SocketAddr),
    /// The address of a frame without IP.
    Mac(MacAddress),
}

mcast_group::named! {
    /// What announces itself.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum DiscoveredKind {
        /// A service of a host.
        Service = "service",
        /// A host with a name.
        Host = "host",
        /// A device.
        Device = "device",
        /// A session of audio or video.
        Session = "session",
        /// A participant of a DDS domain.
        Participant = "participant",
        /// A reader or writer of a DDS topic.
        Endpoint = "endpoint",
        /// A clock.
        Clock = "clock",
        /// A universe of lights.
        Universe = "universe",
        /// A switch, or another neighbor on the same link.
        Neighbor = "neighbor",
        /// An IGMP or MLD querier.
        Querier = "querier",
        /// A router.
        Router = "router",
        /// A stream of messages, or a history of one.
        Stream = "stream",
        /// A relay of multicast.
        Relay = "relay",
        /// A group with traffic or members.
        Group = "group",
    }
    /// Returns its name, as on the command line.
    fn name;
}

mcast_group::named! {
    /// A protocol by which things announce themselves.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    #[repr(u8)]
    pub enum DiscoveryProtocol {
        /// mDNS and DNS-SD (RFC 6762, RFC 6763).
        Mdns = "mdns",
        /// LLMNR (RFC 4795).
        Llmnr = "llmnr",
        /// SSDP, of UPnP.
        Ssdp = "ssdp",
        /// WS-Discovery (OASIS).
        WsDiscovery = "ws-discovery",
        /// SAP (RFC 2974).
        Sap = "sap",
        /// RTPS, the wire protocol of DDS (OMG).
        Rtps = "dds",
        /// PTP version 2 (IEEE 1588-2008 and later).
        Ptp = "ptp",
        /// PTP version 1 (IEEE 1588-2002).
        PtpV1 = "ptpv1",
        /// sACN (ANSI E1.31).
        Sacn = "sacn",
        /// Art-Net.
        ArtNet = "artnet",
        /// CoAP (RFC 7252).
        Coap = "coap",
        /// KNXnet/IP.
        Knx = "knx",
        /// LLDP (IEEE 802.1AB).
        Lldp = "lldp",
        /// CDP, of Cisco.
        Cdp = "cdp",
        /// IGMP (RFC 3376).
        Igmp = "igmp",
        /// MLD (RFC 3810).
        Mld = "mld",
        /// PIM (RFC 7761).
        Pim = "pim",
        /// VRRP (RFC 9568).
        Vrrp = "vrrp",
        /// HSRP, of Cisco.
        Hsrp = "hsrp",
        /// OSPF (RFC 2328, RFC 5340).
        Ospf = "ospf",
        /// AVTP (IEEE 1722).
        Avtp = "avtp",
        /// The message layer of mcast.
        Mcast = "mcast",
        /// Datagrams to a group.
        Traffic = "traffic",
    }
    /// Returns its name, as on the command line.
    fn name;
}

impl Discovered {
    /// Creates an entry that was announced once, at `time`, named by its identifier, without what is optional.
    #[must_use]
    pub fn new(key: DiscoveryKey, kind: DiscoveredKind, source: DiscoverySource, time: Time) -> Self {
        Self {
            name: key.id.clone(),
            key,
            kind,
            service: UntrustedText::default(),
            host: UntrustedText::default(),
            addresses: Vec::new(),
            port: None,
            url: UntrustedText::default(),
            source,
            fields: Vec::new(),
            facts: None,
            first_seen: time,
            last_seen: time,
            expires: None,
            announcements: 1,
        }
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, name: &str, value: impl fmt::Display) {
        self.fields.push(DiscoveredField::new(name, value));
    }

    /// Adds a field, if there is a value.
    pub(crate) fn add_some(&mut self, name: &str, value: Option<impl fmt::Display>) {
        self.fields.extend(value.map(|value| DiscoveredField::new(name, value)));
    }

    /// Adds a field with the bytes as they arrived, unless there are none.
    pub(crate) fn add_text(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.fields.push(DiscoveredField { name: name.into(), value: UntrustedText::new(value) });
        }
    }

    /// Sets a field, as the last one, or removes it.
    pub(crate) fn set(&mut self, name: &str, value: Option<UntrustedText>) {
        self.fields.retain(|field| field.name.as_bytes() != name.as_bytes());
        self.fields.extend(value.map(|value| DiscoveredField { name: name.into(), value }));
    }

    /// Returns whether a text is a part of its name, in any case: of the thing, its host, its type, its URL, an address, what its
    /// protocol identifies it by, or [`Self::given_names`]. Names may be written as people type them, see [`Self::is_named`].
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let wanted = as_typed(text);
        let holds = |held: String| as_typed(&held).contains(&wanted);
        let texts = [&self.name, &self.host, &self.service, &self.url, &self.key.id];
        !wanted.is_empty()
            && (texts.into_iter().chain(self.given_names()).any(|held| holds(held.to_string()))
                || self.addresses.iter().any(|address| holds(address.to_string()))
                || holds(self.source.to_string()))
    }

    /// Returns the value of the first field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&UntrustedText> {
        let field = self.fields.iter().find(|field| field.name.as_bytes() == name.as_bytes());
        field.map(|field| &field.value)
    }
}

/// Returns a name in lowercase, without a dot at its end, as people type it: apostrophes, hyphens and spaces that keyboards do not
/// have become plain ones, and escapes characters: those with three digits that other tools print (RFC 1035 section 5.1), and those of
/// dots and backslashes in a full name (RFC 6763 section 4.3).
fn as_typed(name: &str) -> String {
    // Most names are plain, and a screen compares thousands of them.
    if name.is_ascii() && !name.contains('\\') {
        return name.trim_end_matches('.').to_ascii_lowercase();
    }
    let bytes = name.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 4).filter(|digits| *byte == b'\\' && digits.is_ascii());
        let code = digits.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u8>().ok());
        let escaped = bytes.get(at + 1).filter(|next| *byte == b'\\' && b".\\".contains(next)).copied();
        plain.push(code.or(escaped).unwrap_or(*byte));
        at += if code.is_some() { 4 } else { 1 + usize::from(escaped.is_some()) };
    }
    let plain = String::from_utf8_lossy(&plain).to_lowercase();
    let character = |character| match character {
        '\u{2018}' | '\u{2019}' | '\u{2b9}' | '\u{2bc}' => '\'',
        '\u{2010}'..='\u{2014}' => '-',
        '\u{a0}' | '\u{202f}' => ' ',
        other => other,
    };
    plain.trim_end_matches('.').chars().map(character).collect()
}

impl Discovered {
    /// Returns what is judged of a participant, a reader or a writer of DDS.
    #[must_use]
    pub fn dds(&self) -> Option<&DdsFacts> {
        match self.facts.as_deref() {
            Some(DiscoveredFacts::Dds(facts)) => Some(facts),
            _ => None,
        }
    }

    /// Returns what is judged of a reader or a writer of DDS.
    #[must_use]
    pub fn dds_endpoint(&self) -> Option<&DdsEndpoint> {
        self.dds()?.endpoint.as_ref()
    }

    /// Returns the name in ROS 2 of the topic of a reader or a writer of DDS (ROS 2 design, "Topic and Service name mapping to DDS").
    #[must_use]
    pub fn ros_topic(&self) -> Option<&[u8]> {
        self.dds_endpoint()?;
        self.name.as_bytes().strip_prefix(b"rt").filter(|name| name.starts_with(b"/"))
    }
}

impl Discovered {
    /// Returns whether this is its name, its full name, its host, one of [`Self::given_names`] or an address of it. Case does not matter
    /// (RFC 6762 section 16), the domain `.local` may be omitted, and the name may be written as people type it: with plain apostrophes,
    /// hyphens and spaces, or with the escapes of other tools (`Office\\032printer`).
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let bare = |name: &str| {
            let name = as_typed(name);
            name.strip_suffix(".local").map(str::to_owned).unwrap_or(name)
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.is_at(address);
        }
        let wanted = bare(name);
        let texts = [&self.name, &self.key.id, &self.host].into_iter().chain(self.given_names());
        texts.into_iter().any(|text| bare(&text.to_string()) == wanted)
    }

    /// Returns the names that its owner gave it, besides that by which it is listed: a device states them in its description, and
    /// players of Google Cast in a record (`fn`).
    pub fn given_names(&self) -> impl Iterator<Item = &UntrustedText> {
        const NAMES: [&str; 3] = ["friendly name", "computer", "fn"];
        let is_name =
            |field: &&DiscoveredField| NAMES.iter().any(|it| it.as_bytes() == field.name.as_bytes());
        self.fields.iter().filter(is_name).map(|field| &field.value)
    }

    /// Returns the three names that are most like a wanted one, the best first, with their likeness: 1 for equal.
    pub fn closest<'a>(entries: impl IntoIterator<Item = &'a Self>, wanted: &str) -> Vec<(f64, String)> {
        let wanted = as_typed(wanted);
        let names = |entry: &'a Self| std::iter::once(&entry.name).chain(entry.given_names());
        let names =
            entries.into_iter().flat_map(names).map(ToString::to_string).filter(|name| !name.is_empty());
        let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&wanted, &as_typed(name));
        let mut rated: Vec<_> = names.map(|name| (likeness(&name), name)).collect();
        rated.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        rated.dedup();
        rated.truncate(3);
        rated
    }

    /// Returns whether it announces this address, or is announced from it.
    pub(crate) fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.source.ip() == Some(address)
    }

    /// Returns the memberships that a session or a stream announces, on the interface of its announcement.
    #[must_use]
    pub fn memberships(&self) -> Vec<Membership> {
        let on = InterfaceSelector::Index(self.key.place.interface);
        let is_path = |field: &&DiscoveredField| [&b"stream"[..], b"path"].contains(&field.name.as_bytes());
        let paths = self.fields.iter().filter(is_path);
        let memberships = paths.filter_map(|path| str::from_utf8(path.value.as_bytes()).ok()?.parse().ok());
        memberships.map(|membership: Membership| membership.on(on.clone())).collect()
    }

    /// Returns the names of the fields in which a later state of it differs.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<&'static str> {
        // A sender may have several addresses, and their order is not content.
        let has_same_addresses = self.addresses.len() == later.addresses.len()
            && self.addresses.iter().all(|address| later.addresses.contains(address));
        let differing = [
            ("kind", self.kind != later.kind),
            ("name", self.name != later.name),
            ("service", self.service != later.service),
            ("host", self.host != later.host),
            ("addresses", !has_same_addresses),
            ("port", self.port != later.port),
            ("url", self.url != later.url),
            ("fields", self.fields != later.fields),
        ];
        differing.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
    }
}

impl DiscoveredField {
    /// Creates a field.
    #[must_use]
    pub fn new(name: impl Into<UntrustedText>, value: impl fmt::Display) -> Self {
        Self { name: name.into(), value: value.to_string().into() }
    }
}

impl DiscoverySource {
    /// Returns the address of an IP packet.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Mac(_) => None,
        }
    }
}

impl fmt::Display for DiscoverySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Ip(address) => address.fmt(f),
            Self::Mac(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Discovered {
        let place = DiscoveryPlace { interface: InterfaceIndex::new(2).unwrap(), vlan: None };
        let key = DiscoveryKey { protocol: DiscoveryProtocol::Mdns, place, id: "x._ipp._tcp.local".into() };
        let source = DiscoverySource::Ip(([10, 0, 0, 7], 5353).into());
        let mut entry = Discovered::new(key, DiscoveredKind::Service, source, Time::from_secs(1));
        entry.name = name.into();
        entry.host = "Printer.local.".into();
        entry.addresses = vec![[10, 0, 0, 77].into()];
        entry
    }

    /// As users of public reports wrote names that their devices have, or copied them.
    #[test]
    fn names_are_found_as_people_type_or_copy_them() {
        for (name, typed) in [
            ("Bob\u{2019}s iPhone", "bob's iphone"),
            ("Bob\u{2019}s iPhone", "Bob\u{2019}s iPhone"),
            ("Living\u{a0}room", "living room"),
            ("Office printer", "Office\\032printer"),
            ("Caf\u{e9}", "Caf\\195\\169"),
            ("TV \u{2013} hall", "TV - hall"),
            ("Printer", "printer.local"),
        ] {
            assert!(named(name).is_named(typed), "{name} {typed}");
        }
        let mut full = named("a.b\\c");
        full.key.id = "a\\.b\\\\c._ipp._tcp.local".into();
        for typed in
            ["a.b\\c", "A\\.b\\\\c._ipp._tcp.local.", "a.b\\c._ipp._tcp.local", "a\\046b\\092c._ipp._tcp"]
        {
            assert!(full.is_named(typed), "{typed}");
        }
        assert!(named("Printer").is_named("10.0.0.77") && !named("Printer").is_named("10.0.0.8"));
        assert!(!named("Office printer").is_named("Office"));
        assert!(!named("Office printer").is_named("Office\\999printer"));
    }

    #[test]
    fn parts_of_names_and_addresses_match() {
        let entry = named("Bob\u{2019}s printer");
        for part in ["bob's", "PRINT", "_ipp", "10.0.0.77", "10.0.0.7"] {
            assert!(entry.matches(part), "{part}");
        }
        assert!(!entry.matches("10.0.0.9") && !entry.matches("") && !entry.matches("alice"));
    }
}
