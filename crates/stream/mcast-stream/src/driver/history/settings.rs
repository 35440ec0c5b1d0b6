//! The settings of a history, for the builder of a subscriber.

use std::net::SocketAddr;

use mcast::InterfaceSelector;

use super::HistorySubscription;
use crate::ClockTime;
use crate::history::{HistoryConfig, HistoryStart};
use crate::subscriber::{OnLoss, Policy, Start, SubscriberConfig};

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

    pub(in crate::driver) fn add_server(&mut self, address: SocketAddr) {
        self.servers.push(address);
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

    /// Returns the settings, to change them.
    pub(in crate::driver) fn config(&mut self) -> &mut HistoryConfig {
        self.config.get_or_insert_default()
    }
}
