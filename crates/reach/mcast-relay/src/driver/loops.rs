//! The hardware addresses of boxes that also relay: the table of neighbours has them, once the system has resolved them.

use std::net::IpAddr;
use std::time::Duration;

use mcast_packet::MacAddress;

use super::{Driver, DriverEvent};
use crate::{LegId, RelayEvent};

/// The time that the system has to resolve an address.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The time between looks at the table meanwhile.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A loop that is reported once the hardware address of its culprit is known, or cannot be found.
#[derive(Debug)]
pub(super) struct PendingLoop {
    event: RelayEvent,
    until: Duration,
}

impl Driver {
    /// Reports an event of the state machine; one about a loop with the hardware address.
    pub(super) fn report(&mut self, event: RelayEvent) {
        let RelayEvent::LoopFound { leg, source, mac: None, .. } = event else {
            self.events.push_back(DriverEvent::Relay(event));
            return;
        };
        if self.hardware_address(leg, source).is_none()
            && let Some(open) = self.legs.get(usize::from(leg.0)).and_then(|leg| leg.open.as_ref())
        {
            open.resolve(source);
        }
        self.loops.push(PendingLoop { event, until: self.now() + TIMEOUT });
    }

    /// Reports the loops whose culprits have been resolved, or not in time.
    pub(super) fn report_loops(&mut self, now: Duration) {
        for PendingLoop { mut event, until } in std::mem::take(&mut self.loops) {
            let RelayEvent::LoopFound { leg, source, ref mut mac, .. } = event else { continue };
            *mac = self.hardware_address(leg, source);
            match mac.is_some() || now >= until {
                true => self.events.push_back(DriverEvent::Relay(event)),
                false => self.loops.push(PendingLoop { event, until }),
            }
        }
    }

    fn hardware_address(&self, leg: LegId, address: IpAddr) -> Option<MacAddress> {
        let leg = self.legs.get(usize::from(leg.0))?;
        let interface = leg.open.as_ref()?.interface.index;
        let watch = self.namespaces[leg.namespace].watch()?;
        let found = watch.neighbour(interface, address).ok().flatten()?;
        Some(MacAddress(found.0))
    }
}
