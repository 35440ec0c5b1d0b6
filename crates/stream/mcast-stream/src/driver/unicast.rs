//! Datagrams to single subscribers, with segmentation offload (GSO) where there are several.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mcast::Family;
use mcast_sys::unicast::{
    MAX_SEGMENTS, is_refusal, is_send_buffer_half_full, send_segments, set_receive_buffer, set_send_buffer,
};

/// The most bytes in one call: the kernel limits it to the payload of an IPv4 packet.
const MAX_BYTES: usize = 65_507;

/// Holds the repairs of a moment. A host that does not answer ARP takes at most 208 KiB of it (`unres_qlen_bytes`).
const SEND_BUFFER: usize = 4 << 20;
/// Sockets for datagrams aside. Linux doubles the 208 KiB that each is granted without a privilege. That holds some 550
/// short datagrams, each for up to 3 s: together 700 per second to hosts that do not exist.
const ASIDE_SOCKETS: usize = 4;
const ASIDE_BUFFER: usize = 208 << 10;

/// Opens the socket on which repairs arrive at a subscriber, and from which it sends. The usual receive buffer of the
/// system, 208 KiB on Linux, holds 92 repairs of a full frame; a process that waits for the processor for a moment would
/// lose the others, which looks like a link that is too slow for repairs.
///
/// # Errors
/// If there is no socket. A smaller buffer is none.
pub(super) fn control_socket(family: Family, receive_buffer: usize) -> io::Result<UdpSocket> {
    let socket = sending_socket(family, SEND_BUFFER)?;
    let _ = set_receive_buffer(&socket, receive_buffer);
    Ok(socket)
}

/// Opens a socket whose sends never wait.
fn sending_socket(family: Family, send_buffer: usize) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(any_address(family))?;
    socket.set_nonblocking(true)?;
    let _ = set_send_buffer(&socket, send_buffer);
    Ok(socket)
}

/// Sends a datagram to an address that may not exist, unless half of the send buffer is in use: the rest is for the
/// others that this socket sends. Returns whether it was sent.
pub(super) fn send_aside(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> bool {
    !is_send_buffer_half_full(socket).unwrap_or(false) && socket.send_to(bytes, to).is_ok()
}

/// A publisher's sockets for datagrams to single addresses. Sending never waits: a datagram that a socket does not accept
/// counts as lost on the network, and subscribers request it again.
#[derive(Debug)]
pub(super) struct UnicastSockets {
    /// For subscribers that receive what is sent to them.
    proven: UdpSocket,
    /// For addresses that may not exist. What the system holds until it knows is in the buffers of these sockets only.
    aside: Vec<UdpSocket>,
    /// The socket of those that is not known to be full.
    next_aside: AtomicUsize,
    /// Whether the system or a device has refused segmentation offload.
    is_gso_refused: AtomicBool,
}

impl UnicastSockets {
    /// Opens the sockets.
    ///
    /// # Errors
    /// If there is no socket. A smaller buffer is none.
    pub(super) fn open(family: Family) -> io::Result<Self> {
        let aside =
            (0..ASIDE_SOCKETS).map(|_| sending_socket(family, ASIDE_BUFFER)).collect::<io::Result<_>>()?;
        Ok(Self {
            proven: sending_socket(family, SEND_BUFFER)?,
            aside,
            next_aside: AtomicUsize::new(0),
            is_gso_refused: AtomicBool::new(false),
        })
    }

    /// Sends a datagram to an address that receives what is sent to it; returns how many were not sent.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) -> u64 {
        u64::from(self.proven.send_to(bytes, to).is_err())
    }

    /// Sends a datagram to an address that may not exist; returns how many were not sent.
    pub(super) fn send_aside(&self, to: SocketAddr, bytes: &[u8]) -> u64 {
        let first = self.next_aside.load(Ordering::Relaxed);
        for number in first..first + self.aside.len() {
            let Some(socket) = self.aside.get(number % self.aside.len()) else { break };
            match socket.send_to(bytes, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.next_aside.store((number + 1) % self.aside.len(), Ordering::Relaxed);
                }
                result => return u64::from(result.is_err()),
            }
        }
        1
    }

    /// Sends all of these to an address that receives what is sent to it, in order; returns how many were not sent.
    pub(super) fn send_all<'b>(&self, to: SocketAddr, all: impl Iterator<Item = &'b [u8]>) -> u64 {
        let mut segments = [IoSlice::new(&[]); MAX_SEGMENTS];
        let (mut count, mut not_sent) = (0, 0);
        for bytes in all {
            if !has_room(&segments[..count], bytes) {
                not_sent += self.send_segments(to, &segments[..count]);
                count = 0;
            }
            segments[count] = IoSlice::new(bytes);
            count += 1;
        }
        not_sent + self.send_segments(to, &segments[..count])
    }

    fn send_segments(&self, to: SocketAddr, segments: &[IoSlice<'_>]) -> u64 {
        if segments.len() > 1 && !self.is_gso_refused.load(Ordering::Relaxed) {
            match send_segments(&self.proven, to, segments) {
                Err(error) if is_refusal(&error) => self.is_gso_refused.store(true, Ordering::Relaxed),
                Err(_) => return segments.len() as u64,
                Ok(()) => return 0,
            }
        }
        segments.iter().map(|bytes| self.send(to, bytes)).sum()
    }
}

/// Whether a datagram may be added to these segments. All must have the same length, except that the last may be
/// shorter.
fn has_room(segments: &[IoSlice<'_>], bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return true };
    let is_even = last.len() == first.len() && (1..=first.len()).contains(&bytes.len());
    is_even && segments.len() < MAX_SEGMENTS && (segments.len() + 1) * first.len() <= MAX_BYTES
}

/// Returns the address of a socket that is bound to none.
pub(super) const fn any_address(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// Waits until one of the two may have something, or the timeout has passed.
#[cfg(unix)]
pub(super) fn wait_for_either(
    receiver: &mcast::Receiver,
    control: &UdpSocket,
    timeout: Duration,
) -> io::Result<()> {
    use std::os::fd::AsFd;

    mcast_sys::readable::wait_for_any(&[receiver.as_fd(), control.as_fd()], Some(timeout)).map(drop)
}

/// Waits for the receiver, at most a millisecond: no call of these systems waits for both kinds of sockets.
#[cfg(not(unix))]
pub(super) fn wait_for_either(
    receiver: &mcast::Receiver,
    _: &UdpSocket,
    timeout: Duration,
) -> io::Result<()> {
    receiver.wait(Some(timeout.min(Duration::from_millis(1)))).map_err(io::Error::other)?;
    Ok(())
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
        listening.set_nonblocking(false).unwrap();
        listening.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let unicast = sender.run(|| UnicastSockets::open(Family::V4)).unwrap().unwrap();
        let all: Vec<Vec<u8>> = (0..).zip(lengths).map(|(number, length)| vec![number; *length]).collect();
        let to = SocketAddr::from(([10, 0, 0, 2], listening.local_addr().unwrap().port()));

        assert_eq!(unicast.send_all(to, all.iter().map(Vec::as_slice)), 0);

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
            #[cfg(target_os = "linux")]
            mcast_lab::skip(format_args!(
                "the system grants a receive buffer of {granted} bytes (net.core.rmem_max)"
            ));
            return;
        }
        send_and_compare(&[1_400; 250]);
    }

    #[test]
    fn datagrams_are_sent_one_by_one_where_segmentation_is_refused() {
        assert!(send_and_compare(&[3_000; 5]), "a segment cannot exceed the MTU");
    }

    const SHORT: &[u8] = &[0; 68];

    /// Sends datagrams to addresses that nobody has, on a link to `receiver`; then `send` sends one to a socket there.
    /// Returns how many of the first were sent, and whether the last has arrived.
    fn send_beside_absent_hosts<S: Send>(
        open: impl FnOnce() -> S + Send,
        send_absent: impl Fn(&S, SocketAddr) -> bool + Send,
        send: impl Fn(&S, SocketAddr) -> bool + Send,
    ) -> (usize, bool) {
        let lab = Lab::new().unwrap();
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        lab.link(&sender, "eth0", &["10.0.0.1/16"], &receiver, "eth0", &["10.0.0.2/16"]).unwrap();
        let listening = receiver.run(|| UdpSocket::bind(("10.0.0.2", 0)).unwrap()).unwrap();
        listening.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let to = listening.local_addr().unwrap();
        let attempt = move || {
            let sockets = open();
            let began = std::time::Instant::now();
            let absent = |index: usize| SocketAddr::from(([10, 0, 1, (index % 250) as u8], 7000));
            let sent = (0..20_000).filter(|index| send_absent(&sockets, absent(*index))).count();
            let is_sent = send(&sockets, to);
            // The system looks for a host for 3 s.
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            (sent, is_sent)
        };
        let (sent, is_sent) = sender.run(attempt).unwrap();
        (sent, is_sent && listening.recv(&mut [0; 100]).is_ok())
    }

    #[test]
    fn echoes_to_absent_hosts_delay_no_repair() {
        let (sent, has_arrived) = send_beside_absent_hosts(
            || UnicastSockets::open(Family::V4).unwrap(),
            |sockets, to| sockets.send_aside(to, SHORT) == 0,
            |sockets, to| sockets.send_all(to, [SHORT].into_iter()) == 0,
        );
        assert!(has_arrived);
        // All of the sockets are used, and none waits.
        assert!(sent < 20_000, "{sent} datagrams to hosts that do not exist");
    }

    #[test]
    fn repairs_to_absent_hosts_never_wait() {
        let (sent, _) = send_beside_absent_hosts(
            || UnicastSockets::open(Family::V4).unwrap(),
            |sockets, to| sockets.send(to, SHORT) == 0,
            |_, _| true,
        );
        assert!(sent < 20_000, "{sent} datagrams to hosts that do not exist");
    }

    #[test]
    fn a_repairer_reaches_the_publisher_beside_absent_hosts() {
        let (sent, has_arrived) = send_beside_absent_hosts(
            || control_socket(Family::V4, RECEIVE_BUFFER).unwrap(),
            |socket, to| send_aside(socket, to, SHORT),
            |socket, to| socket.send_to(SHORT, to).is_ok(),
        );
        assert!(has_arrived);
        assert!(sent < 20_000, "{sent} datagrams to hosts that do not exist");
    }
}
