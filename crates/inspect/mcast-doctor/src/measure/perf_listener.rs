//! The receiving end of a measurement.

use std::time::{Duration, Instant};

use mcast::{Batch, Datagram, ErrorKind, Receiver};
use mcast_measure::wire::{SessionId, UnixNanos};
use mcast_measure::{DropPoint, EndedSession, PerfArrival, PerfReceiver, SessionProgress, SystemCounters};

use super::{BUFFER, clock_id};
use crate::{Result, host_drops};

/// Buffers of a batch, each large enough for coalesced datagrams.
const BUFFERS: usize = 32;
/// The time between checks for sessions that have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Counts the datagrams of a [`PerfSender`](crate::PerfSender), reports the counts to it, and answers the pings of a
/// [`PingPongPlayer`](crate::PingPongPlayer).
///
/// ```no_run
/// use std::time::Duration;
///
/// use mcast::Receiver;
/// use mcast_doctor::PerfListener;
///
/// let receiver = Receiver::join_one("239.1.2.3%eth0:5000".parse()?)?;
/// let mut listener = PerfListener::new(&receiver, Duration::from_secs(3), false);
/// loop {
///     let now = listener.receive()?;
///     for ended in listener.take_ended(now) {
///         println!("{} lost {}", ended.key.source, ended.report.lost);
///     }
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PerfListener<'a> {
    receiver: &'a Receiver,
    perf: PerfReceiver,
    buffer: ReceiveBuffer,
    start: Instant,
    next_check: Duration,
    /// Receive calls that returned datagrams.
    calls: u64,
    /// Answers that the system refused to send.
    unsent: u64,
}

#[derive(Debug)]
enum ReceiveBuffer {
    /// For the highest rate.
    Batch(Batch),
    /// For the shortest delay.
    Single(Vec<u8>),
}

/// Reads the system's counters, for this number of receive calls that returned datagrams.
fn system_counters(receiver: &Receiver, receive_calls: u64) -> SystemCounters {
    let statistics = receiver.statistics();
    let drops = host_drops().with(DropPoint::Socket, statistics.dropped.count());
    SystemCounters { drops, receive_calls, coalesced: statistics.merged }
}

impl<'a> PerfListener<'a> {
    /// Creates a listener, which reads the system's counters: what is dropped from now on is part of the reports. A
    /// session without a closing message ends after silence for `idle`. A listener that `answers_pings` receives
    /// datagrams one by one, and is slower for others.
    #[must_use]
    pub fn new(receiver: &'a Receiver, idle: Duration, answers_pings: bool) -> Self {
        let counters = system_counters(receiver, 0);
        let buffer = match answers_pings {
            true => ReceiveBuffer::Single(vec![0; BUFFER]),
            false => ReceiveBuffer::Batch(Batch::new(BUFFERS, BUFFER)),
        };
        Self {
            receiver,
            perf: PerfReceiver::new(SessionId::random().0, clock_id(), idle, counters),
            buffer,
            start: Instant::now(),
            next_check: CHECK_INTERVAL,
            calls: 0,
            unsent: 0,
        }
    }

    /// Receives and answers for 100 ms, or until the receiver is woken. Returns the time since the listener was
    /// created.
    ///
    /// # Errors
    /// If the system cannot receive.
    pub fn receive(&mut self) -> Result<Duration> {
        loop {
            let wait = self.next_check.saturating_sub(self.start.elapsed());
            let is_woken = match self.receive_once(wait) {
                Err(error) if error.kind() != ErrorKind::Woken => return Err(error.into()),
                received => received.is_err(),
            };
            let now = self.start.elapsed();
            if now >= self.next_check {
                self.next_check = now + CHECK_INTERVAL;
                return Ok(now);
            }
            if is_woken {
                return Ok(now);
            }
        }
    }

    fn receive_once(&mut self, wait: Duration) -> mcast::Result<()> {
        let Self { receiver, perf, buffer, start, calls, unsent, .. } = self;
        match buffer {
            ReceiveBuffer::Batch(batch) => {
                receiver.recv_batch_timeout(batch, wait)?;
                let now = start.elapsed();
                *calls += u64::from(!batch.is_empty());
                for datagram in batch.iter() {
                    *unsent += u64::from(!record(perf, receiver, *calls, &datagram, now));
                }
                batch.clear();
            }
            ReceiveBuffer::Single(buffer) => {
                let Some(datagram) = receiver.recv_timeout(buffer, wait)? else { return Ok(()) };
                let now = start.elapsed();
                *calls += 1;
                let arrival = datagram.arrival();
                if let Some(reply) = perf.reply_to(datagram.payload(), arrival.source, now) {
                    *unsent += u64::from(receiver.reply(arrival, reply).is_err());
                }
                *unsent += u64::from(!record(perf, receiver, *calls, &datagram, now));
            }
        }
        Ok(())
    }

    /// Returns the sessions that have ended since the last call.
    pub fn take_ended(&mut self, now: Duration) -> Vec<EndedSession> {
        let (receiver, calls) = (self.receiver, self.calls);
        self.perf.take_ended(now, || system_counters(receiver, calls))
    }

    /// Ends all sessions, and returns them.
    pub fn take_all(&mut self) -> Vec<EndedSession> {
        let (receiver, calls) = (self.receiver, self.calls);
        self.perf.take_all(self.start.elapsed(), || system_counters(receiver, calls))
    }

    /// Returns what each session has received since the last call.
    pub fn progress(&mut self) -> impl Iterator<Item = SessionProgress<'_>> {
        let (receiver, calls) = (self.receiver, self.calls);
        self.perf.progress(UnixNanos::now(), move || system_counters(receiver, calls))
    }

    /// Returns the account of all sessions.
    #[must_use]
    pub const fn account(&self) -> &PerfReceiver {
        &self.perf
    }

    /// Returns the number of answers that the system refused to send.
    #[must_use]
    pub const fn unsent(&self) -> u64 {
        self.unsent
    }
}

/// Records a datagram; returns `false` if its report could not be sent. A sender that a report does not reach asks
/// again.
fn record(
    perf: &mut PerfReceiver,
    receiver: &Receiver,
    calls: u64,
    datagram: &Datagram<'_>,
    now: Duration,
) -> bool {
    let to = datagram.arrival();
    let arrival = PerfArrival {
        source: to.source,
        interface: to.interface.number(),
        time: datagram.time.map_or_else(UnixNanos::now, UnixNanos::from),
        length: datagram.length,
    };
    let counters = || system_counters(receiver, calls);
    let report = perf.record(datagram.payload(), &arrival, now, counters);
    report.is_none_or(|report| receiver.reply(to, &report).is_ok())
}
