//! Waiting for many sockets, or a wake-up (`WSAPoll`).

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Networking::WinSock::{
    POLLRDNORM, POLLWRNORM, SOCKET, WSAPOLL_EVENT_FLAGS, WSAPOLLFD, WSAPoll,
};

use super::errors::last_socket_error;
use super::socket::Socket;
use crate::ready::{READY_AT_ONCE, Ready, WakeReason};

/// Every socket is registered with the poller.
pub const WAITS_BESIDE: bool = false;

/// The token of the interface watch.
const WATCH: usize = usize::MAX;

/// The longest single wait, after which the list of sockets is read again: a waiting thread does
/// not always notice at once that another thread has added a socket.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Waits for sockets, wake-ups and interface changes.
pub struct Poller {
    watched: Mutex<Vec<Watched>>,
    signal: Signal,
    /// Where the next poll starts, so that every socket gets its turn.
    turn: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Watched {
    socket: SOCKET,
    token: usize,
}

impl Poller {
    /// Creates a poller without sockets.
    pub fn new() -> io::Result<Self> {
        Ok(Self { watched: Mutex::default(), signal: Signal::new()?, turn: AtomicUsize::new(0) })
    }

    /// Registers a socket under this token.
    pub fn add(&self, socket: &Socket, token: usize) -> io::Result<()> {
        self.add_socket(socket.as_socket(), token)
    }

    /// Removes a socket.
    pub fn remove(&self, socket: &Socket) -> io::Result<()> {
        let socket = raw(socket.as_socket());
        self.watched().retain(|watched| watched.socket != socket);
        self.signal.raise()
    }

    /// Registers the socket that reports interface changes.
    pub fn add_watch(&self, watch: &impl AsSocket) -> io::Result<()> {
        self.add_socket(watch.as_socket(), WATCH)
    }

    /// Waits until something is ready or the timeout has passed; returns whether something is
    /// ready.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let slice = Instant::now() + LONGEST_WAIT;
            let until = deadline.map_or(slice, |deadline| deadline.min(slice));
            if self.poll(&self.watched().clone(), milliseconds_until(Some(until)))?.0 > 0 {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
        }
    }

    /// Waits as [`wait`](Self::wait) does, because every socket is registered.
    pub fn wait_beside(&self, _socket: &Socket, timeout: Option<Duration>) -> io::Result<WakeReason> {
        Ok(if self.wait(timeout)? { WakeReason::Poller } else { WakeReason::Nothing })
    }

    /// Polls for at most `limit` ready sockets without waiting, rotating among them from call to
    /// call.
    pub fn ready(&self, limit: usize, found: &mut Ready) -> io::Result<()> {
        found.clear();
        let watched = self.watched().clone();
        let (count, polled) = self.poll(&watched, 0)?;
        if count == 0 {
            return Ok(());
        }
        let Some((signal, sockets)) = polled.split_last() else { return Ok(()) };
        if signal.revents != 0 {
            // Reported even if another thread consumed the wake-up first.
            self.signal.take();
            found.woken = true;
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % watched.len().max(1);
        let in_turn = watched.iter().zip(sockets).cycle().skip(first).take(watched.len());
        for (watched, _) in in_turn.filter(|(_, polled)| polled.revents != 0) {
            match watched.token {
                WATCH => found.interfaces_changed = true,
                token if found.sockets().len() < limit.clamp(1, READY_AT_ONCE) => {
                    found.push(token);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends the current wait, or the next one.
    pub fn wake(&self) -> io::Result<()> {
        self.signal.raise()
    }

    fn add_socket(&self, socket: BorrowedSocket<'_>, token: usize) -> io::Result<()> {
        self.watched().push(Watched { socket: raw(socket), token });
        // A thread that is waiting now does not wait for the new socket.
        self.signal.raise()
    }

    /// Polls these sockets and then the signal; returns how many are ready, and the results.
    fn poll(&self, watched: &[Watched], milliseconds: i32) -> io::Result<(usize, Vec<WSAPOLLFD>)> {
        let sockets = watched.iter().map(|watched| watched.socket);
        let mut polled: Vec<_> = sockets
            .chain([raw(self.signal.as_socket())])
            .map(|fd| WSAPOLLFD { fd, events: POLLRDNORM, revents: 0 })
            .collect();
        // SAFETY: the list is live and has the given length. A socket that another thread has
        // closed meanwhile is reported as such, which ends the wait.
        let count = unsafe { WSAPoll(polled.as_mut_ptr(), polled.len() as u32, milliseconds) };
        match usize::try_from(count) {
            Ok(count) => Ok((count, polled)),
            Err(_) => Err(last_socket_error()),
        }
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("sockets", &self.watched().len()).finish_non_exhaustive()
    }
}

/// Waits until the socket accepts another datagram.
pub fn wait_writable(socket: &Socket, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket.as_socket(), POLLWRNORM, timeout)
}

/// Waits until the socket has a datagram.
pub fn wait_readable(socket: &Socket, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket.as_socket(), POLLRDNORM, timeout)
}

fn raw(socket: BorrowedSocket<'_>) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// Waits until the socket is readable (or failed, which a read then reports); returns `false` on
/// timeout. Without a timeout it waits without limit.
pub(crate) fn readable(socket: BorrowedSocket<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(socket, POLLRDNORM, timeout)
}

/// Waits until one of these events (`POLL…`) happens; returns `false` on timeout.
pub(crate) fn wait_for(
    socket: BorrowedSocket<'_>,
    events: WSAPOLL_EVENT_FLAGS,
    timeout: Option<Duration>,
) -> io::Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let mut poll = WSAPOLLFD { fd: socket.as_raw_socket() as SOCKET, events, revents: 0 };
        // SAFETY: `poll` is one valid entry, and the socket is borrowed for the call.
        match unsafe { WSAPoll(&raw mut poll, 1, milliseconds_until(deadline)) } {
            0 if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            0 => return Ok(false),
            count if count > 0 => return Ok(true),
            _ => return Err(last_socket_error()),
        }
    }
}

/// Returns the time left, rounded up so that a wait never ends early and spins; -1 means no limit.
pub(crate) fn milliseconds_until(deadline: Option<Instant>) -> i32 {
    let Some(deadline) = deadline else { return -1 };
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_micros().div_ceil(1000).try_into().unwrap_or(i32::MAX)
}

// A signal that socket polls notice. Windows can wait for sockets only together with other
// sockets.

/// Two connected sockets on the loopback interface, so that no other program can raise the signal.
#[derive(Debug)]
pub(crate) struct Signal {
    raising: UdpSocket,
    raised: UdpSocket,
}

impl Signal {
    pub(crate) fn new() -> io::Result<Self> {
        let raising = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let raised = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        raising.connect(raised.local_addr()?)?;
        raised.connect(raising.local_addr()?)?;
        raising.set_nonblocking(true)?;
        raised.set_nonblocking(true)?;
        Ok(Self { raising, raised })
    }

    /// Raises the signal. Raising it again has no effect; a full socket buffer means that it is
    /// raised.
    pub(crate) fn raise(&self) -> io::Result<()> {
        match self.raising.send(&[1]) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Clears the signal; returns whether it was raised. Only one of several threads gets it.
    pub(crate) fn take(&self) -> bool {
        let mut byte = [0];
        let raised = self.raised.recv(&mut byte).is_ok();
        while self.raised.recv(&mut byte).is_ok() {}
        raised
    }

    /// Waits until the signal is raised; returns `false` on timeout.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        readable(self.as_socket(), timeout)
    }
}

impl AsSocket for Signal {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.raised.as_socket()
    }
}
