//! What a call of a subscriber does: it handles what has arrived, runs timers, and returns the next step.

use std::io;
use std::time::{Duration, Instant};

use mcast::{Cursor, ErrorKind};

use super::{CurrentDatagram, MAX_WAIT, Poll, Subscriber};
use crate::Target;
#[cfg(not(any(feature = "acknowledgements", feature = "history")))]
use crate::driver::account::WithoutAccount;
use crate::driver::error::{StreamError, StreamStep};
use crate::driver::spinning::Spinning;
use crate::driver::unicast::{send_aside, wait_for_either};
use crate::subscriber::Step;
use crate::wire::{Header, StreamId};

/// The most unicast datagrams that are handled before those of the group again.
pub(super) const UNICAST_BATCH: usize = 64;
/// The most batches without a result in one call, so that a flooded group does not block the caller.
pub(super) const MAX_BATCHES: usize = 8;
/// How often the time of day is read.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// After this many steps from the history, the live stream is received again.
const HISTORY_STEPS: usize = 64;

impl Subscriber {
    /// Returns the next step, waiting for at most `timeout`.
    pub(super) fn advance(&mut self, timeout: Option<Duration>) -> Result<Option<Step>, StreamError> {
        let mut deadline = None;
        let mut spinning = Spinning::default();
        loop {
            let due = match self.poll()? {
                Poll::Step(step) => return Ok(Some(step)),
                Poll::Ended => return Ok(None),
                Poll::Woken => return Err(StreamError::Woken),
                Poll::Pending(due) => due,
            };
            let until = *deadline
                .get_or_insert_with(|| timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
            let left = until.map_or(MAX_WAIT, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            if spinning.lasts(self.spin) {
                continue;
            }
            wait_for_either(&self.receiver, &self.control, left.min(due))
                .map_err(StreamStep::Wait.failed())?;
        }
    }

    /// Returns the next step without waiting, and sends what is due.
    pub(crate) fn poll(&mut self) -> Result<Poll, StreamError> {
        let mut batches = 0;
        loop {
            let outcome = if self.is_joining { self.poll_history()? } else { self.poll_live(&mut batches)? };
            if let Some(poll) = outcome {
                return Ok(poll);
            }
        }
    }

    /// Delivers what was handled, before the next datagram of the batch takes its place; after the last one, sends what is
    /// due, and receives more. Returns `None` if there is more to deliver, or if an event has led back to the history.
    #[inline]
    fn poll_live(&mut self, batches: &mut usize) -> Result<Option<Poll>, StreamError> {
        if let Some(step) = self.step() {
            return Ok(Some(Poll::Step(step)));
        }
        if self.is_joining || self.handle_next() {
            return Ok(None);
        }
        self.run_timers();
        if let Some(step) = self.step() {
            return Ok(Some(Poll::Step(step)));
        }
        if self.is_joining || self.change_stream() {
            return Ok(None);
        }
        if self.is_over() {
            return Ok(Some(Poll::Ended));
        }
        self.receive(batches)
    }

    /// Receives unicast datagrams and the next batch; `None` if something has arrived that must be handled first.
    fn receive(&mut self, batches: &mut usize) -> Result<Option<Poll>, StreamError> {
        if self.handle_unicast()? {
            return Ok(None);
        }
        let has_more_unicast = core::mem::take(&mut self.unicast_handled) == UNICAST_BATCH;
        let has_batch = self.refill()?;
        *batches += usize::from(has_batch);
        if has_batch && *batches < MAX_BATCHES {
            return Ok(None);
        }
        if core::mem::take(&mut self.woken) {
            return Ok(Some(Poll::Woken));
        }
        let wait = if has_batch || has_more_unicast { Duration::ZERO } else { self.max_wait() };
        Ok(Some(Poll::Pending(wait)))
    }

    /// Reads the clock, and sends what is due.
    fn run_timers(&mut self) {
        self.now = self.clock.now();
        self.check_clock();
        self.send_control();
    }

    /// Returns a message of the history, or one that waited for it, and receives the live stream meanwhile; `None` when the live
    /// stream is next.
    fn poll_history(&mut self) -> Result<Option<Poll>, StreamError> {
        if self.is_caller_busy || self.since_live >= HISTORY_STEPS {
            self.receive_beside_history()?;
        }
        for attempt in 0..2 {
            if let Some(step) = self.history_step()? {
                return Ok(Some(Poll::Step(step)));
            }
            if !self.is_joining {
                return Ok(None);
            }
            if attempt == 0 {
                self.receive_beside_history()?;
            }
        }
        if core::mem::take(&mut self.woken) {
            return Ok(Some(Poll::Woken));
        }
        if self.is_over() {
            return Ok(Some(Poll::Ended));
        }
        Ok(Some(Poll::Pending(self.max_wait())))
    }

    /// Returns the next step while messages of the history are delivered.
    fn history_step(&mut self) -> Result<Option<Step>, StreamError> {
        let stream = self.machine.as_ref().map(crate::SubscriberMachine::stream).or(self.stream);
        let Some(history) = &mut self.history else { return Ok(None) };
        if let Some(machine) = &self.machine {
            history.record_publisher(self.now, machine);
        }
        history.exchange(self.now, stream, &self.config.keys)?;
        if self.is_caller_busy {
            return Ok(None);
        }
        let event = self.others.event().or_else(|| history.event());
        let event = event.or_else(|| self.selector.event().filter(|_| self.machine.is_none()));
        let step = event.map(Step::of_event).or_else(|| history.machine.poll_step(self.now));
        if let Some(machine) = &mut self.machine {
            machine.join_history(self.now, history.machine.account());
        }
        self.since_live += 1;
        self.is_joining = step.is_some() || !history.machine.is_live();
        history.rest_if_live();
        Ok(step)
    }

    /// Receives the live stream without delivering it.
    fn receive_beside_history(&mut self) -> Result<(), StreamError> {
        self.since_live = 0;
        let mut batches = 0;
        loop {
            self.take_live();
            if self.handle_next() {
                continue;
            }
            self.run_timers();
            self.take_live();
            if self.handle_unicast()? {
                continue;
            }
            self.unicast_handled = 0;
            batches += 1;
            if !self.refill()? || batches == MAX_BATCHES {
                return Ok(());
            }
        }
    }

    /// Passes what the live stream delivers to the history.
    fn take_live(&mut self) {
        if let (Some(machine), Some(history)) = (&mut self.machine, &mut self.history) {
            let datagram =
                self.current_datagram.bytes(&self.batch, self.current, &self.unicast[..self.unicast_length]);
            history.take_live(self.now, machine, datagram);
        }
    }

    /// Updates the offset to the time of day regularly, because the system's clock may be stepped.
    fn check_clock(&mut self) {
        if self.now < self.check_clock_at {
            return;
        }
        self.check_clock_at = self.now + CLOCK_INTERVAL;
        self.config.unix_offset = self.clock.unix_offset();
        if let Some(machine) = &mut self.machine {
            machine.set_unix_offset(self.config.unix_offset);
        }
    }

    /// Changes to another stream if none was chosen and the followed one is silent or has ended.
    fn change_stream(&mut self) -> bool {
        let Some(machine) = self.machine.as_mut().filter(|_| self.stream.is_none() && !self.is_caller_busy)
        else {
            return false;
        };
        let has_ended = machine.has_ended();
        let successor = self.others.successor(self.now, self.config.publisher_silence, has_ended);
        let successor =
            self.retires_for.or_else(|| successor.filter(|_| !has_ended || self.follows_restarts));
        let Some(to) = successor else { return false };
        if !has_ended && self.retires_for.is_none() {
            // Its messages and losses are delivered and reported first.
            self.retires_for = Some(to);
            machine.abandon();
            return true;
        }
        let from = machine.stream();
        self.retires_for = None;
        machine.leave(self.now);
        self.send_control();
        self.machine = None;
        self.successor = Some(to);
        self.others.follow(from, to, self.now);
        if let Some(history) = &mut self.history {
            history.machine.restart(self.now);
        }
        true
    }

    /// Buffers the rest of the current datagram, and what arrives.
    pub(super) fn start_buffering(&mut self) {
        if let Some(machine) = &mut self.machine {
            let datagram =
                self.current_datagram.bytes(&self.batch, self.current, &self.unicast[..self.unicast_length]);
            machine.start_buffering(datagram);
        }
    }

    #[inline]
    fn step(&mut self) -> Option<Step> {
        if self.is_caller_busy {
            return None;
        }
        if let Some(event) = self.others.event() {
            return Some(Step::of_event(event));
        }
        let Some(machine) = self.machine.as_mut() else {
            return self.selector.event().map(Step::of_event);
        };
        let datagram =
            self.current_datagram.bytes(&self.batch, self.current, &self.unicast[..self.unicast_length]);
        let step = machine.poll_step(self.now, datagram)?;
        let (Some(history), Some(event)) = (&mut self.history, step.event()) else { return Some(step) };
        let step = history.machine.handle_event(self.now, machine, event).map(Step::of_event);
        self.is_joining = !history.machine.is_live();
        step
    }

    /// Handles the next datagram of the batch, if there is one.
    #[inline]
    fn handle_next(&mut self) -> bool {
        self.current = self.next;
        let Some(datagram) = self.batch.next_at(&mut self.next) else {
            self.current_datagram = CurrentDatagram::Nothing;
            return false;
        };
        self.current_datagram = CurrentDatagram::Batch;
        let arrival = datagram.arrival();
        let path = self.paths.of(arrival, self.now, &self.receiver);
        let payload = datagram.payload();
        if self.machine.is_none() {
            let chosen = self.stream.or(self.successor);
            self.machine = self.selector.select(chosen, &self.config, payload, self.now);
            if let Some(machine) = &mut self.machine
                && let Some(position) = self.processed_before.take()
            {
                machine.acknowledge(self.now, position);
            }
            if let Some(machine) = self.machine.as_mut().filter(|_| self.is_caller_busy) {
                machine.start_buffering(&[]);
            }
        }
        if let Some(machine) = &mut self.machine {
            if self.stream.is_none() {
                self.others.note(machine.stream(), &self.config, payload, arrival.source, self.now);
            }
            machine.handle_datagram(self.now, path, arrival.source, payload);
        }
        true
    }

    /// Handles the next unicast datagram; returns whether there was one.
    fn handle_unicast(&mut self) -> Result<bool, StreamError> {
        while self.unicast_handled < UNICAST_BATCH {
            self.unicast_handled += 1;
            match self.control.recv_from(&mut self.unicast) {
                Ok((length, from)) => {
                    let Some(machine) = &mut self.machine else { continue };
                    self.is_answered = self.is_answered
                        || is_of(machine.stream(), &self.unicast[..length]) && !machine.is_repairer(from);
                    (self.unicast_length, self.current_datagram) = (length, CurrentDatagram::Unicast);
                    machine.handle_datagram(self.now, 0, from, &self.unicast[..length]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unicast_handled = 0;
                    return Ok(false);
                }
                // An ICMP error about a datagram that was sent.
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(StreamStep::ReceiveUnicast.failed()(error)),
            }
        }
        Ok(false)
    }

    /// Receives the next batch of the group's datagrams; returns whether there was any.
    fn refill(&mut self) -> Result<bool, StreamError> {
        (self.current, self.next, self.current_datagram) =
            (Cursor::default(), Cursor::default(), CurrentDatagram::Nothing);
        match self.receiver.recv_batch(&mut self.batch, Some(Duration::ZERO)) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == ErrorKind::Woken => {
                self.batch.clear();
                self.woken = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the state machine's datagrams.
    pub(super) fn send_control(&mut self) {
        let Some(machine) = &mut self.machine else { return };
        if let Some(history) = &self.history {
            machine.join_history(self.now, history.machine.account());
        }
        while let Some(control) = machine.poll_transmit(self.now) {
            let is_sent = match control.to {
                Target::Address(address) => self.control.send_to(control.bytes(), address).is_ok(),
                Target::Aside(address) => send_aside(&self.control, address, control.bytes()),
                Target::Group | Target::Discovery => false,
            };
            // The state machine repeats what gets lost.
            machine.on_not_sent(u64::from(!is_sent));
            machine.reuse(control);
        }
    }
}

/// Whether a datagram is from the publisher of this stream, by its header.
fn is_of(stream: StreamId, datagram: &[u8]) -> bool {
    Header::read(datagram)
        .is_ok_and(|(header, _)| header.stream == stream && !header.kind.is_from_subscribers())
}

fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
    )
}
