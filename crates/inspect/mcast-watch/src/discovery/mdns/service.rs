//! Entries of services and hosts, from what is known of their names.

use std::net::{IpAddr, SocketAddr};

use mcast_packet::payload::{DnsKind, DnsTexts};

use super::cache::Cache;
use super::name::{NameKey, NameRole};
use super::record::{Data, Node, Record};
use crate::clock::Time;
use crate::discovery::registry::Registry;
use crate::discovery::{
    Discovered, DiscoveredField, DiscoveredKind, DiscoveryKey, DiscoveryProtocol, DiscoverySource,
    UntrustedText,
};

/// Types of services that people know by another name.
pub(super) const KNOWN: [(&str, &str); 36] = [
    ("_adisk._tcp", "Time Machine"),
    ("_afpovertcp._tcp", "files (AFP)"),
    ("_airplay._tcp", "AirPlay"),
    ("_amzn-wplay._tcp", "Fire TV"),
    ("_androidtvremote2._tcp", "Android TV"),
    ("_companion-link._tcp", "Apple device"),
    ("_device-info._tcp", "device model"),
    ("_elg._tcp", "Elgato light"),
    ("_esphomelib._tcp", "ESPHome"),
    ("_googlecast._tcp", "Chromecast"),
    ("_hap._tcp", "HomeKit"),
    ("_hap._udp", "HomeKit over Thread"),
    ("_home-assistant._tcp", "Home Assistant"),
    ("_homekit._tcp", "HomeKit hub"),
    ("_http._tcp", "web page"),
    ("_https._tcp", "web page (TLS)"),
    ("_hue._tcp", "Philips Hue"),
    ("_ipp._tcp", "printer (IPP)"),
    ("_ipps._tcp", "printer (IPP, TLS)"),
    ("_matter._tcp", "Matter"),
    ("_matterc._udp", "Matter, to be commissioned"),
    ("_meshcop._udp", "Thread border router"),
    ("_mqtt._tcp", "MQTT"),
    ("_ndi._tcp", "NDI"),
    ("_netaudio-arc._udp", "Dante control"),
    ("_netaudio-chan._udp", "Dante channel"),
    ("_pdl-datastream._tcp", "printer (raw)"),
    ("_printer._tcp", "printer (LPD)"),
    ("_raop._tcp", "AirPlay audio"),
    ("_rtsp._tcp", "stream (RTSP)"),
    ("_sftp-ssh._tcp", "files (SFTP)"),
    ("_smb._tcp", "files (SMB)"),
    ("_spotify-connect._tcp", "Spotify Connect"),
    ("_ssh._tcp", "shell (SSH)"),
    ("_uscan._tcp", "scanner (eSCL)"),
    ("_workstation._tcp", "computer"),
];

/// Fields that are not of the service. What it announces by these names gets a prefix.
const OWN_FIELDS: [&str; 4] = ["about", "subtype", "conflict", "hop-limit"];

pub(super) fn discovery_key(key: &NameKey) -> DiscoveryKey {
    DiscoveryKey { protocol: DiscoveryProtocol::Mdns, place: key.place, id: key.name.id() }
}

/// Returns the entry of a name: an instance that a record points to, or a host with addresses.
pub(super) fn announced(now: Time, key: &NameKey, cache: &Cache, source: SocketAddr) -> Option<Discovered> {
    let node = cache.get(key)?;
    let source = DiscoverySource::Ip(source);
    let mut entry = Discovered {
        name: node.name.host(),
        host: node.name.host(),
        addresses: cache.addresses(key).collect(),
        ..Discovered::new(discovery_key(key), DiscoveredKind::Host, source, now)
    };
    let until = match key.name.role() {
        NameRole::Host => {
            entry.fields.extend(host_conflict(node));
            node.records
                .iter()
                .filter(|record| record.address().is_some())
                .map(|record| record.expires)
                .max()?
        }
        NameRole::Instance => {
            fill_service(&mut entry, key, node, cache);
            node.listed_until()?
        }
        _ => return None,
    };
    // RFC 6762 section 11: responses have a hop limit of 255. Another one is that of a wrong setting, or of a repeater.
    if let Some(hop_limit) = node.hop_limit.filter(|hop_limit| *hop_limit != 255) {
        entry.fields.push(DiscoveredField::new("hop-limit", hop_limit));
    }
    if let Some(text) = node.current(DnsKind::TXT).max_by_key(|record| record.received)
        && let Data::Text(text) = &text.data
    {
        add_texts(&mut entry.fields, text);
    }
    entry.addresses.sort_unstable();
    entry.addresses.dedup();
    entry.expires = Some(until.max(now));
    Some(entry)
}

fn fill_service(entry: &mut Discovered, key: &NameKey, node: &Node, cache: &Cache) {
    entry.kind = DiscoveredKind::Service;
    entry.name = node.name.instance();
    entry.service = node.name.service();
    entry.host = UntrustedText::default();
    let about = |(service, about): &(&str, &'static str)| {
        service.as_bytes().eq_ignore_ascii_case(entry.service.as_bytes()).then_some(*about)
    };
    entry.fields.extend(KNOWN.iter().find_map(about).map(|about| DiscoveredField::new("about", about)));
    let pointers = node.records.iter().filter_map(|record| match &record.data {
        Data::Pointer(owner) if owner.role() == NameRole::Subtype => Some(owner.subtype()),
        _ => None,
    });
    entry.fields.extend(pointers.map(|value| DiscoveredField { name: "subtype".into(), value }));
    let services = || {
        node.current(DnsKind::SRV).filter_map(|record| match &record.data {
            Data::Service { host, port } => Some((record, host, *port)),
            _ => None,
        })
    };
    let conflict = conflicting(node, DnsKind::SRV);
    // The latest, unless two hosts claim the name: then always the same.
    let chosen = match conflict {
        None => services().max_by_key(|(record, ..)| (record.leaving.is_none(), record.received)),
        Some(_) => services().min_by_key(|(record, ..)| &record.data),
    };
    let Some((_, host, port)) = chosen else { return };
    entry.host = host.host();
    entry.port = Some(port);
    let others = services().filter(|(record, ..)| {
        conflict.is_some() && record.data != Data::Service { host: host.clone(), port }
    });
    entry.fields.extend(
        others.map(|(record, host, port)| conflict_field(&format!("{}:{port}", host.host()), record)),
    );
    entry.addresses = cache.addresses(&NameKey { place: key.place, name: host.clone() }).collect();
}

/// Returns a record, if other hosts have sent another one of the same type for this name. That is a conflict if the records
/// are unique (RFC 6762 section 9).
fn conflicting(node: &Node, kind: DnsKind) -> Option<&Record> {
    let records: Vec<_> = node.current(kind).filter(|record| record.leaving.is_none()).collect();
    records.iter().copied().find(|record| records.iter().any(|other| record.is_from_others(other)))
}

/// Returns that hosts state different addresses: two hosts with the same name, or two interfaces of one.
fn host_conflict(node: &Node) -> Option<DiscoveredField> {
    let record = conflicting(node, DnsKind::A).or_else(|| conflicting(node, DnsKind::AAAA))?;
    Some(conflict_field(&record.address()?.to_string(), record))
}

fn conflict_field(claim: &str, record: &Record) -> DiscoveredField {
    match record.source() {
        Some(source) => DiscoveredField::new("conflict", format_args!("{claim} by {source}")),
        None => DiscoveredField::new("conflict", claim),
    }
}

/// Adds `key=value` texts (RFC 6763 section 6.4): a key without `=` has no value, one that occurs again is ignored, and so is a
/// value without a key.
fn add_texts(fields: &mut Vec<DiscoveredField>, text: &[u8]) {
    let own = fields.len();
    for text in DnsTexts::new(text).take(Registry::MAX_FIELDS) {
        let split = text.iter().position(|byte| *byte == b'=');
        let (key, value) = match split {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (text, &b""[..]),
        };
        if key.is_empty() {
            continue;
        }
        let is_own = OWN_FIELDS.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(key));
        let name = UntrustedText::new(if is_own { [b"txt.", key].concat() } else { key.to_vec() });
        let is_known =
            fields.iter().skip(own).any(|field| field.name.as_bytes().eq_ignore_ascii_case(name.as_bytes()));
        if !is_known {
            fields.push(DiscoveredField { name, value: UntrustedText::new(value) });
        }
    }
}

/// Returns the source of an entry that is revised without a datagram, for lack of another; the registry keeps the known one.
pub(super) const fn no_source() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0)
}
