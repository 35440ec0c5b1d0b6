//! The events of services on standard output, which may be a file on a disk that is full for a time.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use mcast_terminal::{Console, Output};

use crate::output::count_of;

/// How often to try again.
const RETRY: Duration = Duration::from_secs(1);

/// Standard output of a service, which continues while it cannot be written to because the disk is full. What is flushed at
/// once is an event: those that fit into the buffer are written later, the others are counted.
pub(crate) struct EventOutput<'a> {
    console: &'a Console,
    out: Output,
    event: Vec<u8>,
    /// While the disk is full, when it was last tried.
    full: Option<Instant>,
    lost: u64,
}

impl<'a> EventOutput<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, out: console.output(), event: Vec::new(), full: None, lost: 0 }
    }

    /// Writes what waits for room on the disk. Call it in the main loop.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        match self.full {
            Some(tried) if tried.elapsed() >= RETRY => self.write_waiting().map(drop),
            _ => Ok(()),
        }
    }

    /// Writes what is left at the end.
    ///
    /// # Errors
    /// If the disk is still full.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let written = self.out.flush();
        if written.is_ok() {
            self.report_room();
        }
        written
    }

    /// Returns whether all is written.
    fn write_waiting(&mut self) -> io::Result<bool> {
        match self.out.flush() {
            Ok(()) => {
                self.report_room();
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                if self.full.replace(Instant::now()).is_none() {
                    self.console.warn(format_args!("{error}; events are written when there is room"));
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn report_room(&mut self) {
        if self.full.take().is_none() {
            return;
        }
        match std::mem::take(&mut self.lost) {
            0 => self.console.note("standard output can be written again: no event is missing there"),
            lost => self.console.warn(format_args!(
                "standard output can be written again: {} missing there",
                if lost == 1 { "1 event is".to_owned() } else { format!("{} are", count_of(lost, "event")) }
            )),
        }
    }
}

impl Write for EventOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.event.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let event = std::mem::take(&mut self.event);
        let has_room = self.out.buffer().len() + event.len() <= self.out.capacity();
        if self.full.is_some() && !has_room {
            self.lost += 1;
            return self.poll();
        }
        self.out.write_all(&event)?;
        match self.full {
            Some(_) => self.poll(),
            None => self.write_waiting().map(drop),
        }
    }
}
