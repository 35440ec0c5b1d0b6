//! Datagrams to single subscribers, with segmentation offload (GSO) where there are several.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use mcast::Family;
use mcast_sys::unicast::{MAX_SEGMENTS, is_refusal, send_segments, set_receive_buffer};

use super::publisher::any_address;

/// The most bytes in one call: the kernel limits it to the payload of an IPv4 packet.
const MAX_BYTES: usize = 65_507;

/// Opens the socket on which feedback arrives at a publisher, and repairs at a subscriber. The usual receive buffer of the
/// system, 208 KiB on Linux, holds 92 repairs of a full frame; a process that waits for the processor for a moment would
/// lose the others, which looks like a link that is too slow for repairs.
///
/// # Errors
/// If there is no socket. A smaller buffer is none.
pub(super) fn control_socket(family: Family, receive_buffer: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any_address(family))?;
    let _ = set_receive_buffer(&socket, receive_buffer);
    Ok(socket)
}

/// The socket for single subscribers. A datagram that it cannot send counts as lost on the network, and subscribers
/// request it again.
#[derive(Debug)]
pub(super) struct UnicastSocket {
    socket: UdpSocket,
    /// Whether the system or a device has refused segmentation offload.
    is_gso_refused: AtomicBool,
}

impl UnicastSocket {
    pub(super) const fn new(socket: UdpSocket) -> Self {
        Self { socket, is_gso_refused: AtomicBool::new(false) }
    }

    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.socket.send_to(bytes, to);
    }

    /// Sends all of these, in order.
    pub(super) fn send_all<'b>(&self, to: SocketAddr, all: impl Iterator<Item = &'b [u8]>) {
        let mut segments = [IoSlice::new(&[]); MAX_SEGMENTS];
        let mut count = 0;
        for bytes in all {
            if !has_room(&segments[..count], bytes) {
                self.send_segments(to, &segments[..count]);
                count = 0;
            }
            segments[count] = IoSlice::new(bytes);
            count += 1;
        }
        self.send_segments(to, &segments[..count]);
    }

    fn send_segments(&self, to: SocketAddr, segments: &[IoSlice<'_>]) {
        if segments.len() > 1 && !self.is_gso_refused.load(Ordering::Relaxed) {
            match send_segments(&self.socket, to, segments) {
                Err(error) if is_refusal(&error) => self.is_gso_refused.store(true, Ordering::Relaxed),
                _ => return,
            }
        }
        segments.iter().for_each(|bytes| self.send(to, bytes));
    }
}

/// Whether a datagram may be added to these segments. All must have the same length, except that the last may be
/// shorter.
fn has_room(segments: &[IoSlice<'_>], bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return true };
    let is_even = last.len() == first.len() && (1..=first.len()).contains(&bytes.len());
    is_even && segments.len() < MAX_SEGMENTS && (segments.len() + 1) * first.len() <= MAX_BYTES
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use mcast_lab::Lab;

    use super::*;

    /// In bytes.
    const RECEIVE_BUFFER: usize = 1 << 20;

    fn bind() -> UdpSocket {
        UdpSocket::bind(("0.0.0.0", 0)).unwrap()
    }

    /// Sends datagrams of these lengths over a link with an MTU of 1,500, and reads them only then; returns whether
    /// segmentation was refused.
    fn send_and_compare(lengths: &[usize]) -> bool {
        let lab = Lab::new().unwrap();
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        lab.link(&sender, "eth0", &["10.0.0.1/24"], &receiver, "eth0", &["10.0.0.2/24"]).unwrap();
        let listening = receiver.run(|| control_socket(Family::V4, RECEIVE_BUFFER)).unwrap().unwrap();
        listening.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let unicast = UnicastSocket::new(sender.run(bind).unwrap());
        let all: Vec<Vec<u8>> = (0..).zip(lengths).map(|(number, length)| vec![number; *length]).collect();
        let to = SocketAddr::from(([10, 0, 0, 2], listening.local_addr().unwrap().port()));

        unicast.send_all(to, all.iter().map(Vec::as_slice));

        let mut buffer = vec![0; 65_536];
        for sent in &all {
            let length = listening.recv(&mut buffer).unwrap();
            assert!(buffer[..length] == sent[..], "received {} bytes, expected {}", length, sent.len());
        }
        unicast.is_gso_refused.into_inner()
    }

    #[test]
    fn segmented_datagrams_arrive_unchanged() {
        // Two calls, which also fit the usual receive buffer.
        let equal = [1_400; 60];
        assert!(!send_and_compare(&equal), "segmentation works here");
        assert!(!send_and_compare(&[100, 100, 40, 100, 200, 1, 0, 7, 7, 7]));
    }

    #[test]
    fn a_burst_of_repairs_waits_until_it_is_read() {
        let granted = set_receive_buffer(&bind(), RECEIVE_BUFFER).unwrap();
        if granted < RECEIVE_BUFFER {
            eprintln!("SKIPPED: the system grants a receive buffer of {granted} bytes (net.core.rmem_max)");
            return;
        }
        send_and_compare(&[1_400; 250]);
    }

    #[test]
    fn datagrams_are_sent_one_by_one_where_segmentation_is_refused() {
        assert!(send_and_compare(&[3_000; 5]), "a segment cannot exceed the MTU");
    }
}
