//! What this process joins and asks in order to discover, which announces nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use mcast_group::InterfaceIndex;

use super::{DiscoveryPlace, DiscoveryQuestion};

/// The groups that this process has joined in order to discover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnMemberships {
    /// The groups, joined on every interface.
    pub groups: BTreeSet<IpAddr>,
    /// The addresses of this machine, which report them.
    pub addresses: BTreeSet<IpAddr>,
    /// Those that others on this machine have joined as well, by interface.
    pub shared: BTreeSet<(InterfaceIndex, IpAddr)>,
}

impl OwnMemberships {
    /// Returns whether a report states nothing but a membership of this process. A host without an address reports from an
    /// unspecified one; that of others differs from all of this machine.
    pub(super) fn explain(&self, place: DiscoveryPlace, group: IpAddr, host: IpAddr) -> bool {
        self.groups.contains(&group)
            && (self.addresses.contains(&host) || host.is_unspecified())
            && !self.shared.contains(&(place.interface, group))
    }
}

/// The latest questions to each group, by which they are recognized in a capture.
#[derive(Debug, Default)]
pub(super) struct SentQuestions {
    hashes: BTreeMap<SocketAddr, VecDeque<u64>>,
    hasher: RandomState,
}

impl SentQuestions {
    /// More than are sent to a group before the capture shows them.
    const MAX: usize = 64;

    pub(super) fn note(&mut self, question: &DiscoveryQuestion) {
        if !question.destination.ip().is_multicast() {
            return;
        }
        let hash = self.hasher.hash_one(&*question.payload);
        let sent = self.hashes.entry(question.destination).or_default();
        if !sent.contains(&hash) {
            sent.truncate(Self::MAX - 1);
            sent.push_front(hash);
        }
    }

    pub(super) fn contain(&self, destination: SocketAddr, payload: &[u8]) -> bool {
        let sent = self.hashes.get(&destination);
        sent.is_some_and(|sent| sent.contains(&self.hasher.hash_one(payload)))
    }
}
