//! The interface takes smaller packets than are sent: the device drops them without a word to the IP
//! layer.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

/// What Ethernet carries, and what senders therefore send.
const ETHERNET: u32 = 1500;

/// One or two may be of anything.
const SEVERAL: u64 = 3;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut wanted = seen.wanted();
    wanted.dedup_by_key(|wanted| wanted.interface);
    let small = wanted.iter().filter_map(|wanted| {
        let (before, after) = (seen.before.link(wanted.interface)?, seen.after.link(wanted.interface)?);
        let (old, new) = (before.statistics.refused(), after.statistics.refused());
        let small = after.mtu < ETHERNET && !after.loopback && !after.is_tunnel();
        // Without a tap the count also has what no protocol here wants.
        (small && new > old && seen.wire.is_tapped(after.index)).then_some((wanted, after, old, new))
    });
    small
        .map(|(wanted, link, old, new)| {
            let silent = seen.arrivals(wanted).is_empty();
            let severity = if silent && new - old >= SEVERAL { Severity::Fault } else { Severity::Warning };
            Finding::new(
                Id::MtuTooSmall,
                severity,
                format!("{} takes packets of {} bytes at most, and dropped {} while others in the network may send {ETHERNET}.", link.name, link.mtu, new - old),
            )
            .on(&link.name)
            .of(wanted.destination())
            .because(Evidence::new(Sort::Setting, format!("{} mtu", link.name), link.mtu))
            .because(Evidence::change(Sort::Counter, format!("{} rx_dropped + rx_length_errors", link.name), old, new))
            .remedied([
                Remedy::now(Tool::Ip, format!("ip link set {} mtu {ETHERNET}", link.name)),
                remedies::networkd(&link.name, &format!("[Link]\\nMTUBytes={ETHERNET}\\n")),
                Remedy::advice(Tool::Program, format!("Or have the sender send {} bytes a datagram at most.", link.mtu.saturating_sub(28))),
            ])
        })
        .collect()
}
