//! SSDP (UPnP Device Architecture 2.0 section 1): devices with their services.
//!
//! A device announces itself by several messages, one for each of its types and services, within a fraction of a second. They are
//! one entry, which is announced after [`SsdpObserver::GATHER`]. `LOCATION` is noted, never fetched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use mcast_packet::payload::{Ssdp, SsdpKind};

use super::entry::{
    Discovered, DiscoveredKind, DiscoveryKey, DiscoveryProtocol, DiscoverySource, UntrustedText,
};
use super::registry::Registry;
use super::support::{Asking, announced_by, authority, keep_other_family, locate, read};
use super::{DiscoveryDatagram, Observer};
use crate::clock::Time;
use crate::lru::Lru;

const GROUPS: [SocketAddr; 3] = [
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), Ssdp::PORT)),
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc), Ssdp::PORT, 0, 0)),
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc), Ssdp::PORT, 0, 0)),
];

/// The headers that are kept, beside those that have a meaning here, and the names of their fields.
const KEPT: [(&str, &str); 9] = [
    ("SERVER", "server"),
    ("BOOTID.UPNP.ORG", BOOT_ID),
    ("CONFIGID.UPNP.ORG", "configuration"),
    ("SEARCHPORT.UPNP.ORG", "search port"),
    ("SECURELOCATION.UPNP.ORG", "secure location"),
    ("hue-bridgeid", "hue-bridgeid"),
    ("WAKEUP", "wakeup"),
    ("X-RINCON-HOUSEHOLD", "household"),
    ("X-User-Agent", "user agent"),
];
/// It changes when the device restarts.
const BOOT_ID: &str = "boot";
/// The fields that name types of the device.
const TYPES: [&str; 3] = ["device", "service", "type"];

/// Reads SSDP.
#[derive(Debug)]
pub(super) struct SsdpObserver {
    gathered: BTreeMap<DiscoveryKey, Gathered>,
    /// The keys of `gathered` in the order in which they are due.
    order: VecDeque<(Time, DiscoveryKey)>,
    /// When devices said goodbye. An answer to a search may arrive after that, because devices delay them.
    gone: Lru<DiscoveryKey, Time>,
    hosts: Lru<DiscoveryKey, Hosts>,
}

/// The hosts that announce an identifier by IPv4, with the time of their latest message. Some programs have the same identifier
/// wherever they run, as have copies of one card.
#[derive(Debug)]
struct Hosts {
    latest: (IpAddr, Time),
    before: Option<(IpAddr, Time)>,
    /// Whether the one before has returned, so that it is not an address that the device has given up.
    alternate: bool,
}

/// What the messages of a device state.
#[derive(Debug)]
struct Gathered {
    announced: Discovered,
    types: BTreeSet<UntrustedText>,
    /// The values of [`KEPT`], which are empty if they are not stated.
    headers: [UntrustedText; KEPT.len()],
    /// Another host that announces the same identifier.
    twin: Option<IpAddr>,
}

impl SsdpObserver {
    /// How long the messages of a device are gathered.
    const GATHER: Duration = Duration::from_millis(250);
    /// Devices whose messages are gathered at a time; more are announced at once.
    const MAX_GATHERED: usize = 512;
    /// Types of a device that are kept while its messages are gathered.
    const MAX_TYPES: usize = Registry::MAX_FIELDS;
    /// A device that states no lifetime, although it must, has the shortest that UPnP recommends.
    const DEFAULT_LIFETIME: Duration = Duration::from_secs(1_800);
    const LIFETIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(86_400));
    /// How long an answer may be delayed: the time that most searches state, and a reserve.
    const LATE: Duration = Duration::from_secs(4);
    const MAX_GONE: usize = 512;
    /// How long a host counts among those that announce an identifier.
    const HOST: Duration = Self::DEFAULT_LIFETIME;
    const MAX_HOSTS: usize = 512;

    pub(super) fn new() -> Self {
        Self {
            gathered: BTreeMap::new(),
            order: VecDeque::new(),
            gone: Lru::new(Self::MAX_GONE),
            hosts: Lru::new(Self::MAX_HOSTS),
        }
    }

    fn gather(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        message: &Ssdp<'_>,
        registry: &mut Registry,
    ) {
        let location = message.header("LOCATION").or_else(|| message.header("AL")).unwrap_or_default();
        let location = location.strip_prefix(b"<").and_then(|it| it.strip_suffix(b">")).unwrap_or(location);
        let Some(id) = identifier(message).or_else(|| (!location.is_empty()).then_some(location)) else {
            registry.counts.malformed += 1;
            return;
        };
        let mut announced = announced_by(
            now,
            datagram,
            DiscoveryProtocol::Ssdp,
            DiscoveredKind::Device,
            UntrustedText::new(id),
        );
        let gone = self.gone.get(&announced.key).copied();
        match (message.kind, gone) {
            (SsdpKind::Response, Some(gone)) if now.since(gone) < Self::LATE => return,
            (_, Some(_)) => drop(self.gone.remove(&announced.key)),
            _ => {}
        }
        let known = registry.get(&announced.key);
        let from = datagram.source.ip();
        let twin = self.twin(now, &announced.key, from);
        // The entry is that of one of them, so it does not alternate.
        if twin.is_some_and(|twin| twin < from && known.is_some_and(|known| known.is_at(twin))) {
            return;
        }
        announced.url = UntrustedText::new(location);
        locate(&mut announced, std::iter::once(location));
        announced.port = authority(location).map(|(_, port)| port);
        let left = known.and_then(|known| known.expires).map(|expires| expires.since(now));
        // An update of a device states no lifetime, and extends none.
        let lifetime = message.max_age().or(left).unwrap_or(Self::DEFAULT_LIFETIME);
        announced.expires = Some(now.after(lifetime.clamp(Self::LIFETIMES.0, Self::LIFETIMES.1)));
        if let Some(known) = known {
            keep_other_family(&mut announced, known);
        }
        if !self.gathered.contains_key(&announced.key) {
            let gathered = Gathered::after(known, message, announced.clone());
            self.make_room(now, registry);
            self.order.push_back((now.after(Self::GATHER), announced.key.clone()));
            self.gathered.insert(announced.key.clone(), gathered);
        }
        let Some(gathered) = self.gathered.get_mut(&announced.key) else { return };
        keep_other_family(&mut announced, &gathered.announced);
        gathered.announced = announced;
        gathered.twin = twin;
        // The identifier is announced, too.
        let target = message.target().filter(|target| !target.is_empty() && !starts_with(target, b"uuid:"));
        if let Some(target) = target.map(UntrustedText::new).filter(|target| !gathered.types.contains(target))
        {
            // An entry has no room for more, so it is not gathered, either.
            let held: usize = gathered.types.iter().map(|held| held.as_bytes().len()).sum();
            let has_room = gathered.types.len() < Self::MAX_TYPES
                && held + target.as_bytes().len() <= Registry::MAX_ENTRY_BYTES;
            if has_room {
                gathered.types.insert(target);
            } else {
                registry.counts.truncated += 1;
            }
        }
        for ((header, _), value) in KEPT.iter().zip(&mut gathered.headers) {
            if let Some(stated) = message.header(header) {
                *value = UntrustedText::new(stated);
            }
        }
    }

    /// Records that a host has announced an identifier; returns the other one, if two do so in turn.
    fn twin(&mut self, now: Time, key: &DiscoveryKey, from: IpAddr) -> Option<IpAddr> {
        if from.is_ipv6() {
            return None;
        }
        let is_fresh = |(_, at): &(IpAddr, Time)| now.since(*at) < Self::HOST;
        let new = || Hosts { latest: (from, now), before: None, alternate: false };
        let (hosts, _) = self.hosts.touch(key.clone(), new);
        if hosts.latest.0 != from {
            hosts.alternate = hosts.before.filter(is_fresh).is_some_and(|(before, _)| before == from);
            hosts.before = Some(hosts.latest);
        }
        hosts.latest = (from, now);
        hosts.before.filter(is_fresh).filter(|_| hosts.alternate).map(|(before, _)| before)
    }

    /// Announces the device that is gathered for the longest time, if there are too many.
    fn make_room(&mut self, now: Time, registry: &mut Registry) {
        while self.order.len() >= Self::MAX_GATHERED
            && let Some((_, oldest)) = self.order.pop_front()
        {
            if let Some(gathered) = self.gathered.remove(&oldest) {
                registry.announce(now, gathered.announcement());
            }
        }
    }

    fn goodbye(
        &mut self,
        now: Time,
        datagram: &DiscoveryDatagram<'_>,
        message: &Ssdp<'_>,
        registry: &mut Registry,
    ) {
        let Some(id) = identifier(message) else {
            registry.counts.malformed += 1;
            return;
        };
        // Without a service, the device is still there.
        if message.target().is_some_and(|target| type_field(target) == "service") {
            return;
        }
        let id = UntrustedText::new(id);
        let key = DiscoveryKey { protocol: DiscoveryProtocol::Ssdp, place: datagram.place, id };
        let source = datagram.source.ip();
        let is_gathered = self.gathered.get(&key).is_some_and(|gathered| gathered.announced.is_at(source));
        let is_listed = registry.get(&key).is_some();
        registry.goodbye(&key, DiscoverySource::Ip(datagram.source));
        if is_gathered || (is_listed && registry.get(&key).is_none()) {
            self.gathered.remove(&key);
            *self.gone.touch(key, || now).0 = now;
        }
    }
}

impl Observer for SsdpObserver {
    fn handle_datagram(&mut self, now: Time, datagram: &DiscoveryDatagram<'_>, registry: &mut Registry) {
        let Some(message) = read(datagram, Ssdp::PORT, registry, Ssdp::parse) else { return };
        match message.kind {
            SsdpKind::Search => {}
            SsdpKind::Notify if message.is_goodbye() => self.goodbye(now, datagram, &message, registry),
            SsdpKind::Notify | SsdpKind::Response => self.gather(now, datagram, &message, registry),
        }
    }

    fn handle_timeout(&mut self, now: Time, registry: &mut Registry) {
        while self.order.front().is_some_and(|(due, _)| *due <= now) {
            let gathered = self.order.pop_front().and_then(|(_, key)| self.gathered.remove(&key));
            if let Some(gathered) = gathered {
                registry.announce(now, gathered.announcement());
            }
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.order.front().map(|(due, _)| *due)
    }
}

pub(super) const fn asking() -> Asking {
    Asking::new(DiscoveryProtocol::Ssdp, &GROUPS, 2, |_, group, variant, _| {
        // Some devices answer only one of these.
        let target = if variant == 0 { "ssdp:all" } else { "upnp:rootdevice" };
        let text =
            "M-SEARCH * HTTP/1.1\r\nHOST: {group}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n";
        text.replace("{group}", &group.to_string()).replace("{target}", target).into_bytes()
    })
}

impl Gathered {
    /// Begins with what is known of the device, unless it has restarted since.
    fn after(known: Option<&Discovered>, message: &Ssdp<'_>, announced: Discovered) -> Self {
        let mut gathered =
            Self { announced, types: BTreeSet::new(), headers: Default::default(), twin: None };
        let value = |known: &Discovered, name: &str| known.field(name).cloned().unwrap_or_default();
        let boot = message.header("BOOTID.UPNP.ORG");
        let is_same = |known: &&Discovered| boot.is_none_or(|boot| value(known, BOOT_ID).as_bytes() == boot);
        if let Some(known) = known.filter(is_same) {
            let types = known
                .fields
                .iter()
                .filter(|field| TYPES.iter().any(|name| name.as_bytes() == field.name.as_bytes()));
            gathered.types = types.map(|field| field.value.clone()).collect();
            gathered.headers = KEPT.map(|(_, name)| value(known, name));
        }
        gathered
    }

    fn announcement(self) -> Discovered {
        let Self { mut announced, types, headers, twin } = self;
        let device = types.iter().find(|name| type_field(name.as_bytes()) == "device");
        let other = || types.iter().find(|name| !name.as_bytes().eq_ignore_ascii_case(b"upnp:rootdevice"));
        let product =
            headers.first().and_then(|server| server.as_bytes().rsplit(u8::is_ascii_whitespace).next());
        announced.service = device.or_else(other).cloned().unwrap_or_default();
        announced.name = match (short_name(announced.service.as_bytes()), product) {
            (name, _) if !name.is_empty() => UntrustedText::new(name),
            (_, Some(product)) if !product.is_empty() => UntrustedText::new(product),
            _ => announced.key.id.clone(),
        };
        for ((_, name), value) in KEPT.iter().zip(&headers) {
            announced.add_text(name, value.as_bytes());
        }
        for name in TYPES {
            let named = types.iter().filter(|value| type_field(value.as_bytes()) == name);
            named.for_each(|value| announced.add_text(name, value.as_bytes()));
        }
        let remark = |twin| {
            format!(
                "{twin} announces the same UUID: it is the same device, or programs show only one of them"
            )
        };
        announced.add_some("remark", twin.map(remark));
        announced
    }
}

/// Returns the identifier of the device of a message, which is the name of its services up to two colons. Some devices write it
/// without `uuid:`, or in upper case.
fn identifier<'a>(message: &Ssdp<'a>) -> Option<&'a [u8]> {
    let name = message.unique_name()?;
    let end = name.windows(2).position(|pair| pair == b"::").unwrap_or(name.len());
    let name = name.get(..end)?;
    let name = if starts_with(name, b"uuid:") { name.get(5..)? } else { name };
    (!name.is_empty()).then_some(name)
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start))
}

/// Returns the name of the field of a type such as `urn:schemas-upnp-org:device:MediaServer:1`.
fn type_field(target: &[u8]) -> &'static str {
    match target.split(|byte| *byte == b':').nth(2) {
        Some(b"device") if starts_with(target, b"urn:") => "device",
        Some(b"service") if starts_with(target, b"urn:") => "service",
        _ => "type",
    }
}

/// Returns `MediaServer` of `urn:schemas-upnp-org:device:MediaServer:1`, and other types as they are.
fn short_name(target: &[u8]) -> &[u8] {
    match type_field(target) {
        "type" => target,
        _ => target.split(|byte| *byte == b':').nth(3).unwrap_or(target),
    }
}
