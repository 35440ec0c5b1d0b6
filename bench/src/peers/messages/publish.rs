//! A stream's publisher.

use std::io::Read;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use mcast::{Destination, Group, GroupAddr, InterfaceSelector};
use mcast_stream::publisher::{Acknowledgers, Fec, Quorum};
use mcast_stream::seal::{Algorithm, GroupSecret, Keys};
use mcast_stream::sign::{PinnedKeys, SigningKey};
use mcast_stream::wire::KeyEpoch;
use mcast_stream::{Publisher, Until};

use super::source::{self, Source};
use super::{How, Setup, TIMEOUT, Work};

/// The seed of the signing key, which both sides know.
const SEED: [u8; 32] = [9; 32];

/// Waits for the subscribers, publishes, and stays until they have received everything.
pub(super) fn run(work: &Work, how: How, setup: Setup) -> Result<()> {
    let to = Destination { address: group(work)?, interface: Some(interface(work)) };
    let mut builder = Publisher::builder().to(to).loopback(false).keys(keys(setup));
    if setup.signed {
        builder = builder.signing_key(SigningKey::new(&SEED)?);
    }
    if how == How::Each {
        builder = builder.max_delay(Duration::ZERO);
    }
    if how == How::Corrected {
        builder = builder.fec(Fec::Auto);
    }
    if how == How::Acked {
        builder = builder.acknowledge(Quorum::new(Acknowledgers::All));
    }
    let publisher = builder.build()?;
    ensure!(publisher.wait_for(work.receivers, TIMEOUT), "fewer than {} subscribers joined", work.receivers);
    let report = if work.threads > 1 {
        publish_from_threads(&publisher, work)?
    } else {
        publish(&publisher, work, how)?
    };
    println!("{report}");
    let closing = publisher.close(Duration::from_secs_f64(work.linger));
    for (receiver, datagrams) in closing.behind {
        eprintln!("subscriber {receiver:?} is missing {datagrams} datagrams");
    }
    Ok(())
}

/// Publishes until the time is over; returns the counts.
fn publish(publisher: &Publisher, work: &Work, how: How) -> Result<serde_json::Value> {
    let mut source = Source::begin(work);
    match how {
        How::All => {
            let size = source.size();
            while let Some(messages) = source.next_many() {
                publisher.publish_all(messages.chunks(size))?;
            }
        }
        How::Acked => {
            while let Some(message) = source.next() {
                let number = publisher.publish(message)?;
                let is_acked = publisher.wait(Until::MessageAcknowledged(number), TIMEOUT)?;
                ensure!(is_acked, "message {number} is {:?}", publisher.ack_state(number));
                source.note_acknowledged();
            }
        }
        How::Publish
        | How::Corrected
        | How::Each
        | How::Logged
        | How::LoggedAll
        | How::SyncedQueue
        | How::SyncedAll
        | How::Tcp
        | How::TcpAcked => {
            while let Some(message) = source.next() {
                publisher.publish(message)?;
            }
        }
    }
    Ok(source.report())
}

/// Publishes from several threads at once, each with its own numbers; returns the counts of all.
fn publish_from_threads(publisher: &Publisher, work: &Work) -> Result<serde_json::Value> {
    ensure!(work.rate.is_none(), "only one thread can publish at a rate");
    let publish_lane = |lane| -> Result<Source> {
        let mut source = Source::begin_lane(work, lane);
        while let Some(message) = source.next() {
            publisher.publish(message)?;
        }
        Ok(source)
    };
    let sources = thread::scope(|scope| {
        let publish_lane = &publish_lane;
        let threads: Vec<_> = (0..work.threads).map(|lane| scope.spawn(move || publish_lane(lane))).collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|sources| sources.map_err(|_| anyhow!("a thread panicked"))?).collect::<Result<Vec<_>>>()
    })?;
    Ok(source::report_all(&sources))
}

/// Returns the group and port.
pub(super) fn group(work: &Work) -> Result<GroupAddr> {
    let group =
        Group::new(work.group.ip()).with_context(|| format!("{} is not a multicast address", work.group))?;
    Ok(GroupAddr::new(group, work.group.port()))
}

/// Returns the local interface.
pub(super) const fn interface(work: &Work) -> InterfaceSelector {
    InterfaceSelector::Address(work.interface)
}

/// Returns the keys of both sides.
pub(super) fn keys(setup: Setup) -> Keys {
    match setup.sealed {
        true => Keys::one(KeyEpoch(1), GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm)),
        false => Keys::none(),
    }
}

/// Returns the public keys that a subscriber verifies with; without `--signed`, none.
pub(super) fn signed_by(setup: Setup) -> Result<PinnedKeys> {
    match setup.signed {
        true => Ok(SigningKey::new(&SEED)?.public_key().pinned()),
        false => Ok(PinnedKeys::default()),
    }
}

/// Waits until standard input is closed, for at most `--linger` seconds.
pub(super) fn linger(work: &Work) {
    let (closed_sender, closed) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(closed_sender);
    });
    let _ = closed.recv_timeout(Duration::from_secs_f64(work.linger));
}
