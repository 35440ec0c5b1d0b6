//! The datagrams of plain groups.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mcast::{Batch, Datagram, ErrorKind, InterfaceIndex, Receiver};
use mcast_stream::ClockTime;

use super::milliseconds;
use crate::machine::BridgeMachine;
use crate::metadata::DatagramMetadata;

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
        match self.receiver.recv_batch_timeout(&mut self.batch, timeout) {
            Ok(0) => {
                self.record_dropped(machine, now());
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::Woken => return Ok(true),
            received => received?,
        };
        let (now, time) = (now(), milliseconds());
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
        machine.handle_drops(now, milliseconds(), dropped.saturating_sub(self.noted));
        self.noted = self.noted.max(dropped);
    }
}

fn metadata(datagram: &Datagram<'_>, name_of: &mut InterfaceNameOf) -> DatagramMetadata {
    let arrival = datagram.arrival();
    let nanoseconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos().try_into().ok();
    DatagramMetadata {
        source: arrival.source,
        group: arrival.destination,
        interface: name_of(arrival.interface),
        kernel_time: arrival.time.and_then(nanoseconds),
        hop_limit: arrival.hop_limit,
        dscp: arrival.dscp(),
    }
}

impl fmt::Debug for GroupInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupInput").field("noted", &self.noted).finish_non_exhaustive()
    }
}
