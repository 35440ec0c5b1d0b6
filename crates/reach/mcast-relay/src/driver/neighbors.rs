//! Announces the addresses of the legs to the hosts on their links.

use std::io;

use mcast::interface::Interface;
use mcast_sys::link::{LinkSender, resolves_addresses};

use super::{Driver, DriverEvent, LegId};
use crate::neighbors::NeighborNotice;

/// What does not happen without the right to send frames.
const UNANNOUNCED: &str = "cannot announce the addresses of this machine to its neighbors: when an interface is recreated \
    with another hardware address, they keep using the old one until it expires";

impl Driver {
    /// Sends the announcements that are due.
    pub(super) fn announce_addresses(&mut self) {
        let now = self.now();
        for position in 0..self.legs.len() {
            let leg = &mut self.legs[position];
            let Some(open) = &mut leg.open else { continue };
            open.notices.handle_timeout(now);
            let due: Vec<_> = std::iter::from_fn(|| open.notices.poll_transmit()).collect();
            // Without one that is due, no thread enters the namespace.
            if due.is_empty() || self.is_checking {
                continue;
            }
            let interface = &open.interface;
            let sent = self.namespaces[leg.namespace].run(|| send(interface, &due));
            // What is wrong with the namespace is found and reported elsewhere.
            if let Ok(Err(error)) = sent {
                self.report_unannounced(LegId(position as u8), &error);
            }
        }
    }

    /// Reports once that addresses are not announced. Everything else works without that.
    fn report_unannounced(&mut self, leg: LegId, error: &io::Error) {
        if std::mem::replace(&mut self.has_reported_unannounced, true) {
            return;
        }
        let remedy = (error.kind() == io::ErrorKind::PermissionDenied).then(|| {
            "this needs CAP_NET_RAW: run it as root, or grant it with `setcap cap_net_raw+ep PROGRAM`; nothing else is \
             affected"
                .to_owned()
        });
        let problem = format!("{UNANNOUNCED}: {error}");
        self.events.push_back(DriverEvent::Problem { leg, problem, remedy });
    }
}

/// Sends announcements on an interface of the calling thread's namespace. Fails only if that is never possible.
fn send(interface: &Interface, notices: &[NeighborNotice]) -> io::Result<()> {
    // The interface may have gone meanwhile.
    if !resolves_addresses(interface).unwrap_or(false) {
        return Ok(());
    }
    let sender = LinkSender::open(interface)?;
    let is_router = forwards_ipv6(&interface.name);
    for notice in notices {
        // Without knowing whether it is a router, one cannot say so.
        if notice.address.is_ipv6() && is_router.is_err() {
            continue;
        }
        // One that is lost is followed by another one.
        let _ = sender.send(&notice.frame(matches!(is_router, Ok(true))));
    }
    Ok(())
}

fn forwards_ipv6(interface: &str) -> io::Result<bool> {
    let value = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/forwarding"))?;
    Ok(value.trim() != "0")
}
