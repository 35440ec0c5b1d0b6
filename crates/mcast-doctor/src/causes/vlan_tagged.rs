//! The group comes in with a VLAN tag that no interface here takes off.

use crate::observation::{Observation, Wanted};
use crate::wire::Flow;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    seen.wanted().iter().filter_map(|wanted| judge(seen, wanted)).collect()
}

fn judge(seen: &Observation, wanted: &Wanted<'_>) -> Option<Finding> {
    let tagged = |flow: &&Flow| {
        flow.key.interface == wanted.interface && flow.key.port == wanted.port && flow.key.vlan.is_some()
    };
    let flow = seen.wire.incoming(wanted.group.addr()).find(tagged)?;
    let vlan = flow.key.vlan?;
    let untagged = !seen.arrivals(wanted).is_empty();
    let taken_off = seen
        .after
        .links
        .iter()
        .any(|link| link.lower == Some(wanted.interface) && link.kind.as_deref() == Some("vlan"));
    // Tag 0 carries a priority only, and every system takes it off.
    if untagged || taken_off || vlan == 0 {
        return None;
    }
    let interface = seen.link_name(wanted.interface);
    let finding = Finding::new(
        Id::VlanTagged,
        Severity::Fault,
        format!("{} comes in by {interface} in VLAN {vlan}, and no interface here is in it.", wanted.destination()),
    )
    .on(&interface)
    .of(wanted.destination())
    .from(flow.key.source)
    .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams with tag {vlan}", flow.datagrams)))
    .remedied([
        Remedy::now(Tool::Ip, format!("ip link add link {interface} name {interface}.{vlan} type vlan id {vlan} && ip link set {interface}.{vlan} up")),
        Remedy::advice(Tool::Network, format!("Or have the switch send VLAN {vlan} to this port without a tag.")),
    ]);
    Some(finding)
}
