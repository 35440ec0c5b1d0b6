//! A program asks a group, as for SSDP or WS-Discovery, and the answers, which come by unicast, do not get to its socket.
//!
//! Connection tracking does not take an answer for one: it comes from another address than that to which the question was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::filter_rules::{INCOMING, Suspects, met_by, proven};
use super::{Cause, Check};
use crate::finding::list;
use crate::netfilter::{KnownPacket, RuleEffect};
use crate::observation::{Observation, Program, ProgramSocket};
use crate::remedies::{self, AnswerPort};
use crate::wire::{Flow, UnicastFlow};
use crate::{Effect, EvidenceKind, Finding, Id, OpenQuestion, Tool};

pub(super) const CAUSE: Cause =
    Cause::new(Check::Observation(check), &["UPnP Device Architecture 2.0 section 1.3", "ip(7)"])
        .without_loss()
        .offering(|on| {
            remedies::admit_answers(on.name(), on.to, AnswerPort::From(on.to.port()), Some(&on.rule))
        });

/// The maximum number of hosts that a sentence names.
const MAX_NAMED: usize = 5;

/// What keeps answers from the socket.
enum Obstacle {
    /// Rules of the packet filter.
    Rules(Suspects),
    /// The socket is connected, so that it receives from this address only.
    Connected(SocketAddr),
    /// The socket is bound to a group, so that it receives nothing for the addresses of this machine.
    BoundToGroup(SocketAddr),
}

fn check(observation: &Observation) -> Vec<Finding> {
    let judged = questions(observation).into_iter().flat_map(|question| {
        let losses = question.losses(observation);
        losses.into_iter().map(move |(obstacle, flows)| finding(observation, &question, &obstacle, &flows))
    });
    judged.collect()
}

/// Returns the open question whether answers get to the socket, if a rule may drop them.
pub(crate) fn unknown_answers(observation: &Observation) -> Vec<OpenQuestion> {
    let unknown = questions(observation).into_iter().flat_map(|question| {
        let answers = question.answers(observation);
        answers.into_iter().filter_map(move |answer| {
            let suspects = suspects(observation, answer, answer.datagrams);
            let is_open = !suspects.is_empty() && !suspects.is_proven && question.by_socket(answer).is_none();
            let what =
                || format!("whether {} receives the answers from {}", question.program.name, answer.source);
            let why = || format!("they are on the wire, and {}", suspects.clause());
            is_open.then(|| OpenQuestion::new(what(), why()).with_effect(Effect::NoAnswer))
        })
    });
    unknown.collect()
}

/// A port from which the examined program sends to a group.
#[derive(Clone, Copy)]
struct Question<'a> {
    program: &'a Program,
    flow: &'a Flow,
}

fn questions(observation: &Observation) -> Vec<Question<'_>> {
    let Some(program) = observation.program() else { return Vec::new() };
    let sent = observation.wire.flows.iter().filter(|flow| flow.key.outgoing && program.sends(flow));
    let by_port: BTreeMap<_, _> = sent.map(|flow| (flow.key.source.port(), flow)).collect();
    by_port.into_values().map(|flow| Question { program, flow }).collect()
}

impl<'a> Question<'a> {
    fn port(&self) -> u16 {
        self.flow.key.source.port()
    }

    /// Returns the datagrams of other hosts that arrive for the port. Those of a host to which the program has also sent directly
    /// belong to a connection, of which the rules may know.
    fn answers<'o>(&self, observation: &'o Observation) -> Vec<&'o UnicastFlow> {
        let unicast = &observation.wire.unicast;
        let is_answer = |flow: &&UnicastFlow| {
            let is_asked = |other: &UnicastFlow| {
                other.outgoing && other.destination == flow.source && other.source.port() == self.port()
            };
            !flow.outgoing
                && flow.destination.port() == self.port()
                && observation.after.is_own(flow.destination.ip())
                && !observation.after.is_own(flow.source.ip())
                && !unicast.iter().any(is_asked)
        };
        unicast.iter().filter(is_answer).collect()
    }

    /// Returns what of the socket keeps an answer from it, if the program has only one on the port.
    fn by_socket(&self, answer: &UnicastFlow) -> Option<Obstacle> {
        let socket: &ProgramSocket = self.program.socket_of(self.flow)?;
        let connected = socket.peer.filter(|peer| *peer != answer.source).map(Obstacle::Connected);
        let bound = || socket.local.filter(|local| local.ip().is_multicast()).map(Obstacle::BoundToGroup);
        connected.or_else(bound)
    }

    /// Returns the answers that do not get to the socket, by what keeps them from it.
    fn losses<'o>(&self, observation: &'o Observation) -> Vec<(Obstacle, Vec<&'o UnicastFlow>)> {
        let mut losses: Vec<(Obstacle, Vec<&UnicastFlow>)> = Vec::new();
        for answer in self.answers(observation) {
            let suspects = suspects(observation, answer, answer.datagrams);
            let by_rules = Some(Obstacle::Rules(suspects)).filter(Obstacle::is_certain);
            let Some(obstacle) = by_rules.or_else(|| self.by_socket(answer)) else { continue };
            match losses.iter_mut().find(|(known, _)| known.is_same(&obstacle)) {
                Some((_, flows)) => flows.push(answer),
                None => losses.push((obstacle, vec![answer])),
            }
        }
        losses
    }
}

impl Obstacle {
    fn is_certain(&self) -> bool {
        match self {
            Self::Rules(suspects) => suspects.is_proven && !suspects.is_empty(),
            Self::Connected(_) | Self::BoundToGroup(_) => true,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rules(one), Self::Rules(other)) => one.rule() == other.rule(),
            (Self::Connected(one), Self::Connected(other))
            | (Self::BoundToGroup(one), Self::BoundToGroup(other)) => one == other,
            _ => false,
        }
    }
}

/// Returns the rules that drop an answer: those that are certain to match, or whose counters rose by as much.
fn suspects(observation: &Observation, answer: &UnicastFlow, lost: u64) -> Suspects {
    let device = observation.link_name(answer.interface);
    let packet =
        KnownPacket::unicast(answer.source, answer.destination).arriving_on(answer.interface, &device);
    let met =
        INCOMING.iter().flat_map(|place| met_by(observation, &packet, *place, &device, &[RuleEffect::Drop]));
    proven(observation, met.collect(), lost)
}

fn finding(
    observation: &Observation,
    question: &Question<'_>,
    obstacle: &Obstacle,
    answers: &[&UnicastFlow],
) -> Finding {
    let (program, port, to) = (&question.program.name, question.port(), question.flow.destination());
    let interface = answers.first().map(|answer| observation.link_name(answer.interface)).unwrap_or_default();
    let count: u64 = answers.iter().map(|answer| answer.datagrams).sum();
    let mut sources: Vec<_> = answers.iter().map(|answer| answer.source.to_string()).collect();
    let more = sources.len().saturating_sub(MAX_NAMED);
    sources.truncate(MAX_NAMED);
    let sources = match more {
        0 => list(&sources),
        more => format!("{} and {more} others", list(&sources)),
    };
    let why = match obstacle {
        Obstacle::Rules(suspects) => {
            format!("the packet filter of this machine drops them: {}", suspects.clause())
        }
        Obstacle::Connected(peer) => {
            format!("its socket is connected to {peer}, so it receives from no other address")
        }
        Obstacle::BoundToGroup(local) => {
            format!(
                "its socket is bound to {local}, so it receives nothing that is sent to an address of this machine"
            )
        }
    };
    // The port of the program changes whenever it is started, unless it chooses one.
    let is_from_group_port = answers.iter().all(|answer| answer.source.port() == to.port());
    let answer_port = if is_from_group_port { AnswerPort::From(to.port()) } else { AnswerPort::To(port) };
    let cause = format!(
        "{program} sends to {to} from port {port}, but the answers do not reach its socket. {count} datagrams from {sources} arrived on {interface}, and {why}."
    );
    let finding = Finding::fault(Id::AnswersDropped, cause)
        .concerning(&interface, to)
        .from_sources(answers.iter().map(|answer| answer.source))
        .in_program(program)
        .evidence(
            EvidenceKind::Packet,
            &interface,
            format!("{count} datagrams to port {port} from {sources}"),
        );
    match obstacle {
        Obstacle::Rules(suspects) => finding
            .with_all_evidence(suspects.evidence(observation))
            .with_remedies(remedies::admit_answers(&interface, to, answer_port, suspects.rule())),
        Obstacle::Connected(_) => finding.advise(
            Tool::Program,
            "Do not connect the socket: send to the group with sendto, and receive the answers with recvfrom.",
        ),
        Obstacle::BoundToGroup(_) => finding.advise(
            Tool::Program,
            "Send the queries from another socket that is not bound to an address; keep this one for the group.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use mcast::SourceFilter;

    use super::*;
    use crate::causes::fixtures::{ETH0, flow, joined_socket, program, ruleset};
    use crate::netfilter::Hook;

    const ASKS: &str = "10.9.0.2:40000";
    const TO: &str = "239.255.255.250:1900";

    /// Returns a program that asks a group, and gets an answer on the wire.
    fn asked(socket: ProgramSocket) -> Observation {
        let mut own = flow(ETH0, ASKS, TO);
        own.key.outgoing = true;
        let mut observation = program(vec![socket], vec![own]);
        observation.wire.unicast.push(UnicastFlow {
            interface: ETH0,
            outgoing: false,
            source: "10.9.0.1:1900".parse().unwrap(),
            destination: ASKS.parse().unwrap(),
            datagrams: 3,
        });
        observation
    }

    fn socket() -> ProgramSocket {
        let joined = joined_socket(ETH0, SourceFilter::ANY);
        let (memberships, memberships_after) = (Vec::new(), Vec::new());
        ProgramSocket {
            local: Some("0.0.0.0:40000".parse().unwrap()),
            memberships,
            memberships_after,
            ..joined
        }
    }

    #[test]
    fn answers_that_a_rule_or_the_socket_does_not_let_pass_are_a_fault() {
        assert_eq!(CAUSE.judge(&asked(socket())), []);

        let mut filtered = asked(socket());
        filtered.after.ruleset = ruleset(Hook::Input, RuleEffect::Drop, None);
        let found = CAUSE.judge(&filtered);
        assert!(
            found[0].cause.contains("3 datagrams from 10.9.0.1:1900 arrived on eth0"),
            "{}",
            found[0].cause
        );
        assert_eq!(unknown_answers(&filtered), []);

        let connected = ProgramSocket { peer: Some(TO.parse().unwrap()), ..socket() };
        assert!(CAUSE.judge(&asked(connected))[0].cause.contains("connected to 239.255.255.250:1900"));
        let local = Some("239.255.255.250:40000".parse().unwrap());
        assert!(CAUSE.judge(&asked(ProgramSocket { local, ..socket() }))[0].cause.contains("is bound to"));
    }

    #[test]
    fn datagrams_of_a_connection_and_for_other_ports_are_not_judged() {
        let dropping = |change: fn(&mut UnicastFlow)| {
            let mut observation = asked(socket());
            observation.after.ruleset = ruleset(Hook::Input, RuleEffect::Drop, None);
            let mut other = observation.wire.unicast[0];
            change(&mut other);
            observation.wire.unicast.push(other);
            CAUSE.judge(&observation)
        };
        let reply = |flow: &mut UnicastFlow| {
            flow.outgoing = true;
            std::mem::swap(&mut flow.source, &mut flow.destination);
        };
        assert_eq!(dropping(reply), []);
        let other_port = |flow: &mut UnicastFlow| flow.destination.set_port(40001);
        assert_eq!(dropping(other_port).len(), 1, "that for the port from which it asks");
    }
}
