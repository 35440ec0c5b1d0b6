//! The datagrams of plain groups: receives them, and sends those again that an engine holds.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mcast::{Batch, Datagram, ErrorKind, Family, InterfaceIndex, Outgoing, Receiver, Sender};
use mcast_stream::ClockTime;

use super::connection::{SourceConnection, SourceReport};
use super::reverse::ReverseNotice;
use super::{BridgeError, clock, time_of_day};
use crate::engine::Engine;
use crate::machine::BridgeMachine;
use crate::record::{ArrivalTime, Content, DatagramMetadata, StreamRecord};
use crate::reverse::{ReplayConfig, ReplayMachine, ReverseStatistics};

/// The most datagrams to send between two looks at the engine.
const DATAGRAMS: usize = 64;

/// Sends the datagrams of a plain group again.
#[derive(Debug)]
pub struct GroupReplay {
    machine: ReplayMachine,
    sender: Sender,
    source: SourceConnection,
    is_connected: bool,
    start: Instant,
    notices: VecDeque<ReverseNotice>,
}

impl GroupReplay {
    /// Starts to send what the engine holds.
    ///
    /// # Errors
    /// If no thread can be started. Errors of the engine are reported by [`next`](Self::next).
    pub fn start(sender: Sender, engine: Arc<dyn Engine>, config: ReplayConfig) -> Result<Self, BridgeError> {
        Ok(Self {
            machine: ReplayMachine::new(config),
            sender,
            // It waits for reports.
            source: SourceConnection::start(engine, || {}).map_err(BridgeError::Thread)?,
            is_connected: false,
            start: Instant::now(),
            notices: VecDeque::new(),
        })
    }

    /// Waits for the next notice for at most `timeout` and returns it.
    ///
    /// # Errors
    /// If datagrams cannot be sent, or the engine cannot be used any more. An engine that may recover is a notice.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ReverseNotice>, BridgeError> {
        let until = Instant::now() + timeout;
        loop {
            while let Some(report) = self.source.report() {
                self.handle(report)?;
            }
            self.send()?;
            let now = clock(self.start);
            while let Some((number, request)) = self.machine.poll_request(now) {
                self.source.send(number, request);
            }
            self.notices.extend(std::iter::from_fn(|| self.machine.poll_event()).map(ReverseNotice::Bridge));
            if let Some(notice) = self.notices.pop_front() {
                return Ok(Some(notice));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.machine.is_over() {
                return Ok(None);
            }
            let due = self.machine.poll_timeout(now).unwrap_or(ClockTime::NEVER).since(now);
            if let Some(report) = self.source.wait(left.min(due)) {
                self.handle(report)?;
            }
        }
    }

    /// Whether everything that the engine holds was sent.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.machine.is_over()
    }

    /// Whether there is a connection to the engine.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Returns the counters.
    #[must_use]
    pub const fn statistics(&self) -> ReverseStatistics {
        self.machine.statistics()
    }

    fn handle(&mut self, report: SourceReport) -> Result<(), BridgeError> {
        let now = clock(self.start);
        match report {
            SourceReport::Connected => {
                self.is_connected = true;
                self.machine.handle_connected(now);
                self.notices.push_back(ReverseNotice::Connected);
            }
            SourceReport::Response(number, response) => {
                let refused = |refusal| BridgeError::NotPublished { refusal, publisher: None };
                self.machine.handle_response(now, number, response).map_err(refused)?;
            }
            SourceReport::Failed(error) if !error.is_transient() => return Err(error.into()),
            SourceReport::Failed(error) => {
                self.is_connected = false;
                self.machine.handle_disconnected();
                self.notices.push_back(ReverseNotice::Disconnected(error));
            }
        }
        Ok(())
    }

    /// Sends the datagrams that are due.
    fn send(&mut self) -> Result<(), BridgeError> {
        for _ in 0..DATAGRAMS {
            let now = clock(self.start);
            let Some(StreamRecord { content, .. }) = self.machine.poll_record(now) else { break };
            let Content::Datagram { metadata, bytes } = content else { break };
            if is_own(&self.sender, metadata.source) {
                return Err(BridgeError::FeedbackLoop);
            }
            // It waits for room in a full queue.
            self.sender.send_batch(&[Outgoing::new(bytes)])?;
            self.machine.handle_sent(now);
        }
        Ok(())
    }
}

/// Whether this is the address that datagrams are sent from.
fn is_own(sender: &Sender, source: SocketAddr) -> bool {
    let Ok(own) = sender.local_address(Family::of(source.ip())) else { return false };
    if own.port() == 0 || own.port() != source.port() {
        return false;
    }
    let is_of_this_host = || {
        let interfaces = mcast::interface::list().unwrap_or_default();
        interfaces
            .iter()
            .any(|interface| interface.addresses.iter().any(|address| address.address == source.ip()))
    };
    own.ip() == source.ip() || own.ip().is_unspecified() && is_of_this_host()
}

/// Buffers of a batch, each for the largest datagram.
const BUFFERS: usize = 32;
const BUFFER: usize = 65_536;

/// Returns the name of an interface.
pub type InterfaceNameOf = Box<dyn FnMut(InterfaceIndex) -> Arc<str> + Send>;

/// What a bridge of plain groups receives.
pub(super) struct GroupInput {
    receiver: Receiver,
    batch: Batch,
    name_of: InterfaceNameOf,
    /// Datagrams that the system dropped, as far as datagrams behind them have shown.
    shown: u64,
    /// Those that were passed on.
    noted: u64,
}

impl GroupInput {
    pub(super) fn new(receiver: Receiver, name_of: InterfaceNameOf) -> Self {
        Self { receiver, batch: Batch::new(BUFFERS, BUFFER), name_of, shown: 0, noted: 0 }
    }

    /// Passes on the datagrams that are there, waiting for the first for at most `timeout`; returns whether there were
    /// none.
    pub(super) fn receive(
        &mut self,
        machine: &mut BridgeMachine,
        now: impl Fn() -> ClockTime,
        timeout: Duration,
    ) -> Result<bool, mcast::Error> {
        match self.receiver.recv_batch(&mut self.batch, Some(timeout)) {
            Ok(0) => {
                self.record_dropped(machine, now());
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::Woken => return Ok(true),
            received => received?,
        };
        let (now, time) = (now(), time_of_day());
        for datagram in self.batch.iter() {
            self.shown += datagram.arrival().lost.unwrap_or(0);
            machine.handle_drops(now, time, self.shown.saturating_sub(self.noted));
            self.noted = self.noted.max(self.shown);
            machine.handle_datagram(now, time, metadata(&datagram, &mut self.name_of), datagram.payload());
        }
        Ok(false)
    }

    /// Passes on what the system dropped after the last datagram.
    pub(super) fn record_dropped(&mut self, machine: &mut BridgeMachine, now: ClockTime) {
        let dropped = self.receiver.statistics().dropped.count().unwrap_or(0);
        machine.handle_drops(now, time_of_day(), dropped.saturating_sub(self.noted));
        self.noted = self.noted.max(dropped);
    }
}

fn metadata(datagram: &Datagram<'_>, name_of: &mut InterfaceNameOf) -> DatagramMetadata {
    let arrival = datagram.arrival();
    let kernel_time = |time: SystemTime| {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        since_1970.as_nanos().try_into().ok().map(ArrivalTime)
    };
    DatagramMetadata {
        source: arrival.source,
        group: arrival.destination,
        interface: name_of(arrival.interface),
        kernel_time: arrival.time.and_then(kernel_time),
        hop_limit: arrival.hop_limit,
        dscp: arrival.dscp(),
    }
}

impl fmt::Debug for GroupInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupInput").field("noted", &self.noted).finish_non_exhaustive()
    }
}
