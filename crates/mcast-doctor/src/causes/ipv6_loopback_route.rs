//! IPv6 groups cannot be sent to over the loopback interface: it has no route for them, and a plain one
//! becomes a route that rejects. Only one of type local works.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    if seen.after.loopback_takes_v6_groups || seen.heard_anything() {
        return Vec::new();
    }
    let on_loopback = seen.wanted().into_iter().find_map(|wanted| {
        let link = seen.link(wanted.interface).filter(|link| link.loopback)?;
        let silent =
            seen.arrivals(&wanted).is_empty() && seen.wire.outgoing(wanted.group.addr()).next().is_none();
        (wanted.group.addr().is_ipv6() && silent).then_some((wanted, link))
    });
    let finding = on_loopback.map(|(wanted, link)| {
        let command = format!("ip -6 route add local ff00::/8 dev {}", link.name);
        Finding::new(
            Id::Ipv6LoopbackRoute,
            Severity::Fault,
            format!("Nothing can be sent to {} over {}: IPv6 has no route for groups there.", wanted.group, link.name),
        )
        .on(&link.name)
        .of(wanted.destination())
        .because(Evidence::new(Sort::Route, "/proc/net/ipv6_route", format!("none of type local for ff00::/8 on {}", link.name)))
        .remedied([
            Remedy::now(Tool::Ip, &command),
            Remedy::for_good(
                Tool::Networkd,
                format!("printf '[Match]\\nName={}\\n[Route]\\nDestination=ff00::/8\\nType=local\\n' > /etc/systemd/network/90-mcast-loopback.network && networkctl reload", link.name),
            ),
        ])
    });
    finding.into_iter().collect()
}
