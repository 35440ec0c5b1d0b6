//! What a listener finds out about itself: the probes on its wire, and the findings of an examination of its sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcast::{InterfaceIndex, Membership, Receiver};
use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_measure::wire::{SessionId, SessionMessage};
use mcast_packet::{Network, Transport};

use super::POLL_INTERVAL;
use mcast_doctor::{Finding, Id, Options, ProgramSelector, Report, Severity, examine_program};

/// How long an examination listens. Probers send their requests for longer.
const LISTEN: Duration = Duration::from_millis(1_500);
/// How long the findings of an examination are passed on before the next request starts another.
const VALID: Duration = Duration::from_secs(5);
/// The maximum number of sessions whose probes on the wire are counted.
const MAX_SESSIONS: usize = 64;
/// The first bytes of every message.
const MAGIC: [u8; 2] = *b"mc";

/// The first line of the text of an examination that has not ended.
pub(crate) const UNDER_WAY: &str = "examining";
/// The first line of the text of an examination that has ended.
pub(crate) const EXAMINED: &str = "examined";

/// Examines the sockets of this process while others probe them.
#[derive(Debug, Default)]
pub(super) struct SelfExamination {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a prober has asked and no examination has begun since.
    is_requested: bool,
    /// The findings of the latest examination, and when it ended.
    examined: Option<(Instant, String)>,
    /// Whether the wire is captured.
    has_tap: bool,
    /// Probes to a group on the wire by session, the oldest session first.
    on_wire: Vec<(SessionId, u64)>,
}

/// A request that a tap has seen.
pub(super) struct SeenRequest {
    pub(super) source: SocketAddr,
    pub(super) message: Vec<u8>,
}

impl SelfExamination {
    /// Starts an examination unless the latest is still valid, and returns the number of probes of a session on the
    /// wire, if it is known, and the findings.
    pub(super) fn request(&self, session: SessionId) -> (Option<u64>, String) {
        let mut state = self.state();
        let valid = state.examined.as_ref().filter(|(end, _)| end.elapsed() < VALID);
        let text = valid.map_or_else(|| UNDER_WAY.to_owned(), |(_, text)| text.clone());
        if valid.is_none() {
            state.is_requested = true;
            self.changed.notify_all();
        }
        let count = state.on_wire.iter().find(|(known, _)| *known == session).map_or(0, |(_, count)| *count);
        (state.has_tap.then_some(count), text)
    }

    /// Returns the findings of the latest examination, one per line; `None` if there was none.
    pub(super) fn findings(&self) -> Option<String> {
        let text = self.state().examined.as_ref()?.1.strip_prefix(EXAMINED)?.trim_start().to_owned();
        Some(text)
    }

    /// Examines this process whenever a prober asks, until `is_stopped`.
    pub(super) fn serve(&self, ports: &BTreeSet<u16>, is_stopped: &AtomicBool) {
        while !is_stopped.load(Ordering::Relaxed) {
            let state = self.state();
            let waited = self.changed.wait_timeout(state, POLL_INTERVAL);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut state.is_requested) {
                continue;
            }
            drop(state);
            let text = examine(ports, is_stopped);
            let mut state = self.state();
            state.examined = Some((Instant::now(), text));
            state.is_requested = false;
        }
    }

    /// Counts the probes on the wire until `is_stopped`, and passes requests for an examination to `on_request`. Ends
    /// at once without the right to capture.
    pub(super) fn tap(
        &self,
        receiver: &Receiver,
        is_stopped: &AtomicBool,
        mut on_request: impl FnMut(SeenRequest),
    ) {
        let Some(mut capture) = open(receiver) else { return };
        let memberships = receiver.memberships();
        let joined: BTreeSet<_> = memberships.iter().map(|status| as_address(&status.membership)).collect();
        self.state().has_tap = true;
        while !is_stopped.load(Ordering::Relaxed) {
            let Ok(Some(frame)) = capture.next(Some(POLL_INTERVAL)) else { continue };
            let packet = frame.packet();
            let (Some(Network::Ip(ip)), Some(Transport::Udp(udp))) = (packet.network, packet.transport)
            else {
                continue;
            };
            if !joined.contains(&SocketAddr::new(ip.destination, udp.destination_port)) {
                continue;
            }
            match SessionMessage::decode(udp.payload) {
                Some((header, SessionMessage::Probe(_))) => self.state().count(header.session),
                Some((_, SessionMessage::Examine)) => on_request(SeenRequest {
                    source: SocketAddr::new(ip.source, udp.source_port),
                    message: udp.payload.to_vec(),
                }),
                _ => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, session: SessionId) {
        if let Some((_, count)) = self.on_wire.iter_mut().find(|(known, _)| *known == session) {
            *count += 1;
            return;
        }
        if self.on_wire.len() == MAX_SESSIONS {
            self.on_wire.remove(0);
        }
        self.on_wire.push((session, 1));
    }
}

fn as_address(membership: &Membership) -> SocketAddr {
    SocketAddr::new(membership.address.group.addr(), membership.address.port)
}

/// Opens a capture on the interfaces on which the receiver has joined.
pub(super) fn open(receiver: &Receiver) -> Option<Capture> {
    let joined = receiver.memberships().into_iter().flat_map(|status| status.interfaces);
    let indices: BTreeSet<InterfaceIndex> = joined.map(|interface| interface.index).collect();
    let mut indices = indices.into_iter();
    let first = CaptureOptions::on(indices.next()?);
    let options = indices.fold(first, CaptureOptions::and_on);
    Capture::open(options.filter(Filter::UdpBeginsWith(MAGIC)).outgoing(false)).ok()
}

/// Examines the sockets at these ports, and returns the findings as text.
fn examine(ports: &BTreeSet<u16>, is_stopped: &AtomicBool) -> String {
    let options = Options::default().listening(LISTEN);
    let mut findings = BTreeMap::new();
    for port in ports {
        let mut progress = |_| match is_stopped.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        match examine_program(ProgramSelector::Port(*port), &options, &mut progress) {
            Ok(report) => findings.extend(serious(&report).map(|finding| (line(finding), ()))),
            Err(error) => return format!("{EXAMINED}\nnot examined: {error}"),
        }
    }
    findings.into_keys().fold(EXAMINED.to_owned(), |text, line| text + "\n" + &line)
}

/// Returns the findings that explain why probes do not arrive. That nothing arrives is what the prober knows.
fn serious(report: &Report) -> impl Iterator<Item = &Finding> {
    report
        .findings
        .iter()
        .filter(|finding| finding.severity >= Severity::Warning && finding.id != Id::NothingArrives)
}

/// Returns a finding as `fault firewall-drops-data This machine's firewall ...`, with a tab and the remedy behind it.
fn line(finding: &Finding) -> String {
    let in_one_line = |text: &str| text.replace(['\n', '\t'], " ");
    let Finding { severity, id, cause, .. } = finding;
    let remedy = finding.first_remedy().map(|remedy| format!("\t{}", in_one_line(&remedy)));
    format!("{severity} {id} {}{}", in_one_line(cause), remedy.unwrap_or_default())
}
