//! Recognizes RTP on any port, by several consecutive packets of a flow.

use std::net::SocketAddr;

use mcast_packet::Packet;
use mcast_packet::payload::Rtp;

use crate::lru::Lru;

/// Recognizes RTP on ports that it does not use by convention, where one packet is not conclusive. Four packets of a flow are,
/// if they look like RTP, have one SSRC, and their numbers increase by small steps: random payloads do so with a probability
/// of less than 2^-128. The number of flows is bounded: the oldest is forgotten first.
///
/// ```
/// use mcast_packet::Packet;
/// use mcast_watch::RtpFlows;
///
/// /// Returns the RTP sequence numbers in captured frames; `None` where it is not certain that a frame contains RTP.
/// fn numbers(frames: &[&[u8]]) -> Vec<Option<u16>> {
///     let mut flows = RtpFlows::default();
///     let number = |frame: &&[u8]| Some(flows.recognize(&Packet::ethernet(frame))?.sequence);
///     frames.iter().map(number).collect()
/// }
/// ```
#[derive(Debug)]
pub struct RtpFlows(Lru<FlowKey, Series>);

/// Source and destination.
type FlowKey = (SocketAddr, SocketAddr);

/// Packets of a flow that look like RTP.
#[derive(Clone, Copy, Debug)]
struct Series {
    ssrc: u32,
    latest: u16,
    /// How many consecutive packets continued the numbers, up to [`RtpFlows::CERTAIN_AFTER`].
    length: u8,
}

impl RtpFlows {
    /// How many packets are conclusive.
    const CERTAIN_AFTER: u8 = 4;
    /// How far a number may be ahead of the one before, as some are lost.
    const FARTHEST: u16 = 4;
    const MAX_FLOWS: usize = 4_096;

    /// Records a packet, and returns its RTP packet if its flow certainly is RTP. A packet that does not look like RTP ends
    /// the series of its flow.
    pub fn recognize<'a>(&mut self, packet: &Packet<'a>) -> Option<Rtp<'a>> {
        let (ip, udp) = (packet.ip_layer()?, packet.udp()?);
        if ip.fragment.is_some() || ip.truncated {
            return None;
        }
        let source = SocketAddr::new(ip.source, udp.source_port);
        let key = (source, SocketAddr::new(ip.destination, udp.destination_port));
        let series = self.0.get(&key).copied();
        let is_certain =
            |series: &Series, rtp: &Rtp<'_>| series.length >= Self::CERTAIN_AFTER && series.ssrc == rtp.ssrc;
        let known =
            |rtp: &Rtp<'_>| rtp.is_plausible() || series.is_some_and(|series| is_certain(&series, rtp));
        let Some(rtp) = Rtp::parse(udp.payload).filter(known) else {
            self.0.remove(&key);
            return None;
        };
        let series = Series::with(series, &rtp);
        *self.0.touch(key, || series).0 = series;
        if series.length == Self::CERTAIN_AFTER {
            self.0.prove(&key);
        }
        is_certain(&series, &rtp).then_some(rtp)
    }
}

impl Default for RtpFlows {
    fn default() -> Self {
        Self(Lru::new(Self::MAX_FLOWS))
    }
}

impl Series {
    /// Returns the series with a further packet; a new one if the packet does not continue it.
    fn with(earlier: Option<Self>, rtp: &Rtp<'_>) -> Self {
        let first = Self { ssrc: rtp.ssrc, latest: rtp.sequence, length: 1 };
        let Some(earlier) = earlier.filter(|earlier| earlier.ssrc == rtp.ssrc) else { return first };
        let ahead = rtp.sequence.wrapping_sub(earlier.latest);
        match ahead {
            1..=RtpFlows::FARTHEST => {
                let length = (earlier.length + 1).min(RtpFlows::CERTAIN_AFTER);
                Self { length, ..first }
            }
            // Once certain, a repeated, late or lost packet changes nothing.
            _ if earlier.length >= RtpFlows::CERTAIN_AFTER => Self { length: earlier.length, ..first },
            0 => earlier,
            _ => first,
        }
    }
}
