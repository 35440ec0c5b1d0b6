//! Other streams on the same group. If no stream was chosen, the first one is followed until it is silent.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::select::{Verifications, check_heartbeat};
use crate::subscriber::{SubscriberConfig, SubscriberEvent};
use crate::wire::{Header, StreamId};
use crate::{ClockTime, Nanos};

/// Limit of reported streams, against forged ones.
const MAX_REPORTED: usize = 16;
/// A stream is active if a datagram of it arrived within this time, which is more than two heartbeats.
const ACTIVE_TIME: Nanos = Nanos::from_millis(2_500);

#[derive(Debug, Default)]
pub(super) struct OtherStreams {
    /// When a datagram of the followed stream last arrived.
    followed_heard_at: ClockTime,
    /// The other stream with the latest datagram, and when that arrived.
    last: Option<(StreamId, ClockTime)>,
    reported: Vec<StreamId>,
    events: VecDeque<SubscriberEvent>,
    verifications: Verifications,
}

impl OtherStreams {
    /// Notes a datagram that arrived on the group.
    #[inline]
    pub(super) fn note(
        &mut self,
        followed: StreamId,
        config: &SubscriberConfig,
        datagram: &[u8],
        sender: SocketAddr,
        now: ClockTime,
    ) {
        let Ok((header, _)) = Header::read(datagram) else { return };
        if header.stream == followed {
            self.followed_heard_at = now;
        } else if (config.signed_by.is_empty() || self.verifications.may_verify(now))
            && check_heartbeat(config, datagram).is_ok()
        {
            self.record_other(header.stream, sender, now);
        }
    }

    fn record_other(&mut self, stream: StreamId, sender: SocketAddr, now: ClockTime) {
        self.last = Some((stream, now));
        if self.reported.len() < MAX_REPORTED && !self.reported.contains(&stream) {
            self.reported.push(stream);
            self.events.push_back(SubscriberEvent::OtherStream { stream, publisher: sender });
        }
    }

    /// Returns the stream to follow instead: an active one, if the followed stream has ended or was silent for
    /// `silence`.
    pub(super) fn successor(&self, now: ClockTime, silence: Nanos, has_ended: bool) -> Option<StreamId> {
        let (stream, at) = self.last?;
        let is_over = has_ended || now >= self.followed_heard_at + silence;
        (is_over && now < at + ACTIVE_TIME).then_some(stream)
    }

    /// Notes that the stream `to` is followed from now on.
    pub(super) fn follow(&mut self, from: StreamId, to: StreamId, now: ClockTime) {
        (self.followed_heard_at, self.last) = (now, None);
        self.reported.retain(|stream| *stream != to);
        self.events.push_back(SubscriberEvent::StreamChanged { from, to });
    }

    #[inline]
    pub(super) fn event(&mut self) -> Option<SubscriberEvent> {
        self.events.pop_front()
    }
}
