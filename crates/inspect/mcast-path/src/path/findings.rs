//! What the replies of listeners mean, and their silence.

use std::net::IpAddr;

use mcast::{ErrorKind, GroupAddr};
use mcast_measure::wire::Examination;
use mcast_measure::{ProbeResults, RespondingHost};

use super::{PathTest, UnicastFailure, UnicastPath};
use crate::measure::EXAMINED;
use mcast_doctor::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

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

impl PathTest {
    /// Returns the findings about hosts that do not answer.
    pub(super) fn silence(&self, is_optional: bool) -> Vec<Finding> {
        let listeners = self.session.responders();
        let sent: u64 = (0..self.session.cases().len()).map(|case| self.session.sent(case)).sum();
        if sent == 0 {
            return Vec::new();
        }
        let is_silent = |path: &&UnicastPath| {
            path.responder().is_none_or(|one| listeners.iter().all(|listener| listener.id != one.id))
                && listeners.iter().all(|listener| listener.address != path.address.ip())
        };
        let mut findings: Vec<_> =
            self.unicast.iter().filter(is_silent).flat_map(|path| self.about_silent(path, sent)).collect();
        findings.extend(self.unheard().flat_map(|(address, result)| self.lost_at(address, result, sent)));
        if findings.is_empty() && listeners.is_empty() {
            findings.push(self.dropped_here().unwrap_or_else(|| self.nobody(is_optional, sent)));
        }
        findings
    }

    /// Returns the listeners that report what they found, and do not answer probes to the group nor by unicast.
    fn unheard(&self) -> impl Iterator<Item = (IpAddr, &Examination)> {
        let by_unicast = || self.unicast.iter().filter_map(UnicastPath::responder);
        let answers = move |id| {
            self.session.responders().iter().chain(by_unicast()).any(|responder| responder.id == id)
        };
        let all = self.examinations.iter();
        all.filter(move |each| !answers(each.result.responder)).map(|each| (each.address, &each.result))
    }

    fn about_silent(&self, path: &UnicastPath, sent: u64) -> Vec<Finding> {
        match path.responder() {
            Some(responder) => {
                let result = self.examination_of(responder.id);
                self.lost_between(path, responder, result, sent)
            }
            None => vec![unreachable(path)],
        }
    }

    /// Returns the findings about a host that answers by unicast only.
    fn lost_between(
        &self,
        path: &UnicastPath,
        responder: &RespondingHost,
        result: Option<&Examination>,
        sent: u64,
    ) -> Vec<Finding> {
        let address = path.address.ip();
        if let Some(result) = result.filter(|result| result.at_socket + result.on_wire.unwrap_or(0) > 0) {
            return self.lost_at(address, result, sent);
        }
        let (answered, by_unicast) = path.answered(|_| true);
        let cause = format!(
            "{address} answers by unicast, but no probe to {} reaches it: multicast is blocked between the \
             machines.",
            self.address
        );
        let finding = Finding::new(Id::UnicastOnly, Severity::Fault, cause)
            .with_evidence(Evidence::new(
                EvidenceKind::Packet,
                "unicast probes sent, answered",
                format!("{by_unicast}, {answered}"),
            ))
            .with_evidence(Evidence::new(
                EvidenceKind::Packet,
                "probes to the group sent, answered",
                format!("{sent}, 0"),
            ))
            .with_remedies([Remedy::advice(Tool::Network, self.advice())]);
        let mut findings = vec![finding];
        findings.extend(self.own_findings(responder.id, address));
        findings
    }

    /// Returns the findings about a host that received probes, or saw them on its wire, and whose replies do not
    /// arrive.
    fn lost_at(&self, address: IpAddr, result: &Examination, sent: u64) -> Vec<Finding> {
        let own: Vec<_> = self.own_findings(result.responder, address).collect();
        if result.at_socket > 0 {
            return vec![self.dropped_here().unwrap_or_else(|| {
                let cause = format!(
                    "{address} received {} probes, but its replies do not come back.",
                    result.at_socket
                );
                replies_lost(cause, &format!("{}, 0", result.at_socket))
            })];
        }
        if own.iter().any(|finding| finding.severity == Severity::Fault) {
            return own;
        }
        let on_wire = result.on_wire.unwrap_or_default();
        let (id, cause) = match on_wire {
            0 => (
                Id::NothingArrives,
                format!("Probes to {} do not reach {address}, which says so by unicast.", self.address),
            ),
            _ => (
                Id::LostInThisMachine,
                format!(
                    "{on_wire} of {sent} probes to {} reach the wire of {address}, and none its socket: they are \
                     lost inside that machine.",
                    self.address
                ),
            ),
        };
        let finding = Finding::new(id, Severity::Fault, cause)
            .with_evidence(Evidence::new(
                EvidenceKind::Packet,
                "probes sent, on its wire, at its socket",
                format!("{sent}, {on_wire}, {}", result.at_socket),
            ))
            .with_remedies([Remedy::advice(
                Tool::Network,
                format!("run `mcast doctor {}` on that machine while this one sends", self.address),
            )]);
        own.into_iter().chain([finding]).collect()
    }

    /// Returns the finding that replies reach the wire of this machine and not its socket.
    fn dropped_here(&self) -> Option<Finding> {
        let counts = self.replies_on_wire.as_ref()?;
        let (address, replies) = counts.iter().find(|(_, replies)| *replies > 0)?;
        let interface = self.interface.as_deref().unwrap_or("this machine");
        let cause = format!(
            "{address} answered: {replies} replies reached {interface}, and none the socket. A firewall on this \
             machine drops them."
        );
        Some(replies_lost(cause, &format!("{replies}, 0")))
    }

    fn nobody(&self, is_optional: bool, sent: u64) -> Finding {
        let severity = if is_optional { Severity::Warning } else { Severity::Fault };
        let on_wire = match &self.replies_on_wire {
            Some(_) => ", and no reply reached this machine",
            None => "",
        };
        let cause = format!("Nobody answered probes to {}{on_wire}.", self.address);
        Finding::new(Id::NothingArrives, severity, cause)
            .with_evidence(Evidence::new(
                EvidenceKind::Packet,
                "probes sent, answers received",
                format!("{sent}, 0"),
            ))
            .with_remedies([Remedy::advice(Tool::Network, self.advice())])
    }

    fn advice(&self) -> &'static str {
        if self.address.group.scope().stays_on_link() {
            "check that `mcast doctor --listen` runs on the other machine, in the same network, with the same group: no router forwards a link-local group"
        } else {
            "check that `mcast doctor --listen` runs on the other machine, with the same group; if there are \
             routers in between, add -t 16; --probe=ADDRESS tests whether that machine answers by unicast"
        }
    }

    /// Returns what a listener found out about itself. Its text comes from the network.
    pub(super) fn own_findings(&self, responder: u64, address: IpAddr) -> impl Iterator<Item = Finding> {
        let text = self.examination_of(responder).map_or("", |result| &result.text);
        let lines = text.strip_prefix(EXAMINED).unwrap_or_default().lines();
        let group = self.address;
        lines.filter_map(move |line| own_finding(line, address, group)).collect::<Vec<_>>().into_iter()
    }
}

/// Parses `fault firewall-drops-data CAUSE`. The remedy behind it is not shown: anyone in the network can send it, and users run
/// what they read.
fn own_finding(line: &str, address: IpAddr, group: mcast::GroupAddr) -> Option<Finding> {
    let line = line.split('\t').next().unwrap_or(line);
    let (severity, rest) = line.split_once(' ')?;
    let (id, cause) = rest.split_once(' ')?;
    let severity =
        [Severity::Fault, Severity::Warning].into_iter().find(|each| each.to_string() == severity)?;
    let cause = format!("{address} reports about itself: {cause}");
    let advice = format!(
        "run `mcast doctor {group}` on {address} for the remedy, while this machine probes; or see `mcast explain {id}`"
    );
    Some(
        Finding::new(id.parse::<Id>().ok()?, severity, cause)
            .with_remedies([Remedy::advice(Tool::Network, advice)]),
    )
}

fn replies_lost(cause: String, counts: &str) -> Finding {
    Finding::new(Id::RepliesLost, Severity::Fault, cause)
        .with_evidence(Evidence::new(EvidenceKind::Packet, "replies sent, received here", counts))
        .with_remedies([Remedy::advice(
            Tool::Network,
            "let UDP that answers this machine's own datagrams pass its firewall; multicast itself may work",
        )])
}

/// Returns the finding about a host that does not answer by unicast, either.
fn unreachable(path: &UnicastPath) -> Finding {
    let address = path.address;
    let (cause, advice) = match path.failure {
        Some(UnicastFailure::Refused) => (
            format!("{} is up, but nothing listens at UDP port {}.", address.ip(), address.port()),
            "start `mcast doctor --listen` there",
        ),
        Some(UnicastFailure::Unreachable) => (
            format!(
                "{} cannot be reached by unicast, either: it is down, or not in this network.",
                address.ip()
            ),
            "check its address, its cable and `ip route get`",
        ),
        None => (
            format!(
                "{} does not answer by unicast, either: it is down, or a firewall drops UDP.",
                address.ip()
            ),
            "check that the machine is up, that `mcast doctor --listen` runs there, and the firewalls between",
        ),
    };
    let (answered, sent) = path.answered(|_| true);
    Finding::new(Id::HostUnreachable, Severity::Fault, cause)
        .with_evidence(Evidence::new(
            EvidenceKind::Packet,
            format!("unicast probes to {address} sent, answered"),
            format!("{sent}, {answered}"),
        ))
        .with_remedies([Remedy::advice(Tool::Network, advice)])
}
