//! Why this machine refuses to send to a group: what its routes, rules for routing and packet filter decide, which the number of the
//! error alone does not show.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mcast::{ErrorKind, Family, Operation};

use super::policy_rules::{of_decision, removal};
use super::routes::{judge_ipv6_not_ready, without_route_to_choose, without_route_to_send};
use super::unsent;
use crate::observation::Observation;
use crate::snapshot::{
    Decision, Plane, Rejection, RouteKind, RoutedPacket, RuleSelector, Snapshot, TableRoute, table_name,
};
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Tool, remedies};

/// What the system refused.
#[derive(Clone, Debug)]
pub(crate) struct RefusedOperation {
    operation: Operation,
    kind: ErrorKind,
    group: IpAddr,
    port: u16,
    /// The name of the interface that was chosen.
    interface: Option<String>,
    os: Option<io::ErrorKind>,
}

impl RefusedOperation {
    /// Returns what an error is about; `None` if that is not a group.
    pub(crate) fn of(error: &mcast::Error) -> Option<Self> {
        let to = error.address().filter(|to| to.ip().is_multicast())?;
        Some(Self {
            operation: error.operation(),
            kind: error.kind(),
            group: to.ip(),
            port: to.port(),
            interface: error.interface().map(str::to_owned),
            os: error.os_error().map(io::Error::kind),
        })
    }

    /// Returns whether routes and interfaces may be the reason.
    pub(crate) fn is_about_routing(&self) -> bool {
        let is_invalid = self.kind == ErrorKind::Other && self.os == Some(io::ErrorKind::InvalidInput);
        let is_of_kind = matches!(
            self.kind,
            ErrorKind::NoRoute
                | ErrorKind::RouteRejects
                | ErrorKind::NoAddress
                | ErrorKind::FamilyUnavailable
                | ErrorKind::NoSuchInterface
        );
        matches!(self.operation, Operation::Send | Operation::Join) && (is_of_kind || is_invalid)
    }

    /// Returns whether rules of the packet filter may be the reason. Those that drop at the input hook refuse nothing.
    pub(crate) fn is_about_rules(&self) -> bool {
        self.operation == Operation::Send && self.kind == ErrorKind::Permission
    }

    /// Returns whether the error is the one of a rejection.
    fn is_answer_of(&self, rejection: Rejection) -> bool {
        match rejection {
            Rejection::Prohibit => self.os == Some(io::ErrorKind::PermissionDenied),
            Rejection::Blackhole => self.os == Some(io::ErrorKind::InvalidInput),
            Rejection::Unreachable => {
                let answers = [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable];
                self.os.is_some_and(|os| answers.contains(&os))
            }
        }
    }
}

/// Returns why the system refused; `None` if what is known of this machine does not explain it.
pub(crate) fn judge(machine: Snapshot, refused: &RefusedOperation) -> Option<Finding> {
    let observation = Observation { after: machine, ..Observation::default() };
    let machine = &observation.after;
    let link = refused.interface.as_deref().and_then(|name| machine.link_named(name));
    let family = Family::of(refused.group);
    if family == Family::V6
        && let Some(finding) = link.and_then(|link| judge_ipv6_not_ready(&observation, link))
    {
        return Some(finding);
    }
    // A join does not ask for a route if the interface is named, and a send over IPv4 needs none then.
    if refused.operation != Operation::Send || (family == Family::V4 && refused.interface.is_some()) {
        return None;
    }
    if let Some(decision) = rejection(machine, refused) {
        return Some(rejected(machine, refused, decision));
    }
    if refused.interface.is_none() {
        let to = SocketAddr::new(refused.group, refused.port);
        return (refused.kind == ErrorKind::NoRoute)
            .then(|| without_route_to_choose(&observation, to))
            .flatten();
    }
    let link = link.filter(|link| link.interface.up && !link.interface.loopback)?;
    let lacks_route = family == Family::V6 && machine.lacks_v6_group_route(link.name());
    (lacks_route && refused.kind == ErrorKind::NoRoute).then(|| without_route_to_send(refused.group, link))
}

/// Returns the rule of the packet filter by which the system refused; `None` if none that can be read is certain to match.
pub(crate) fn judge_rules(machine: Snapshot, refused: &RefusedOperation) -> Option<Finding> {
    let observation = Observation { before: machine.clone(), after: machine, ..Observation::default() };
    let machine = &observation.after;
    let link = match &refused.interface {
        Some(name) => machine.link_named(name)?,
        None => {
            let family = Family::of(refused.group);
            let mut routes = machine.group_routes.iter().filter(|route| route.family == family);
            machine.link(routes.find_map(|route| route.interface)?)?
        }
    };
    unsent::refused(&observation, link, SocketAddr::new(refused.group, refused.port))
}

/// Returns what rejects the datagrams with this error: what does so for certain, before what may.
fn rejection<'a>(machine: &'a Snapshot, refused: &RefusedOperation) -> Option<Decision<'a>> {
    let packet = RoutedPacket {
        plane: Plane::Packets,
        // The kernel chooses it after it has found the route.
        source: None,
        destination: refused.group,
        incoming: "lo",
        outgoing: refused.interface.as_deref(),
        mark: None,
    };
    let decisions = machine.routing.decisions(&packet).into_iter();
    let rejecting = decisions.filter(
        |decision| matches!(decision.kind, RouteKind::Reject(rejection) if refused.is_answer_of(rejection)),
    );
    rejecting.min_by_key(|decision| !decision.is_certain)
}

fn rejected(machine: &Snapshot, refused: &RefusedOperation, decision: Decision<'_>) -> Finding {
    let Decision { rule, route, is_certain, .. } = decision;
    let (group, command) = (refused.group, rule.command());
    let by = match (route, rule.is_usual()) {
        (Some(route), true) => format!("the route `{route}`"),
        (Some(route), false) => {
            format!("the routing rule `{rule}` ({command}), which leads to the route `{route}`")
        }
        (None, _) => format!("the routing rule `{rule}` ({command})"),
    };
    // Whether a rule for a mark or a user selects this program is not known; the error is the one that it causes.
    let may = if is_certain { "rejects" } else { "may reject" };
    let cause = format!("This machine's own routing refuses datagrams to {group}: {by} {may} them.");
    let finding = Finding::fault(Id::PolicyRule, cause).with_all_evidence(match rule.is_usual() {
        false => of_decision(decision),
        true => route
            .map(|route| Evidence::new(EvidenceKind::Route, "ip route show table all", route))
            .into_iter()
            .collect(),
    });
    let finding = match (route, rule.is_usual()) {
        (Some(route), true) => finding.with_remedies(other_route(machine, refused, route)),
        _ => finding.with_remedies(removal(rule)),
    };
    let is_for_all = rule.selector == RuleSelector::default();
    match route {
        // The rule of a table of its own is also for what is not multicast.
        Some(route) if !rule.is_usual() && is_for_all => finding.advise(
            Tool::Ip,
            format!("Or replace the route `{route}` by one that leads out of this machine."),
        ),
        _ => finding,
    }
}

/// Returns the remedies for a route that rejects: its removal if it is only for groups, otherwise a route of its own for groups.
fn other_route(machine: &Snapshot, refused: &RefusedOperation, route: &TableRoute) -> Vec<Remedy> {
    let family = Family::of(refused.group);
    let usable = machine.links.iter().find(|link| link.is_of_the_host() && link.has_address(family));
    if let Some(link) = usable.filter(|_| !route.destination.address.is_multicast()) {
        return remedies::linux::route_groups(family, link);
    }
    let RouteKind::Reject(rejection) = route.kind else { return Vec::new() };
    let (rejection, to, table) =
        (rejection.to_string(), route.destination.to_string(), table_name(route.table));
    let family = (family == Family::V6).then_some("-6");
    let words = family.into_iter().chain(["route", "del", &rejection, &to, "table", &table]);
    vec![Remedy::now(Tool::Ip, words)]
}

#[cfg(test)]
mod tests {
    use mcast::interface::InterfaceAddress;

    use super::*;
    use crate::causes::fixtures;
    use crate::snapshot::{Routing, RoutingRule, RuleAction};
    use mcast_host::fixtures::{route, rule};

    const LOCAL: u32 = 255;
    const MAIN: u32 = 254;

    fn refused(group: &str, interface: Option<&str>, kind: ErrorKind, os: io::ErrorKind) -> RefusedOperation {
        RefusedOperation {
            operation: Operation::Send,
            kind,
            group: group.parse().unwrap(),
            port: 5000,
            interface: interface.map(str::to_owned),
            os: Some(os),
        }
    }

    /// Returns a machine whose `eth0` has IPv6.
    fn machine() -> Snapshot {
        let mut machine = fixtures::machine();
        let address = InterfaceAddress::new("fe80::2".parse().unwrap(), 64);
        machine.links[1].interface.addresses.push(address);
        machine
    }

    fn usual(priority: u32, to: &str, table: u32) -> RoutingRule {
        let family = rule(priority, Some(to), RuleAction::Lookup(table));
        RoutingRule { selector: RuleSelector::default(), ..family }
    }

    /// Returns a machine with the usual rules, and these.
    fn routed(to: &str, rules: Vec<RoutingRule>, routes: Vec<TableRoute>) -> Snapshot {
        let mut all = vec![usual(0, to, LOCAL)];
        all.extend(rules);
        all.push(usual(32766, to, MAIN));
        let routing = Routing { rules: all, routes, forwarded: Vec::new() };
        Snapshot { routing, ..machine() }
    }

    fn outcome(machine: Snapshot, refused: &RefusedOperation) -> Option<(String, Option<String>)> {
        let finding = judge(machine, refused)?;
        Some((finding.cause, finding.remedies.first().and_then(Remedy::command)))
    }

    #[test]
    fn rule_is_named_with_its_table_and_removed() {
        use io::ErrorKind::{HostUnreachable, InvalidInput, NetworkUnreachable, PermissionDenied};
        let kinds = [
            (Rejection::Prohibit, ErrorKind::RouteRejects, PermissionDenied),
            (Rejection::Blackhole, ErrorKind::Other, InvalidInput),
            (Rejection::Unreachable, ErrorKind::RouteRejects, HostUnreachable),
            (Rejection::Unreachable, ErrorKind::NoRoute, NetworkUnreachable),
        ];
        for (to, group, interface, ip) in [
            ("224.0.0.0/4", "239.1.2.3", None, "ip rule"),
            ("ff00::/8", "ff15::1", Some("eth0"), "ip -6 rule"),
        ] {
            for (rejection, kind, os) in kinds {
                let rejecting = route(90, RouteKind::Reject(rejection), to);
                let machine =
                    || routed(to, vec![rule(90, Some(to), RuleAction::Lookup(90))], vec![rejecting.clone()]);
                let (cause, command) = outcome(machine(), &refused(group, interface, kind, os)).unwrap();
                assert!(cause.contains(&format!("90: from all to {to} lookup 90")), "{cause}");
                assert!(cause.contains(&format!("{rejection} {to} table 90")), "{cause}");
                assert_eq!(command.unwrap(), format!("{ip} del from all to {to} lookup 90 priority 90"));
                let other = refused(group, interface, ErrorKind::QueueFull, io::ErrorKind::Other);
                assert_eq!(outcome(machine(), &other), None, "another error has another cause");
            }
        }
    }

    #[test]
    fn route_of_the_main_table_is_removed_if_it_is_for_groups() {
        let of = |to: &str| {
            let machine = routed(
                "224.0.0.0/4",
                Vec::new(),
                vec![route(MAIN, RouteKind::Reject(Rejection::Prohibit), to)],
            );
            let refused =
                refused("239.1.2.3", None, ErrorKind::RouteRejects, io::ErrorKind::PermissionDenied);
            outcome(machine, &refused).unwrap().1.unwrap()
        };
        assert_eq!(of("224.0.0.0/4"), "ip route del prohibit 224.0.0.0/4 table main");
        assert_eq!(of("0.0.0.0/0"), "ip route replace 224.0.0.0/4 dev eth0");
    }

    #[test]
    fn rule_for_a_mark_may_be_the_cause() {
        let mut marked = rule(90, Some("224.0.0.0/4"), RuleAction::Reject(Rejection::Prohibit));
        marked.selector.mark = Some((1, u32::MAX));
        let machine = routed("224.0.0.0/4", vec![marked], vec![route(MAIN, RouteKind::Out, "224.0.0.0/4")]);
        let refused = refused("239.1.2.3", None, ErrorKind::RouteRejects, io::ErrorKind::PermissionDenied);
        assert!(outcome(machine, &refused).unwrap().0.contains("may reject"));
    }

    #[test]
    fn innocent_rules_are_not_accused() {
        let own = rule(90, Some("238.0.0.0/8"), RuleAction::Reject(Rejection::Prohibit));
        let machine =
            || routed("224.0.0.0/4", vec![own.clone()], vec![route(MAIN, RouteKind::Out, "224.0.0.0/4")]);
        let denied = |interface| {
            refused("239.1.2.3", interface, ErrorKind::RouteRejects, io::ErrorKind::PermissionDenied)
        };
        assert_eq!(outcome(machine(), &denied(None)), None);
        assert_eq!(outcome(machine(), &denied(Some("eth0"))), None);
    }

    #[test]
    fn missing_route_for_groups_is_added_again() {
        use io::ErrorKind::NetworkUnreachable;
        let lacking = || Snapshot { v6_group_routes: Some(std::collections::BTreeSet::new()), ..machine() };
        let missing = |interface| refused("ff15::1", Some(interface), ErrorKind::NoRoute, NetworkUnreachable);
        let (cause, command) = outcome(lacking(), &missing("eth0")).unwrap();
        assert!(cause.contains("no route for IPv6 groups"), "{cause}");
        assert_eq!(command.unwrap(), "ip -6 route add multicast ff00::/8 dev eth0 table local");
        let known = Snapshot { v6_group_routes: Some(["eth0".to_owned()].into()), ..machine() };
        assert_eq!(outcome(known, &missing("eth0")), None);
    }
}
