//! What the members of a fleet have reported, as a matrix.

use std::collections::BTreeSet;

use mcast::GroupAddr;

use super::decision::judge_fleet;
use super::hosts::FleetHost;
use super::matrix::{FleetCell, FleetMatrix, FleetTarget, UnicastCell};
use super::message::{Hello, MemberReport, Probed, ProbedCase};
use super::report::{FleetHostReport, FleetReport};
use super::session::MemberSession;
use super::status::FleetHostStatus;

/// What is known about one machine.
#[derive(Default)]
pub(super) struct Member {
    pub(super) session: Option<MemberSession>,
    pub(super) hello: Option<Hello>,
    pub(super) failure: Option<(FleetHostStatus, String)>,
    /// The probes that it has sent, with the round.
    pub(super) probed: Vec<(u8, Probed)>,
    pub(super) report: MemberReport,
}

impl Member {
    pub(super) const fn takes_part(&self) -> bool {
        self.hello.is_some() && self.failure.is_none()
    }

    /// Returns whether it probes this group on more than one interface.
    fn has_several_interfaces(&self, group: &str) -> bool {
        let probed = self.probed.iter().filter(|(_, probed)| probed.group == group);
        probed.map(|(_, probed)| &probed.interface).collect::<BTreeSet<_>>().len() > 1
    }
}

/// The members, with the machines that they run on.
pub(super) struct Collection<'a> {
    pub(super) hosts: &'a [FleetHost],
    pub(super) members: &'a [Member],
    /// The highest hop limit.
    pub(super) hop_limit: u8,
}

impl Collection<'_> {
    pub(super) fn report(&self) -> FleetReport {
        let (targets, hop_limit) = (self.targets(), self.hop_limit);
        let mut matrix = FleetMatrix { targets, hop_limit, ..FleetMatrix::default() };
        let mut unicast = Vec::new();
        for (from, round, probed) in self.probed() {
            let Some(target) = matrix.targets.iter().position(|target| self.is_of(target, probed)) else {
                continue;
            };
            for to in (0..self.members.len()).filter(|to| *to != from) {
                let cells = self.cells(to, round, probed);
                matrix.cells.entry((target, (from, to))).or_default().extend(cells);
                unicast.extend(self.unicast((from, to), target, probed).filter(|_| round == 0));
            }
        }
        let members = self.hosts.iter().zip(self.members);
        let hosts: Vec<_> = members
            .map(|(host, member)| {
                FleetHostReport::new(host, member, self.not_probed(member, &matrix.targets))
            })
            .collect();
        matrix.hosts = hosts.iter().map(|host| host.name.clone()).collect();
        matrix.switch_ports = hosts.iter().map(|host| host.switch_ports.clone()).collect();
        let findings = judge_fleet(&matrix, &unicast);
        FleetReport { hosts, matrix, unicast, findings }
    }

    /// Returns the probes of all members, with the member and the round.
    fn probed(&self) -> impl Iterator<Item = (usize, u8, &Probed)> {
        let members = self.members.iter().enumerate();
        members.flat_map(|(from, member)| {
            member.probed.iter().map(move |(round, probed)| (from, *round, probed))
        })
    }

    /// Returns what was probed, IPv4 first.
    fn targets(&self) -> Vec<FleetTarget> {
        let mut targets: Vec<FleetTarget> = Vec::new();
        for (_, _, probed) in self.probed() {
            if let Ok(group) = probed.group.parse::<GroupAddr>()
                && !targets.iter().any(|target| self.is_of(target, probed))
            {
                let interface = probed.interface.clone().filter(|_| self.has_several(&probed.group));
                targets.push(FleetTarget { group, interface });
            }
        }
        targets.sort_by_key(|target| !target.group.group.addr().is_ipv4());
        targets
    }

    /// Returns whether a member probes this group on more than one interface, so that their names matter.
    fn has_several(&self, group: &str) -> bool {
        self.members.iter().any(|member| member.has_several_interfaces(group))
    }

    fn is_of(&self, target: &FleetTarget, probed: &Probed) -> bool {
        target.group.to_string() == probed.group
            && (target.interface == probed.interface || !self.has_several(&probed.group))
    }

    /// Returns the groups that a member could not probe, with the reason.
    fn not_probed(&self, member: &Member, targets: &[FleetTarget]) -> Vec<String> {
        let Some(hello) = member.hello.as_ref().filter(|_| member.takes_part()) else { return Vec::new() };
        let failed = member.probed.iter().filter_map(|(_, probed)| {
            probed.error.as_ref().map(|error| format!("{}: {error}", probed.group))
        });
        let groups: BTreeSet<_> = targets.iter().map(|target| target.group).collect();
        let not_joined = groups.into_iter().filter(|group| !hello.groups.contains(&group.to_string()));
        let family = |group: &GroupAddr| group.group.family();
        let not_joined =
            not_joined.map(|group| format!("{group}: no interface has an {} address", family(&group)));
        let mut all: Vec<_> = failed.chain(not_joined).collect();
        all.dedup();
        all
    }

    /// Returns what one machine has received of a test of another.
    fn cells(&self, to: usize, round: u8, probed: &Probed) -> Vec<FleetCell> {
        let receiver = &self.members[to];
        let Some(hello) = receiver.hello.as_ref().filter(|_| receiver.takes_part()) else {
            return Vec::new();
        };
        let arrivals = receiver.report.arrivals.iter().find(|arrivals| arrivals.session == probed.session);
        // What was forgotten may have arrived.
        if !hello.groups.contains(&probed.group) || (arrivals.is_none() && receiver.report.forgotten > 0) {
            return Vec::new();
        }
        let received = |case: &ProbedCase| {
            let probes = arrivals.into_iter().flat_map(|arrivals| &arrivals.probes);
            let same = probes.filter(|(size, ttl, _)| (*size, *ttl) == (case.size, case.ttl));
            same.map(|(_, _, count)| *count).sum()
        };
        let of_listener = |results: &[(u64, u64)]| {
            results.iter().find(|(listener, _)| *listener == hello.listener).map(|(_, result)| *result)
        };
        let routers = probed.hops.iter().find(|(listener, _)| *listener == hello.listener);
        let cell = |case: &ProbedCase| FleetCell {
            size: case.size,
            hop_limit: case.ttl,
            round,
            frame: probed.frame,
            routers: routers.map(|(_, hops)| *hops),
            sent: case.sent,
            received: received(case),
            answered: of_listener(&case.answered).unwrap_or_default(),
        };
        probed.cases.iter().map(cell).collect()
    }

    fn unicast(
        &self,
        (from, to): (usize, usize),
        target: usize,
        probed: &Probed,
    ) -> impl Iterator<Item = UnicastCell> {
        let listener = self.members[to].hello.as_ref().map(|hello| hello.listener);
        probed.unicast.iter().filter(move |peer| Some(peer.listener) == listener).map(move |peer| {
            UnicastCell {
                from,
                to,
                target,
                is_on_link: peer.is_on_link,
                sent: peer.sent,
                answered: peer.answered,
            }
        })
    }
}
