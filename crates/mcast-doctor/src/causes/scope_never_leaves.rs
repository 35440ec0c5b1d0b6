//! The group's own address forbids that it gets here from another machine.

use mcast::group::Scope;

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in seen.wanted() {
        let outside = seen.link(wanted.interface).is_some_and(|link| !link.loopback);
        let (severity, cause) = match wanted.group.scope() {
            Scope::InterfaceLocal if outside => (
                Severity::Fault,
                format!(
                    "{} is of interface-local scope: it never leaves the machine that sends it.",
                    wanted.group
                ),
            ),
            Scope::Reserved(0) => {
                (Severity::Fault, format!("{} is of the reserved scope 0: systems drop it.", wanted.group))
            }
            Scope::Reserved(_) => (
                Severity::Warning,
                format!("{} is of a reserved scope, which nobody should use.", wanted.group),
            ),
            _ => continue,
        };
        if seen.heard_anything() {
            continue;
        }
        findings.push(
            Finding::new(Id::ScopeNeverLeaves, severity, cause)
                .on(seen.link_name(wanted.interface))
                .of(wanted.destination())
                .because(Evidence::new(Sort::Packet, wanted.group.to_string(), format!("scope {}", wanted.group.scope())))
                .remedied([Remedy::advice(
                    Tool::Program,
                    "Use a group of a wider scope: ff02:: on one link, ff05:: in a site, ff08:: in an organization.",
                )]),
        );
    }
    findings
}
