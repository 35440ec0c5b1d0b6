//! A connection: its greeting, its frames, and their sealing.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::deadline::{CHECK_INTERVAL, StepDeadline};
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
