//! What is published: a stream, or the datagrams of a plain group.

use std::time::Duration;

use mcast_bridge::{BridgeError, GroupReplay, ReverseBridge, ReverseNotice, ReverseStatistics};
use mcast_stream::Publisher;
use mcast_stream::seal::Keys;
use mcast_stream::wire::StreamId;

use crate::interrupt::Interrupt;

/// A running bridge out of an engine.
pub(super) enum Running {
    Stream(Box<ReverseBridge>),
    Datagrams(Box<GroupReplay>),
}

impl Running {
    pub(super) fn interrupt(&self) -> anyhow::Result<Interrupt> {
        match self {
            Self::Stream(bridge) => Interrupt::waking(bridge.waker()),
            // It never waits for long.
            Self::Datagrams(_) => Interrupt::catch(|| {}),
        }
    }

    pub(super) fn next(&mut self, timeout: Duration) -> Result<Option<ReverseNotice>, BridgeError> {
        match self {
            Self::Stream(bridge) => bridge.next(timeout),
            Self::Datagrams(replay) => replay.next(timeout),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Stream(bridge) => bridge.is_over(),
            Self::Datagrams(replay) => replay.is_over(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        match self {
            Self::Stream(bridge) => bridge.is_connected(),
            Self::Datagrams(replay) => replay.is_connected(),
        }
    }

    pub(super) fn statistics(&self) -> ReverseStatistics {
        match self {
            Self::Stream(bridge) => bridge.statistics(),
            Self::Datagrams(replay) => replay.statistics(),
        }
    }

    /// Waits until subscribers have everything, for at most `timeout`; returns whether they have. Nobody confirms
    /// datagrams.
    pub(super) fn finish(&mut self, timeout: Duration) -> bool {
        match self {
            Self::Stream(bridge) => bridge.finish(timeout),
            Self::Datagrams(_) => true,
        }
    }

    pub(super) fn set_keys(&mut self, keys: Keys) {
        if let Self::Stream(bridge) = self {
            bridge.set_keys(keys);
        }
    }

    pub(super) fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Stream(bridge) => Some(bridge.stream()),
            Self::Datagrams(_) => None,
        }
    }

    pub(super) fn publisher(&self) -> Option<&Publisher> {
        match self {
            Self::Stream(bridge) => bridge.publisher(),
            Self::Datagrams(_) => None,
        }
    }

    /// Whether it publishes.
    pub(super) fn is_publishing(&self) -> bool {
        self.publisher().is_some() || matches!(self, Self::Datagrams(_))
    }

    /// Returns what it publishes.
    pub(super) const fn unit(&self) -> &'static str {
        match self {
            Self::Stream(_) => "message",
            Self::Datagrams(_) => "datagram",
        }
    }
}
