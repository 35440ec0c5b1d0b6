//! A bridge port is locked: it accepts frames only from hosts that were entered in the forwarding table.

use super::scope_section::Placeholders;
use super::{Cause, Check};
use crate::forwarding::Obstacle;
use crate::observation::Observation;
use crate::{EvidenceKind, Finding, Id, Remedy, RemedyScope, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["IEEE 802.1X", "bridge(8): locked"])
    .offering(|on| vec![admit(on.name(), Placeholders::MAC)]);

fn check(observation: &Observation) -> Vec<Finding> {
    let blocked = observation.blocked_flows(Obstacle::Lock);
    let findings = blocked.iter().map(|blocked| {
        let from = blocked.first.from.name();
        let macs = blocked.first.flow.mac_list();
        Finding::fault(
            Id::PortLocked,
            format!("{}, because {from} is locked and accepts no frames from {macs}.", blocked.sentence()),
        )
        .on_interface(from)
        .for_group(blocked.first.flow.destination())
        .evidence(EvidenceKind::Setting, format!("{from} locked"), "on")
        .with_all_evidence(blocked.evidence())
        .with_remedies(blocked.first.flow.macs.iter().map(|mac| admit(from, &mac.to_string())))
        .with_remedies([warning()])
    });
    let findings: Vec<_> = findings.collect();
    if !findings.is_empty() {
        return findings;
    }
    let empty = observation.after.links.iter().filter(|link| {
        link.interface.running && link.port.is_some_and(|port| port.locked && port.hosts == 0)
    });
    empty
        .map(|link| {
            let name = link.name();
            Finding::warning(
                Id::PortLocked,
                format!("The port {name} is locked, and no host behind it is admitted: no frame that arrives there passes."),
            )
            .on_interface(name)
            .evidence(EvidenceKind::Setting, format!("{name} locked"), "on")
            .evidence(EvidenceKind::Table, format!("bridge fdb of {name}"), "0 hosts")
            .with_remedies([admit(name, "MAC"), warning()])
        })
        .collect()
}

/// Admits a host, whose address may be a placeholder.
fn admit(port: &str, mac: &str) -> Remedy {
    let words = ["fdb", "replace", mac, "dev", port, "master", "static"];
    match mac {
        "MAC" => Remedy::advice(
            Tool::Bridge,
            format!("Admit a host by its Ethernet address: `bridge {}`.", words.join(" ")),
        ),
        _ => Remedy::now(Tool::Bridge, words).with_scope(
            RemedyScope::new(format!("all traffic from {mac} at {port}"))
                .warning("every host that uses this address passes the port"),
        ),
    }
}

fn warning() -> Remedy {
    Remedy::advice(
        Tool::Network,
        "Usually an authenticator such as hostapd admits hosts (802.1X): have the host authenticate. Every host that uses an admitted address passes the port.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Severity;
    use crate::causes::fixtures::severities;
    use crate::forwarding::tests::bridged;

    #[test]
    fn lock_is_a_fault_if_a_flow_does_not_pass_it() {
        let locked = |forwarded| {
            let observation = bridged(forwarded, |_, port| (port.locked, port.hosts) = (true, 1));
            severities(&CAUSE, &observation)
        };
        assert_eq!((locked(0), locked(10)), (vec![Severity::Fault], vec![]));
    }
}
