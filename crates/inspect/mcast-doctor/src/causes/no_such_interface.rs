//! The program names an interface or an address that this machine does not have.

use std::net::IpAddr;

use super::{Cause, Check, no_route};
use crate::finding::list;
use crate::observation::{Observation, Program};
use crate::printed_error::PrintedErrorKind;
use crate::{Evidence, EvidenceKind, Finding, Id, Severity, Tool};

pub(super) const CAUSE: Cause = Cause::new(Check::Observation(check), &["RFC 3678 section 4", "ip(7)"]);

fn check(observation: &Observation) -> Vec<Finding> {
    let judged = observation.program().and_then(|program| judge(observation, program));
    judged.into_iter().collect()
}

fn judge(observation: &Observation, program: &Program) -> Option<Finding> {
    let failed = |kind| program.failed_with(kind, &observation.wire).first().copied();
    let foreign = program.arguments.iter().find_map(|argument| foreign_address(observation, argument));
    // Without a route, a join that names no interface fails in the same way.
    let is_routed = no_route::missing_routes(observation).next().is_none();
    let refused_bind = failed(PrintedErrorKind::AddressUnavailable);
    let refused_join = || failed(PrintedErrorKind::NoDevice).filter(|_| is_routed || foreign.is_some());
    let error = refused_bind.or_else(refused_join)?;
    let severity = if is_routed || refused_bind.is_some() { Severity::Fault } else { Severity::Warning };
    let what = match foreign {
        Some(address) => format!("{address}, which is not an address of this machine"),
        None => "an interface or an address that this machine does not have".to_owned(),
    };
    let own = observation.after.links.iter().filter(|link| link.is_of_the_host()).map(|link| {
        let addresses = link.interface.addresses.iter().map(|own| own.address);
        Evidence::new(EvidenceKind::Interface, link.name(), list(addresses))
    });
    let answer = Evidence::new(EvidenceKind::Answer, format!("printed by {}", program.name), &error.line);
    let finding = Finding::new(
        Id::NoSuchInterface,
        severity,
        format!("{} was refused a bind or a join: it names {what}.", program.name),
    )
    .in_program(&program.name)
    .with_evidence(answer)
    .with_all_evidence(own)
    .advise(
        Tool::Program,
        "Give the program the name or an address of one of these interfaces. In its code, choose interfaces by index (ip_mreqn.imr_ifindex, MCAST_JOIN_GROUP).",
    );
    Some(finding)
}

/// Returns a unicast address in an argument that no interface has.
fn foreign_address(observation: &Observation, argument: &str) -> Option<IpAddr> {
    let is_part = |character: char| character.is_ascii_hexdigit() || ".:".contains(character);
    let words = argument.split(|character| !is_part(character));
    let addresses = words.flat_map(|word| {
        // An address alone, before a port, or between colons.
        let host = word.rsplit_once(':').map(|(host, _)| host);
        [Some(word), host]
            .into_iter()
            .flatten()
            .chain(word.split(':'))
            .filter_map(|word| word.parse::<IpAddr>().ok())
    });
    let is_usable = |address: &IpAddr| !address.is_multicast() && !address.is_unspecified();
    let mut foreign = addresses.filter(|address| is_usable(address) && !observation.before.is_own(*address));
    foreign.next()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::program;
    use super::*;

    #[test]
    fn foreign_address_is_found_in_arguments() {
        let observation = program(Vec::new(), Vec::new());
        let found = |argument| foreign_address(&observation, argument).map(|address| address.to_string());
        assert_eq!(found("udp://@239.1.2.3:5000?localaddr=10.9.0.99").as_deref(), Some("10.9.0.99"));
        assert_eq!(found("ip-add-membership=239.1.2.3:10.7.0.1,reuseaddr").as_deref(), Some("10.7.0.1"));
        assert_eq!(found("10.9.0.99:5000").as_deref(), Some("10.9.0.99"));
        assert_eq!(found("0.0.0.0:5000 10.9.0.2 239.1.2.3"), None);
    }
}
