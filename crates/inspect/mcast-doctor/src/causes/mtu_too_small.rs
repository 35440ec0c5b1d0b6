//! The MTU of the interface is smaller than the packets that are sent: the device drops them before the IP
//! layer.

use mcast::Family;

use super::{Cause, Check};
use crate::observation::{Interest, Observation};
use crate::printed_error::PrintedErrorKind;
use crate::snapshot::{Counter, Link};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 8085 section 3.2"])
    .offering(|on| vec![set_mtu(&on.link, ETHERNET)]);

/// The MTU of Ethernet, which senders usually assume.
const ETHERNET: u32 = 1500;

/// The MTU that hosts with jumbo frames usually have.
const JUMBO: u32 = 9000;

/// Fewer drops may have other reasons.
const MIN_DROPS: u64 = 3;

fn check(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.interface);
    let judged = interests.iter().filter_map(|interest| judge(observation, interest));
    judged.chain(printed(observation)).collect()
}

/// Judges a program that printed the error of a datagram that is too long to be sent.
fn printed(observation: &Observation) -> Option<Finding> {
    let program = observation.program()?;
    let mut errors = program.printed.iter();
    let error = errors.find(|error| error.kind == PrintedErrorKind::MessageTooLong)?;
    let links = observation.after.links.iter().filter(|link| link.is_of_the_host());
    let mtus = links
        .map(|link| Evidence::new(EvidenceKind::Setting, format!("{} mtu", link.name()), link.interface.mtu));
    let cause = format!(
        "{} was refused a send: the datagram is longer than the MTU and must not be fragmented, or longer than UDP allows (65,507 bytes in IPv4).",
        program.name
    );
    let finding = Finding::new(Id::MtuTooSmall, Severity::Fault, cause)
        .in_program(&program.name)
        .with_evidence(Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line))
        .with_all_evidence(mtus)
        .with_remedies([Remedy::advice(
            Tool::Program,
            "Send at most the MTU without the headers, 28 bytes in IPv4 and 48 in IPv6: 1472 or 1452 bytes on Ethernet. If larger datagrams should be fragmented, do not set IP_MTU_DISCOVER to IP_PMTUDISC_DO or IP_PMTUDISC_PROBE, and do not set IPV6_DONTFRAG.",
        )]);
    Some(finding)
}

fn judge(observation: &Observation, interest: &Interest<'_>) -> Option<Finding> {
    let after = observation.after.link(interest.interface)?;
    let (old, new) = observation.wire.refused.get(&interest.interface).copied()?;
    // An interface also refuses the frames of protocols that this machine does not handle: LLDP, say.
    let others = observation.wire.other_protocols.get(&interest.interface).copied()?;
    // So it does with the frames of a VLAN that it is not in. Of those, the capture shows only the ones to groups.
    let tagged = tagged_frames(observation, interest.interface);
    let drops = new.saturating_sub(old).saturating_sub(others).saturating_sub(tagged);
    if drops < MIN_DROPS.max(tagged)
        || after.interface.loopback
        || after.is_tunnel()
        // Without IPv6, its frames are among them, and were not counted.
        || observation.rise_of(Counter::InReceives.name(Family::V6)).is_none()
        || !observation.wire.is_tapped(after.index())
    {
        return None;
    }
    let backlog_drops = observation.after.backlog_dropped > observation.before.backlog_dropped;
    let is_silent = observation.arrivals(interest).is_empty();
    let mtu = after.interface.mtu;
    let (wanted, what) = match mtu {
        ..ETHERNET => (ETHERNET, "but other hosts on the network may send 1500 bytes"),
        // If the group arrives, drops at this MTU have other reasons.
        ETHERNET..JUMBO if is_silent && !backlog_drops => {
            (JUMBO, "so a sender on the network most likely uses jumbo frames")
        }
        _ => return None,
    };
    let severity = if is_silent { Severity::Fault } else { Severity::Warning };
    let name = after.name();
    let finding = Finding::new(
        Id::MtuTooSmall,
        severity,
        format!("{name} accepts packets of at most {mtu} bytes and dropped {drops}, {what}."),
    )
    .on_interface(name)
    .for_group(interest.destination())
    .evidence(EvidenceKind::Setting, format!("{name} mtu"), mtu)
    .change(EvidenceKind::Counter, format!("{name} rx_dropped + rx_length_errors"), old, new)
    .with_remedies(remedies::with_networkd(
        set_mtu(after, wanted),
        after,
        "mtu",
        &format!("[Link]\nMTUBytes={wanted}\n"),
    ))
    .advise(
        Tool::Program,
        format!("Or have the sender send at most {} bytes per datagram.", mtu.saturating_sub(28)),
    );
    Some(finding)
}

/// Returns how many captured frames arrived on an interface with a VLAN tag.
fn tagged_frames(observation: &Observation, interface: mcast::InterfaceIndex) -> u64 {
    let wire = &observation.wire;
    let is_tagged =
        |key: &crate::wire::FlowKey| key.interface == interface && !key.outgoing && key.vlan.is_some();
    let datagrams: u64 =
        wire.flows.iter().filter(|flow| is_tagged(&flow.key)).map(|flow| flow.datagrams).sum();
    let control = wire
        .control
        .iter()
        .filter(|packet| packet.interface == interface && !packet.outgoing && packet.vlan.is_some());
    datagrams + control.count() as u64
}

/// Returns the remedy that sets the MTU of an interface.
pub(super) fn set_mtu(link: &Link, mtu: u32) -> Remedy {
    let remedy = Remedy::now(Tool::Ip, ["link", "set", "dev", link.name(), "mtu", &mtu.to_string()]);
    remedy.with_scope(RemedyScope::new(format!("all traffic of {}", link.name())).warning(format!(
        "larger packets also leave by {}, which every device behind it must accept; some devices lose their link for a moment, and with it a remote session",
        link.name()
    )))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ETH0, flow, membership, severities, with_counters};
    use super::*;

    #[test]
    fn frames_that_nothing_else_explains_are_too_long() {
        const TO: &str = "239.1.2.3:5000";
        let outcome = |refused: u64, others: Option<u64>, arrives: bool| {
            let flows = if arrives { vec![flow(ETH0, "10.9.0.1:6000", TO)] } else { Vec::new() };
            let mut observation = with_counters(membership(TO, flows, 10), &[("Ip6InReceives", 0)]);
            observation.wire.refused = [(ETH0, (100, 100 + refused))].into();
            observation.wire.other_protocols = others.map(|others| (ETH0, others)).into_iter().collect();
            severities(&CAUSE, &observation)
        };
        assert_eq!(outcome(50, Some(0), false), [Severity::Fault]);
        assert_eq!(outcome(50, Some(49), false), [], "LLDP");
        assert_eq!(outcome(50, None, false), [], "not counted");
        assert_eq!(outcome(50, Some(0), true), []);
    }

    #[test]
    fn frames_of_another_vlan_are_not_too_long() {
        const TO: &str = "239.1.2.3:5000";
        let outcome = |refused: u64| {
            let mut tagged = flow(ETH0, "10.9.0.1:6000", TO);
            tagged.key.vlan = Some(crate::wire::Tagging { id: 7, protocol: 0x88a8, inner: Some(8) });
            let mut observation = with_counters(membership(TO, vec![tagged], 0), &[("Ip6InReceives", 0)]);
            observation.wire.refused = [(ETH0, (100, 100 + refused))].into();
            observation.wire.other_protocols = [(ETH0, 0)].into();
            severities(&CAUSE, &observation)
        };
        assert_eq!((outcome(10), outcome(15)), (Vec::new(), Vec::new()));
        assert_eq!(outcome(80), [Severity::Fault]);
    }
}
