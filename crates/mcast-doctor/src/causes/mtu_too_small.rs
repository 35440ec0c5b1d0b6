//! The MTU of the interface is smaller than the packets that are sent: the device drops them before the IP
//! layer.

use super::{Cause, Check};
use crate::observation::Observation;
use crate::snapshot::Link;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, RemedyScope, Severity, Tool, remedies};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 8085 section 3.2"]);

/// The MTU of Ethernet, which senders usually assume.
const ETHERNET: u32 = 1500;

/// Fewer drops may have other reasons.
const MIN_DROPS: u64 = 3;

fn check(observation: &Observation) -> Vec<Finding> {
    let mut interests = observation.interests();
    interests.dedup_by_key(|interest| interest.interface);
    let small = interests.iter().filter_map(|interest| {
        let (before, after) =
            (observation.before.link(interest.interface)?, observation.after.link(interest.interface)?);
        let (old, new) = (before.statistics.refused(), after.statistics.refused());
        let small = after.interface.mtu < ETHERNET && !after.interface.loopback && !after.is_tunnel();
        // Without a tap, the counter includes frames of protocols that this machine does not handle.
        (small && new > old && observation.wire.is_tapped(after.index()))
            .then_some((interest, after, old, new))
    });
    small
        .map(|(interest, link, old, new)| {
            let silent = observation.arrivals(interest).is_empty();
            let severity = if silent && new - old >= MIN_DROPS { Severity::Fault } else { Severity::Warning };
            Finding::new(
                Id::MtuTooSmall,
                severity,
                format!("{} accepts packets of at most {} bytes and dropped {}, but other hosts on the network may send {ETHERNET} bytes.", link.name(), link.interface.mtu, new - old),
            )
            .on_interface(link.name())
            .for_group(interest.destination())
            .with_evidence(Evidence::new(EvidenceKind::Setting, format!("{} mtu", link.name()), link.interface.mtu))
            .with_evidence(Evidence::change(EvidenceKind::Counter, format!("{} rx_dropped + rx_length_errors", link.name()), old, new))
            .with_remedies([Remedy::now(
                Tool::Ip,
                ["link", "set", "dev", link.name(), "mtu", &ETHERNET.to_string()],
            ).with_scope(scope(link))])
            .with_remedies(remedies::networkd(link, "mtu", &format!("[Link]\nMTUBytes={ETHERNET}\n"), scope(link)))
            .with_remedies([
                Remedy::advice(Tool::Program, format!("Or have the sender send at most {} bytes per datagram.", link.interface.mtu.saturating_sub(28))),
            ])
        })
        .collect()
}

/// Returns the scope of a larger MTU.
fn scope(link: &Link) -> RemedyScope {
    RemedyScope::new(format!("all traffic of {}", link.name())).warning(format!(
        "larger packets also leave by {}, which every device behind it must accept; some devices lose their link for a moment, and with it a remote session",
        link.name()
    ))
}
