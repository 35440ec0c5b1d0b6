//! A sealed connection, and the time limits of its steps.

use std::io;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::invalid;
use crate::seal::{Cipher, Keys, Purpose, Sealed};
use crate::wire::{Incarnation, KeyEpoch, StreamId, TAG_LENGTH};

const HELLO: usize = 14;
/// The length of the length of a frame.
const LENGTH: usize = 4;

pub(in crate::driver) struct Channel<'p> {
    connection: TcpStream,
    /// The four bytes that begin the greeting, and that seals authenticate.
    magic: &'static [u8; 4],
    deadline: StepDeadline<'p>,
    /// The random numbers of the server and the client, from which the keys are derived.
    numbers: (u64, u64),
    cipher: Option<Box<dyn Cipher>>,
}

impl<'p> Channel<'p> {
    pub(in crate::driver) fn new(
        connection: TcpStream,
        magic: &'static [u8; 4],
        deadline: StepDeadline<'p>,
    ) -> io::Result<Self> {
        connection.set_read_timeout(Some(CHECK_INTERVAL))?;
        connection.set_write_timeout(Some(CHECK_INTERVAL))?;
        connection.set_nodelay(true)?;
        Ok(Self { connection, magic, deadline, numbers: (0, 0), cipher: None })
    }

    /// Sets the time limit of each step from here on.
    pub(in crate::driver) const fn restart_for_each_step(&mut self, limit: Duration) {
        self.deadline.restart_for_each_step(limit);
    }

    /// Sends the server's greeting, and receives the client's number.
    pub(in crate::driver) fn greet(&mut self, number: u64, epoch: KeyEpoch) -> io::Result<()> {
        let mut greeting = [0; HELLO];
        greeting[..4].copy_from_slice(self.magic);
        greeting[4..12].copy_from_slice(&number.to_be_bytes());
        greeting[12..].copy_from_slice(&epoch.0.to_be_bytes());
        self.write(&greeting)?;
        let mut theirs = [0; 8];
        self.read(&mut theirs)?;
        self.numbers = (number, u64::from_be_bytes(theirs));
        Ok(())
    }

    /// Receives the server's greeting, and sends the client's number; returns the server's key epoch.
    pub(in crate::driver) fn receive_greeting(&mut self, number: u64) -> io::Result<KeyEpoch> {
        let mut greeting = [0; HELLO];
        self.read(&mut greeting)?;
        let (theirs, epoch) =
            read_greeting(self.magic, greeting).ok_or_else(|| invalid("it is another kind of server"))?;
        self.numbers = (theirs, number);
        self.write(&number.to_be_bytes())?;
        Ok(epoch)
    }

    /// Seals everything from here on with the server's key epoch. A client with keys refuses a connection in clear.
    pub(in crate::driver) fn seal_with(
        &mut self,
        keys: &Keys,
        epoch: KeyEpoch,
        stream: StreamId,
        incarnation: Incarnation,
    ) -> io::Result<()> {
        match (keys.is_empty(), epoch == KeyEpoch::CLEAR) {
            (true, true) => return Ok(()),
            (true, false) => return Err(invalid("it is sealed, and there is no key here")),
            (false, true) => return Err(invalid("it is not sealed, as its stream is")),
            (false, false) => {}
        }
        let (sealed, block) = (Sealed::Snapshot(self.numbers.0), self.numbers.1);
        let purpose = Purpose { stream, incarnation, epoch, sealed, block };
        self.cipher = Some(keys.cipher(&purpose).ok_or_else(|| invalid("the key is missing"))?);
        Ok(())
    }

    pub(in crate::driver) fn send(&mut self, count: u64, bytes: &[u8]) -> io::Result<()> {
        let tag_length = if self.cipher.is_some() { TAG_LENGTH } else { 0 };
        let mut frame = Vec::with_capacity(LENGTH + bytes.len() + tag_length);
        frame.extend_from_slice(&((bytes.len() + tag_length) as u32).to_be_bytes());
        frame.extend_from_slice(bytes);
        if let Some(cipher) = &self.cipher {
            let tag = cipher.seal(count, self.magic, &mut frame[LENGTH..]);
            frame.extend_from_slice(&tag.ok_or_else(|| invalid("the cipher failed"))?);
        }
        self.write(&frame)
    }

    pub(in crate::driver) fn receive(&mut self, count: u64, longest: usize) -> io::Result<Vec<u8>> {
        let mut length = [0; LENGTH];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > longest + TAG_LENGTH {
            return Err(invalid("a frame is too long"));
        }
        let mut frame = vec![0; length];
        self.read(&mut frame)?;
        if let Some(cipher) = &self.cipher {
            if !cipher.open(count, self.magic, &mut frame) {
                return Err(invalid("it was not sealed with this key"));
            }
            frame.truncate(length.saturating_sub(TAG_LENGTH));
        }
        Ok(frame)
    }

    /// Reads all of `bytes`. The time limit is for all of it, so that single bytes do not extend it.
    fn read(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        self.deadline.begin_step()?;
        while !bytes.is_empty() {
            match self.connection.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() {
                self.deadline.check()?;
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.deadline.begin_step()?;
        while !bytes.is_empty() {
            match self.connection.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            if !bytes.is_empty() {
                self.deadline.check()?;
            }
        }
        Ok(())
    }
}

/// Returns the server's number and key epoch.
fn read_greeting(magic: &[u8; 4], greeting: [u8; HELLO]) -> Option<(u64, KeyEpoch)> {
    let rest = greeting.strip_prefix(magic)?;
    let (number, epoch) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), KeyEpoch(u16::from_be_bytes(*epoch.first_chunk()?))))
}

/// Whether a read or write only timed out for this interval, or was interrupted by a signal.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// How often a wait asks the caller whether to continue.
pub(in crate::driver) const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// A time limit, for each step or for all steps together, with a callback by which the caller can cancel.
pub(in crate::driver) struct StepDeadline<'p> {
    limit: Duration,
    /// When all steps together must be done; `None` if the limit is for each step.
    end: Option<Instant>,
    keep_going: Box<dyn FnMut() -> bool + 'p>,
    checked_at: Instant,
    deadline: Instant,
}

impl<'p> StepDeadline<'p> {
    pub(in crate::driver) fn new(limit: Duration, keep_going: impl FnMut() -> bool + 'p) -> Self {
        let now = Instant::now();
        Self { limit, end: None, keep_going: Box::new(keep_going), checked_at: now, deadline: now + limit }
    }

    /// Returns a limit for all steps together.
    pub(in crate::driver) fn for_all_steps(limit: Duration, keep_going: impl FnMut() -> bool + 'p) -> Self {
        Self { end: Some(Instant::now() + limit), ..Self::new(limit, keep_going) }
    }

    /// Sets a limit for each step from here on.
    pub(in crate::driver) const fn restart_for_each_step(&mut self, limit: Duration) {
        (self.limit, self.end) = (limit, None);
    }

    /// Starts the time of the next step.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(in crate::driver) fn begin_step(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.deadline = self.end.unwrap_or(now + self.limit);
        match now.duration_since(self.checked_at) >= CHECK_INTERVAL {
            true => self.check(),
            false => Ok(()),
        }
    }

    /// Checks whether to wait again.
    ///
    /// # Errors
    /// If the caller gives up, or the step has taken too long.
    pub(in crate::driver) fn check(&mut self) -> io::Result<()> {
        self.checked_at = Instant::now();
        if !(self.keep_going)() {
            // Not `ErrorKind::Interrupted`, because callers retry on that.
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the caller gave up"));
        }
        match self.checked_at < self.deadline {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes too long")),
        }
    }
}
