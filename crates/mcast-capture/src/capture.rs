//! The capture: frames one by one, of one interface or several.

use std::io;
use std::time::{Duration, Instant};

use mcast_group::InterfaceIndex;
use mcast_packet::LinkType;

use crate::sys::Poller;
use crate::tap::Tap;
use crate::{CaptureOptions, Error, ErrorKind, Frame, Result};

/// An open capture on one interface, or on several.
#[derive(Debug)]
pub struct Capture {
    taps: Vec<Tap>,
    poller: Poller,
}

/// What a capture has seen since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that [`Capture::next`] gave out.
    pub frames: u64,
    /// Packets that the kernel dropped because the buffer was full. A packet may stand for several
    /// datagrams, so that at least so many were lost. What the filter refuses is not counted, except
    /// where only a look behind VLAN tags or IPv6 extension headers would have told.
    pub dropped: u64,
    /// Packets that the kernel had but could not hand over: UDP with GSO on Linux before 6.2.
    pub unreadable: u64,
}

/// An interface that is captured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CapturedInterface<'a> {
    /// Its index, which [`Frame::interface`] tells too.
    pub index: InterfaceIndex,
    /// Its name when the capture was opened.
    pub name: &'a str,
    /// What every frame of it starts with.
    pub link_type: LinkType,
}

impl Capture {
    /// Starts to capture. Frames are kept from now on, until [`Self::next`] takes them.
    ///
    /// # Errors
    /// [`ErrorKind::Permission`] without the right to capture, [`ErrorKind::NoSuchInterface`],
    /// [`ErrorKind::LinkType`] when an interface carries neither Ethernet nor IP,
    /// [`ErrorKind::Unsupported`] on systems where capturing has yet to be written.
    pub fn open(options: CaptureOptions) -> Result<Self> {
        let opened = options.interfaces.iter().map(|name| Tap::open(name, &options));
        let taps = opened.collect::<Result<Vec<_>>>()?;
        let poller = Poller::new(taps.iter().map(|tap| &tap.socket))
            .map_err(|os| Error::from_os("wait for frames", "several interfaces", os))?;
        Ok(Self { taps, poller })
    }

    /// The next frame. Waits until there is one, or for `timeout`; zero does not wait at all.
    ///
    /// Frames of several interfaces come in the order of their times, as far as the system had them
    /// ready. `None` says that no frame came in time, or that a signal handler ran in this thread
    /// meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::InterfaceDown`] once when an interface goes down; a later call goes on with the
    /// others, and with this one when it is up again. [`ErrorKind::System`] for what the system says.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Frame<'_>>> {
        // Looking at the clock costs as much as a frame does, and most calls need not wait.
        let mut deadline = None;
        let position = loop {
            if let Some(position) = self.earliest()? {
                break position;
            }
            if self.fill()? {
                continue;
            }
            let now = Instant::now();
            let deadline =
                *deadline.get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            if left == Some(Duration::ZERO) || !self.wait(left)? {
                return Ok(None);
            }
        };
        Ok(self.taps.get_mut(position).and_then(Tap::take))
    }

    /// What was seen and what was lost so far, on all interfaces together.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not tell.
    pub fn statistics(&mut self) -> Result<Statistics> {
        let mut sum = Statistics::default();
        for tap in &mut self.taps {
            let Statistics { frames, dropped, unreadable } = tap.statistics()?;
            sum.frames += frames;
            sum.dropped += dropped;
            sum.unreadable += unreadable;
        }
        Ok(sum)
    }

    /// What was seen and what was lost so far on one interface; `None` when it is not captured on.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not tell.
    pub fn interface_statistics(&mut self, interface: InterfaceIndex) -> Result<Option<Statistics>> {
        let tap = self.taps.iter_mut().find(|tap| tap.interface == interface);
        tap.map(Tap::statistics).transpose()
    }

    /// The interfaces that are captured on.
    pub fn interfaces(&self) -> impl Iterator<Item = CapturedInterface<'_>> {
        self.taps.iter().map(|tap| CapturedInterface {
            index: tap.interface,
            name: &tap.name,
            link_type: tap.link_type,
        })
    }

    /// Whether frames of any interface come [in blocks](CaptureOptions::in_blocks).
    #[must_use]
    pub fn is_in_blocks(&self) -> bool {
        self.taps.iter().any(|tap| tap.is_in_blocks)
    }

    /// Why frames of an interface come one by one, where [`CaptureOptions::in_blocks`] asked for blocks; `None` where
    /// they come as they were asked for. Nothing but time is lost by it.
    #[must_use]
    pub fn refusal(&self) -> Option<&Error> {
        self.taps.iter().find_map(|tap| tap.refusal.as_ref())
    }

    /// The receive buffer in bytes that the system granted each interface, the smallest of them. Linux
    /// counts its own bookkeeping too.
    ///
    /// # Errors
    /// [`ErrorKind::System`] when the system does not tell.
    pub fn buffer_size(&self) -> Result<usize> {
        let sizes = self.taps.iter().map(Tap::buffer_size).collect::<Result<Vec<_>>>()?;
        Ok(sizes.into_iter().min().unwrap_or_default())
    }

    /// The interface whose next frame is the oldest. What the system still has for an interface whose
    /// batch is used up may be older than what the others have, so it is asked for first.
    fn earliest(&mut self) -> Result<Option<usize>> {
        let mut earliest = None;
        for (position, tap) in self.taps.iter_mut().enumerate() {
            while tap.peek().is_none() && tap.may_have_more() {
                tap.fill()?;
            }
            if let Some(time) = tap.peek()
                && earliest.is_none_or(|(best, _)| time < best)
            {
                earliest = Some((time, position));
            }
        }
        Ok(earliest.map(|(_, position)| position))
    }

    /// Takes what the system has, and says whether there was anything. All batches are used up.
    fn fill(&mut self) -> Result<bool> {
        let mut any = false;
        for tap in &mut self.taps {
            any |= tap.fill()?;
        }
        Ok(any)
    }

    /// Whether there is something to take now. `false` after the time-out or a signal.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        match self.poller.wait(timeout) {
            Ok(ready) => Ok(ready),
            Err(os) if os.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(os) => Err(match self.taps.first() {
                Some(tap) => tap.failed("wait for a frame", os),
                None => Error::new("wait for a frame", "no interface", ErrorKind::System),
            }),
        }
    }
}

/// Readable when the system has frames. Frames that were taken in a batch do not show here: call
/// [`Capture::next`] with a zero time-out until it gives `None`, and only then wait.
#[cfg(unix)]
impl std::os::fd::AsFd for Capture {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
