//! How QUIC is used: its times and limits with the reason of each, its clock, and its congestion controller.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mcast_pace::ClockTime;
use quinn_proto::congestion::{Controller, ControllerFactory};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TimeSource, TransportConfig, VarInt};

use crate::MAX_DATAGRAM;

/// What every path has to carry: with headers of IPv6 and UDP, 1,248 bytes (RFC 9000, section 14).
const BASE_DATAGRAM: u16 = 1_200;
/// The time between packets when there is no data. It keeps the states of NATs, shows an address that has changed, and finds
/// out soon whether the other end is there.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// After this time without a packet of the other end, the tunnel is down: of six that were to be expected, none has come. It
/// also limits a handshake.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// The round trip while none has been measured: a lost packet of the handshake is repeated after three of these.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(200);
/// The time after which larger datagrams are tried again: a path rarely comes to carry more.
const RAISE_INTERVAL: Duration = Duration::from_secs(600);
/// The time after which they are tried again when the path has come to carry less all of a sudden.
const BLACK_HOLE_PAUSE: Duration = Duration::from_secs(60);
/// Packets between acknowledgements. Nothing but the loss of control data depends on them, so fewer than every second one are
/// enough: each costs both ends as much as a datagram.
const ACKNOWLEDGED: u32 = 64;
/// Datagrams that wait until they can be sent: a burst of two tenths of a second at 160 Mbit/s.
pub(crate) const SEND_QUEUE: usize = 4 << 20;
/// Datagrams that have arrived with one call: they are read after it.
const RECEIVE_QUEUE: usize = 1 << 20;
/// Control data that has arrived and was not read: a half of the longest message.
const STREAM_WINDOW: u32 = 64 << 10;
/// Bytes under way, which were neither acknowledged nor lost.
const WINDOW: u64 = 16 << 20;

/// Returns the settings of all connections.
pub(crate) fn transport() -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_DATAGRAM).interval(RAISE_INTERVAL).black_hole_cooldown(BLACK_HOLE_PAUSE);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(ACKNOWLEDGED));
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        // The control stream.
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(2 * u64::from(STREAM_WINDOW))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(FIRST_ROUND_TRIP)
        .initial_mtu(BASE_DATAGRAM)
        .min_mtu(BASE_DATAGRAM)
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acknowledgements))
        .datagram_send_buffer_size(SEND_QUEUE)
        .datagram_receive_buffer_size(Some(RECEIVE_QUEUE))
        // The bit that lets observers measure round trips.
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(FixedWindow));
    config
}

/// A window that loss does not change.
///
/// Groups have a rate of their own, which their senders do not lower for one tunnel: a smaller window would not relieve the
/// path, it would only move the loss into this queue, and delay everything behind it. A rule limits the rate where a path
/// needs it (`rate`). The window bounds what is kept about packets under way, when the other end does not acknowledge; it
/// allows 640 Mbit/s at a round trip of 200 ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedWindow;

impl Controller for FixedWindow {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {}

    fn on_mtu_update(&mut self, _: u16) {}

    fn window(&self) -> u64 {
        WINDOW
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

/// Converts between the two clocks. The library that implements QUIC wants an `Instant`; none is read but the first.
#[derive(Debug)]
pub(crate) struct QuicClock {
    start: Instant,
    latest: Arc<AtomicU64>,
}

impl QuicClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), latest: Arc::default() }
    }

    /// Returns a point in time for QUIC, and remembers it as the present.
    pub(crate) fn instant(&self, now: ClockTime) -> Instant {
        self.latest.store(now.0, Ordering::Relaxed);
        self.start + (now - ClockTime::START)
    }

    pub(crate) fn time(&self, instant: Instant) -> ClockTime {
        ClockTime::START + instant.saturating_duration_since(self.start)
    }

    /// Returns what tokens are dated by.
    pub(crate) fn source(&self) -> Arc<dyn TimeSource> {
        Arc::new(TokenTime(Arc::clone(&self.latest)))
    }
}

struct TokenTime(Arc<AtomicU64>);

impl TimeSource for TokenTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
