//! What was discovered, as JSON.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast_json::{record, rfc3339};

use super::{Discovery, DiscoveryCoverage};
use crate::clock::Time;
use crate::discovery::{
    Discovered, DiscoveredField, DiscoveryCounts, DiscoveryEvent, DiscoveryProtocol, UntrustedText,
};

fn moment(time: Time) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_nanos(time.as_nanos()))
}

fn text(text: &UntrustedText) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn names(protocols: impl IntoIterator<Item = DiscoveryProtocol>) -> Vec<&'static str> {
    protocols.into_iter().map(DiscoveryProtocol::name).collect()
}

record! {
    /// Returns the record of an entry, with the name of its interface.
    pub fn new(entry: &Discovered, interface: &str) {}

    /// One object per thing that announces itself. Texts from the network are escaped.
    pub struct DiscoveredRecord {
        /// Name by which a person knows it
        name: String = entry.name.to_string(),
        /// What it is
        #[cfg_attr(feature = "schema", schemars(extend("enum" = crate::discovery::DiscoveredKind::ALL.map(crate::discovery::DiscoveredKind::name))))]
        kind: &'static str = entry.kind.name(),
        /// Protocol of its announcements
        #[cfg_attr(feature = "schema", schemars(extend("enum" = DiscoveryProtocol::ALL.map(DiscoveryProtocol::name))))]
        protocol: &'static str = entry.key.protocol.name(),
        /// Identifier in its protocol, such as the full name of a service
        id: String = entry.key.id.to_string(),
        /// Type that its protocol states, such as `_ipp._tcp`; null if there is none
        service: Option<String> = text(&entry.service),
        /// Name of its host; null if it is not announced
        host: Option<String> = text(&entry.host),
        /// Addresses at which it can be reached, as announced
        addresses: Vec<IpAddr> = entry.addresses.clone(),
        /// Port at which it can be reached; null if none is announced
        port: Option<u16> = entry.port,
        /// Its URL; null if none is announced
        url: Option<String> = text(&entry.url),
        /// Name of the interface on which it is announced, or its index if the name is unknown
        interface: String = interface.to_owned(),
        /// Interface index
        index: u32 = entry.key.place.interface.number(),
        /// VLAN of the announcements; null if they are untagged
        vlan: Option<u16> = entry.key.place.vlan,
        /// Sender of the latest announcement: an address and port, an address, or that of a frame without IP
        source: String = entry.source.to_string(),
        /// Everything else that was announced, in the order of the protocol
        fields: Vec<DiscoveredFieldRecord> = entry.fields.iter().map(DiscoveredFieldRecord::new).collect(),
        /// Time of the first announcement (RFC 3339, UTC, with nanoseconds)
        first_seen: String = moment(entry.first_seen),
        /// Time of the latest announcement (RFC 3339, UTC, with nanoseconds)
        last_seen: String = moment(entry.last_seen),
        /// Time at which it lapses unless it is announced again (RFC 3339, UTC, with nanoseconds); null if its protocol
        /// has no lifetime
        expires: Option<String> = entry.expires.map(moment),
        /// Number of announcements
        announcements: u64 = entry.announcements,
    }
}

record! {
    fn new(field: &DiscoveredField) {}

    /// Value of an announcement
    pub struct DiscoveredFieldRecord {
        /// Its name
        name: String = field.name.to_string(),
        /// Its value
        value: String = field.value.to_string(),
    }
}

record! {
    fn from_event(time: SystemTime, entry: &Discovered, interface: &str, changed: Vec<&'static str>, reason: Option<&'static str>) {}

    /// One object per change. It describes what is known after the change; of what departed, what was known last.
    pub struct DiscoveryEventRecord {
        /// Time at which the change was noticed (RFC 3339, UTC, with nanoseconds)
        time: String = rfc3339(time),
        /// What differs, if it changed
        changed: Vec<&'static str> = changed,
        /// Why it is no longer listed: it said goodbye, was not announced again in time, made room for others, or its
        /// interface is gone; null if it is listed
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["goodbye", "expired", "evicted", "interface-gone"])))]
        reason: Option<&'static str> = reason,
        #[serde(flatten)]
        entry: DiscoveredRecord = DiscoveredRecord::new(entry, interface),
    }
}

record! {
    /// Returns the record of a search that found this number of entries in this time.
    pub fn new(discovery: &Discovery, entries: u64, seconds: f64) {
        let DiscoveryCoverage { captures, interfaces, joined, .. } = discovery.coverage();
        let mut protocols: Vec<_> = if *captures {
            DiscoveryProtocol::ALL.to_vec()
        } else {
            joined.iter().map(|(protocol, _)| *protocol).collect()
        };
        protocols.dedup();
        let counts = discovery.counts();
        let DiscoveryCounts { announcements, malformed, truncated, evicted, refused, foreign_goodbyes, wrong_ports, events_omitted } = counts;
    }

    /// One object at the end.
    pub struct DiscoverySummaryRecord {
        /// Number of entries that were selected
        entries: u64 = entries,
        /// How long it listened, in seconds
        seconds: f64 = seconds,
        /// Names of the interfaces
        interfaces: Vec<String> = interfaces.clone(),
        /// Protocols that were listened to
        protocols: Vec<&'static str> = names(protocols),
        /// Protocols that are not visible without permission to capture
        unseen: Vec<&'static str> = names(discovery.coverage().unseen()),
        /// Number of announcements that were read
        announcements: u64 = announcements,
        /// Number of datagrams of a known protocol that could not be read
        malformed: u64 = malformed,
        /// Number of announcements of which a part was left out
        truncated: u64 = truncated,
        /// Number of entries that made room for others
        evicted: u64 = evicted,
        /// Number of announcements that were refused, because only lasting entries were left to evict
        refused: u64 = refused,
        /// Number of goodbyes that were ignored, because they came from an address that had not announced the entry
        foreign_goodbyes: u64 = foreign_goodbyes,
        /// Number of answers by mDNS that programs ignore, because they came from another port than 5353
        wrong_ports: u64 = wrong_ports,
        /// Number of changes that were not reported
        events_omitted: u64 = events_omitted,
        /// Number of frames that arrived too fast to be captured; null if it is unknown
        lost: Option<u64> = discovery.lost(),
    }
}

impl DiscoveryEventRecord {
    /// Returns the name of an event and its record; `None` if it is not about an entry.
    #[must_use]
    pub fn of(time: SystemTime, event: &DiscoveryEvent, interface: &str) -> Option<(&'static str, Self)> {
        Some(match event {
            DiscoveryEvent::Appeared(entry) => {
                ("appeared", Self::from_event(time, entry, interface, Vec::new(), None))
            }
            DiscoveryEvent::Changed { before, now } => {
                ("changed", Self::from_event(time, now, interface, before.differences(now), None))
            }
            DiscoveryEvent::Departed { entry, reason } => {
                ("departed", Self::from_event(time, entry, interface, Vec::new(), Some(reason.name())))
            }
            DiscoveryEvent::Omitted(_) => return None,
        })
    }
}

/// The schemas of the records.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<mcast_json::RecordSchema> {
    use mcast_json::RecordSchema;

    vec![
        RecordSchema::new::<DiscoveredRecord>("discovered", "Announced thing (`mcast discover --json`)")
            .event("present")
            .describe("addresses[]", "Address"),
        RecordSchema::new::<DiscoveryEventRecord>(
            "discovery-event",
            "Appearance, change or departure (`mcast discover --watch --json`)",
        )
        .event("appeared")
        .events(["appeared", "changed", "departed"])
        .describe("addresses[]", "Address")
        .describe("changed[]", "Name of a field"),
        RecordSchema::new::<DiscoverySummaryRecord>("discovery-summary", "Summary (`mcast discover --json`)")
            .event("summary")
            .describe("interfaces[]", "Name of an interface")
            .describe("protocols[]", "Name of a protocol")
            .describe("unseen[]", "Name of a protocol"),
    ]
}
