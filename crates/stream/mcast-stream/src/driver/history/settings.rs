//! The settings of a history, for the builder of a subscriber.

use std::net::SocketAddr;
use std::time::Duration;

use mcast::InterfaceSelector;

use super::HistorySubscription;
use crate::ClockTime;
use crate::SubscriberBuilder;
use crate::history::{HistoryConfig, HistoryStart};
use crate::subscriber::{OnLoss, Policy, Start, SubscriberConfig};
use crate::wire::MessageNumber;

/// What was set of the history.
#[derive(Debug)]
pub(in crate::driver) struct HistorySettings {
    config: Option<HistoryConfig>,
    servers: Vec<SocketAddr>,
}

impl HistorySettings {
    pub(in crate::driver) const fn new() -> Self {
        Self { config: None, servers: Vec::new() }
    }

    /// Whether a history is used.
    pub(in crate::driver) fn is_used(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.start.is_some() || config.heal)
    }

    /// Whether anything is set of a history that is not used.
    pub(in crate::driver) fn has_unused(&self) -> bool {
        let HistoryConfig { stops, backlog, timeout, seed, .. } = HistoryConfig::default();
        let is_configured = |config: &HistoryConfig| {
            (config.stops, config.backlog, config.timeout, config.seed) != (stops, backlog, timeout, seed)
        };
        let has_settings = !self.servers.is_empty() || self.config.as_ref().is_some_and(is_configured);
        has_settings && !self.is_used()
    }

    /// Prepares the settings of the subscriber and of the history for each other.
    pub(in crate::driver) fn prepare(&mut self, subscriber: &mut SubscriberConfig) {
        let is_used = self.is_used();
        let Some(history) = self.config.as_mut().filter(|_| is_used) else { return };
        if subscriber.policy == Policy::Reliable(OnLoss::Stop) {
            // Only a loss that is not in the history stops it.
            (subscriber.policy, history.stops) = (Policy::Reliable(OnLoss::Continue), true);
        }
        match history.start {
            None => {}
            // What the publisher retains needs no history.
            Some(HistoryStart::Oldest | HistoryStart::Number(_) | HistoryStart::At(_)) => {
                subscriber.start = Start::Oldest;
            }
            Some(HistoryStart::Time(_)) => subscriber.start = Start::Now,
        }
    }

    /// Returns the history, if one is used.
    pub(in crate::driver) fn subscribe(
        self,
        interface: Option<InterfaceSelector>,
        longest_message: usize,
        now: ClockTime,
    ) -> Option<Box<HistorySubscription>> {
        let config = if self.is_used() { self.config? } else { return None };
        Some(Box::new(HistorySubscription::new(config, self.servers, interface, longest_message, now)))
    }

    fn config(&mut self) -> &mut HistoryConfig {
        self.config.get_or_insert_default()
    }
}

/// Settings of a history.
impl SubscriberBuilder {
    /// Starts in the past: with messages from a history server, if the publisher does not retain them, and then the live
    /// stream, without a gap or a repeat between them. Servers are found by their announcements, unless one
    /// [is named](Self::history_server). What no server has is reported as lost.
    ///
    /// A publisher does not wait for a subscriber that it does not know yet. What it discards before it can repair it is
    /// therefore requested as well, also later, until a request gets no answer.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use mcast_stream::Subscriber;
    /// use mcast_stream::history::HistoryStart;
    ///
    /// let builder = Subscriber::builder().join("239.1.2.3%eth0:7000".parse()?);
    /// let mut subscriber = builder.history_from(HistoryStart::Oldest).build()?;
    /// while let Some(item) = subscriber.next()? {
    ///     println!("{item:?}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn history_from(mut self, start: HistoryStart) -> Self {
        self.history.config().start = Some(start);
        self
    }

    /// Sets whether messages are requested from a history server before they are reported as lost, whatever the
    /// [cause](crate::subscriber::Cause). Meanwhile, the messages after them wait. Default: no; after a start
    /// [in the past](Self::history_from) those that the publisher no longer retains.
    pub fn heal(mut self, on: bool) -> Self {
        self.history.config().heal = on;
        self
    }

    /// Adds the address of a history server. With any, announced ones are not used: any host can announce a history of
    /// a stream in clear. It is an error without [`history_from`](Self::history_from) and [`heal`](Self::heal).
    pub fn history_server(mut self, address: SocketAddr) -> Self {
        self.history.servers.push(address);
        self
    }

    /// Sets the memory for the live stream while messages come from the history, in bytes: what exceeds it comes from the
    /// history as well. Default: 64 MiB. It is an error without [`history_from`](Self::history_from) and [`heal`](Self::heal).
    pub fn history_backlog(mut self, bytes: usize) -> Self {
        self.history.config().backlog = bytes;
        self
    }

    /// Sets how long a server says that it has nothing more before what is missing counts as lost, as described at
    /// [`HistoryConfig::timeout`]. Default: 5 s. It is an error without [`history_from`](Self::history_from) and
    /// [`heal`](Self::heal).
    pub fn history_timeout(mut self, time: Duration) -> Self {
        self.history.config().timeout = time;
        self
    }

    /// Sets the first message that the application has processed without a loss up to where it starts in the history, with
    /// [`HistoryStart::At`]: a subscriber with a [name](Self::name) acknowledges them. Default: none.
    pub fn processed_since(mut self, message: MessageNumber) -> Self {
        self.history.config().processed_since = Some(message);
        self
    }
}
