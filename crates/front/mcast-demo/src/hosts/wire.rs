//! A capture on a host's interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mcast_capture::{Capture, CaptureOptions, Filter, Frame};
use mcast_lab::{Host, HostInterface};
use mcast_packet::gmp::{IgmpMessage, Record, RecordKind};
use mcast_packet::{Gmp, Packet, Transport};

use crate::listener::left;
use crate::{DemoError, Event};

/// A capture on an interface of a host.
#[derive(Debug)]
pub(super) struct Wire {
    capture: Capture,
    pub(super) interface: String,
}

impl Wire {
    pub(super) fn tap(host: &Host, port: &HostInterface, filter: Filter) -> Result<Self, DemoError> {
        let options = CaptureOptions::on_name(&port.name).filter(filter);
        let capture = host.run(|| Capture::open(options))??;
        Ok(Self { capture, interface: port.name.clone() })
    }

    /// The next frame with all of its bytes.
    pub(super) fn frame(&mut self, timeout: Duration) -> Result<Event, DemoError> {
        self.find(DATAGRAM, timeout, |frame| Some((frame.packet().to_string(), frame.bytes.to_vec())))
    }

    /// The next datagram as a summary.
    pub(super) fn datagram(&mut self, timeout: Duration) -> Result<Event, DemoError> {
        self.find(DATAGRAM, timeout, |frame| Some((datagram(&frame.packet())?, Vec::new())))
    }

    /// The next IGMP report that joins this group.
    pub(super) fn join_report(&mut self, group: Ipv4Addr, timeout: Duration) -> Result<Event, DemoError> {
        let what = report_for(group);
        self.find(&what, timeout, |frame| Some((join_report(&frame.packet(), group)?, Vec::new())))
    }

    /// The absence of a datagram.
    pub(super) fn no_datagram(&self) -> Event {
        self.nothing(DATAGRAM)
    }

    /// The absence of a report that joins this group.
    pub(super) fn no_report(&self, group: Ipv4Addr) -> Event {
        self.nothing(&report_for(group))
    }

    fn nothing(&self, what: &str) -> Event {
        Event::CapturedNothing { interface: self.interface.clone(), packet: what.to_owned() }
    }

    /// The next frame for which `describe` returns a summary and the bytes to show. `what` names it in the event of its
    /// absence.
    fn find(
        &mut self,
        what: &str,
        timeout: Duration,
        describe: impl Fn(&Frame<'_>) -> Option<(String, Vec<u8>)>,
    ) -> Result<Event, DemoError> {
        let until = Instant::now() + timeout;
        loop {
            let left = left(until);
            match self.capture.next(Some(left))?.map(|frame| describe(&frame)) {
                Some(Some((summary, bytes))) => return Ok(Event::captured(&self.interface, summary, bytes)),
                None if left.is_zero() => return Ok(self.nothing(what)),
                _ => {}
            }
        }
    }
}

/// The name of a datagram in the event of its absence.
const DATAGRAM: &str = "datagram";

/// Returns the name of a report in the event of its absence.
fn report_for(group: Ipv4Addr) -> String {
    format!("report for {group}")
}

fn datagram(packet: &Packet<'_>) -> Option<String> {
    let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
    let from = SocketAddr::new(ip.source, udp.source_port);
    Some(format!("UDP {from} > {}", SocketAddr::new(ip.destination, udp.destination_port)))
}

/// Returns the message if it joins this group for all sources.
fn join_report(packet: &Packet<'_>, joined: Ipv4Addr) -> Option<String> {
    let Some(Transport::Igmp(Gmp { message, .. })) = packet.transport else { return None };
    let joins = |record: Record<'_, _>| record.kind == RecordKind::ChangeToExclude && record.group == joined;
    let is_join = match message {
        IgmpMessage::V3Report(records) => records.iter().any(joins),
        IgmpMessage::Report { group } | IgmpMessage::V1Report { group } => group == joined,
        _ => false,
    };
    is_join.then(|| message.to_string())
}
