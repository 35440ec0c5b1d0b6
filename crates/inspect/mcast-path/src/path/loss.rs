//! Loss by size: of everything at random, of datagrams above a size, or of the replies.

use std::ops::AddAssign;

use mcast_measure::{RespondingHost, SizeLimit};

use super::PathTest;
use mcast_doctor::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

/// If at least this number of probes was expected to arrive and none did, that cannot be chance.
const CERTAIN: f64 = 3.0;
/// Fewer lost probes may be lost by chance.
const FEWEST: u64 = 2;

/// Numbers of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What was sent.
    pub sent: u64,
    /// What of it was answered, or received.
    pub received: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// Returns whether it cannot be chance that nothing arrived of what was `sent`, by size, if what is smaller arrives like
/// `arrives`. A datagram that needs several frames of `frame` bytes needs them all.
pub fn is_certain(arrives: Tally, sent: impl Iterator<Item = (usize, u64)>, frame: usize) -> bool {
    let fragments = |size: usize| size.div_ceil(frame.max(1)) as f64;
    let survives = |size: usize| (1.0 - arrives.rate()).powf(fragments(size));
    sent.map(|(size, sent)| sent as f64 * survives(size)).sum::<f64>() >= CERTAIN
}

impl Tally {
    const fn lost(self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Returns the lost fraction.
    fn rate(self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost() as f64 / self.sent as f64 }
    }

    /// Returns the severity of the loss: a fault from 10 %, a warning from 2 %.
    #[must_use]
    pub const fn severity(self) -> Option<Severity> {
        let lost = self.lost();
        match () {
            () if lost < FEWEST || lost * 50 < self.sent => None,
            () if lost * 10 < self.sent => Some(Severity::Warning),
            () => Some(Severity::Fault),
        }
    }
}

impl PathTest {
    /// Returns the finding that datagrams from some size on never arrive.
    pub(super) fn size(&self, listener: &RespondingHost) -> Option<Finding> {
        let (passes, lost) = self.limit(listener)?;
        let address = listener.address;
        let (id, severity, cause) = if lost > self.frame {
            let cause = format!(
                "Datagrams that need more than one frame do not reach {address}: their fragments are lost."
            );
            (Id::FragmentsLost, Severity::Warning, cause)
        } else {
            let cause = format!(
                "Datagrams of {lost} bytes do not reach {address}, although they fit into one frame here."
            );
            (Id::MtuTooSmall, Severity::Fault, cause)
        };
        let advice = format!("send datagrams of at most {} bytes of payload", passes.min(self.frame));
        let finding = Finding::new(id, severity, cause)
            .with_all_evidence([passes, lost].map(|size| self.arrivals_of(listener, size)))
            .with_all_evidence(self.beside(listener, |size| size >= lost))
            .with_remedies([Remedy::advice(Tool::Program, advice)]);
        Some(finding)
    }

    /// Returns the largest size that arrives and the smallest that does not, if what is lost at random does not explain
    /// it: a datagram of many fragments needs them all.
    fn limit(&self, listener: &RespondingHost) -> Option<(usize, usize)> {
        let SizeLimit::Between { passes, lost } = self.session.size_limit(listener, self.highest) else {
            return None;
        };
        let random = self.tally(listener, |size| size <= passes.min(self.frame));
        let sizes = self.session.cases().iter().enumerate();
        let sent = sizes
            .filter(|(_, case)| case.hop_limit == self.highest && case.size >= lost)
            .map(|(index, case)| (case.size, self.session.sent(index)));
        is_certain(random, sent, self.frame).then_some((passes, lost))
    }

    /// Returns the finding that what fits into one frame here arrives only in fragments. Probes to the group may be fragmented
    /// on the way. Unicast probes may not, as the datagrams of most programs may not: Linux forbids it by default for what fits
    /// into a frame.
    pub(super) fn unfragmented(&self, listener: &RespondingHost) -> Option<Finding> {
        const FEWEST_PROBES: u64 = 3;
        if self.limit(listener).is_some_and(|(_, lost)| lost <= self.frame) {
            return None;
        }
        let path = self.unicast_of(listener)?;
        let mut sizes: Vec<_> = path.session.cases().iter().map(|case| case.size).collect();
        sizes.retain(|size| *size <= self.frame);
        sizes.sort_unstable();
        let outcome = |size: usize| path.answered(|other| other == size);
        let lost = sizes.iter().copied().find(|size| {
            let (received, sent) = outcome(*size);
            let by_group = self.tally(listener, |other| other == *size);
            received == 0 && sent >= FEWEST_PROBES && by_group.received > 0
        })?;
        let passes = sizes.iter().copied().take_while(|size| *size < lost);
        let passes = passes.filter(|size| outcome(*size).0 > 0).last()?;
        let address = listener.address;
        let finding = Finding::new(
            Id::MtuTooSmall,
            Severity::Fault,
            format!("Datagrams of {lost} bytes that may not be fragmented do not reach {address}, although they fit into one frame here: a link on the way takes smaller packets. Those that may be fragmented arrive. Most programs forbid it by default."),
        )
        .with_evidence(self.arrivals_of(listener, lost))
        .with_all_evidence(self.beside(listener, |size| size == lost))
        .with_all_evidence(self.beside(listener, |size| size == passes).map(|evidence| Evidence {
            location: format!("{passes} bytes by unicast, answered"),
            ..evidence
        }))
        .with_remedies([Remedy::advice(
            Tool::Program,
            format!("send datagrams of at most {passes} bytes of payload, or set the same MTU on every link of the path; in a program, IP_MTU_DISCOVER with IP_PMTUDISC_DONT lets routers fragment"),
        )]);
        Some(finding)
    }

    /// Returns the finding that datagrams of every size are lost, or their replies.
    pub(super) fn loss(&self, listener: &RespondingHost) -> Option<Finding> {
        // Sizes that never arrive are another finding, and fragments are lost more often than one frame.
        let limit = self.limit(listener).map_or(usize::MAX, |(_, lost)| lost);
        let in_one_frame = |size| size <= self.frame && size < limit;
        let tally = self.tally(listener, in_one_frame);
        let severity = tally.severity()?;
        // An answer that is lost looks the same here as a probe that is lost, unless the host reports what it received.
        if let Some(finding) = self.lost_replies(listener) {
            return Some(finding);
        }
        let beside = self.unicast_of(listener).map(|path| path.answered(in_one_frame));
        let unicast = beside.map(|(received, sent)| Tally { sent, received });
        let address = listener.address;
        let (comparison, advice) = match unicast {
            Some(unicast) if unicast.sent > 0 && unicast.rate() * 4.0 <= tally.rate() => (
                format!(", while unicast loses {:.0} %: only multicast is affected", unicast.rate() * 100.0),
                "look for a limit on multicast between the machines: storm control or rate limits at a switch \
                 port, a wireless network, an overloaded IGMP snooping table",
            ),
            Some(unicast) if unicast.sent > 0 => (
                format!(
                    ", and unicast loses {:.0} % as well: the path itself loses packets",
                    unicast.rate() * 100.0
                ),
                "look for a bad cable, a duplex mismatch or an overloaded link between the machines; `ip -s link` \
                 counts errors and drops",
            ),
            _ => (
                String::new(),
                "compare with unicast (`ping -f`), and look at the counters of the switch ports on the way",
            ),
        };
        let cause = format!(
            "{} of {} probes to {} that fit into one frame do not reach {address}, at every size{comparison}.",
            tally.lost(),
            tally.sent,
            self.address
        );
        let sizes = self.session.cases().iter();
        let sizes = sizes.filter(|case| case.hop_limit == self.highest && in_one_frame(case.size));
        let finding = Finding::new(Id::PathLoss, severity, cause)
            .with_all_evidence(sizes.map(|case| self.arrivals_of(listener, case.size)))
            .with_all_evidence(self.beside(listener, in_one_frame))
            .with_remedies([Remedy::advice(Tool::Network, advice)]);
        Some(finding)
    }

    /// Returns the finding that the listener received what it seems to have lost, so that its replies are lost.
    fn lost_replies(&self, listener: &RespondingHost) -> Option<Finding> {
        let result = self.examination_of(listener.id)?;
        let cases = 0..self.session.cases().len();
        let answered: u64 = cases
            .map(|case| listener.multicast(case).received() + listener.multicast(case).duplicated())
            .sum();
        let replies = Tally { sent: result.at_socket, received: answered };
        let severity = replies.severity()?.min(Severity::Warning);
        let sent: u64 = (0..self.session.cases().len()).map(|case| self.session.sent(case)).sum();
        let is_path_sound = Tally { sent, received: result.at_socket }.severity().is_none();
        let cause = format!(
            "{} received {} probes, but only {answered} of its replies came back: the way back loses packets.",
            listener.address, result.at_socket
        );
        let finding = Finding::new(Id::RepliesLost, severity, cause)
            .with_evidence(Evidence::new(
                EvidenceKind::Packet,
                "probes that the listener received, replies that arrived",
                format!("{}, {answered}", result.at_socket),
            ))
            .with_remedies([Remedy::advice(
                Tool::Network,
                "probe in the other direction: run `mcast doctor --listen` here and `mcast doctor --probe` there",
            )]);
        is_path_sound.then_some(finding)
    }

    /// Returns the tally of these sizes with the highest hop limit.
    fn tally(&self, listener: &RespondingHost, sizes: impl Fn(usize) -> bool) -> Tally {
        let cases = self.session.cases().iter().enumerate();
        let cases = cases.filter(|(_, case)| case.hop_limit == self.highest && sizes(case.size));
        cases.fold(Tally::default(), |tally, (index, _)| Tally {
            sent: tally.sent + self.session.sent_since_join(listener, index),
            received: tally.received + listener.multicast(index).received(),
        })
    }

    fn arrivals_of(&self, listener: &RespondingHost, size: usize) -> Evidence {
        let tally = self.tally(listener, |other| other == size);
        let location = format!("probes of {size} bytes that arrived");
        Evidence::new(EvidenceKind::Packet, location, format!("{} of {}", tally.received, tally.sent))
    }

    /// Returns the evidence of unicast probes of these sizes.
    fn beside(&self, listener: &RespondingHost, sizes: impl Fn(usize) -> bool) -> Option<Evidence> {
        let (received, sent) = self.unicast_of(listener)?.answered(sizes);
        let evidence = Evidence::new(
            EvidenceKind::Packet,
            "the same sizes by unicast, answered",
            format!("{received} of {sent}"),
        );
        (sent > 0).then_some(evidence)
    }
}
