//! Probes to the group and to each responder, and their answers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mcast::{Family, Sender};
use mcast_measure::wire::SessionId;
use mcast_measure::{ProbeResults, ProbeSession, lost_percent};

use super::{Plan, json, text};
use crate::console::Console;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output::excess_loss;
use crate::probe;
use crate::random::random_number;
use crate::sending::targets;

/// The probes and answers, shared by the threads.
#[derive(Debug)]
struct SharedState {
    start: Instant,
    state: Mutex<PingState>,
    /// Shows answers when they arrive, unless they are not to be shown.
    live: Option<text::AnswerPrinter>,
}

#[derive(Debug)]
struct PingState {
    pings: ProbeSession,
    /// The source of each responder's answers, including the scope of its address.
    sources: Vec<SocketAddr>,
}

impl SharedState {
    fn new(plan: &Plan, live: Option<text::AnswerPrinter>) -> Self {
        let pings = ProbeSession::ping(SessionId(random_number()), plan.case, plan.wait);
        Self { start: Instant::now(), state: Mutex::new(PingState { pings, sources: Vec::new() }), live }
    }

    fn state(&self) -> MutexGuard<'_, PingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records a received message.
    fn record(&self, message: &[u8], source: SocketAddr, by_unicast: bool) {
        let now = self.now();
        let mut state = self.state();
        let Some(accepted) = state.pings.record(message, source.ip(), by_unicast, now) else { return };
        if accepted.is_new {
            state.sources.push(source);
        }
        if let (Some(live), Some(responder)) = (&self.live, state.pings.responders().get(accepted.responder))
        {
            live.show(responder, &accepted);
        }
    }

    /// Receives answers to unicast probes until the process ends.
    fn receive_unicast(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; 65_536];
        loop {
            // An error means that a host could not be reached, so its answer is missing anyway.
            if let Ok((length, source)) = socket.recv_from(&mut buffer) {
                self.record(&buffer[..length], source, true);
            }
        }
    }
}

pub(super) fn run(plan: &Plan, console: &Console) -> anyhow::Result<Outcome> {
    let mut builder = Sender::builder().hop_limit(plan.case.hop_limit);
    if let Some(traffic_class) = plan.traffic_class {
        builder = builder.traffic_class(traffic_class);
    }
    let sender = builder.build()?;
    let interrupt = Interrupt::catch(|| {})?;
    targets::print(&plan.targets, plan.case.hop_limit, plan.is_default_reach, console);
    let live = (!plan.json && !console.is_quiet()).then(|| text::AnswerPrinter::new(console));
    let shared = Arc::new(SharedState::new(plan, live));
    let family = plan.destination.address.group.family();
    let unicast = Arc::new(probe::unicast_socket(family)?);
    let (receiving, socket) = (Arc::clone(&shared), Arc::clone(&unicast));
    thread::Builder::new().name("unicast".into()).spawn(move || receiving.receive_unicast(&socket))?;
    let prober = Prober { plan, shared: &shared, sender, unicast: &unicast, family, interrupt };
    prober.run()?;
    let (state, now) = (shared.state(), shared.now());
    if plan.json {
        json::write(&state.pings, now, console)?;
    } else {
        text::write(&state.pings, now, console)?;
    }
    text::note_totals(&state.pings, console);
    let outcome = judge(plan, &state.pings, now, console);
    Ok(prober.interrupt.outcome().unwrap_or(outcome))
}

/// Sends probes and receives answers.
struct Prober<'a> {
    plan: &'a Plan,
    shared: &'a SharedState,
    sender: Sender,
    unicast: &'a UdpSocket,
    family: Family,
    interrupt: Interrupt,
}

impl Prober<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let end = self.plan.timeout.unwrap_or(Duration::MAX);
        let mut next = Duration::ZERO;
        let mut sent = 0;
        while self.plan.count.is_none_or(|count| sent < count) {
            self.listen_until(next.min(end), false)?;
            if self.interrupt.has_arrived() || self.shared.now() >= end {
                return Ok(());
            }
            self.send_probes()?;
            sent += 1;
            // After a delay, continue from now instead of sending several probes at once.
            next = (next + self.plan.every).max(self.shared.now());
        }
        let last = self.shared.now().saturating_add(self.plan.wait);
        self.listen_until(last.min(end), true)
    }

    /// Sends a probe to the group on each interface, and one to each responder by unicast.
    fn send_probes(&self) -> anyhow::Result<()> {
        let now = self.shared.now();
        let Some(message) = self.next_group_probe(now) else { return Ok(()) };
        for target in &self.plan.targets {
            self.sender.send_one(&target.outgoing(&message))?;
        }
        for (message, to) in self.unicast_probes() {
            // The first error may belong to an earlier probe; if the second try fails, this one counts as lost.
            if self.unicast.send_to(&message, to).is_err() {
                let _ = self.unicast.send_to(&message, to);
            }
        }
        Ok(())
    }

    /// Returns the next probe to the group, which counts as sent.
    fn next_group_probe(&self, now: Duration) -> Option<Vec<u8>> {
        let pings = &mut self.shared.state().pings;
        let message = pings.probe(0, now)?;
        pings.record_probe(0, now);
        Some(message)
    }

    /// Returns a probe to each responder that answers unicast probes.
    fn unicast_probes(&self) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut state = self.shared.state();
        let PingState { pings, sources } = &mut *state;
        let ports: Vec<_> = pings.responders().iter().map(|responder| responder.unicast_port).collect();
        let addresses = ports.into_iter().zip(sources.iter().copied()).enumerate();
        addresses
            .filter(|(_, (port, _))| *port != 0)
            .filter_map(|(index, (port, mut to))| {
                to.set_port(port);
                Some((pings.unicast_probe(index, self.shared.now())?, to))
            })
            .collect()
    }

    /// Receives answers until `until`, or at the end until everything is answered.
    fn listen_until(&self, until: Duration, is_end: bool) -> anyhow::Result<()> {
        probe::receive_replies(
            &self.sender,
            self.family,
            self.shared.start.checked_add(until),
            &self.interrupt,
            || is_end && self.is_complete(),
            |message, source| self.shared.record(message, source, false),
        )
    }

    /// Returns whether all probes are answered, by as many responders as expected.
    fn is_complete(&self) -> bool {
        let pings = &self.shared.state().pings;
        let expected = self.plan.criteria.expect.is_some_and(|expect| pings.responders().len() >= expect);
        expected && pings.all_answered()
    }
}

fn judge(plan: &Plan, pings: &ProbeSession, now: Duration, console: &Console) -> Outcome {
    let (answering, required) = (pings.responders().len(), plan.criteria.expect.unwrap_or(1));
    let losses = pings
        .responders()
        .iter()
        .map(|responder| lost(responder.multicast(0), pings.sent_to_group(responder, now)));
    let miss = match answering < required {
        true => Some(format!("{answering} answered, expected at least {required}")),
        false => excess_loss(losses.fold(0.0, f64::max), plan.criteria.max_loss),
    };
    miss.iter().for_each(|miss| console.note(miss));
    Outcome::of(miss.is_none())
}

/// Returns the probes without an answer, in percent.
pub(super) fn lost(results: &ProbeResults, sent: u64) -> f64 {
    lost_percent(sent.saturating_sub(results.received()), sent)
}
