//! `--log`: publishing through a log on the disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mcast_stream::log::{LogOptions, Retention, SyncPolicy};
use mcast_stream::{HistoryListener, StreamError};

use crate::arguments::{parse_bits, parse_duration, parse_size};
use crate::message_layer::listen_for_history;

/// The log of the stream.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogArguments {
    /// Store the messages in this directory before they are sent; the next publisher with it continues the stream,
    /// also after a crash; needs --name or --announce
    #[arg(long = "log", value_name = "DIR", conflicts_with = "state")]
    pub(super) directory: Option<PathBuf>,

    /// When messages are synced to the disk: `each` before it is sent, at an INTERVAL (`100ms`), or `none`: when the
    /// system does it
    #[arg(long, value_name = "WHEN", requires = "directory", default_value = "each", value_parser = parse_sync)]
    sync: SyncPolicy,

    /// Remove segments while the log is larger than SIZE
    #[arg(long, value_name = "SIZE", requires = "directory", value_parser = parse_size)]
    max_size: Option<usize>,

    /// Remove segments whose messages are all older than TIME
    #[arg(long, value_name = "TIME", requires = "directory", value_parser = parse_duration)]
    max_age: Option<Duration>,

    /// Serve what is stored to subscribers at this TCP address, and announce it to them, for `mcast subscribe` with
    /// `--from` or `--heal`; port 0 selects a free one
    #[arg(long, value_name = "ADDRESS:PORT", requires = "directory")]
    serve_history: Option<SocketAddr>,

    /// Send at most RATE (`100Mbit`; at least 8Mbit) to all that read what is stored, so that the stream has room
    /// beside them [default: 512Mbit]
    #[arg(long, value_name = "RATE", requires = "serve_history", value_parser = parse_bits)]
    serve_rate: Option<u64>,
}

impl LogArguments {
    /// Listens for subscribers that read the log, if it is served.
    pub(super) fn listen(&self) -> Result<Option<HistoryListener>, StreamError> {
        self.serve_history.map(|at| listen_for_history(at, self.serve_rate)).transpose()
    }

    /// Returns the directory, and how to write the log there.
    pub(super) fn log(&self) -> Option<(PathBuf, LogOptions)> {
        let retention = Retention { bytes: self.max_size.map(|bytes| bytes as u64), age: self.max_age };
        let mut options = LogOptions { sync: self.sync, retention, ..LogOptions::default() };
        if let Some(bytes) = retention.bytes {
            // Segments are removed whole, so a small log needs small ones.
            options.segment_bytes = options.segment_bytes.min(bytes / SEGMENTS);
        }
        Some((self.directory.clone()?, options))
    }
}

/// How many segments a log with a greatest size has.
const SEGMENTS: u64 = 8;

fn parse_sync(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "each" => Ok(SyncPolicy::Each),
        "none" => Ok(SyncPolicy::None),
        _ => parse_duration(text)
            .map(SyncPolicy::Interval)
            .map_err(|_| "write each, none, or an interval such as 100ms".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_each_none_or_at_an_interval() {
        assert_eq!(parse_sync("each"), Ok(SyncPolicy::Each));
        assert_eq!(parse_sync("none"), Ok(SyncPolicy::None));
        assert_eq!(parse_sync("100ms"), Ok(SyncPolicy::Interval(Duration::from_millis(100))));
        for text in ["", "sometimes", "-1s"] {
            parse_sync(text).unwrap_err();
        }
    }
}
