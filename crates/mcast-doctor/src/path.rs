//! Tests of the path between two machines: which probes to send, and what the replies mean.

use std::iter;
use std::time::{Duration, Instant};

use mcast::{ErrorKind, Family, GroupAddr, Interface, Outgoing, Sender};
use mcast_measure::wire::SessionId;
use mcast_measure::{ProbeCase, ProbeResults, ProbeSession, Responder, SizeLimit};

use crate::{Evidence, EvidenceKind, Finding, Id, Remedy, Severity, Tool};

/// The smallest probe, with which hop limits are tested.
const SMALLEST: usize = 64;
/// Sizes that every network should carry.
const SMALL: [usize; 2] = [512, 1_200];
/// Sizes of a few fragments, and of many.
const LARGE: [usize; 2] = [4_000, 16_000];
/// Used if the MTU is unknown.
const DEFAULT_MTU: u32 = 1_500;

/// The time between two probes. Listeners reply at twice this rate.
const PACE: Duration = Duration::from_millis(10);
/// How long to wait for the last replies.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than the longest reply.
const BUFFER: usize = 65_536;

/// A test of the path to the listeners of a group: which sizes and hop limits arrive, and how often.
///
/// Its [`session`](Self::session) creates the probes and records the replies; [`run`](Self::run) sends and receives them.
///
/// ```
/// use mcast_doctor::{Id, PathTest};
/// use mcast_measure::wire::SessionId;
/// use std::time::Duration;
///
/// let mut test = PathTest::new("239.1.2.3:5000".parse()?, None, 1, SessionId(7));
/// for case in 0..test.session.cases().len() {
///     let probe = test.session.probe(case, Duration::ZERO).unwrap();
///     // Send the probe here.
///     test.session.record_probe(case, Duration::ZERO);
/// }
/// // Nobody replied.
/// assert_eq!(test.findings(false)[0].id, Id::NothingArrives);
/// # Ok::<(), mcast::ParseError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PathTest {
    /// The group.
    pub address: GroupAddr,
    /// The name of the interface on which probes are sent, if it is known.
    pub interface: Option<String>,
    /// The probes and their replies.
    pub session: ProbeSession,
    /// The largest payload that fits in one frame of that interface.
    frame: usize,
    highest: u8,
}

impl PathTest {
    /// Creates a test with hop limits up to `highest`. Its sizes lie around the payload of one frame of the
    /// interface.
    #[must_use]
    pub fn new(address: GroupAddr, interface: Option<&Interface>, highest: u8, id: SessionId) -> Self {
        let frame = payload_of_frame(interface, address.group.family());
        let session = ProbeSession::path_test(id, cases(frame, highest));
        let interface = interface.map(|interface| interface.name.clone());
        Self { address, interface, session, frame, highest }
    }

    /// Sends `count` probes of each case to every target, whose payload is ignored, and records the replies. Ends early if
    /// `keep_going`, which is called at least every 20 ms, returns `false`.
    ///
    /// # Errors
    /// If the system cannot send to a target, or cannot receive. A probe that is too large for the system counts as not
    /// sent.
    pub fn run(
        &mut self,
        sender: &Sender,
        targets: &[Outgoing<'static>],
        count: u16,
        keep_going: impl Fn() -> bool,
    ) -> mcast::Result<()> {
        let start = Instant::now();
        for _ in 0..count {
            for case in 0..self.session.cases().len() {
                if !keep_going() {
                    return Ok(());
                }
                self.send(sender, targets, case, start.elapsed())?;
                self.listen(sender, start, PACE, &keep_going, |_| false)?;
            }
        }
        // Once everything is answered, there is nothing to wait for.
        self.listen(sender, start, PATIENCE, &keep_going, ProbeSession::all_answered)
    }

    /// Sends a probe of this case to each target.
    fn send(
        &mut self,
        sender: &Sender,
        targets: &[Outgoing<'static>],
        case: usize,
        now: Duration,
    ) -> mcast::Result<()> {
        let (Some(tried), Some(message)) =
            (self.session.cases().get(case).copied(), self.session.probe(case, now))
        else {
            return Ok(());
        };
        let mut is_sent = false;
        for target in targets {
            match sender.send_one(&target.with_payload(&message).hop_limit(tried.hop_limit)) {
                Ok(()) => is_sent = true,
                // As if the probe were dropped on the way, which is what this tests.
                Err(error) if error.kind() == ErrorKind::QueueFull => is_sent = true,
                Err(error) if error.kind() == ErrorKind::TooLarge => {}
                Err(error) => return Err(error),
            }
        }
        if is_sent {
            self.session.record_probe(case, now);
        }
        Ok(())
    }

    /// Receives replies for `time`, or until the session `is_complete`.
    fn listen(
        &mut self,
        sender: &Sender,
        start: Instant,
        time: Duration,
        keep_going: &impl Fn() -> bool,
        is_complete: fn(&ProbeSession) -> bool,
    ) -> mcast::Result<()> {
        let (end, family) = (start.elapsed() + time, self.address.group.family());
        let mut buffer = vec![0; BUFFER];
        while keep_going() && !is_complete(&self.session) {
            let left = end.saturating_sub(start.elapsed());
            let Some(reply) = sender.recv_answer_while(family, &mut buffer, left, keep_going)? else { break };
            self.session.record(reply.payload, reply.source.ip(), false, start.elapsed());
        }
        Ok(())
    }

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
        let listeners = self.session.responders();
        let silence = if listeners.is_empty() { self.silence(is_optional) } else { None };
        let each = listeners
            .iter()
            .flat_map(|listener| [self.size(listener), self.hop_limit(listener), self.duplicates(listener)]);
        each.flatten().chain(silence).map(about).collect()
    }

    fn silence(&self, is_optional: bool) -> Option<Finding> {
        let sent: u64 = (0..self.session.cases().len()).map(|case| self.session.sent(case)).sum();
        let severity = if is_optional { Severity::Warning } else { Severity::Fault };
        let advice = if self.address.group.scope().stays_on_link() {
            "check that `mcast doctor --listen` runs on the other machine, in the same network, with the same group: no router forwards a link-local group"
        } else {
            "check that `mcast doctor --listen` runs on the other machine, with the same group; if there are \
             routers in between, add -t 16"
        };
        let finding = Finding::new(
            Id::NothingArrives,
            severity,
            format!("Nobody answered probes to {}.", self.address),
        )
        .with_evidence(Evidence::new(
            EvidenceKind::Packet,
            "probes sent, answers received",
            format!("{sent}, 0"),
        ))
        .with_remedies([Remedy::advice(Tool::Network, advice)]);
        (sent > 0).then_some(finding)
    }

    fn size(&self, listener: &Responder) -> Option<Finding> {
        let SizeLimit::Between { passes, lost } = self.session.size_limit(listener, self.highest) else {
            return None;
        };
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
        let advice = format!("send datagrams of at most {passes} bytes of payload");
        let finding = Finding::new(id, severity, cause)
            .with_all_evidence([passes, lost].map(|size| self.arrivals_of(listener, size)))
            .with_remedies([Remedy::advice(Tool::Program, advice)]);
        Some(finding)
    }

    fn arrivals_of(&self, listener: &Responder, size: usize) -> Evidence {
        let mut cases = self.session.cases().iter();
        let case = cases.position(|case| case.size == size && case.hop_limit == self.highest);
        let (received, sent) =
            case.map_or((0, 0), |case| (listener.multicast(case).received(), self.session.sent(case)));
        let location = format!("probes of {size} bytes that arrived");
        Evidence::new(EvidenceKind::Packet, location, format!("{received} of {sent}"))
    }

    fn hop_limit(&self, listener: &Responder) -> Option<Finding> {
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

    fn duplicates(&self, listener: &Responder) -> Option<Finding> {
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

/// Returns the largest payload that fits in one frame of this interface.
fn payload_of_frame(interface: Option<&Interface>, family: Family) -> usize {
    let headers = match family {
        Family::V4 => 20 + 8,
        Family::V6 => 40 + 8,
    };
    let mtu = interface.map_or(DEFAULT_MTU, |interface| interface.mtu);
    usize::try_from(mtu).unwrap_or(usize::MAX).saturating_sub(headers).clamp(SMALLEST, 65_000)
}

/// Returns every size with the highest hop limit, and the smallest size with lower hop limits, each twice the
/// one before.
fn cases(frame: usize, highest: u8) -> Vec<ProbeCase> {
    let mut sizes = vec![SMALLEST];
    sizes.extend(SMALL.into_iter().filter(|size| *size < frame));
    sizes.extend([frame, frame + 1]);
    sizes.extend(LARGE.into_iter().filter(|size| *size > frame + 1));
    sizes.dedup();
    let by_size = sizes.into_iter().map(|size| ProbeCase { size, hop_limit: highest });
    let doubling = iter::successors(Some(1_u8), |hops| hops.checked_mul(2));
    let lower = doubling.take_while(|hops| *hops < highest);
    by_size.chain(lower.map(|hop_limit| ProbeCase { size: SMALLEST, hop_limit })).collect()
}

#[cfg(test)]
mod tests {
    use mcast_measure::wire::{ProbeReply, SessionMessage};

    use super::*;

    const FRAME: usize = 1_472;

    /// Returns the findings if these sizes and hop limits arrive, over `hops` routers, `times` times each.
    fn findings_of(
        highest: u8,
        arrives: impl Fn(usize, u8) -> bool,
        hops: u8,
        times: u64,
        interfaces: u32,
    ) -> Vec<Id> {
        let mut test = PathTest::new("239.1.2.3:5000".parse().unwrap(), None, highest, SessionId(1));
        let path = &mut test.session;
        for (number, case) in path.cases().to_vec().into_iter().enumerate() {
            let probe = path.probe(number, Duration::ZERO).unwrap();
            let (header, _) = SessionMessage::decode(&probe).unwrap();
            path.record_probe(number, Duration::ZERO);
            for time in 0..times * u64::from(arrives(case.size, case.hop_limit)) {
                let reply = ProbeReply {
                    responder: 1,
                    interface: 1 + time as u32 % interfaces,
                    length: case.size as u32,
                    hop_limit: case.hop_limit,
                    arrival_hop_limit: Some(case.hop_limit.saturating_sub(hops)),
                    by_unicast: false,
                    unicast_port: 0,
                    joined: Duration::ZERO,
                };
                path.record(&reply.encode(header, 0), [10, 0, 0, 2].into(), false, Duration::ZERO).unwrap();
            }
        }
        test.findings(false).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn a_good_path_has_no_findings() {
        assert_eq!(findings_of(1, |_, _| true, 0, 1, 1), []);
        assert_eq!(findings_of(64, |_, _| true, 0, 1, 1), []);
    }

    #[test]
    fn sizes_within_and_beyond_a_frame_have_different_causes() {
        assert_eq!(findings_of(1, |size, _| size <= FRAME, 0, 1, 1), [Id::FragmentsLost]);
        assert_eq!(findings_of(1, |size, _| size < FRAME, 0, 1, 1), [Id::MtuTooSmall]);
        assert_eq!(findings_of(1, |size, _| size != 1_200, 0, 1, 1), []);
    }

    #[test]
    fn a_router_needs_one_hop_and_a_threshold_more() {
        assert_eq!(findings_of(16, |_, hops| hops > 1, 1, 1, 1), [Id::TtlTooSmall]);
        assert_eq!(findings_of(16, |_, hops| hops > 2, 2, 1, 1), [Id::TtlTooSmall]);
        assert_eq!(findings_of(64, |_, hops| hops > 16, 1, 1, 1), [Id::TtlThreshold]);
    }

    #[test]
    fn the_cause_of_duplicates_depends_on_the_number_of_interfaces() {
        assert_eq!(findings_of(1, |_, _| true, 0, 2, 1), [Id::DuplicatePath]);
        assert_eq!(findings_of(1, |_, _| true, 0, 2, 2), [Id::DuplicateInterfaces]);
    }

    #[test]
    fn silence_is_a_fault() {
        assert_eq!(findings_of(1, |_, _| false, 0, 1, 1), [Id::NothingArrives]);
    }

    #[test]
    fn sizes_are_around_one_frame() {
        let sizes = |frame| cases(frame, 1).iter().map(|case| case.size).collect::<Vec<_>>();
        assert_eq!(sizes(1_472), [64, 512, 1_200, 1_472, 1_473, 4_000, 16_000]);
        assert_eq!(sizes(8_972), [64, 512, 1_200, 8_972, 8_973, 16_000]);
        assert_eq!(sizes(64), [64, 65, 4_000, 16_000]);
    }

    #[test]
    fn hop_limits_double_up_to_the_highest() {
        let lower: Vec<_> =
            cases(1_472, 10).iter().map(|case| case.hop_limit).filter(|hops| *hops < 10).collect();
        assert_eq!(lower, [1, 2, 4, 8]);
        assert!(cases(1_472, 255).iter().any(|case| case.hop_limit == 128));
        assert!(cases(1_472, 1).iter().all(|case| case.hop_limit == 1));
    }

    #[test]
    fn a_frame_has_headers_of_its_family() {
        assert_eq!(payload_of_frame(None, Family::V4), 1_472);
        assert_eq!(payload_of_frame(None, Family::V6), 1_452);
    }
}
