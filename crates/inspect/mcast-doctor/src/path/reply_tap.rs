//! Replies on the wire of the prober, which show whether this machine loses them itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mcast_capture::{Capture, CaptureOptions, Filter};
use mcast_measure::wire::{SessionId, SessionMessage};
use mcast_packet::{Network, Transport};

/// The maximum number of listeners whose replies are counted.
const MAX_LISTENERS: usize = 256;

/// A capture of the replies to one session.
pub(super) struct ReplyTap {
    capture: Capture,
    session: SessionId,
    replies: BTreeMap<IpAddr, u64>,
}

impl ReplyTap {
    /// Captures what arrives for this port on an interface, or on all that are used by default. Returns `None` without
    /// the right to capture.
    pub(super) fn open(interface: Option<&str>, port: u16, session: SessionId) -> Option<Self> {
        let names = match interface {
            Some(name) => vec![name.to_owned()],
            None => {
                let all = mcast::interfaces().ok()?.into_iter();
                all.filter(mcast::Interface::is_joined_by_default).map(|each| each.name).collect()
            }
        };
        let options = CaptureOptions::on_names(names).filter(Filter::UdpPort(port)).outgoing(false);
        Some(Self { capture: Capture::open(options).ok()?, session, replies: BTreeMap::new() })
    }

    /// Counts all replies captured so far.
    pub(super) fn drain(&mut self) {
        while let Ok(Some(frame)) = self.capture.next(Some(Duration::ZERO)) {
            let packet = frame.packet();
            let (Some(Network::Ip(ip)), Some(Transport::Udp(udp))) = (packet.network, packet.transport)
            else {
                continue;
            };
            let is_reply = matches!(SessionMessage::decode(udp.payload),
                Some((header, SessionMessage::Reply(_))) if header.session == self.session);
            if is_reply && (self.replies.len() < MAX_LISTENERS || self.replies.contains_key(&ip.source)) {
                *self.replies.entry(ip.source).or_default() += 1;
            }
        }
    }

    pub(super) fn into_counts(self) -> Vec<(IpAddr, u64)> {
        self.replies.into_iter().collect()
    }
}
