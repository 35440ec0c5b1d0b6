//! The health of a publisher's paths and hosts: which of them can be sent to, and the changes of that.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mcast::{Error, ErrorKind};
use mcast_sys::trace::Span;

/// Among several, a path that is down is tried this often: each attempt looks for its interface. An unreachable host
/// gets heartbeats this often at most.
const RETRY: Duration = Duration::from_millis(100);
/// A host of which no error was reported for this long is sent data again, even if it has not answered. It is longer
/// than systems take to find out that nobody has an address.
const HOST_RETRY: Duration = Duration::from_secs(5);
/// A full queue is reported this often at most.
const REPORT_FULL: Duration = Duration::from_secs(10);
/// Limit of the queue of changes that were not fetched; beyond it, the oldest are dropped.
const MAX_CHANGES: usize = 64;

/// A host that a stream is sent to, as far as the publisher knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostStatus {
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it can be reached: no error was reported, or it has answered since.
    pub is_reachable: bool,
    /// The data and repairs that were not sent to it because it could not be reached, in datagrams.
    pub skipped: u64,
}

/// A change in what a publisher can send on one of its paths, which count from 0.
#[derive(Debug)]
#[non_exhaustive]
pub enum PathChange {
    /// Nothing can be sent on it, for instance because its interface is down. It is retried.
    Down {
        /// Which path.
        path: usize,
        /// Why.
        error: Error,
    },
    /// It works again.
    Up {
        /// Which path.
        path: usize,
    },
    /// The queue of its interface dropped datagrams, which are repaired. Reported every 10 s at most.
    QueueFull {
        /// Which path.
        path: usize,
        /// What the system reported.
        error: Error,
    },
    /// A host cannot be reached: it cannot be sent to, or it or a router reported that nothing receives there. It gets
    /// heartbeats only, until it answers.
    HostUnreachable {
        /// Its address and port.
        host: SocketAddr,
        /// Why it cannot be sent to; `None` if the network reported it.
        error: Option<Error>,
    },
    /// An unreachable host has answered, or no error was reported for five seconds.
    HostReachable {
        /// Its address and port.
        host: SocketAddr,
    },
}

#[derive(Clone, Copy, Debug)]
enum PathState {
    Up,
    Down { since: Instant, retry_at: Instant },
}

/// What is known of a group or host.
#[derive(Debug)]
struct EndpointHealth {
    state: PathState,
    host: Option<HostStatus>,
    /// The errors about it that were reported to its socket.
    reports: u64,
}

#[derive(Debug)]
pub(super) struct PathHealth {
    all: Vec<EndpointHealth>,
    changes: VecDeque<PathChange>,
    full_reported: Option<Instant>,
    span: Span,
}

impl PathHealth {
    /// Creates the state of groups (`None`) and hosts.
    pub(super) fn new(endpoints: impl Iterator<Item = Option<SocketAddr>>, span: Span) -> Self {
        let host = |address| HostStatus { address, is_reachable: true, skipped: 0 };
        let health =
            |address: Option<_>| EndpointHealth { state: PathState::Up, host: address.map(host), reports: 0 };
        Self { all: endpoints.map(health).collect(), changes: VecDeque::new(), full_reported: None, span }
    }

    /// Whether to send this much data. It is counted otherwise.
    pub(super) fn may_send_data(&mut self, endpoint: usize, datagrams: u64) -> bool {
        let Some(EndpointHealth { state: PathState::Down { since, .. }, host: Some(host), .. }) =
            self.all.get_mut(endpoint)
        else {
            return self.may_send_control(endpoint);
        };
        if since.elapsed() < HOST_RETRY {
            host.skipped += datagrams;
            return false;
        }
        self.record_feedback(endpoint);
        true
    }

    /// Whether sending a control datagram is worth an attempt. On the only path it always is.
    pub(super) fn may_send_control(&self, endpoint: usize) -> bool {
        match self.all.get(endpoint) {
            Some(EndpointHealth { state: PathState::Down { retry_at, .. }, host, .. })
                if self.all.len() > 1 || host.is_some() =>
            {
                Instant::now() >= *retry_at
            }
            _ => true,
        }
    }

    /// Takes note of how sending went, and of the errors that were reported to the socket.
    pub(super) fn note(&mut self, endpoint: usize, result: mcast::Result<()>, sender: &mcast::Sender) {
        match self.all.get_mut(endpoint) {
            Some(health) if health.host.is_some() => {
                let reports = sender.statistics().unreachable;
                let is_reported = std::mem::replace(&mut health.reports, reports) != reports;
                match result {
                    Err(error) if error.kind() == ErrorKind::QueueFull => self.record_full(endpoint, error),
                    Err(error) => self.record_host(endpoint, Err(Some(error))),
                    Ok(()) => self.record_host(endpoint, if is_reported { Err(None) } else { Ok(()) }),
                }
            }
            _ => self.record_path(endpoint, result),
        }
    }

    fn record_host(&mut self, endpoint: usize, result: Result<(), Option<Error>>) {
        let Some(EndpointHealth { state, host: Some(host), .. }) = self.all.get_mut(endpoint) else { return };
        let now = Instant::now();
        match (result, &mut *state) {
            (Err(error), _) => {
                *state = PathState::Down { since: now, retry_at: now + RETRY };
                if std::mem::take(&mut host.is_reachable) {
                    let host = host.address;
                    self.report(PathChange::HostUnreachable { host, error });
                }
            }
            (Ok(()), PathState::Down { retry_at, .. }) => *retry_at = now + RETRY,
            (Ok(()), PathState::Up) => {}
        }
    }

    /// Notes a datagram of a subscriber, which proves that its host can be reached.
    pub(super) fn record_feedback(&mut self, endpoint: usize) {
        let Some(EndpointHealth { state, host: Some(host), .. }) = self.all.get_mut(endpoint) else { return };
        *state = PathState::Up;
        if !std::mem::replace(&mut host.is_reachable, true) {
            let host = host.address;
            self.report(PathChange::HostReachable { host });
        }
    }

    fn record_path(&mut self, path: usize, result: mcast::Result<()>) {
        let Some(EndpointHealth { state, .. }) = self.all.get_mut(path) else { return };
        match (result, *state) {
            (Ok(()), PathState::Up) => {}
            (Ok(()), PathState::Down { .. }) => {
                *state = PathState::Up;
                self.report(PathChange::Up { path });
            }
            (Err(error), _) if error.kind() == ErrorKind::QueueFull => self.record_full(path, error),
            (Err(error), before) => {
                let since = Instant::now();
                *state = PathState::Down { since, retry_at: since + RETRY };
                if matches!(before, PathState::Up) {
                    self.report(PathChange::Down { path, error });
                }
            }
        }
    }

    fn record_full(&mut self, path: usize, error: Error) {
        if self.full_reported.is_none_or(|reported| reported.elapsed() >= REPORT_FULL) {
            self.full_reported = Some(Instant::now());
            self.report(PathChange::QueueFull { path, error });
        }
    }

    fn report(&mut self, change: PathChange) {
        crate::trace::path_change(&self.span, &change);
        if self.changes.len() == MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = HostStatus> + '_ {
        self.all.iter().filter_map(|health| health.host)
    }

    /// The next change, the oldest first.
    pub(super) fn change(&mut self) -> Option<PathChange> {
        self.changes.pop_front()
    }

    /// Whether some path can send, as far as is known.
    pub(super) fn is_any_up(&self) -> bool {
        self.all.iter().any(|health| matches!(health.state, PathState::Up))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use mcast_sys::trace_span;

    fn down() -> mcast::Result<()> {
        Err(mcast::interface::find(&"no-such-interface".parse().unwrap()).unwrap_err())
    }

    #[test]
    fn each_change_is_reported_once() {
        let mut health = PathHealth::new([None, None].into_iter(), trace_span!("publisher"));
        (0..5).for_each(|_| health.record_path(1, down()));
        assert!(matches!(health.change(), Some(PathChange::Down { path: 1, .. })));
        assert!(health.change().is_none());
        assert!(health.is_any_up() && health.may_send_control(0) && !health.may_send_control(1));
        (0..5).for_each(|_| health.record_path(1, Ok(())));
        assert!(matches!(health.change(), Some(PathChange::Up { path: 1 })));
        assert!(health.change().is_none() && health.may_send_control(1));
    }

    #[test]
    fn the_only_path_is_always_tried() {
        let mut health = PathHealth::new([None].into_iter(), trace_span!("publisher"));
        health.record_path(0, down());
        assert!(health.may_send_control(0) && health.may_send_data(0, 1) && !health.is_any_up());
    }

    #[test]
    fn an_unreachable_host_gets_no_data_until_it_answers() {
        let host = SocketAddr::from(([10, 0, 0, 9], 7000));
        let mut health = PathHealth::new([None, Some(host)].into_iter(), trace_span!("publisher"));
        assert!(health.may_send_data(1, 5) && health.may_send_control(1));
        (0..3).for_each(|_| health.record_host(1, Err(None)));
        health.record_host(1, Ok(()));
        assert!(!health.may_send_data(1, 5) && !health.may_send_control(1), "it is not probed at once");
        assert_eq!(
            health.hosts().collect::<Vec<_>>(),
            [HostStatus { address: host, is_reachable: false, skipped: 5 }]
        );
        assert!(matches!(health.change(), Some(PathChange::HostUnreachable { .. })));
        assert!(health.change().is_none() && health.may_send_data(0, 5));

        (0..2).for_each(|_| health.record_feedback(1));
        assert!(health.may_send_data(1, 5));
        assert!(matches!(health.change(), Some(PathChange::HostReachable { .. })));
        assert!(health.change().is_none());
    }
}
