//! Sending one datagram or many at once, segmented by the kernel (GSO) where possible.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use mcast_group::InterfaceIndex;

use super::address::{outward, write_address};
use super::socket::Socket;
use super::timing::SO_TXTIME;
use crate::cmsg::{Space, Writer};
use crate::gso::{Lesson, Refused, segmentable_count};
use crate::{OutgoingDatagram, SendRequest, Sent};

/// The number of messages per `sendmmsg`: enough to make the cost of the call negligible beside
/// that of the network stack, few enough to fit on the thread's stack.
const MESSAGES: usize = 64;
/// The number of payloads in all these messages (`UIO_MAXIOV` would allow as many in one).
const PAYLOADS: usize = 1024;
/// The size of the control messages of a sent buffer.
const SEND_SPACE: usize = 160;

impl Socket {
    /// Sets whether equally long datagrams are passed to the kernel as one segmented buffer.
    pub fn set_segmentation(&self, on: bool) {
        self.offload.allow(on);
    }

    /// Returns the maximum number of datagrams in one segmented buffer; 1 without segmentation.
    pub fn segments_at_once(&self) -> usize {
        self.offload.most()
    }

    /// Sends one datagram.
    #[inline]
    pub fn send(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        let mut message = Message::new();
        let mut vector = vector_of(transmit.payload);
        // SAFETY: an all-zero `msghdr` is valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        message.fill(&mut header, transmit, None, self);
        (header.msg_iov, header.msg_iovlen) = (&raw mut vector, 1);
        let descriptor = self.socket.as_raw_fd();
        // SAFETY: the header points to `message`, `vector` and the payload, which outlive the call.
        let sent = unsafe {
            match header.msg_controllen {
                // The cheaper call, where there is nothing that only a header can hold.
                0 => {
                    let name = header.msg_name.cast_const().cast();
                    libc::sendto(descriptor, vector.iov_base, vector.iov_len, 0, name, header.msg_namelen)
                }
                _ => libc::sendmsg(descriptor, &raw const header, 0),
            }
        };
        match sent {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Sends the datagrams at the start of `outgoing`, in order, with one system call.
    ///
    /// `transmit` returns the destination of a datagram, or `None` if this call cannot send it. It
    /// is called once per segmented buffer. An error concerns the first datagram.
    pub fn send_run<'a, D: OutgoingDatagram>(
        &self,
        outgoing: &'a [D],
        mut transmit: impl FnMut(&'a D) -> Option<SendRequest<'a>>,
    ) -> io::Result<Sent> {
        loop {
            let mut batch = SendBatch::new();
            let first = batch.load(self, outgoing, &mut transmit);
            match batch.send(self) {
                Err(error)
                    if first
                        .is_some_and(|first| self.offload.learn(lesson(&error, first.segments), first)) => {}
                result => return result,
            }
        }
    }
}

/// The arguments of one `sendmmsg`, on the stack.
struct SendBatch {
    messages: [Message; MESSAGES],
    headers: [MaybeUninit<libc::mmsghdr>; MESSAGES],
    /// The number of datagrams in each message.
    counts: [u16; MESSAGES],
    vectors: [MaybeUninit<libc::iovec>; PAYLOADS],
    used: usize,
}

impl SendBatch {
    #[inline]
    const fn new() -> Self {
        Self {
            messages: [const { Message::new() }; MESSAGES],
            headers: [const { MaybeUninit::uninit() }; MESSAGES],
            counts: [0; MESSAGES],
            vectors: [const { MaybeUninit::uninit() }; PAYLOADS],
            used: 0,
        }
    }

    /// Loads as much of `outgoing` as fits; returns a description of the first message.
    #[inline]
    fn load<'a, D: OutgoingDatagram>(
        &mut self,
        socket: &Socket,
        outgoing: &'a [D],
        transmit: &mut impl FnMut(&'a D) -> Option<SendRequest<'a>>,
    ) -> Option<Refused> {
        let (mut rest, mut vectors) = (outgoing, 0);
        let mut first = None;
        while let Some(head) = rest.first() {
            if self.used == MESSAGES || vectors == PAYLOADS {
                break;
            }
            let Some(to) = transmit(head) else { break };
            let most = socket.offload.most_of(to.interface, head.payload().len()).min(PAYLOADS - vectors);
            let count = segmentable_count(rest, most);
            let start = vectors;
            for each in &rest[..count] {
                vectors = self.add_payload(each.payload(), start, vectors);
            }
            let size = head.payload().len();
            self.add_message(&to, (count > 1).then_some(size as u16), start, vectors, socket);
            self.counts[self.used - 1] = count as u16;
            first = first.or(Some(Refused { interface: to.interface, size, segments: count }));
            rest = &rest[count..];
        }
        first
    }

    /// Adds a payload to the message whose first payload is at `start`; returns the new end of the
    /// list.
    #[inline]
    fn add_payload(&mut self, payload: &[u8], start: usize, end: usize) -> usize {
        if end > start {
            // SAFETY: all entries before `end` were written.
            let last = unsafe { self.vectors[end - 1].assume_init_mut() };
            // Payloads that are adjacent in memory become one vector.
            if last.iov_base.cast::<u8>().cast_const().wrapping_add(last.iov_len) == payload.as_ptr() {
                last.iov_len += payload.len();
                return end;
            }
        }
        self.vectors[end].write(vector_of(payload));
        end + 1
    }

    #[inline]
    fn add_message(
        &mut self,
        to: &SendRequest<'_>,
        segment: Option<u16>,
        start: usize,
        end: usize,
        socket: &Socket,
    ) {
        // SAFETY: an all-zero `mmsghdr` is valid.
        let header = self.headers[self.used].write(unsafe { zeroed() });
        self.messages[self.used].fill(&mut header.msg_hdr, to, segment, socket);
        header.msg_hdr.msg_iov = self.vectors[start].as_mut_ptr();
        header.msg_hdr.msg_iovlen = (end - start) as _;
        self.used += 1;
    }

    fn send(&mut self, socket: &Socket) -> io::Result<Sent> {
        if self.used == 0 {
            return Ok(Sent::default());
        }
        // SAFETY: the first `used` headers were written and point into `self` and the payloads,
        // which outlive the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.socket.as_raw_fd(),
                self.headers.as_mut_ptr().cast(),
                self.used as libc::c_uint,
                0,
            )
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        let counts = &self.counts[..sent];
        Ok(Sent {
            datagrams: counts.iter().map(|count| usize::from(*count)).sum(),
            segmented: counts.iter().filter(|count| **count > 1).count(),
        })
    }
}

/// The memory for one message to send, to which its header points.
struct Message {
    name: MaybeUninit<libc::sockaddr_storage>,
    space: Space<SEND_SPACE>,
}

impl Message {
    #[inline]
    const fn new() -> Self {
        Self { name: MaybeUninit::uninit(), space: Space::new() }
    }

    /// Points a zeroed header to this message's destination and control messages.
    #[inline]
    fn fill(
        &mut self,
        header: &mut libc::msghdr,
        to: &SendRequest<'_>,
        segment: Option<u16>,
        socket: &Socket,
    ) {
        header.msg_namelen = write_address(outward(to.to, socket.mapped), &mut self.name);
        header.msg_name = self.name.as_mut_ptr().cast();
        let mut control = Writer::new(&mut self.space);
        let is_default = || {
            to.source.is_none()
                && socket.default_interface.get().is_some_and(|default| *default == to.interface)
        };
        let interface = to.interface.filter(|_| !is_default());
        match to.to {
            SocketAddr::V4(_) => push_control_v4(&mut control, to, interface),
            SocketAddr::V6(_) => control.push_ipv6(to, interface),
        }
        if let Some(launch) = to.launch {
            // A segmented buffer is sent as a whole, at the launch time of its first datagram.
            let nanoseconds = u64::try_from(launch.as_nanos()).unwrap_or(u64::MAX);
            control.push(libc::SOL_SOCKET, SO_TXTIME, nanoseconds);
        }
        if let Some(size) = segment {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, size);
        }
        control.finish(header);
    }
}

#[inline]
fn push_control_v4(
    control: &mut Writer<'_, SEND_SPACE>,
    transmit: &SendRequest<'_>,
    interface: Option<InterfaceIndex>,
) {
    // Packet info overrides the address that the socket is bound to, so it contains both.
    let source = match transmit.source {
        Some(IpAddr::V4(source)) => u32::from_ne_bytes(source.octets()),
        _ => 0,
    };
    if let Some(interface) = interface {
        let info = libc::in_pktinfo {
            ipi_ifindex: interface.number().cast_signed(),
            ipi_spec_dst: libc::in_addr { s_addr: source },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
    }
    if let Some(hops) = transmit.hop_limit {
        control.push(libc::IPPROTO_IP, libc::IP_TTL, libc::c_int::from(hops));
    }
    if let Some(class) = transmit.traffic_class {
        control.push(libc::IPPROTO_IP, libc::IP_TOS, libc::c_int::from(class));
    }
}

#[inline]
fn vector_of(payload: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() }
}

/// The maximum number of segments before Linux 6.9.
const MAX_SEGMENTS_BEFORE_6_9: usize = 64;

/// Returns the limit that the refusal of a buffer with this number of segments shows.
pub(super) fn lesson(error: &io::Error, segments: usize) -> Option<Lesson> {
    match error.raw_os_error() {
        // The device cannot compute checksums, and this kernel does not compute them instead.
        Some(libc::EIO) => Some(Lesson::None),
        Some(libc::EINVAL) if segments > MAX_SEGMENTS_BEFORE_6_9 => {
            Some(Lesson::Shorter(MAX_SEGMENTS_BEFORE_6_9))
        }
        // The segments exceed the MTU (which older kernels report as EINVAL), or the kernel does
        // not support segmentation, which then fails at every size.
        Some(libc::EMSGSIZE | libc::EINVAL) => Some(Lesson::TooLarge),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson_of(number: i32, segments: usize) -> Option<Lesson> {
        lesson(&io::Error::from_raw_os_error(number), segments)
    }

    #[test]
    fn each_refusal_shows_its_limit() {
        assert_eq!(lesson_of(libc::EINVAL, 128), Some(Lesson::Shorter(64)));
        assert_eq!(lesson_of(libc::EINVAL, 64), Some(Lesson::TooLarge));
        assert_eq!(lesson_of(libc::EMSGSIZE, 128), Some(Lesson::TooLarge));
        assert_eq!(lesson_of(libc::EIO, 2), Some(Lesson::None));
        assert_eq!(lesson_of(libc::ENOBUFS, 64), None);
    }
}
