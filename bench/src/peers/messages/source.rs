//! The messages that a publisher sends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Work;
use crate::peers::sys;

/// Marks the number of the last message.
pub(super) const LAST: u64 = 1 << 63;
/// The number and the time that a message begins with.
pub(super) const HEAD: usize = 16;

/// So many bytes of messages are made at once.
const AT_ONCE: usize = 64 << 10;
/// Messages between two looks at the clock, when nothing has to be sent at its time.
const UNTIMED: u64 = 64;
const FILLING: u8 = 0x5a;

/// Numbered messages, as fast as they are asked for or evenly paced, until the time is over.
#[derive(Debug)]
pub(super) struct Source {
    buffer: Vec<u8>,
    size: usize,
    rate: Option<u32>,
    next: u64,
    begun: Instant,
    length: Duration,
    ended: bool,
}

impl Source {
    /// It begins now.
    pub(super) fn begin(work: &Work) -> Self {
        let size = work.size.max(HEAD);
        let count = (AT_ONCE / size).max(1);
        Self {
            buffer: vec![FILLING; size * count],
            size,
            rate: work.rate.filter(|rate| *rate > 0),
            next: 0,
            begun: Instant::now(),
            length: Duration::from_secs_f64(work.seconds),
            ended: false,
        }
    }

    /// Bytes of a message.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// The next message, when it is due; `None` after the last.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let (number, time) = self.number()?;
        let message = &mut self.buffer[..self.size];
        write(message, number, time);
        Some(message)
    }

    /// The next messages, one behind the other: one if they are paced; `None` after the last.
    pub(super) fn next_many(&mut self) -> Option<&[u8]> {
        let most = if self.rate.is_some() { self.size } else { self.buffer.len() };
        let mut filled = 0;
        while filled < most {
            let Some((number, time)) = self.number() else { break };
            write(&mut self.buffer[filled..filled + self.size], number, time);
            filled += self.size;
        }
        (filled > 0).then(|| &self.buffer[..filled])
    }

    /// What was sent, as JSON.
    pub(super) fn report(&self) -> serde_json::Value {
        json!({ "sent": self.next, "seconds": self.begun.elapsed().as_secs_f64() })
    }

    /// A message's number and time; waits until it is due.
    fn number(&mut self) -> Option<(u64, u64)> {
        if self.ended {
            return None;
        }
        let mut time = 0;
        if let Some(rate) = self.rate {
            let due = Duration::from_nanos(self.next * 1_000_000_000 / u64::from(rate));
            while self.begun.elapsed() < due {
                // The driver's threads may have no other processor.
                std::thread::yield_now();
            }
            self.ended = due >= self.length;
            time = sys::monotonic_nanoseconds();
        } else if self.next.is_multiple_of(UNTIMED) {
            self.ended = self.begun.elapsed() >= self.length;
        }
        let number = self.next;
        self.next += 1;
        Some((if self.ended { number | LAST } else { number }, time))
    }
}

fn write(message: &mut [u8], number: u64, time: u64) {
    message[..8].copy_from_slice(&number.to_le_bytes());
    message[8..HEAD].copy_from_slice(&time.to_le_bytes());
}
