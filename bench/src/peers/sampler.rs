//! Counting: the hot loop stores, a thread of its own samples, prints and ends the program.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{sys, work::Work};

static DATAGRAMS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Keeps the compiler from leaving the payload alone.
static TOUCHED: AtomicU64 = AtomicU64::new(0);

/// What a hot loop has counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    datagrams: u64,
    bytes: u64,
    touched: u64,
}

impl Tally {
    /// Counts a datagram and looks at it.
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

    /// Shows the sampler what was counted so far.
    #[inline]
    pub(super) fn publish(&self) {
        DATAGRAMS.store(self.datagrams, Relaxed);
        BYTES.store(self.bytes, Relaxed);
        TOUCHED.store(self.touched, Relaxed);
    }
}

/// Says `ready`, and has the program end when its window closes.
pub(super) fn start(work: &Work) {
    let work = work.clone();
    thread::spawn(move || sample(&work));
    ready();
}

/// Says that the sockets are open.
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
        let nothing = Sample { datagrams: 0, bytes: 0, time: Instant::now(), cpu: 0.0 };
        report(&nothing, &wait_for_silence());
    }
    thread::sleep(Duration::from_secs_f64(work.warm_up));
    let from = Sample::take();
    thread::sleep(Duration::from_secs_f64(work.seconds));
    report(&from, &Sample::take());
}

/// The last sample after which nothing came for a second.
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
