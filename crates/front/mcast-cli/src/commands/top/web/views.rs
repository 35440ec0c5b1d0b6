//! What is shown of each thing, as JSON with short names for the script of the page. Texts from the network are escaped here as for
//! a terminal, so that they cannot reverse or hide others; the script adds them as text only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mcast_doctor::Finding;
use mcast_watch::discovery::{Discovered, DiscoveryKey};
use mcast_watch::live::MonitorReport;
use mcast_watch::{GroupMember, Row};
use serde_json::json;

use super::section::SectionItem;
use crate::output::SafeText;

/// The most of the fields of an announcement that is shown.
const MAX_FIELDS: usize = 40;

/// Returns a stream without what changes all the time.
pub(super) fn stream(row: &Row, picture: &MonitorReport) -> SectionItem {
    let key = &row.key;
    let interface = picture.interface(key.interface);
    let announced = picture.watch.announced_name(row).map(|name| SafeText::new(name.as_bytes()).to_string());
    let name = announced.or_else(|| key.group.name_at(key.port).map(str::to_owned));
    let processes = picture.local_members(row).iter().map(|member| match &member.process {
        Some((pid, process)) => format!("{process} ({pid})"),
        None => member.name.clone(),
    });
    let json = json!({
        "group": key.group.addr(),
        "port": key.port,
        "name": name,
        "source": key.source,
        "sport": key.source_port,
        "if": interface,
        "vlan": key.vlan,
        "tunnel": row.tunnel.map(|tunnel| tunnel.to_string()),
        "format": row.format.map(|format| format.to_string()),
        "ttl": row.hop_limit,
        "sealed": row.identity.is_some_and(|identity| identity.sealed),
        "ours": row.outgoing,
        "here": processes.collect::<Vec<_>>(),
    });
    let label = format!("{}:{} from {} on {interface}", bracketed(key.group.addr()), key.port, key.source);
    SectionItem { label, json: json.to_string() }
}

/// Returns the members by key: other hosts, and this one.
pub(super) fn members(picture: &MonitorReport) -> BTreeMap<String, SectionItem> {
    picture.watch.members.iter().map(|one| member(one, picture)).collect()
}

fn member(member: &GroupMember, picture: &MonitorReport) -> (String, SectionItem) {
    let interface = picture.interface(member.interface);
    let GroupMember { group, vlan, host, version, ref filter, is_this_machine, .. } = *member;
    let json = json!({
        "group": group.addr(), "host": host, "if": interface, "vlan": vlan, "version": version,
        "sources": filter.sources().collect::<Vec<_>>(), "ours": is_this_machine,
    });
    let key = format!("{group} {interface} {} {host}", vlan.unwrap_or(0));
    let label = format!("{host} joined {} on {interface}", group.addr());
    (key, SectionItem { label, json: json.to_string() })
}

/// Returns the key of what announces itself.
pub(super) fn service_key(key: &DiscoveryKey) -> String {
    let place = &key.place;
    format!("{} {} {} {}", key.protocol, place.interface.number(), place.vlan.unwrap_or(0), key.id)
}

/// Returns what announces itself.
pub(super) fn service(entry: &Discovered, picture: &MonitorReport) -> SectionItem {
    let interface = picture.interface(entry.key.place.interface);
    let name = if entry.name.is_empty() { entry.key.id.to_string() } else { entry.name.to_string() };
    let fields = entry.fields.iter().take(MAX_FIELDS);
    let queriers = picture.watch.queriers.iter().map(|querier| (querier.address, querier.is_this_machine));
    let routers = picture.watch.routers.iter().map(|router| (router.address, router.is_this_machine));
    let of_pim = picture.watch.pim_neighbors.iter().map(|router| (router.address, router.is_this_machine));
    let is_own = |own: (IpAddr, bool)| own.1 && entry.source.ip() == Some(own.0);
    let json = json!({
        "name": name,
        "kind": entry.kind.name(),
        "protocol": entry.key.protocol.name(),
        "service": entry.service.to_string(),
        "host": entry.host.to_string(),
        "addresses": entry.addresses,
        "port": entry.port,
        "url": entry.url.to_string(),
        "if": interface,
        "vlan": entry.key.place.vlan,
        "from": entry.source.to_string(),
        "ours": queriers.chain(routers).chain(of_pim).any(is_own),
        "first": entry.first_seen.as_nanos() / 1_000_000,
        "fields": fields.map(|field| [field.name.to_string(), field.value.to_string()]).collect::<Vec<_>>(),
    });
    let label = format!("{} {name} by {} on {interface}", entry.kind, entry.key.protocol);
    SectionItem { label, json: json.to_string() }
}

/// Returns the findings of an examination by key, most severe first.
pub(super) fn findings(findings: &[Finding]) -> BTreeMap<String, SectionItem> {
    let mut items = BTreeMap::new();
    for (number, finding) in findings.iter().enumerate() {
        let json = json!({
            "order": number,
            "severity": finding.severity,
            "id": finding.id.to_string(),
            "cause": finding.cause,
            "evidence": finding.evidence.iter().map(|evidence| json!({
                "where": evidence.location, "before": evidence.previous_value, "value": evidence.value,
            })).collect::<Vec<_>>(),
            "remedies": finding.remedies.iter().map(|remedy| json!({
                "text": remedy.instructions.text(),
                "command": !remedy.actions().is_empty(),
            })).collect::<Vec<_>>(),
        });
        let subject = [finding.subject.interface(), finding.subject.group(), finding.subject.source()];
        let subject: Vec<_> = subject.into_iter().flatten().collect();
        let key = format!("{} {}", finding.id, subject.join(" "));
        let key = if items.contains_key(&key) { format!("{key} {number}") } else { key };
        items.insert(key, SectionItem { label: finding.cause.clone(), json: json.to_string() });
    }
    items
}

/// Returns an address as it stands before a port.
fn bracketed(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    }
}
