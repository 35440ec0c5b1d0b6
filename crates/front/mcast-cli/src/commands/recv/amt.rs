//! `--amt`: receives through a relay of AMT.

use std::time::{Duration, Instant};

use mcast::{Batch, InterfaceIndex, Membership, Statistics};
use mcast_relay::amt::{AmtRelayName, GatewayCounts, GatewayEvent};
use mcast_relay::driver::AmtReceiver;
use mcast_terminal::Console;

use crate::interrupt::Interrupt;
use crate::output::count;

/// A relay of AMT as an input.
pub(super) struct AmtInput<'a> {
    receiver: AmtReceiver,
    name: AmtRelayName,
    console: &'a Console,
    pub(super) interrupt: Interrupt,
}

impl<'a> AmtInput<'a> {
    /// The interface of datagrams that arrive through the tunnel.
    pub(super) const INTERFACE: InterfaceIndex = AmtReceiver::INTERFACE;

    /// Starts to look for the relay.
    pub(super) fn open(
        name: &AmtRelayName,
        memberships: Vec<Membership>,
        console: &'a Console,
    ) -> anyhow::Result<Self> {
        let receiver = AmtReceiver::open(name.clone(), memberships)?;
        let waker = receiver.waker();
        // If the waker fails, the wait ends with the next datagram.
        let interrupt = Interrupt::catch(move || drop(waker.wake()))?;
        console.detail(format_args!("looking for the AMT relay {name}"));
        Ok(Self { receiver, name: name.clone(), console, interrupt })
    }

    /// Waits for datagrams for at most this time. Returns 0 after it and after an interrupt.
    pub(super) fn fill(&mut self, batch: &mut Batch, left: Option<Duration>) -> anyhow::Result<usize> {
        let end = left.and_then(|left| Instant::now().checked_add(left));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let received = self.receiver.receive(batch, left)?;
            while let Some(event) = self.receiver.next_event() {
                self.report(event);
            }
            if received > 0 || left == Some(Duration::ZERO) || self.interrupt.has_arrived() {
                return Ok(received);
            }
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.receiver.statistics()
    }

    /// Ends the tunnel, and reports what has arrived in it that was not valid.
    pub(super) fn stop(&mut self) {
        self.receiver.stop();
        let GatewayCounts { invalid_messages, from_others, fragments, invalid_data, .. } =
            self.receiver.counts();
        let counts = [
            (invalid_messages, "invalid AMT messages"),
            (from_others, "not from the relay"),
            (fragments, "fragments"),
            (invalid_data, "damaged"),
        ];
        let dropped: Vec<_> = counts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{what}: {}", count(*number)))
            .collect();
        if !dropped.is_empty() {
            self.console.warn(format_args!("dropped from the tunnel: {}", dropped.join(", ")));
        }
    }

    fn report(&self, event: GatewayEvent) {
        let name = &self.name;
        match event {
            GatewayEvent::Connected { relay } => self.receiver.memberships().iter().for_each(|membership| {
                self.console.note(format_args!("joined {membership} through the AMT relay {}", relay.ip()));
            }),
            GatewayEvent::Lost { relay, failure } => {
                self.console
                    .warn(format_args!("the AMT relay {} {failure}: looking for another one", relay.ip()));
            }
            GatewayEvent::NoRelay => {
                self.console.warn(format_args!("no AMT relay answers at {name}: trying again"));
            }
            _ => {}
        }
    }
}
