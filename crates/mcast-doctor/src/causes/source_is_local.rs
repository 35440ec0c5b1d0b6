//! Datagrams come in from an address that is this machine's own: the system drops them without a count.

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in seen.wanted() {
        let interface = seen.link_name(wanted.interface);
        let setting = format!("net.ipv4.conf.{}.accept_local", interface.replace('.', "/"));
        if seen.after.number(&setting) == Some(1)
            || seen.after.number("net.ipv4.conf.all.accept_local") == Some(1)
        {
            continue;
        }
        // On the loopback interface that is as it should be.
        if seen.link(wanted.interface).is_none_or(|link| link.loopback) || wanted.group.addr().is_ipv6() {
            continue;
        }
        // What this machine sends by one interface and hears there comes in again by another of the same network.
        let is_heard = |source: std::net::IpAddr| {
            seen.asked().is_some_and(|asked| asked.heard.iter().any(|heard| heard.source.ip() == source))
        };
        let own = seen.arrivals(&wanted).into_iter().find(|flow| {
            let source = flow.key.source.ip();
            seen.before.is_own(source) && !is_heard(source)
        });
        let Some(flow) = own else { continue };
        let source = flow.key.source.ip();
        let macs: Vec<_> = flow.macs.iter().map(ToString::to_string).collect();
        findings.push(
            Finding::new(
                Id::SourceIsLocal,
                Severity::Fault,
                format!("What comes in by {interface} for {} has this machine's own address {source} as its source, so the system drops it.", wanted.destination()),
            )
            .on(&interface)
            .of(wanted.destination())
            .from(source)
            .because(Evidence::new(Sort::Packet, &interface, format!("{} datagrams from {source}, sent by {}", flow.datagrams, macs.join(", "))))
            .because(Evidence::new(Sort::Setting, &setting, 0))
            .remedied([Remedy::advice(Tool::Network, format!("Another host has {source}, too: give one of them another address. If this machine sends to itself by two interfaces, admit that:"))])
            .remedied(remedies::sysctl(&setting, 1)),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::invent::{ETH0, flow, membership};
    use super::*;
    use crate::observation::{About, Heard};

    const TO: &str = "239.1.2.3:5000";

    #[test]
    fn what_is_heard_where_it_was_sent_may_come_in_again() {
        let mut seen = membership(TO, vec![flow(ETH0, "10.8.0.2:6000", TO)], 0);
        assert_eq!(check(&seen).len(), 1);
        if let About::Membership(asked) = &mut seen.about {
            let source = "10.8.0.2:6000".parse().unwrap();
            asked.heard = vec![Heard { interface: super::super::invent::ETH1, source, datagrams: 10 }];
        }
        assert_eq!(check(&seen), []);
    }
}
