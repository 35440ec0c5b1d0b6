//! Counting: the hot loop stores its counts; a separate thread samples and prints them, and exits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{sys, work::Work};

static DATAGRAMS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Prevents the compiler from optimizing out reads of the payload.
static TOUCHED: AtomicU64 = AtomicU64::new(0);

/// The counts of a hot loop.
#[derive(Debug, Default)]
pub(super) struct Tally {
    datagrams: u64,
    bytes: u64,
    touched: u64,
}

impl Tally {
    /// Counts a datagram and reads from it.
    #[inline]
    pub(super) fn consume(&mut self, payload: &[u8]) {
        self.datagrams += 1;
        self.bytes += payload.len() as u64;
        self.touched += payload.first().copied().map_or(0, u64::from);
    }

    /// Counts datagrams that were sent.
    #[inline]
    pub(super) fn sent(&mut self, datagrams: usize, size: usize) {
        self.datagrams += datagrams as u64;
        self.bytes += (datagrams * size) as u64;
    }

    /// Makes the counts visible to the sampler.
    #[inline]
    pub(super) fn publish(&self) {
        DATAGRAMS.store(self.datagrams, Relaxed);
        BYTES.store(self.bytes, Relaxed);
        TOUCHED.store(self.touched, Relaxed);
    }
}

/// Prints `ready`, and starts the thread that exits at the end of the window.
pub(super) fn start(work: &Work) {
    let work = work.clone();
    thread::spawn(move || sample(&work));
    ready();
}

/// Reports that the sockets are open.
pub(super) fn ready() {
    println!("ready");
}

struct Sample {
    datagrams: u64,
    bytes: u64,
    time: Instant,
    cpu: f64,
}

impl Sample {
    fn take() -> Self {
        Self {
            datagrams: DATAGRAMS.load(Relaxed),
            bytes: BYTES.load(Relaxed),
            time: Instant::now(),
            cpu: sys::cpu_seconds(),
        }
    }
}

fn sample(work: &Work) {
    while DATAGRAMS.load(Relaxed) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    if work.to_idle {
        let zero = Sample { datagrams: 0, bytes: 0, time: Instant::now(), cpu: 0.0 };
        report(&zero, &wait_for_silence());
    }
    thread::sleep(Duration::from_secs_f64(work.warm_up));
    let from = Sample::take();
    thread::sleep(Duration::from_secs_f64(work.seconds));
    report(&from, &Sample::take());
}

/// Returns the last sample before a second without datagrams.
fn wait_for_silence() -> Sample {
    let mut last = Sample::take();
    loop {
        thread::sleep(Duration::from_millis(20));
        let next = Sample::take();
        if next.datagrams != last.datagrams {
            last = next;
        } else if next.time - last.time > Duration::from_secs(1) {
            return last;
        }
    }
}

fn report(from: &Sample, to: &Sample) -> ! {
    let counted = json!({
        "datagrams": to.datagrams - from.datagrams,
        "bytes": to.bytes - from.bytes,
        "seconds": (to.time - from.time).as_secs_f64(),
        "cpu_seconds": to.cpu - from.cpu,
    });
    println!("{counted}");
    std::process::exit(0)
}
