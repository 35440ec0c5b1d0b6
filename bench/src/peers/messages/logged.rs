//! A stream that is kept in a log, and acknowledged.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mcast::Destination;
use mcast_stream::log::{LogOptions, SyncPolicy};
use mcast_stream::publisher::{Acknowledgers, Quorum};
use mcast_stream::wire::StreamId;
use mcast_stream::{LoggedPublisher, Publish, Publisher};

use super::publish::{group, interface};
use super::source::Source;
use super::{How, TIMEOUT, Work};

/// How many subscribers must acknowledge a message.
const QUORUM: usize = 2;

/// Waits for the subscribers, publishes through a log, and stays until they have acknowledged everything.
pub(super) fn publish(work: &Work, how: How) -> Result<()> {
    let directory = work.log.as_deref().context("--log is missing")?;
    remove(directory)?;
    let outcome = publish_in(work, how, directory);
    remove(directory)?;
    outcome
}

fn publish_in(work: &Work, how: How, directory: &Path) -> Result<()> {
    let to = Destination { address: group(work)?, interface: Some(interface(work)) };
    let sync = match how {
        How::SyncedQueue | How::SyncedAll => SyncPolicy::Each,
        _ => SyncPolicy::None,
    };
    let publisher: LoggedPublisher = Publisher::builder()
        .to(to)
        .loopback(false)
        .stream(StreamId::named("durable"))
        .acknowledge(Quorum::new(Acknowledgers::Count(QUORUM)))
        .log(directory, LogOptions { sync, ..LogOptions::default() })
        .build()?;
    let joined = publisher.publisher().wait_for(work.receivers, TIMEOUT);
    ensure!(joined, "fewer than {} subscribers joined", work.receivers);
    let mut source = Source::begin(work);
    if how == How::Logged {
        while let Some(message) = source.next() {
            publisher.publish(message)?;
        }
    } else {
        let size = source.size();
        while let Some(messages) = source.next_many() {
            match how {
                How::SyncedQueue => publisher.append_all(messages.chunks(size))?,
                _ => publisher.publish_all(messages.chunks(size))?,
            };
        }
    }
    println!("{}", source.report());
    let closing = publisher.close(Duration::from_secs_f64(work.linger))?;
    for (receiver, datagrams) in closing.behind {
        eprintln!("subscriber {receiver:?} is missing {datagrams} datagrams");
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))?;
    }
    Ok(())
}
