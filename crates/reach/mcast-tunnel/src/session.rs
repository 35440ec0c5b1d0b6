//! One connection of QUIC: what it is for, whether the other end is there, and at which address.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use mcast_pace::ClockTime;
use quinn_proto::{Connection, FrameStats, VarInt};

use crate::control::Control;
use crate::event::LinkId;
use crate::key::PeerKey;
use crate::settings::{KEEP_ALIVE, QuicClock, SEND_QUEUE};

/// Why a connection was closed, for the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CloseCode {
    Goodbye = 0,
    UnknownName = 1,
    InUse = 2,
    /// The same relay has another connection.
    Replaced = 3,
    Invalid = 4,
}

impl CloseCode {
    pub(crate) fn read(code: VarInt) -> Option<Self> {
        let all = [Self::Goodbye, Self::UnknownName, Self::InUse, Self::Replaced, Self::Invalid];
        all.into_iter().find(|known| u64::from(*known as u32) == code.into_inner())
    }
}

/// Bytes of datagrams that overtake the answer by which a tunnel is up.
const MAX_EARLY: usize = 256 << 10;
/// A frame of a kind that the other end ignores.
const FILLING: [u8; 1_000] = [0; 1_000];
/// What keeping a datagram takes beside its bytes.
const KEPT: usize = 64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The other end has not proven its key.
    Handshake,
    /// The listener waits for a name, or the dialer for the answer.
    Naming,
    Up(LinkId),
    /// It is closed, and waits for packets that are still under way.
    Over,
}

pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) control: Control,
    pub(crate) stage: Stage,
    pub(crate) is_dialer: bool,
    /// The key of the other end, once it is proven.
    pub(crate) key: Option<PeerKey>,
    pub(crate) since: ClockTime,
    /// Whether there may be something to send.
    pub(crate) may_transmit: bool,
    /// When QUIC has something to do.
    pub(crate) timeout: Option<ClockTime>,
    /// The address that the other end has proven.
    pub(crate) address: SocketAddr,
    /// What has arrived before the tunnel is up, and its bytes.
    early: VecDeque<Bytes>,
    early_bytes: usize,
    /// Another address that it uses, and the proofs that it had given before.
    candidate: Option<(SocketAddr, u64)>,
    /// When the last packet of the other end arrived, and the frames that have arrived.
    pub(crate) heard: ClockTime,
    frames: u64,
}

impl Session {
    pub(crate) fn new(now: ClockTime, connection: Connection, is_dialer: bool) -> Self {
        Self {
            address: connection.remote_address(),
            connection,
            control: Control::default(),
            stage: Stage::Handshake,
            is_dialer,
            key: None,
            since: now,
            may_transmit: true,
            timeout: None,
            early: VecDeque::new(),
            early_bytes: 0,
            candidate: None,
            heard: now,
            frames: 0,
        }
    }

    pub(crate) fn close(&mut self, now: Instant, code: CloseCode) {
        self.connection.close(now, VarInt::from_u32(code as u32), Bytes::new());
        (self.stage, self.may_transmit) = (Stage::Over, true);
    }

    pub(crate) fn refresh_timeout(&mut self, clock: &QuicClock) {
        self.timeout = self.connection.poll_timeout().map(|at| clock.time(at));
    }

    /// Keeps datagrams until the tunnel is up. As parts of what was received, small ones would keep all of it.
    pub(crate) fn keep_early(&mut self) {
        while let Some(datagram) = self.connection.datagrams().recv() {
            if self.early_bytes + datagram.len() + KEPT <= MAX_EARLY {
                self.early_bytes += datagram.len() + KEPT;
                self.early.push_back(Bytes::copy_from_slice(&datagram));
            }
        }
    }

    /// Returns the next datagram of QUIC that has arrived.
    pub(crate) fn next_datagram(&mut self) -> Option<Bytes> {
        self.early.pop_front().or_else(|| self.connection.datagrams().recv())
    }

    /// Notes what has arrived. Returns whether a packet of the other end is new.
    pub(crate) fn record_arrival(&mut self, now: ClockTime) -> bool {
        let stats = self.connection.stats();
        let frames = count(&stats.frame_rx);
        let is_new = frames != self.frames;
        if is_new {
            (self.frames, self.heard) = (frames, now);
        }
        is_new
    }

    /// Returns the new address of the other end, once it has proven that it receives there.
    pub(crate) fn poll_moved(&mut self) -> Option<SocketAddr> {
        let used = self.connection.remote_address();
        if used == self.address {
            self.candidate = None;
            return None;
        }
        let proofs = self.connection.stats().frame_rx.path_response;
        match self.candidate {
            Some((address, before)) if address == used && proofs > before => {
                (self.address, self.candidate) = (used, None);
                Some(used)
            }
            Some((address, _)) if address == used => None,
            _ => {
                self.candidate = Some((used, proofs));
                None
            }
        }
    }

    /// Makes the next packet of a dialer large if the listener has been silent. The address of the dialer may have changed: the
    /// listener then sends three times the bytes that have arrived from there (RFC 9000, section 8.1), so if its first answer
    /// is lost, small packets would not let it answer again for seconds.
    pub(crate) fn fill_unanswered(&mut self, now: ClockTime) {
        let silence = now - self.heard;
        // A packet that keeps the tunnel remains small: it follows a time in which nothing was expected.
        let is_expected = (KEEP_ALIVE..KEEP_ALIVE * 11 / 10).contains(&silence);
        let is_silent = silence > KEEP_ALIVE / 2 && !is_expected;
        let mut queue = self.connection.datagrams();
        let is_empty = queue.send_buffer_space() > SEND_QUEUE - FILLING.len();
        if is_silent && is_empty && self.is_dialer && matches!(self.stage, Stage::Up(_)) {
            let _ = queue.send(Bytes::from_static(&FILLING), false);
        }
    }

    /// Returns whether it takes up room that handshakes may have.
    pub(crate) const fn is_unfinished(&self) -> bool {
        !self.is_dialer && !matches!(self.stage, Stage::Up(_))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// Returns the number of frames. Each packet has at least one, apart from padding.
fn count(frames: &FrameStats) -> u64 {
    let of_streams = frames.stream + frames.crypto + frames.max_data + frames.max_stream_data;
    let of_limits = frames.data_blocked + frames.stream_data_blocked + frames.max_streams_uni;
    let of_paths = frames.path_challenge + frames.path_response + frames.new_connection_id;
    let others = frames.retire_connection_id + frames.connection_close + u64::from(frames.handshake_done);
    let of_times = frames.acks + frames.ack_frequency + frames.immediate_ack + frames.ping;
    frames.datagram + of_times + of_streams + of_limits + of_paths + others
}

/// Returns what stands for a host: of an IPv6 address the first half, since a host has all of the second one.
pub(crate) const fn host_of(address: SocketAddr) -> IpAddr {
    match address.ip() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}
