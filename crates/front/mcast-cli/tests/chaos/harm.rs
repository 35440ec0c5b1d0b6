//! The faults that are injected.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mcast_lab::{Host, Impairment};
use mcast_sim::Dice;

use crate::GROUP;

/// A fault of a subscriber, its link, or the publisher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Harm {
    KillSubscriber,
    StopSubscriber,
    /// Its output is not read.
    SlowReader,
    /// Its link has no carrier.
    Partition,
    /// Its feedback to the publisher is dropped.
    BlockFeedback,
    Loss,
    KillPublisher,
    StopPublisher,
    Garbage,
}

impl Harm {
    /// The faults to choose from; some are listed twice to be more frequent.
    const CHOICES: [Self; 12] = [
        Self::KillSubscriber,
        Self::StopSubscriber,
        Self::StopSubscriber,
        Self::SlowReader,
        Self::SlowReader,
        Self::Partition,
        Self::Partition,
        Self::BlockFeedback,
        Self::Loss,
        Self::KillPublisher,
        Self::StopPublisher,
        Self::Garbage,
    ];

    pub(crate) fn by_chance(dice: &mut Dice) -> Self {
        dice.pick(&Self::CHOICES)
    }

    /// Returns a random duration.
    pub(crate) fn lasts(self, dice: &mut Dice) -> Duration {
        let (least, most) = match self {
            Self::KillSubscriber | Self::KillPublisher => (100, 1_000),
            Self::StopPublisher => (100, 1_500),
            Self::StopSubscriber => (200, 8_000),
            // The output buffers fill within two seconds.
            Self::SlowReader => (1_000, 10_000),
            Self::Partition | Self::BlockFeedback | Self::Loss => (200, 4_000),
            Self::Garbage => (500, 2_000),
        };
        Duration::from_millis(dice.between(least, most))
    }

    /// Returns whether the publisher may have to wait for the subscriber until it is evicted.
    pub(crate) const fn blocks(self) -> bool {
        !matches!(self, Self::KillPublisher | Self::StopPublisher | Self::Garbage)
    }

    pub(crate) const fn is_of_publisher(self) -> bool {
        matches!(self, Self::KillPublisher | Self::StopPublisher)
    }
}

/// Returns the impairment of a link with this share of loss.
pub(crate) fn loss(share: f64, seed: u64) -> Impairment {
    Impairment { loss: share, seed, ..Impairment::default() }
}

/// A sender of garbage, at most 2,000 datagrams per second.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Flood {
    pub(crate) fn start(host: &Host, publisher: Option<SocketAddr>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let socket = host.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()).unwrap();
        let thread = thread::spawn(move || {
            let mut dice = Dice::new(seed);
            let group: SocketAddr = GROUP.parse().unwrap();
            while !is_over.load(Ordering::Acquire) {
                for to in [Some(group), publisher].into_iter().flatten() {
                    // Sending fails if the publisher has ended.
                    let _ = socket.send_to(&garbage(&mut dice), to);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

/// Returns random bytes, half of the time after the first bytes of a stream header.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    let length = dice.between(0, 1_400) as usize;
    let mut bytes: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
    if dice.chance(0.5) && bytes.len() > 4 {
        bytes[..3].copy_from_slice(b"MC\x10");
        bytes[3] %= 10;
    }
    bytes
}
