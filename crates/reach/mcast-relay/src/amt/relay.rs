//! The relay (RFC 7450 section 5.3): answers gateways, and keeps the memberships of those that have proved their address.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mcast_group::{Group, SourceFilter};
use mcast_pace::{ClockTime, Limiter, Quota};
use mcast_packet::gmp::{Address, GmpMessage, Query, SourceQuery};
use mcast_packet::payload::{AmtMac, AmtMessage};
use mcast_packet::{ChecksumStatus, ControlPacket, Packet, Transport};
use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rand::SystemRandom;

use super::inner::{bytes, is_host};
use crate::demand::Demand;

/// How long the hosts behind a gateway may take to answer a query.
const RESPONSE_TIME: Duration = Duration::from_secs(1);
const ROBUSTNESS: u8 = 2;
/// The time between checks for gateways that have gone.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The source of queries of MLD, which has to be link-local (RFC 3810 section 5.1.14).
const MLD_SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Answers per address and second, and in total: an answer is longer than its request, and the address may be forged. As
/// many gateways as there may be behind one NAT can start at once.
const ANSWERS_EACH: Quota = Quota { per_second: 10, burst: 256 };
const ANSWERS_IN_TOTAL: Quota = Quota { per_second: 500, burst: 1_000 };

/// What a relay holds at most.
#[derive(Clone, Copy, Debug)]
pub struct AmtRelayLimits {
    /// Gateways.
    pub gateways: usize,
    /// Gateways at one address: several may be behind one NAT.
    pub gateways_per_address: usize,
    /// Groups of one gateway.
    pub groups_per_gateway: usize,
    /// The time between two reports of a gateway.
    pub query_interval: Duration,
}

impl Default for AmtRelayLimits {
    fn default() -> Self {
        Self {
            gateways: 1_024,
            gateways_per_address: 128,
            groups_per_gateway: 256,
            // Shorter than the time after which a NAT forgets a port that is silent, which is often 30 s.
            query_interval: Duration::from_secs(25),
        }
    }
}

/// What a relay has received and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AmtRelayCounts {
    /// Datagrams that are not valid messages, or that no relay receives.
    pub invalid: u64,
    /// Updates and teardowns with a code that is not valid.
    pub wrong_mac: u64,
    /// Updates of gateways above the limits.
    pub refused_gateways: u64,
    /// Discoveries and requests that were not answered, because there were too many.
    pub unanswered: u64,
}

/// A relay: its driver passes what arrives, and sends what is returned.
#[derive(Debug)]
pub struct AmtRelay {
    address: SocketAddr,
    limits: AmtRelayLimits,
    secrets: MacSecrets,
    /// The gateways, each with the time of its latest update.
    gateways: BTreeMap<SocketAddr, ClockTime>,
    demand: Demand<SocketAddr>,
    /// What each gateway has joined.
    members: BTreeMap<Group, BTreeMap<SocketAddr, SourceFilter>>,
    /// For gateways that are not known, and for those that are, which a flood must not starve.
    answers: [Limiter; 2],
    next_check: ClockTime,
    counts: AmtRelayCounts,
}

impl AmtRelay {
    /// Creates a relay that gateways reach at this address.
    ///
    /// # Errors
    /// Returns an error if the system has no random numbers.
    pub fn new(address: SocketAddr, limits: AmtRelayLimits) -> Result<Self, NoRandom> {
        Ok(Self {
            address,
            limits,
            // A gateway uses a code until its next request is answered, which takes an interval and some attempts.
            secrets: MacSecrets::new(limits.query_interval * 2)?,
            gateways: BTreeMap::new(),
            demand: Demand::new(limits.groups_per_gateway, limits.groups_per_gateway),
            members: BTreeMap::new(),
            answers: [(); 2].map(|()| Limiter::new(ANSWERS_EACH, ANSWERS_IN_TOTAL)),
            next_check: ClockTime::NEVER,
            counts: AmtRelayCounts::default(),
        })
    }

    /// Returns the address at which gateways reach it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what it has received and refused.
    #[must_use]
    pub const fn counts(&self) -> AmtRelayCounts {
        self.counts
    }

    /// Returns the gateways that have joined something.
    pub fn gateways(&self) -> impl ExactSizeIterator<Item = SocketAddr> {
        self.gateways.keys().copied()
    }

    /// Returns the groups that gateways have joined, each with the sources that any of them admits.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<Group, SourceFilter> {
        let union = |members: &BTreeMap<SocketAddr, SourceFilter>| {
            members.values().fold(SourceFilter::NONE, |all, one| all.union(one))
        };
        self.members.iter().map(|(group, members)| (*group, union(members))).collect()
    }

    /// Returns the gateways that receive datagrams of this source to this group.
    pub fn receivers(&self, group: Group, source: IpAddr) -> impl Iterator<Item = SocketAddr> {
        let members = self.members.get(&group).into_iter().flatten();
        members.filter(move |(_, sources)| sources.admits(source)).map(|(gateway, _)| *gateway)
    }

    /// Handles a datagram. Returns the answer to its sender, and whether memberships have changed.
    pub fn handle_datagram(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        datagram: &[u8],
    ) -> (Option<Vec<u8>>, bool) {
        self.secrets.rotate(now);
        let from = SocketAddr::new(from.ip(), from.port());
        if !is_host(from.ip()) || from.port() == 0 {
            self.counts.invalid += 1;
            return (None, false);
        }
        match AmtMessage::parse(datagram) {
            Some(AmtMessage::RelayDiscovery { nonce }) => {
                let relay = self.address.ip();
                (self.answer(now, from, || bytes(&AmtMessage::RelayAdvertisement { nonce, relay })), false)
            }
            Some(AmtMessage::Request { nonce, wants_mld }) => {
                // Nothing is kept of a request. The code returns with the update, and proves that the gateway receives at its
                // address. A full relay answers as well, so that the gateway looks for another one at once.
                let (is_full, mac) = (!self.admits(from), self.secrets.mac(from, nonce));
                let interval = self.limits.query_interval;
                let query = || query(is_full, mac, nonce, wants_mld, from, interval);
                (self.answer(now, from, query), false)
            }
            Some(AmtMessage::MembershipUpdate { mac, nonce, packet }) => {
                (None, self.is_authentic(from, nonce, mac) && self.update(now, from, packet))
            }
            Some(AmtMessage::Teardown { mac, nonce, gateway }) => {
                // It comes from the address that the gateway has now, and its code is that of the former one.
                (None, self.is_authentic(gateway, nonce, mac) && self.remove(gateway))
            }
            Some(_) | None => {
                self.counts.invalid += 1;
                (None, false)
            }
        }
    }

    /// Handles that nothing receives at the address of a gateway, as an ICMP message reports. Returns whether memberships
    /// have changed.
    pub fn handle_unreachable(&mut self, gateway: SocketAddr) -> bool {
        self.remove(gateway)
    }

    /// Removes gateways that no longer report. Returns whether memberships have changed.
    pub fn handle_timeout(&mut self, now: ClockTime) -> bool {
        if now < self.next_check {
            return false;
        }
        let lifetime = self.limits.query_interval * ROBUSTNESS.into() + Duration::from_secs(10);
        let is_gone = |last: &ClockTime| now >= *last + lifetime;
        let gone: Vec<_> =
            self.gateways.iter().filter(|(_, last)| is_gone(last)).map(|(gateway, _)| *gateway).collect();
        let mut has_changed = false;
        for gateway in gone {
            has_changed |= self.remove(gateway);
        }
        // Nobody waits for reports here, so silence is not reported.
        self.demand.silent(now);
        for group in self.demand.expire(now) {
            let members: Option<Vec<_>> =
                self.members.get(&group).map(|members| members.keys().copied().collect());
            for gateway in members.unwrap_or_default() {
                self.take_over(now, gateway, group);
                self.forget_if_idle(gateway);
            }
            has_changed = true;
        }
        self.next_check = if self.gateways.is_empty() { ClockTime::NEVER } else { now + CHECK_INTERVAL };
        has_changed
    }

    /// Returns when to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<ClockTime> {
        self.next_check.unless_never()
    }

    /// Returns the answer to a gateway, unless too many have been requested.
    fn answer(
        &mut self,
        now: ClockTime,
        from: SocketAddr,
        answer: impl FnOnce() -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let limiter = &mut self.answers[usize::from(self.gateways.contains_key(&from))];
        if limiter.allows(now, from.ip()) {
            return Some(answer());
        }
        self.counts.unanswered += 1;
        None
    }

    fn is_authentic(&mut self, gateway: SocketAddr, nonce: u32, mac: AmtMac) -> bool {
        let is_authentic = self.secrets.verify(gateway, nonce, mac);
        self.counts.wrong_mac += u64::from(!is_authentic);
        is_authentic
    }

    /// Returns whether there is room for the gateway.
    fn admits(&self, gateway: SocketAddr) -> bool {
        let ports = SocketAddr::new(gateway.ip(), 0)..=SocketAddr::new(gateway.ip(), u16::MAX);
        self.gateways.contains_key(&gateway)
            || self.gateways.len() < self.limits.gateways
                && self.gateways.range(ports).count() < self.limits.gateways_per_address
    }

    /// Applies a report. Returns whether memberships have changed.
    fn update(&mut self, now: ClockTime, gateway: SocketAddr, packet: &[u8]) -> bool {
        let packet = Packet::ip(packet);
        let is_whole = packet.malformed.is_none() && packet.ip_layer().is_some_and(|ip| !ip.truncated);
        match packet.transport {
            Some(Transport::Igmp(control)) if is_whole && control.checksum == ChecksumStatus::Valid => {
                self.report(now, gateway, &control.message)
            }
            Some(Transport::Mld(control)) if is_whole && control.checksum == ChecksumStatus::Valid => {
                self.report(now, gateway, &control.message)
            }
            _ => {
                self.counts.invalid += 1;
                false
            }
        }
    }

    fn report<A: Address>(
        &mut self,
        now: ClockTime,
        gateway: SocketAddr,
        message: &GmpMessage<'_, A>,
    ) -> bool {
        if !self.admits(gateway) {
            self.counts.refused_gateways += 1;
            return false;
        }
        let before = self.gateways.insert(gateway, now);
        if before.is_none() {
            self.demand.start(now, gateway);
        }
        let changed = self.demand.receive(now, gateway, gateway.ip(), message);
        changed.iter().for_each(|group| self.take_over(now, gateway, *group));
        self.forget_if_idle(gateway);
        self.next_check = self.next_check.min(now + CHECK_INTERVAL);
        !changed.is_empty()
    }

    /// Takes over what a gateway has joined of a group.
    fn take_over(&mut self, now: ClockTime, gateway: SocketAddr, group: Group) {
        let sources = self.demand.requested(now, gateway, group);
        match sources.is_none() {
            true => self.forget_member(gateway, group),
            false => _ = self.members.entry(group).or_default().insert(gateway, sources),
        }
    }

    fn forget_member(&mut self, gateway: SocketAddr, group: Group) {
        let Some(members) = self.members.get_mut(&group) else { return };
        members.remove(&gateway);
        if members.is_empty() {
            self.members.remove(&group);
        }
    }

    /// Forgets a gateway that has joined nothing.
    fn forget_if_idle(&mut self, gateway: SocketAddr) {
        if self.demand.groups(gateway).next().is_none() {
            self.remove(gateway);
        }
    }

    fn remove(&mut self, gateway: SocketAddr) -> bool {
        let groups: Vec<Group> = self.demand.groups(gateway).collect();
        groups.into_iter().for_each(|group| self.forget_member(gateway, group));
        self.demand.stop(gateway);
        self.gateways.remove(&gateway).is_some()
    }
}

fn query(
    is_full: bool,
    mac: AmtMac,
    nonce: u32,
    wants_mld: bool,
    gateway: SocketAddr,
    interval: Duration,
) -> Vec<u8> {
    let mut buffer = [0; 128];
    let length = match wants_mld {
        true => general(MLD_SOURCE, interval, &mut buffer),
        false => general(Ipv4Addr::UNSPECIFIED, interval, &mut buffer),
    };
    let packet = buffer.get(..length).unwrap_or_default();
    bytes(&AmtMessage::MembershipQuery { is_full, mac, nonce, packet, gateway: Some(gateway) })
}

/// Writes a general query, and returns its length.
fn general<A: Address>(source: A, interval: Duration, buffer: &mut [u8]) -> usize {
    let source_query =
        SourceQuery { suppress: false, robustness: ROBUSTNESS, interval, sources: (&[]).into() };
    let message = GmpMessage::Query(Query {
        group: None,
        max_response_time: RESPONSE_TIME,
        source_query: Some(source_query),
    });
    // It fits in the buffer.
    ControlPacket { source, message }.emit(buffer).unwrap_or(0)
}

/// The secret of the codes, and the one before it.
pub(super) struct MacSecrets {
    current: Key,
    previous: Key,
    lifetime: Duration,
    rotate_at: ClockTime,
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandom;

impl MacSecrets {
    /// Creates secrets that are replaced after this time. A code is valid for at least this long, and for less than twice
    /// as long.
    pub(super) fn new(lifetime: Duration) -> Result<Self, NoRandom> {
        Ok(Self {
            current: new_key()?,
            previous: new_key()?,
            lifetime,
            rotate_at: ClockTime::START + lifetime,
        })
    }

    /// Returns the code of an address and number.
    pub(super) fn mac(&self, gateway: SocketAddr, nonce: u32) -> AmtMac {
        mac(&self.current, gateway, nonce)
    }

    /// Returns whether this is the code of the address and number, in constant time.
    pub(super) fn verify(&self, gateway: SocketAddr, nonce: u32, found: AmtMac) -> bool {
        let differs = |key: &Key| {
            let expected = mac(key, gateway, nonce);
            expected.0.iter().zip(found.0).fold(0, |difference, (a, b)| difference | (a ^ b)) != 0
        };
        // Both are always computed.
        !(differs(&self.current) & differs(&self.previous))
    }

    /// Replaces the secret if it is due. If there are no random numbers, the secrets stay.
    fn rotate(&mut self, now: ClockTime) {
        if now < self.rotate_at {
            return;
        }
        // After a long time without messages, the secret before is too old as well.
        let is_late = now >= self.rotate_at + self.lifetime;
        for _ in 0..if is_late { 2 } else { 1 } {
            let Ok(key) = new_key() else { return };
            self.previous = std::mem::replace(&mut self.current, key);
        }
        self.rotate_at = if is_late { now } else { self.rotate_at } + self.lifetime;
    }
}

fn new_key() -> Result<Key, NoRandom> {
    Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandom)
}

fn mac(key: &Key, gateway: SocketAddr, nonce: u32) -> AmtMac {
    let address = match gateway.ip() {
        IpAddr::V4(address) => address.to_ipv6_compatible(),
        IpAddr::V6(address) => address,
    };
    let family = [u8::from(gateway.is_ipv6())];
    let input =
        [&family[..], &address.octets(), &gateway.port().to_be_bytes(), &nonce.to_be_bytes()].concat();
    let mut mac = [0; 6];
    mac.iter_mut().zip(sign(key, &input).as_ref()).for_each(|(to, from)| *to = *from);
    AmtMac(mac)
}

impl fmt::Debug for MacSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacSecrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    fn gateway(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_code_is_of_one_address_port_and_number() {
        let secrets = MacSecrets::new(LIFETIME).unwrap();
        let own = gateway("192.0.2.9:5000");
        let code = secrets.mac(own, 7);
        assert!(secrets.verify(own, 7, code));
        for other in ["192.0.2.8:5000", "192.0.2.9:5001", "[::192.0.2.9]:5000"] {
            assert!(!secrets.verify(gateway(other), 7, code), "{other}");
        }
        assert!(!secrets.verify(own, 8, code));
        for bit in 0..48 {
            let mut changed = code;
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!secrets.verify(own, 7, changed), "{bit}");
        }
        assert!(!MacSecrets::new(LIFETIME).unwrap().verify(own, 7, code), "of another relay");
    }

    #[test]
    fn a_code_outlives_one_rotation_and_not_two() {
        let own = gateway("192.0.2.9:5000");
        let mut secrets = MacSecrets::new(LIFETIME).unwrap();
        let code = secrets.mac(own, 7);
        secrets.rotate(ClockTime::START + LIFETIME - Duration::from_nanos(1));
        assert_eq!(secrets.mac(own, 7), code);
        secrets.rotate(ClockTime::START + LIFETIME);
        assert_ne!(secrets.mac(own, 7), code);
        assert!(secrets.verify(own, 7, code));
        secrets.rotate(ClockTime::START + LIFETIME * 2);
        assert!(!secrets.verify(own, 7, code));
        let late = secrets.mac(own, 8);
        secrets.rotate(ClockTime::START + LIFETIME * 10);
        assert!(!secrets.verify(own, 8, late), "after a long time without messages");
    }
}
