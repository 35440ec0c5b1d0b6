//! Sending.

use std::sync::{MutexGuard, PoisonError};
use std::{io, ptr};

use mcast_group::{Family, Group, InterfaceIndex, SourceFilter};
use socket2::SockAddr;
use windows_sys::Win32::Networking::WinSock::{
    IP_MULTICAST_IF, IP_MULTICAST_TTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_IF,
    WSABUF, WSAEINVAL, WSAEMSGSIZE, WSAENETUNREACH, WSAEOPNOTSUPP, WSAMSG, WSASendMsg,
};

use super::errors::last_socket_error;
use super::interface;
use super::receive::Space;
use super::socket::{MAX_SEGMENTS, Socket, address_of, in_addr};
use crate::fallbacks::plain::MulticastOptions;
use crate::gso::{Lesson, Refused, segmentable_count};
use crate::{OutgoingDatagram, SendRequest, Sent};

impl Socket {
    /// Sets whether equally long datagrams are passed to the system as one segmented buffer.
    pub fn set_segmentation(&self, on: bool) {
        self.offload.allow(on);
    }

    /// Returns the maximum number of datagrams in one segmented buffer; 1 without segmentation.
    pub fn segments_at_once(&self) -> usize {
        self.offload.most()
    }

    /// Sends the datagrams at the start of `outgoing`, in order, up to one for which `transmit`
    /// returns `None` because this call cannot send it. An error concerns the first datagram.
    pub fn send_run<'a, D: OutgoingDatagram>(
        &self,
        outgoing: &'a [D],
        mut transmit: impl FnMut(&'a D) -> Option<SendRequest<'a>>,
    ) -> io::Result<Sent> {
        let (mut rest, mut sent) = (outgoing, Sent::default());
        while let Some(to) = rest.first().and_then(&mut transmit) {
            let (interface, size) = (to.interface, to.payload.len());
            let count = segmentable_count(rest, self.offload.most_of(interface, size));
            match self.send_segmented(&to, &rest[..count]) {
                Ok(()) => {
                    sent.datagrams += count;
                    sent.segmented += usize::from(count > 1);
                    rest = &rest[count..];
                }
                Err(error)
                    if self.offload.learn(lesson(&error), Refused { interface, size, segments: count }) => {}
                Err(error) if sent.datagrams == 0 => return Err(error),
                // Sending the rest returns the error.
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    /// Sends datagrams to one destination, all of the same size except the last.
    fn send_segmented(&self, to: &SendRequest<'_>, datagrams: &[impl OutgoingDatagram]) -> io::Result<()> {
        if datagrams.len() < 2 {
            return self.send(to);
        }
        let mut parts = [WSABUF { len: 0, buf: ptr::null_mut() }; MAX_SEGMENTS];
        for (part, each) in parts.iter_mut().zip(datagrams) {
            *part = buffer_of(each.payload())?;
        }
        self.send_parts(to, &mut parts[..datagrams.len().min(MAX_SEGMENTS)], Some(to.payload.len() as u32))
    }

    /// Sends one datagram.
    pub fn send(&self, transmit: &SendRequest<'_>) -> io::Result<()> {
        self.send_parts(transmit, &mut [buffer_of(transmit.payload)?], None)
    }

    /// Sends one datagram, or a buffer of datagrams with the size of `segment`.
    fn send_parts(
        &self,
        transmit: &SendRequest<'_>,
        parts: &mut [WSABUF],
        segment: Option<u32>,
    ) -> io::Result<()> {
        self.set_traffic_class(transmit.traffic_class.unwrap_or(0))?;
        let Ok(group) = Group::new(transmit.to.ip()) else {
            return self.send_message(transmit, parts, segment);
        };
        let mut options = self.multicast();
        self.use_interface(&mut options, transmit.interface)?;
        let hops = transmit.hop_limit.unwrap_or(options.hop_limit);
        self.use_hop_limit(&mut options, hops)?;
        match self.send_message(transmit, parts, segment) {
            Err(error) if error.raw_os_error() == Some(WSAENETUNREACH) => match transmit.interface {
                Some(interface) if self.listen_on_loopback(group, interface)? => {
                    self.send_message(transmit, parts, segment)
                }
                _ => Err(error),
            },
            result => result,
        }
    }

    /// Sends a message. Each part must point to live memory of the given length, as [`buffer_of`]
    /// ensures.
    fn send_message(
        &self,
        transmit: &SendRequest<'_>,
        parts: &mut [WSABUF],
        segment: Option<u32>,
    ) -> io::Result<()> {
        let to = SockAddr::from(transmit.to);
        let mut space = Space::new();
        let length = space.write(transmit, segment);
        let message = WSAMSG {
            name: to.as_ptr().cast_mut().cast(),
            namelen: to.len(),
            lpBuffers: parts.as_mut_ptr(),
            dwBufferCount: parts.len() as u32,
            Control: match length {
                0 => WSABUF { len: 0, buf: ptr::null_mut() },
                length => WSABUF { len: length, buf: space.as_mut_ptr() },
            },
            dwFlags: 0,
        };
        let mut sent = 0;
        // SAFETY: every pointer in the message points to memory that outlives the call, which is
        // complete when it returns; the payloads and the address are only read.
        match unsafe { WSASendMsg(self.raw(), &raw const message, 0, &raw mut sent, ptr::null_mut(), None) } {
            0 => Ok(()),
            _ => Err(last_socket_error()),
        }
    }

    /// Joins the group on the loopback interface with an internal socket, because sending there is
    /// refused (10051) until some socket has joined. Returns whether sending may now succeed.
    fn listen_on_loopback(&self, group: Group, interface: InterfaceIndex) -> io::Result<bool> {
        let is_loopback = interface::list()?
            .iter()
            .any(|each| each.loopback && each.index_for(group.family()) == interface);
        if !is_loopback {
            return Ok(false);
        }
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = match &mut *listener {
            Some(listener) => listener,
            none => none.insert(Box::new(Self::holder(self.family)?)),
        };
        if listener.joined().contains_key(&(group, interface)) {
            return Ok(false);
        }
        listener.join(group, interface, &SourceFilter::ANY)?;
        Ok(true)
    }

    /// Sets the interface for outgoing multicast, unless it is already set. Packet info could name
    /// it for each datagram, but Wine silently ignores that.
    fn use_interface(
        &self,
        options: &mut MulticastOptions,
        interface: Option<InterfaceIndex>,
    ) -> io::Result<()> {
        if options.interface_set == interface {
            return Ok(());
        }
        // Zero returns the choice to the routing table.
        let index = interface.map_or(0, InterfaceIndex::number);
        match self.family {
            // The index in network byte order identifies the interface; Wine only accepts
            // addresses.
            Family::V4 => match (self.set(IPPROTO_IP, IP_MULTICAST_IF, index.to_be()), interface) {
                (Err(error), Some(interface)) if error.raw_os_error() == Some(WSAEINVAL) => {
                    self.set(IPPROTO_IP, IP_MULTICAST_IF, in_addr(address_of(interface)?))?;
                }
                (result, _) => result?,
            },
            Family::V6 => self.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, index)?,
        }
        options.interface_set = interface;
        Ok(())
    }

    pub(super) fn use_hop_limit(&self, options: &mut MulticastOptions, hops: u8) -> io::Result<()> {
        if options.hop_limit_set == hops {
            return Ok(());
        }
        match self.family {
            Family::V4 => self.set(IPPROTO_IP, IP_MULTICAST_TTL, u32::from(hops))?,
            Family::V6 => self.set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, u32::from(hops))?,
        }
        options.hop_limit_set = hops;
        Ok(())
    }

    pub(super) fn multicast(&self) -> MutexGuard<'_, MulticastOptions> {
        self.multicast.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn buffer_of(payload: &[u8]) -> io::Result<WSABUF> {
    let len = u32::try_from(payload.len()).map_err(|_| io::Error::from_raw_os_error(WSAEMSGSIZE))?;
    Ok(WSABUF { len, buf: payload.as_ptr().cast_mut() })
}

/// Returns the limit that the refusal of a segmented buffer shows. [`Socket::open`] found that the
/// system supports segmentation, so the buffer is too large for the interface, or its driver does
/// not support it.
fn lesson(error: &io::Error) -> Option<Lesson> {
    match error.raw_os_error() {
        Some(WSAEMSGSIZE) => Some(Lesson::TooLarge),
        Some(WSAEINVAL | WSAEOPNOTSUPP) => Some(Lesson::None),
        _ => None,
    }
}
