//! Findings of tests whose replies are constructed.

use std::time::Duration;

use mcast_measure::ClockTime;
use mcast_measure::wire::{Examination, ProbeReply, SessionId, SessionMessage};

use super::*;
use mcast_doctor::{Finding, Id, Severity};

const FRAME: usize = 1_472;
const LISTENER: [u8; 4] = [10, 0, 0, 2];

fn reply(size: usize, hop_limit: u8, hops: u8, interface: u32, by_unicast: bool) -> ProbeReply {
    ProbeReply {
        responder: 1,
        interface,
        length: size as u32,
        hop_limit,
        arrival_hop_limit: Some(hop_limit.saturating_sub(hops)),
        by_unicast,
        unicast_port: 0,
        joined: Duration::ZERO,
    }
}

/// Sends `rounds` probes of each case, and records `replies(size, hop limit, round)` replies to each.
fn answer(session: &mut ProbeSession, rounds: u64, replies: impl Fn(usize, u8, u64) -> Vec<ProbeReply>) {
    for round in 0..rounds {
        for (number, case) in session.cases().to_vec().into_iter().enumerate() {
            let probe = session.probe(ClockTime(0), number).unwrap();
            let (header, _) = SessionMessage::decode(&probe).unwrap();
            session.handle_sent(ClockTime(0), number);
            for reply in replies(case.size, case.hop_limit, round) {
                session.handle_datagram(ClockTime(0), &reply.encode(header, 0), LISTENER.into()).unwrap();
            }
        }
    }
}

fn test_of(highest: u8) -> PathTest {
    PathTest::new("239.1.2.3:5000".parse().unwrap(), None, highest, SessionId(1))
}

/// Returns a test of five rounds in which the n-th probe of a size arrives.
fn lossy(arrives: impl Fn(usize, u64) -> bool) -> PathTest {
    let mut test = test_of(1);
    answer(&mut test.session, 5, |size, hop_limit, round| {
        if arrives(size, round) { vec![reply(size, hop_limit, 0, 1, false)] } else { Vec::new() }
    });
    test
}

/// Adds unicast probes of which the n-th of a size arrives.
fn with_unicast(test: PathTest, arrives: impl Fn(usize, u64) -> bool) -> PathTest {
    let mut test = test.with_peers([SocketAddr::from((LISTENER, 0))]);
    answer(&mut test.unicast[0].session, 5, |size, _, round| {
        if arrives(size, round) { vec![reply(size, 0, 0, 1, true)] } else { Vec::new() }
    });
    test
}

fn with_examination(mut test: PathTest, on_wire: Option<u64>, at_socket: u64, text: &str) -> PathTest {
    let result = Examination { responder: 1, on_wire, at_socket, text: text.into() };
    test.examinations.push(ListenerExamination { address: LISTENER.into(), result });
    test
}

fn ids(test: &PathTest) -> Vec<Id> {
    test.findings(false).iter().map(|finding| finding.id).collect()
}

fn only(test: &PathTest) -> Finding {
    let mut findings = test.findings(false);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

/// Returns the findings if these sizes and hop limits arrive, over `hops` routers, `times` times each.
fn findings_of(
    highest: u8,
    arrives: impl Fn(usize, u8) -> bool,
    hops: u8,
    times: u32,
    interfaces: u32,
) -> Vec<Id> {
    let mut test = test_of(highest);
    answer(&mut test.session, 2, |size, hop_limit, _| {
        let copies = if arrives(size, hop_limit) { times } else { 0 };
        (0..copies).map(|copy| reply(size, hop_limit, hops, 1 + copy % interfaces, false)).collect()
    });
    ids(&test)
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
    assert_eq!(findings_of(1, |size, _| size != 1_200, 0, 1, 1), [Id::PathLoss]);
}

#[test]
fn what_arrives_only_in_fragments_does_not_arrive_from_most_programs() {
    let whole = with_unicast(lossy(|_, _| true), |size, _| size < FRAME);
    let finding = only(&whole);
    assert_eq!((finding.id, finding.severity), (Id::MtuTooSmall, Severity::Fault));
    assert!(
        finding.cause.starts_with("Datagrams of 1472 bytes that may not be fragmented"),
        "{}",
        finding.cause
    );
    assert_eq!(ids(&with_unicast(lossy(|_, _| true), |size, _| size <= FRAME)), [], "fragments alone");
    assert_eq!(ids(&with_unicast(lossy(|_, _| true), |_, _| false)), [], "no unicast at all");
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
fn random_loss_at_every_size_is_not_lost_fragments() {
    let half = |size: usize, round: u64| size <= FRAME && !(size as u64 + round).is_multiple_of(2);
    let finding = only(&lossy(half));
    assert_eq!((finding.id, finding.severity), (Id::PathLoss, Severity::Fault));
    assert!(
        finding.cause.starts_with("12 of 20 probes to 239.1.2.3:5000 that fit into one frame"),
        "{finding:?}"
    );
    let evidence: Vec<_> = finding.evidence.iter().map(ToString::to_string).collect();
    assert_eq!(evidence[0], "probes of 64 bytes that arrived: 2 of 5");
    assert_eq!(evidence.len(), 4, "{evidence:?}");
}

#[test]
fn unicast_beside_multicast_shows_whether_only_multicast_is_lost() {
    let half = |_: usize, round: u64| round.is_multiple_of(2);
    let cause = |test: PathTest| only(&test).cause;
    assert!(cause(with_unicast(lossy(half), |_, _| true)).contains("only multicast is affected"));
    assert!(cause(with_unicast(lossy(half), half)).contains("the path itself loses packets"));
}

#[test]
fn one_lost_probe_is_chance() {
    assert_eq!(ids(&lossy(|size, round| (size, round) != (512, 3))), []);
}

#[test]
fn the_advice_never_names_a_size_above_a_frame() {
    let finding = only(&lossy(|size, _| size <= 4_000));
    assert_eq!(finding.id, Id::FragmentsLost);
    let advice = format!("{:?}", finding.remedies[0].instructions);
    assert!(advice.contains("at most 1472 bytes"), "{advice}");
}

#[test]
fn a_host_that_answers_by_unicast_only_is_blocked_for_multicast() {
    let silent = || lossy(|_, _| false);
    assert_eq!(ids(&with_unicast(silent(), |_, _| true)), [Id::UnicastOnly]);
    let unreachable = |failure| {
        let mut test = with_unicast(silent(), |_, _| false);
        test.unicast[0].failure = failure;
        only(&test)
    };
    assert_eq!(unreachable(None).id, Id::HostUnreachable);
    assert!(unreachable(Some(UnicastFailure::Refused)).cause.contains("nothing listens at UDP port 24788"));
    assert!(unreachable(Some(UnicastFailure::Unreachable)).cause.contains("it is down"));
}

#[test]
fn what_a_listener_found_out_about_itself_explains_its_silence() {
    let silent = || with_unicast(lossy(|_, _| false), |_, _| true);
    let text = "examined\nfault firewall-drops-data The firewall drops it.\nnonsense\nfault no-such-id x";
    let finding = only(&with_examination(silent(), Some(35), 0, text));
    assert_eq!(finding.id, Id::FirewallDropsData);
    assert_eq!(finding.cause, "10.0.0.2 reports about itself: The firewall drops it.");
    let finding = only(&with_examination(silent(), Some(35), 0, "examined"));
    assert_eq!(finding.id, Id::LostInThisMachine);
    assert!(finding.cause.contains("lost inside that machine"), "{finding:?}");
    assert_eq!(ids(&with_examination(silent(), Some(0), 0, "examined")), [Id::UnicastOnly]);
    // A listener without a unicast path, whose tap has seen the requests.
    assert_eq!(ids(&with_examination(lossy(|_, _| false), Some(35), 0, text)), [Id::FirewallDropsData]);
}

#[test]
fn replies_that_do_not_come_back_are_not_lost_probes() {
    let silent = with_examination(lossy(|_, _| false), Some(35), 35, "examined");
    assert_eq!(ids(&silent), [Id::RepliesLost]);
    let half = lossy(|_, round| round.is_multiple_of(2));
    assert_eq!(ids(&with_examination(half, Some(35), 35, "examined")), [Id::RepliesLost]);
    let mut captured = lossy(|_, _| false);
    captured.replies_on_wire = Some(vec![(LISTENER.into(), 35)]);
    let finding = only(&captured);
    assert_eq!(finding.id, Id::RepliesLost);
    assert!(finding.cause.contains("A firewall on this machine drops them"), "{finding:?}");
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
