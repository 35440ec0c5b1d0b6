//! What the replies of listeners mean.

use mcast::{ErrorKind, GroupAddr};
use mcast_measure::{ProbeResults, RespondingHost};

use super::PathTest;
use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

impl PathTest {
    /// Returns the finding of a missing route, if that is why probes could not be sent to a group.
    #[must_use]
    pub fn without_route(address: GroupAddr, error: &mcast::Error) -> Option<Finding> {
        let family = address.group.family();
        let cause = format!("There is no {family} route for groups, so {family} was not probed.");
        let finding = Finding::new(Id::NoRoute, Severity::Fault, cause)
            .with_evidence(Evidence::new(EvidenceKind::Answer, "send", error))
            .with_remedies(error.remedy().map(|remedy| Remedy::advice(Tool::Network, remedy)));
        (error.kind() == ErrorKind::NoRoute).then(|| finding.for_group(address))
    }

    /// Returns the findings. If listeners of this group are optional, silence is a warning instead of a fault.
    #[must_use]
    pub fn findings(&self, is_optional: bool) -> Vec<Finding> {
        let about = |finding: Finding| {
            let finding = finding.for_group(self.address);
            match &self.interface {
                Some(interface) => finding.on_interface(interface),
                None => finding,
            }
        };
        let each = self.session.responders().iter().flat_map(|listener| self.about_listener(listener));
        each.chain(self.silence(is_optional)).map(about).collect()
    }

    fn about_listener(&self, listener: &RespondingHost) -> Vec<Finding> {
        let parts = [
            self.size(listener),
            self.unfragmented(listener),
            self.loss(listener),
            self.hop_limit(listener),
            self.duplicates(listener),
        ];
        let mut findings: Vec<_> = parts.into_iter().flatten().collect();
        findings.extend(self.own_findings(listener.id, listener.address));
        findings
    }

    fn hop_limit(&self, listener: &RespondingHost) -> Option<Finding> {
        let least = self.session.min_hop_limit(listener).filter(|least| *least > 1)?;
        let (address, hops) = (listener.address, listener.hops.map_or(0, |(fewest, _)| fewest));
        let routers = if hops == 1 { "1 router".into() } else { format!("{hops} routers") };
        // Hop limits are doubled: a value between the last one that failed and this one may suffice.
        let needed = hops.saturating_add(1);
        let (id, severity, cause, needed) = if least / 2 >= needed {
            let cause = format!(
                "{address} is {routers} away, but datagrams with a hop limit of {} do not reach it: a router \
                 requires a higher one.",
                least / 2
            );
            (Id::TtlThreshold, Severity::Warning, cause, least)
        } else {
            let cause = format!(
                "{address} is {routers} away: only datagrams with a hop limit of at least {needed} reach it."
            );
            (Id::TtlTooSmall, Severity::Note, cause, needed)
        };
        let advice = format!("send with a hop limit of at least {needed}");
        let finding = Finding::new(id, severity, cause)
            .with_evidence(Evidence::new(EvidenceKind::Packet, "the lowest hop limit that arrived", least))
            .with_remedies([Remedy::advice(Tool::Program, advice)]);
        Some(finding)
    }

    fn duplicates(&self, listener: &RespondingHost) -> Option<Finding> {
        let results = || (0..self.session.cases().len()).map(|case| listener.multicast(case));
        let received: u64 = results().map(ProbeResults::received).sum();
        let again: u64 = results().map(ProbeResults::duplicated).sum();
        let address = listener.address;
        let (id, cause, advice) = match listener.interfaces.len() {
            1 => (
                Id::DuplicatePath,
                format!("Datagrams reach {address} more than once on one interface."),
                "look for what duplicates them: a loop, a mirrored port, a relay beside a router",
            ),
            many => (
                Id::DuplicateInterfaces,
                format!(
                    "{address} has joined on {many} interfaces, and receives the same datagrams on each."
                ),
                "join on one of the interfaces there",
            ),
        };
        let finding = Finding::new(id, Severity::Warning, cause)
            .with_evidence(Evidence::new(
                EvidenceKind::Packet,
                "probes that arrived, and duplicates",
                format!("{received}, {again}"),
            ))
            .with_remedies([Remedy::advice(Tool::Network, advice)]);
        // A few duplicates by chance prove nothing.
        (again * 2 >= received).then_some(finding)
    }
}
