//! What is served: which rules serve a group at which address, and the channels that have names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use mcast_group::{AddrRange, GroupAddr, Membership, SourceFilter};
use mcast_http::{HttpRefusal, HttpRefused, split_label};

use super::channel::ChannelKey;
use super::playlist::{self, Playlist, PlaylistEntry};
use super::resource::StreamKind;
use super::{HttpChannel, HttpRule};
use crate::rule::{Selection, check_address};

/// The rules and the playlist, and the entries of each listener that follow from both: pages are requested more often than these
/// change.
#[derive(Debug, Default)]
pub(super) struct Listing {
    rules: Vec<HttpRule>,
    playlist: Playlist,
    /// The groups of the playlist.
    named: BTreeMap<GroupAddr, SourceFilter>,
    entries: BTreeMap<SocketAddr, Vec<PlaylistEntry>>,
}

impl Listing {
    pub(super) fn new(playlist: Playlist) -> Self {
        let mut listing = Self::default();
        listing.set_playlist(playlist);
        listing
    }

    pub(super) fn set_playlist(&mut self, playlist: Playlist) {
        self.named.clear();
        for HttpChannel { membership, .. } in playlist.channels() {
            let sources = self.named.entry(membership.address).or_insert(SourceFilter::NONE);
            *sources = sources.union(&membership.sources);
        }
        self.playlist = playlist;
        self.list();
    }

    pub(super) fn set_rules(&mut self, rules: Vec<HttpRule>) {
        self.rules = rules;
        self.list();
    }

    pub(super) fn rules(&self) -> &[HttpRule] {
        &self.rules
    }

    /// Returns the number of a rule that serves this.
    pub(super) fn rule_of(&self, key: &ChannelKey) -> Option<usize> {
        self.rules.iter().find(|rule| self.serves(rule, key)).map(|rule| rule.rule)
    }

    /// Returns whether a rule serves this at a listener.
    pub(super) fn names(&self, listener: SocketAddr, key: &ChannelKey) -> bool {
        self.rules.iter().any(|rule| rule.listener == listener && self.serves(rule, key))
    }

    /// Returns the channel of a membership, and the number of its rule.
    ///
    /// # Errors
    /// Why it is not served.
    pub(super) fn find(
        &self,
        listener: SocketAddr,
        membership: &Membership,
    ) -> Result<(usize, ChannelKey), HttpRefused> {
        let address = membership.address;
        let mut named = self.serving(listener, membership).peekable();
        let Some((first, _)) = named.peek() else {
            let text = match check_address(address) {
                Ok(()) => format!(
                    "no rule of this relay serves {membership}: add one with its group, or request another"
                ),
                Err(error) => format!("{address} is not served: {error}"),
            };
            return Err(HttpRefused::new(HttpRefusal::Group, text));
        };
        let down = format!("{} cannot be used at present: try again later", first.leg_name);
        let Some((rule, key)) = named.find(|(rule, _)| rule.is_up) else {
            return Err(HttpRefused::new(HttpRefusal::LegDown, down));
        };
        if key.lacks_source() {
            let text = format!("{} is source-specific: request SOURCE@{address}", address.group);
            return Err(HttpRefused::new(HttpRefusal::Invalid, text));
        }
        Ok((rule.rule, key))
    }

    /// Returns the stream of the channel with this name. Of several with one name, a label that follows it selects one.
    pub(super) fn stream_of(&self, listener: SocketAddr, name: &str) -> Option<(StreamKind, Membership)> {
        let (name, label) = split_label(name);
        let of_name = || self.listed(listener).filter(|channel| channel.has_name(name));
        let of_label = label.and_then(|label| of_name().find(|channel| channel.has_label(label)));
        let channel = of_label.or_else(|| of_name().next())?;
        let kind = if channel.is_rtp { StreamKind::Rtp } else { StreamKind::Udp };
        Some((kind, channel.membership.clone()))
    }

    /// Returns the channels of a listener, and those of these that are requested there and have no name.
    pub(super) fn channels<'a>(
        &'a self,
        listener: SocketAddr,
        requested: impl Iterator<Item = &'a ChannelKey>,
    ) -> impl Iterator<Item = HttpChannel> {
        self.listed(listener).cloned().chain(self.unlisted(listener, requested))
    }

    /// Returns the playlist of a listener, with the addresses that start with `base`.
    pub(super) fn write<'a>(
        &'a self,
        listener: SocketAddr,
        requested: impl Iterator<Item = &'a ChannelKey>,
        base: &str,
        token: Option<&str>,
    ) -> String {
        let mut entries = self.entries.get(&listener).cloned().unwrap_or_default();
        entries.extend(self.unlisted(listener, requested).into_iter().map(PlaylistEntry::Channel));
        playlist::write(self.playlist.attributes(), &entries, base, token)
    }

    fn listed(&self, listener: SocketAddr) -> impl Iterator<Item = &HttpChannel> {
        self.entries.get(&listener).into_iter().flatten().filter_map(PlaylistEntry::channel)
    }

    fn unlisted<'a>(
        &'a self,
        listener: SocketAddr,
        requested: impl Iterator<Item = &'a ChannelKey>,
    ) -> Vec<HttpChannel> {
        let listed: BTreeSet<_> = self.listed(listener).map(|channel| channel.membership.address).collect();
        let requested = requested.filter(|key| !listed.contains(&key.address)).map(ChannelKey::membership);
        let served = requested.filter(|membership| self.serving(listener, membership).next().is_some());
        served.map(HttpChannel::unnamed).collect()
    }

    /// Lists the entries of the playlist that are served, and the groups that rules name one by one.
    fn list(&mut self) {
        let listeners: BTreeSet<SocketAddr> = self.rules.iter().map(|rule| rule.listener).collect();
        self.entries = listeners.into_iter().map(|listener| (listener, self.entries_at(listener))).collect();
    }

    fn entries_at(&self, listener: SocketAddr) -> Vec<PlaylistEntry> {
        let served = |entry: &PlaylistEntry| match entry {
            PlaylistEntry::Channel(channel) => {
                let membership = self.receivable(listener, &channel.membership)?;
                Some(PlaylistEntry::Channel(channel.clone().with_membership(membership)))
            }
            PlaylistEntry::Other { .. } => Some(entry.clone()),
        };
        let mut entries: Vec<PlaylistEntry> = self.playlist.entries().iter().filter_map(served).collect();
        let named = entries.iter().filter_map(PlaylistEntry::channel);
        let mut listed: BTreeSet<_> = named.map(|channel| channel.membership.address).collect();
        for rule in self.rules.iter().filter(|rule| rule.listener == listener) {
            let alone = rule.traffic.ranges().iter().filter(|range| range.count() == 1);
            for address in alone.flat_map(AddrRange::addresses).filter(|address| listed.insert(*address)) {
                let membership = self.receivable(listener, &Membership::new(address));
                entries.extend(membership.map(HttpChannel::unnamed).map(PlaylistEntry::Channel));
            }
        }
        entries
    }

    /// Returns what a client receives that requests this; `None` if nothing.
    fn receivable(&self, listener: SocketAddr, membership: &Membership) -> Option<Membership> {
        let (_, key) = self.serving(listener, membership).next()?;
        (!key.lacks_source()).then(|| key.membership())
    }

    /// Returns the rules of a listener that serve a membership, each with the channel that it is there. Without sources, those of
    /// the rule are meant.
    fn serving<'a>(
        &'a self,
        listener: SocketAddr,
        membership: &'a Membership,
    ) -> impl Iterator<Item = (&'a HttpRule, ChannelKey)> {
        let of_listener = self.rules.iter().filter(move |rule| rule.listener == listener);
        of_listener.filter_map(move |rule| {
            let (leg, address) = (rule.leg, membership.address);
            let of_rule = self.sources(rule, address)?;
            let sources = if membership.sources.is_any() { of_rule } else { &membership.sources };
            let key = ChannelKey { leg, address, sources: sources.clone() };
            self.serves(rule, &key).then_some((rule, key))
        })
    }

    /// Returns whether a rule names all that a channel receives.
    fn serves(&self, rule: &HttpRule, key: &ChannelKey) -> bool {
        let has_sources = |named: &SourceFilter| match &key.sources {
            SourceFilter::Include(sources) => sources.iter().all(|source| named.admits(*source)),
            SourceFilter::Exclude(_) => key.sources == *named,
        };
        rule.leg == key.leg && self.sources(rule, key.address).is_some_and(has_sources)
    }

    /// Returns the sources from which a rule serves a group; `None` if it does not name the group.
    fn sources<'a>(&'a self, rule: &'a HttpRule, address: GroupAddr) -> Option<&'a SourceFilter> {
        // A range may contain what no rule forwards.
        check_address(address).ok()?;
        match &rule.traffic.selection {
            Selection::Playlist => self.named.get(&address),
            Selection::Groups(ranges) => {
                ranges.iter().any(|range| range.contains(address)).then_some(&rule.traffic.sources)
            }
            Selection::Broadcast(_) => None,
        }
    }
}
