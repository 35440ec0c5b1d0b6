//! Probes to the group and to each responder, and their answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast::{Family, Sender};
use mcast_measure::Pings;
use mcast_measure::wire::{Header, Kind, Message, Probe, SessionId, UnixNanos};

use super::unicast::Unicast;
use super::{Arguments, output};
use crate::arguments::select_destinations;
use crate::console::Console;
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::random::random_number;
use crate::sending::{Target, targets};

/// The longest wait before checking for an interrupt.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Stream numbers: probes to the group, and to single hosts.
const TO_GROUP: u16 = 0;
const TO_ONE: u16 = 1;

/// The probes and answers, shared by the threads.
#[derive(Debug)]
pub(super) struct SharedState {
    session: SessionId,
    start: Instant,
    state: Mutex<PingState>,
    /// Shows answers when they arrive, unless they are not to be shown.
    live: Option<output::AnswerPrinter>,
}

#[derive(Debug)]
pub(super) struct PingState {
    pub(super) pings: Pings,
    /// The source of each responder's answers, including the scope of its address.
    sources: Vec<SocketAddr>,
    pub(super) foreign: u64,
}

impl SharedState {
    fn new(patience: Duration, live: Option<output::AnswerPrinter>) -> Self {
        let state = PingState { pings: Pings::new(patience), sources: Vec::new(), foreign: 0 };
        Self { session: SessionId(random_number()), start: Instant::now(), state: Mutex::new(state), live }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, PingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records a received message.
    pub(super) fn record(&self, message: &[u8], source: SocketAddr, by_unicast: bool) {
        let now = self.now();
        let mut state = self.state();
        let (header, answer) = match Message::decode(message) {
            Ok((header, Message::Reply(answer)))
                if header.session == self.session && answer.by_unicast == by_unicast =>
            {
                (header, answer)
            }
            _ => {
                state.foreign += 1;
                return;
            }
        };
        // The answer contains the time of the probe, in nanoseconds since the start.
        let Some(round_trip) = now.checked_sub(Duration::from_nanos(header.time.0)) else {
            state.foreign += 1;
            return;
        };
        let address = source.ip();
        let PingState { pings, sources, .. } = &mut *state;
        if let Some((responder, is_new)) = pings.record_reply(address, header.sequence, &answer, round_trip) {
            if let Some(live) = &self.live {
                live.show(responder, is_new, header.sequence, &answer, round_trip);
            }
            if is_new {
                sources.push(source);
            }
        }
    }

    fn header(&self, stream: u16, sequence: u64) -> Header {
        let time = UnixNanos(u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX));
        Header { kind: Kind::Probe, stream, session: self.session, sequence, time }
    }
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let chosen = select_destinations(std::slice::from_ref(&arguments.group), arguments.families, console)?;
    let [destination] = chosen.items.as_slice() else {
        return Err(Failure::usage(format!("\"{}\" is more than one group and port", arguments.group))
            .remedy("ping one at a time")
            .into());
    };
    let hop_limit = arguments.ttl.or(chosen.hop_limit).unwrap_or(1);
    let targets = targets::resolve(&chosen.items, &arguments.interfaces)?;
    let mut builder = Sender::builder().hop_limit(hop_limit);
    if let Some(dscp) = arguments.dscp {
        builder = builder.traffic_class(dscp << 2);
    }
    let sender = builder.build()?;
    let interrupt = Interrupt::catch(|| {})?;
    targets::print(&targets, hop_limit, arguments.ttl.is_none() && chosen.hop_limit.is_none(), console);
    let live = (!arguments.json && !console.is_quiet()).then(|| output::AnswerPrinter::new(console));
    let shared = Arc::new(SharedState::new(arguments.timing.wait, live));
    let family = destination.address.group.family();
    let unicast =
        Unicast::open(family, Arc::clone(&shared)).context("cannot open a socket for unicast probes")?;
    let prober =
        Prober { arguments, shared: &shared, sender, targets, unicast, family, hop_limit, interrupt };
    prober.run()?;
    let state = shared.state();
    output::summary(&state, shared.now(), arguments.json, console)?;
    let outcome = judge(arguments, &state, shared.now(), console);
    Ok(prober.interrupt.outcome().unwrap_or(outcome))
}

/// Sends probes and receives answers.
struct Prober<'a> {
    arguments: &'a Arguments,
    shared: &'a SharedState,
    sender: Sender,
    targets: Vec<Target>,
    unicast: Unicast,
    family: Family,
    hop_limit: u8,
    interrupt: Interrupt,
}

impl Prober<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let timing = &self.arguments.timing;
        let end = timing.timeout.unwrap_or(Duration::MAX);
        let mut next = Duration::ZERO;
        let mut sent = 0;
        while timing.count.is_none_or(|count| sent < count) {
            if self.listen_until(next.min(end), false)? || self.shared.now() >= end {
                return Ok(());
            }
            self.send_probes()?;
            sent += 1;
            // After a delay, continue from now instead of sending several probes at once.
            next = (next + timing.every).max(self.shared.now());
        }
        let last = self.shared.now().saturating_add(timing.wait);
        self.listen_until(last.min(end), true)?;
        Ok(())
    }

    /// Sends a probe to the group on each interface, and one to each responder by unicast.
    fn send_probes(&self) -> anyhow::Result<()> {
        let length = self.arguments.size;
        let number = self.shared.state().pings.record_probe(self.shared.now());
        for target in &self.targets {
            let probe = Probe { hop_limit: self.hop_limit, by_unicast: false };
            let message = probe.encode(self.shared.header(TO_GROUP, number), length);
            self.sender.send_one(&target.outgoing(&message))?;
        }
        for (place, to) in self.unicast_addresses() {
            let now = self.shared.now();
            let Some(number) = self
                .shared
                .state()
                .pings
                .responders_mut()
                .get_mut(place)
                .map(|responder| responder.record_probe(now))
            else {
                continue;
            };
            let probe = Probe { hop_limit: 0, by_unicast: true };
            self.unicast.send(&probe.encode(self.shared.header(TO_ONE, number), length), to);
        }
        Ok(())
    }

    /// Returns the responders that answer unicast probes, with their addresses.
    fn unicast_addresses(&self) -> Vec<(usize, SocketAddr)> {
        let state = self.shared.state();
        let responders = state.pings.responders().iter().zip(&state.sources).enumerate();
        let with_port = responders.filter(|(_, (responder, _))| responder.unicast_port != 0);
        with_port
            .map(|(place, (responder, source))| {
                let mut to = *source;
                to.set_port(responder.unicast_port);
                (place, to)
            })
            .collect()
    }

    /// Receives answers until `until`, or at the end until everything is answered. Returns whether an interrupt
    /// arrived.
    fn listen_until(&self, until: Duration, is_end: bool) -> anyhow::Result<bool> {
        let mut buffer = vec![0; 65_536];
        loop {
            if self.interrupt.has_arrived() {
                return Ok(true);
            }
            let left = until.saturating_sub(self.shared.now());
            if left.is_zero() || (is_end && self.is_complete()) {
                return Ok(false);
            }
            if let Some(answer) =
                self.sender.recv_answer(self.family, &mut buffer, left.min(POLL_INTERVAL))?
            {
                self.shared.record(answer.payload, answer.source, false);
            }
        }
    }

    /// Returns whether all probes are answered, by as many responders as expected.
    fn is_complete(&self) -> bool {
        let state = self.shared.state();
        let expected =
            self.arguments.criteria.expect.is_some_and(|expect| state.pings.responders().len() >= expect);
        expected && state.pings.all_answered()
    }
}

fn judge(arguments: &Arguments, state: &PingState, now: Duration, console: &Console) -> Outcome {
    let (answering, required) = (state.pings.responders().len(), arguments.criteria.expect.unwrap_or(1));
    if answering < required {
        console.note(format_args!("{answering} answered, expected at least {required}"));
        return Outcome::No;
    }
    let Some(most) = arguments.criteria.max_loss else { return Outcome::Yes };
    let worst = state.pings.responders().iter().map(|responder| {
        let sent = state.pings.sent_to_group(responder, now);
        output::lost_percent(sent, responder.multicast().received())
    });
    let worst = worst.fold(0.0, f64::max);
    if worst > most {
        console.note(format_args!("lost {worst:.3}%, more than the allowed {most}%"));
    }
    Outcome::of(worst <= most)
}
