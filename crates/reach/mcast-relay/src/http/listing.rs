//! The channels that pages list: those that rules serve at a listener.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use mcast_group::{AddrRange, Membership};

use super::playlist::HttpChannel;
use super::server::HttpServer;

/// The channels of each listener that follow from the rules and the playlist: pages are requested more often than these change.
pub(super) type Listings = BTreeMap<SocketAddr, Vec<HttpChannel>>;

impl HttpServer {
    /// Lists the channels of the playlist, and the groups that rules name one by one.
    pub(super) fn list_channels(&mut self) {
        let listeners: BTreeSet<SocketAddr> = self.rules.iter().map(|rule| rule.listener).collect();
        self.listings = listeners.into_iter().map(|listener| (listener, self.listing(listener))).collect();
    }

    fn listing(&self, listener: SocketAddr) -> Vec<HttpChannel> {
        let named = self.config.channels.iter().filter_map(|channel| {
            let membership = self.receivable(listener, &channel.membership)?;
            Some(HttpChannel { membership, ..channel.clone() })
        });
        let mut channels: Vec<HttpChannel> = named.collect();
        let mut listed: BTreeSet<_> = channels.iter().map(|channel| channel.membership.address).collect();
        for rule in self.rules.iter().filter(|rule| rule.listener == listener) {
            let alone = rule.traffic.ranges().iter().filter(|range| range.count() == 1);
            for address in alone.flat_map(AddrRange::addresses).filter(|address| listed.insert(*address)) {
                channels
                    .extend(self.receivable(listener, &Membership::new(address)).map(HttpChannel::unnamed));
            }
        }
        channels
    }

    /// Returns what a client receives that requests this; `None` if nothing.
    fn receivable(&self, listener: SocketAddr, membership: &Membership) -> Option<Membership> {
        let (_, key) = self.serving(listener, membership).next()?;
        (!key.lacks_source()).then(|| key.membership())
    }

    /// Returns the channels of a listener, and those that clients request there.
    pub(super) fn channels_at(&self, listener: SocketAddr) -> Vec<HttpChannel> {
        let mut channels = self.listings.get(&listener).cloned().unwrap_or_default();
        let listed: BTreeSet<_> = channels.iter().map(|channel| channel.membership.address).collect();
        let requested = self.channels.keys().filter(|key| !listed.contains(&key.address));
        let requested = requested.map(super::server::ChannelKey::membership);
        let served = requested.filter(|membership| self.serving(listener, membership).next().is_some());
        channels.extend(served.map(HttpChannel::unnamed));
        channels
    }
}
