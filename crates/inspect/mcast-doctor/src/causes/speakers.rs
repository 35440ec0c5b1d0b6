//! Speakers of a protocol without ports that do not get along: they disagree, do not notice each other, or fall silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;

use super::{Cause, Check};
use crate::finding::list;
use crate::observation::Observation;
use crate::protocol::ProtocolTraffic;
use crate::speakers::{Instance, Silence};
use crate::{EvidenceKind, Finding, Id, Severity, Tool};

/// Two masters of one virtual router send at once.
pub(super) const TWO_MASTERS: Cause =
    Cause::new(Check::Protocol, &["RFC 9568 section 6.4.3", "RFC 3768 section 6.4.3"]).without_loss();

/// Routers on one link announce what they do not accept of each other.
pub(super) const PROTOCOL_MISMATCH: Cause = Cause::new(
    Check::Protocol,
    &["RFC 2328 section 10.5", "RFC 5340 section 4.2.2.1", "RFC 3768 section 7.1", "RFC 9568 section 7.1"],
)
.without_loss();

/// Messages that are sent at once prove two masters only if they are more than a change of the master takes.
const MIN_OVERLAPS: u64 = 3;
/// Fewer messages are not regular.
const MIN_MESSAGES: u64 = 3;

/// An instance of the protocol on one interface.
struct Subject<'a> {
    observation: &'a Observation,
    traffic: &'a ProtocolTraffic,
    interface: InterfaceIndex,
    name: &'a str,
    instance: &'a Instance,
}

/// Returns the findings about the speakers of a protocol. That two are masters is explained by what is `found` already.
pub(super) fn judge(observation: &Observation, traffic: &ProtocolTraffic, found: &[Finding]) -> Vec<Finding> {
    let subjects = traffic.instances.iter().map(|((interface, name), instance)| Subject {
        observation,
        traffic,
        interface: *interface,
        name,
        instance,
    });
    let mut findings = Vec::new();
    for subject in subjects {
        findings.extend(subject.damaged());
        findings.extend(subject.disagreement());
        let is_fault = |finding: &Finding| finding.severity == Severity::Fault;
        if !found.iter().chain(&findings).any(is_fault) {
            findings.extend(subject.two_masters());
        }
        findings.extend(subject.silences());
    }
    findings
}

impl Subject<'_> {
    fn finding(&self, id: Id, severity: Severity, cause: String) -> Finding {
        let finding = Finding::new(id, severity, cause).for_group(self.traffic.target.group);
        finding.on_interface(self.observation.link_name(self.interface))
    }

    /// Returns `vrrp (IP protocol 112) to 224.0.0.18 for virtual router 51`.
    fn text(&self) -> String {
        format!("{} for {}", self.traffic.target, self.name)
    }

    fn damaged(&self) -> Vec<Finding> {
        let damaged = self.instance.speakers.iter().filter(|(_, speaker)| speaker.damaged > 0);
        let finding = |(source, speaker): (&IpAddr, &crate::speakers::Speaker)| {
            let cause = format!(
                "{} from {source} has a wrong checksum in {} of {} packets: its receivers discard them.",
                self.text(),
                speaker.damaged,
                speaker.messages
            );
            self.finding(Id::BadChecksum, Severity::Fault, cause).from_source(*source).advise(
                Tool::Program,
                "Update the sender, and check whether a device on the path changes the packets.",
            )
        };
        damaged.map(finding).collect()
    }

    fn disagreement(&self) -> Option<Finding> {
        let mut said: BTreeMap<&str, BTreeMap<&str, BTreeSet<IpAddr>>> = BTreeMap::new();
        for (source, speaker) in &self.instance.speakers {
            for (term, value) in &speaker.terms {
                said.entry(term).or_default().entry(value).or_default().insert(*source);
            }
        }
        said.retain(|_, values| values.len() > 1);
        let from = |(value, sources): (&&str, &BTreeSet<IpAddr>)| format!("{value} from {}", list(sources));
        let texts: Vec<_> = said
            .iter()
            .map(|(term, values)| (*term, values.iter().map(from).collect::<Vec<_>>().join(", ")))
            .collect();
        let (terms, first) = (list(said.keys()), texts.first()?);
        let cause = format!(
            "The senders of {} differ in {terms}, and discard each other's packets: {} {}.",
            self.text(),
            first.0,
            first.1
        );
        let sources = self.instance.speakers.keys().copied();
        let finding = self
            .finding(Id::ProtocolMismatch, Severity::Fault, cause)
            .from_sources(sources)
            .advise(Tool::Program, format!("Configure the same {terms} in all routers of this link."));
        Some(
            texts
                .into_iter()
                .fold(finding, |finding, (term, text)| finding.evidence(EvidenceKind::Packet, term, text)),
        )
    }

    fn two_masters(&self) -> Option<Finding> {
        let Instance { is_exclusive, speakers, overlaps, .. } = self.instance;
        if !is_exclusive || *overlaps < MIN_OVERLAPS {
            return None;
        }
        let sources = list(speakers.keys());
        let cause = format!(
            "{} is sent by {sources} at the same time, although only one of them should: they do not receive, or do not accept, each other's packets.",
            self.text()
        );
        let finding = self.finding(Id::TwoMasters, Severity::Fault, cause);
        let finding = speakers.iter().fold(finding, |finding, (source, speaker)| {
            let text = format!("{} packets from {source}", speaker.messages);
            finding.evidence(EvidenceKind::Packet, self.observation.link_name(self.interface), text)
        });
        let command = format!("mcast doctor {}", self.traffic.target.group);
        Some(finding.from_sources(speakers.keys().copied()).advise(
            Tool::Network,
            format!("Run `{command}` on each of them: it shows where the other's packets are lost. If they belong to different clusters, give each its own virtual router id."),
        ))
    }

    /// Returns the findings about silences that were longer than the others wait.
    fn silences(&self) -> Vec<Finding> {
        let until = self.traffic.until;
        let is_regular = |messages: u64| messages >= MIN_MESSAGES;
        if self.instance.is_exclusive {
            let messages = self.instance.speakers.values().map(|speaker| speaker.messages).sum();
            let sources = list(self.instance.speakers.keys());
            let silence = self.instance.together;
            return self
                .silent(&sources, &silence, until)
                .filter(|_| is_regular(messages))
                .into_iter()
                .collect();
        }
        let speakers = self.instance.speakers.iter().filter(|(_, speaker)| is_regular(speaker.messages));
        speakers
            .filter_map(|(source, speaker)| self.silent(&source.to_string(), &speaker.silence, until))
            .collect()
    }

    fn silent(&self, from: &str, silence: &Silence, until: Option<SystemTime>) -> Option<Finding> {
        let rest = until.and_then(|until| silence.since(until)).filter(|_| !silence.is_announced);
        let rest = rest.unwrap_or_default();
        let (longest, patience) = (silence.longest.max(rest), silence.patience);
        if longest <= patience || patience.is_zero() {
            return None;
        }
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let what = if rest == longest { "stopped, and was silent for" } else { "paused for" };
        let cause = format!(
            "{} from {from} {what} {}: the other routers consider it gone after {}.",
            self.text(),
            seconds(longest),
            seconds(patience)
        );
        Some(self.finding(Id::StreamStopped, Severity::Warning, cause).advise(
            Tool::Network,
            "Check in the sender's log whether it kept sending: if so, the packets were lost on the way.",
        ))
    }
}
