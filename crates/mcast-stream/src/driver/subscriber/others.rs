//! Other streams on the same group, where none was chosen: the first that is heard is followed, until it is silent.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::begin::is_heartbeat;
use crate::receiver::Event;
use crate::seal::Keys;
use crate::wire::{Header, StreamId};

/// Streams that are reported by name; whoever makes up more is not.
const MOST: usize = 16;
/// A stream speaks if it was heard within this time: more than two heartbeats.
const SPEAKS: u64 = 2_500_000_000;

#[derive(Debug, Default)]
pub(super) struct OtherStreams {
    /// When the followed stream was last heard.
    followed_at: u64,
    /// The other stream that was heard last, and when.
    last: Option<(StreamId, u64)>,
    reported: Vec<StreamId>,
    events: VecDeque<Event>,
}

impl OtherStreams {
    /// Takes note of a datagram that came for the group.
    #[inline]
    pub(super) fn note(
        &mut self,
        followed: StreamId,
        keys: &Keys,
        datagram: &[u8],
        sender: SocketAddr,
        now: u64,
    ) {
        let Ok((header, _)) = Header::read(datagram) else { return };
        if header.stream == followed {
            self.followed_at = now;
        } else if is_heartbeat(keys, datagram) {
            self.note_other(header.stream, sender, now);
        }
    }

    fn note_other(&mut self, stream: StreamId, sender: SocketAddr, now: u64) {
        self.last = Some((stream, now));
        if self.reported.len() < MOST && !self.reported.contains(&stream) {
            self.reported.push(stream);
            self.events.push_back(Event::OtherStream { stream, sender });
        }
    }

    /// The stream to follow instead, if the followed one has ended or was silent for so long, and the other speaks.
    pub(super) fn successor(&self, now: u64, silence: u64, has_ended: bool) -> Option<StreamId> {
        let (stream, at) = self.last?;
        let is_over = has_ended || now >= self.followed_at.saturating_add(silence);
        (is_over && now < at.saturating_add(SPEAKS)).then_some(stream)
    }

    /// Another stream is followed from now on.
    pub(super) fn follow(&mut self, from: StreamId, to: StreamId, now: u64) {
        (self.followed_at, self.last) = (now, None);
        self.reported.retain(|stream| *stream != to);
        self.events.push_back(Event::StreamChanged { from, to });
    }

    #[inline]
    pub(super) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
