//! A publisher process and its input.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mcast_lab::Host;
use serde_json::Value;

use crate::ledger::text;
use crate::support::{Ended, MCAST, Running, program};
use crate::{GROUP, NAME};

/// How long a subscriber may keep the others waiting.
pub(crate) const EVICT_AFTER: Duration = Duration::from_millis(500);
/// Messages are given to it in such steps.
const STEP: Duration = Duration::from_millis(10);
const PER_STEP: u64 = 10;

/// A running publisher.
pub(crate) struct Publisher {
    running: Running,
    stop: Arc<AtomicBool>,
    /// Gives it messages, and returns how many it took.
    feeder: JoinHandle<u64>,
}

/// The end of a publisher.
#[derive(Debug)]
pub(crate) struct EndedPublisher {
    pub(crate) given: u64,
    pub(crate) end: PublisherEnd,
    pub(crate) stderr: String,
}

#[derive(Debug)]
pub(crate) enum PublisherEnd {
    Killed,
    /// Its input was closed: its exit status, and its report.
    Closed {
        status: Option<i32>,
        report: Option<Value>,
    },
}

impl Publisher {
    pub(crate) fn start(host: &Host, publisher: usize) -> Self {
        let evict = format!("{}ms", EVICT_AFTER.as_millis());
        let arguments = [
            "publish",
            "-i",
            "eth0",
            GROUP,
            "--name",
            NAME,
            "--history",
            "128k",
            "--evict-after",
            &evict,
            "--linger",
            "10s",
            "--json",
        ];
        let mut running = program(host, MCAST, &arguments, true);
        let mut input = running.child.stdin.take().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let feeder = thread::spawn(move || {
            let (begun, mut given) = (Instant::now(), 0);
            while !is_over.load(Ordering::Acquire) {
                for _ in 0..PER_STEP {
                    if input.write_all(text(publisher, given).as_bytes()).is_err() {
                        return given;
                    }
                    given += 1;
                }
                let due = STEP * (given / PER_STEP) as u32;
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            given
        });
        Self { running, stop, feeder }
    }

    pub(crate) fn signal(&self, signal: i32) {
        self.running.child.signal(signal).unwrap();
    }

    pub(crate) fn kill(self) -> EndedPublisher {
        self.signal(libc::SIGKILL);
        let Ended { stderr, .. } = self.running.end();
        self.stop.store(true, Ordering::Release);
        EndedPublisher { given: self.feeder.join().unwrap(), end: PublisherEnd::Killed, stderr }
    }

    /// Closes its input, and waits for its end.
    pub(crate) fn close(self) -> EndedPublisher {
        self.stop.store(true, Ordering::Release);
        let given = self.feeder.join().unwrap();
        let ended = self.running.end();
        let report = serde_json::from_slice(&ended.stdout).ok();
        EndedPublisher {
            given,
            end: PublisherEnd::Closed { status: ended.status, report },
            stderr: ended.stderr,
        }
    }
}
