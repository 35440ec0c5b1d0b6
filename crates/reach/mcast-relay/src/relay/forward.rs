//! From an arrival to its copies, and from a reply to its way back.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;

use mcast_group::Family;
use mcast_pace::ClockTime;
use mcast_tunnel::RelayPath;

use crate::arrival::{CopyTrails, LegArrival};
use crate::event::{CopyPayload, RefusalReason, RelayEvent, RelayOutput};
use crate::guard::{ContentKey, Culprit, GuardOutput, GuardVerdict, LegSource, PendingRepeat};
use crate::mdns::{FilteredMessage, filter};
use crate::paths::{PairKey, PathKey, PathPort, PathSide, can_reply_to};
use crate::relay::rules::PairState;
use crate::relay::{PathId, Relay};
use crate::rule::{LocalDiscovery, is_of_link};

impl Relay {
    /// Handles a datagram for a group or for all hosts. All outputs of earlier calls must have been taken.
    pub fn handle_datagram(&mut self, now: ClockTime, arrival: &LegArrival<'_>) {
        self.notice_pause(now);
        self.admitted.clear();
        let rules = self.rules_for(arrival);
        if rules.is_empty() {
            return;
        }
        for rule in &rules {
            self.rules[*rule].counts.arrived += 1;
        }
        match self.admit(now, &rules, arrival) {
            Ok(Some(content)) => self.forward(now, &rules, content, arrival, &CopyPayload::AsReceived),
            Ok(None) => {}
            Err(reason) => rules.iter().for_each(|rule| self.refuse(now, *rule, reason)),
        }
        self.poll_guard(now);
    }

    /// Handles datagrams that arrived in one coalesced buffer, as far as all are forwarded alike, and returns their number:
    /// the outputs are for all of these, whose payloads a [`RelayOutput::Send`] contains one after the other. Pass the others
    /// to [`Self::handle_datagram`] one by one, after the outputs have been taken. `segment` is the length of each datagram
    /// but the last.
    pub fn handle_coalesced(
        &mut self,
        now: ClockTime,
        arrival: &LegArrival<'_>,
        segment: NonZeroUsize,
    ) -> usize {
        self.notice_pause(now);
        self.admitted.clear();
        let rules = self.rules_for(arrival);
        if rules.is_empty() {
            return arrival.payload.len().div_ceil(segment.get());
        }
        if !self.decides_together(now, &rules, arrival) {
            return 0;
        }
        let first = |datagrams: u64| {
            let end = usize::try_from(datagrams).unwrap_or(usize::MAX).saturating_mul(segment.get());
            LegArrival { payload: &arrival.payload[..end.min(arrival.payload.len())], ..*arrival }
        };
        let arrived = arrival.payload.len().div_ceil(segment.get()) as u64;
        let new = self.trails.count_new(&arrival.trail, arrived);
        let count = self.guard.arrive_together(now, &first(new), segment);
        if count == 0 {
            return 0;
        }
        self.trails.arrive_together(&arrival.trail, count as u64);
        let passed = first(count as u64);
        for rule in &rules {
            self.rules[*rule].counts.arrived += count as u64;
        }
        let copies = self.send_copies(now, &rules, &passed, count as u64, &CopyPayload::AsReceived);
        self.guard.emit_together(copies);
        count
    }

    /// Returns whether the datagrams of a coalesced buffer are forwarded alike, if the guard lets them pass. Nothing is
    /// counted or reported: what is refused, limited, encapsulated or changed is decided on one by one.
    fn decides_together(&self, now: ClockTime, rules: &[usize], arrival: &LegArrival<'_>) -> bool {
        let has_plain_pairs = |rule: &usize| {
            let state = &self.rules[*rule];
            let mut pairs = self.pairs[state.pairs.clone()].iter();
            state.rule.traffic.protocol.is_none()
                && !state.limits.limits()
                && pairs.all(|pair| !matches!(pair.key.to, PathSide::AmtGateways(_)))
        };
        // Another site may have the same addresses.
        let is_host = || {
            !self.is_own(arrival.source)
                && self.peers.sender_of(arrival.source).is_none()
                && self.sender_with_kept_source(now, arrival).is_none()
                && self.home_of_routed(arrival).is_none()
        };
        rules.iter().all(has_plain_pairs)
            && (self.is_tunnel(arrival.leg) || is_host())
            && self.can_send(rules, arrival).is_ok()
    }

    /// Does what follows from the guard's tests.
    pub(super) fn poll_guard(&mut self, now: ClockTime) {
        while let Some(output) = self.guard.poll(now) {
            match output {
                GuardOutput::Send(repeat) => self.release(now, &repeat),
                GuardOutput::Drop(repeat) => {
                    let rules = self.rules_for(&repeat.arrival.as_arrival());
                    rules.into_iter().for_each(|rule| self.refuse(now, rule, RefusalReason::Echo));
                }
                GuardOutput::LoopFound(Culprit { source, mac, destination }) => {
                    let LegSource { leg, address: source } = source;
                    self.report(RelayEvent::LoopFound { leg, source, mac, destination });
                }
            }
        }
    }

    /// Sends a datagram that the guard had held back.
    fn release(&mut self, now: ClockTime, repeat: &PendingRepeat) {
        let arrival = repeat.arrival.as_arrival();
        let payload = CopyPayload::Other(arrival.payload.into());
        // What the limits have answered is about the datagram that has just arrived, and `serve` asks for it later.
        let of_arrival = std::mem::take(&mut self.admitted);
        // The rules may have changed in the meantime.
        self.forward(now, &self.rules_for(&arrival), repeat.key, &arrival, &payload);
        self.admitted = of_arrival;
    }

    /// Returns whether the limits of a rule admit the datagram. It counts once, however often and to whatever it is sent.
    fn is_admitted(&mut self, now: ClockTime, rule: usize, source: IpAddr, length: usize) -> bool {
        if let Some((_, is_admitted)) = self.admitted.iter().find(|(known, _)| *known == rule) {
            return *is_admitted;
        }
        let is_admitted = self.rules[rule].limits.allow(now, source, length);
        self.admitted.push((rule, is_admitted));
        is_admitted
    }

    /// Returns the rules that name the datagram.
    fn rules_for(&self, arrival: &LegArrival<'_>) -> Vec<usize> {
        let rules = self.rules_on.get(usize::from(arrival.leg.0)).map_or(&[][..], Vec::as_slice);
        let names =
            |rule: &usize| self.rules[*rule].rule.traffic.includes(arrival.source.ip(), arrival.destination);
        rules.iter().copied().filter(names).collect()
    }

    /// Handles that a path cannot be opened. `in_use`: because its port is in use; then another one is tried for the next
    /// datagram. Otherwise the pair pauses.
    pub fn handle_path_failure(&mut self, now: ClockTime, path: PathId, in_use: bool) {
        match self.paths.close(path, in_use) {
            Some(PathKey::Forward { pair, .. }) if !in_use => self.fail(now, |key| *key == pair),
            Some(_) | None => {}
        }
    }

    /// Handles that a unicast target cannot be reached, for example because of an ICMP message.
    pub fn handle_target_failure(&mut self, now: ClockTime, target: SocketAddr) {
        self.fail(now, |key| key.to == PathSide::Route(target));
    }

    /// Counts a datagram that HTTP clients request by a rule. Returns whether the rate of the rule admits it. Call this
    /// after [`Self::handle_datagram`] with the same datagram, which counts once for both.
    ///
    /// Neither the guard nor the election is asked: clients receive like hosts on the leg, and nothing comes back.
    pub fn serve(&mut self, now: ClockTime, rule: usize, source: IpAddr, length: usize) -> bool {
        let Some(state) = self.rules.get_mut(rule) else { return false };
        // Otherwise it was counted when the relay received it.
        state.counts.arrived += u64::from(state.rule.is_http_only());
        let was_refused = self.admitted.contains(&(rule, false));
        if !self.is_admitted(now, rule, source, length) {
            if !was_refused {
                self.refuse(now, rule, RefusalReason::RateLimit);
            }
            return false;
        }
        let counts = &mut self.rules[rule].counts;
        counts.copies += 1;
        counts.bytes += length as u64;
        true
    }

    fn fail(&mut self, now: ClockTime, is_meant: impl Fn(&crate::paths::PairKey) -> bool) {
        self.pairs.iter_mut().filter(|pair| is_meant(&pair.key)).for_each(|pair| pair.reachability.fail(now));
    }

    pub(super) fn refuse(&mut self, now: ClockTime, rule: usize, reason: RefusalReason) {
        let mut event = self.rules.get_mut(rule).and_then(|state| state.counts.refuse(now, rule, reason));
        if let Some(RelayEvent::NotForwarded { reason: RefusalReason::TooManyPaths, culprit, .. }) =
            &mut event
        {
            *culprit = self.paths.busiest();
        }
        event.into_iter().for_each(|event| self.report(event));
    }

    /// Returns the content of a datagram that may be forwarded, or `None` if the guard keeps it.
    fn admit(
        &mut self,
        now: ClockTime,
        rules: &[usize],
        arrival: &LegArrival<'_>,
    ) -> Result<Option<ContentKey>, RefusalReason> {
        let protocol = rules.iter().find_map(|rule| self.rules[*rule].rule.traffic.protocol);
        // Another site may have the same addresses.
        let is_local = !self.is_tunnel(arrival.leg);
        if is_local && self.is_own(arrival.source) {
            return Err(RefusalReason::OwnCopy);
        }
        if is_local && let Some(relay) = self.peers.sender_of(arrival.source) {
            self.report_chain(now, relay, rules, arrival.leg);
            return Err(RefusalReason::CopyOfPeer);
        }
        if let Some(relay) = self.sender_with_kept_source(now, arrival).filter(|_| is_local) {
            self.report_chain(now, relay, rules, arrival.leg);
            return Err(RefusalReason::CopyOfPeer);
        }
        if let Some(home) = self.home_of_routed(arrival).filter(|_| is_local) {
            if self.keeps_sources(home, arrival.leg) {
                return Err(RefusalReason::OwnCopy);
            }
            self.report_router(now, arrival, home);
            return Err(RefusalReason::Routed);
        }
        if let Err(reason) = self.can_send(rules, arrival) {
            // A relay on standby sees what the other one forwards. Once it takes over, it knows what has just been sent.
            if let Some(protocol) = protocol {
                self.guard.note(now, protocol, arrival);
            }
            return Err(reason);
        }
        // Only now, since this uses up the number: a copy that comes by another tunnel may be the one to forward.
        self.trails.arrive(&arrival.trail)?;
        let content = match self.guard.arrive(now, protocol, arrival) {
            GuardVerdict::Pass(content) => content,
            GuardVerdict::Wait => return Ok(None),
            GuardVerdict::NoRoom => return Err(RefusalReason::TooManyRepeats),
            GuardVerdict::Repeat => return Err(RefusalReason::Repeat),
            GuardVerdict::Echo => return Err(RefusalReason::Echo),
        };
        // What another relay sends may be a name of this very segment.
        if protocol == Some(LocalDiscovery::Mdns) && !self.peers.has_address(arrival.source.ip()) {
            self.names.learn(now, arrival.leg, arrival.payload);
        }
        Ok(Some(content))
    }

    /// Returns an error if the relay does not forward any of these rules from this leg.
    fn can_send(&self, rules: &[usize], arrival: &LegArrival<'_>) -> Result<(), RefusalReason> {
        let mut refusal = RefusalReason::NoLeg;
        for pair in rules.iter().flat_map(|rule| &self.pairs[self.rules[*rule].pairs.clone()]) {
            match pair.state {
                _ if pair.key.from != arrival.leg => {}
                PairState::Forwarding => return Ok(()),
                PairState::Listening { .. } => refusal = RefusalReason::Starting,
                PairState::Standby(_) => refusal = RefusalReason::Standby,
                PairState::Down => {}
            }
        }
        Err(refusal)
    }

    /// Sends the copies of a datagram that these rules name.
    fn forward(
        &mut self,
        now: ClockTime,
        rules: &[usize],
        content: ContentKey,
        arrival: &LegArrival<'_>,
        payload: &CopyPayload,
    ) {
        let copies = self.send_copies(now, rules, arrival, 1, payload);
        self.guard.emit(now, content, copies);
    }

    /// Sends copies of datagrams that arrived together. Returns how many copies each has.
    fn send_copies(
        &mut self,
        now: ClockTime,
        rules: &[usize],
        arrival: &LegArrival<'_>,
        datagrams: u64,
        payload: &CopyPayload,
    ) -> usize {
        // Two rules may send it to the same place.
        let mut sent = SentCopies::default();
        for rule in rules.iter().copied() {
            let before = sent.places.len();
            let refusal = self.forward_by(now, rule, arrival, datagrams, payload, &mut sent);
            let copies = (sent.places.len() - before) as u64;
            let counts = &mut self.rules[rule].counts;
            counts.copies += copies * datagrams;
            counts.bytes += copies * arrival.payload.len() as u64;
            // That another rule has sent the copy is not a refusal. A target that cannot be reached is one in any case.
            let is_counted =
                |reason: &RefusalReason| sent.places.is_empty() || *reason == RefusalReason::Unreachable;
            if let Some(reason) = refusal.filter(is_counted) {
                (0..datagrams).for_each(|_| self.refuse(now, rule, reason));
            }
        }
        sent.places.len()
    }

    /// Sends the copies of a datagram by one rule. Returns why a copy was not sent.
    fn forward_by(
        &mut self,
        now: ClockTime,
        rule: usize,
        arrival: &LegArrival<'_>,
        datagrams: u64,
        payload: &CopyPayload,
        sent: &mut SentCopies,
    ) -> Option<RefusalReason> {
        let mut refusal = None;
        for index in self.rules[rule].pairs.clone() {
            let pair = &self.pairs[index];
            if pair.key.from != arrival.leg || pair.state != PairState::Forwarding {
                continue;
            }
            let side = pair.key.to;
            let result = self.prepare(now, index, arrival, payload).and_then(|copy| {
                let place = (side, copy.destination);
                if sent.places.contains(&place) {
                    return Ok(());
                }
                // Asked last: a datagram of which no copy is sent must not use up the limit.
                if !self.is_admitted(now, rule, arrival.source.ip(), arrival.payload.len()) {
                    return Err(RefusalReason::RateLimit);
                }
                self.send(now, index, (arrival, datagrams), copy, &mut sent.trails)
                    .map(|()| sent.places.push(place))
            });
            refusal = result.err().or(refusal);
        }
        refusal
    }

    /// Returns the copy of a datagram for a pair.
    fn prepare(
        &mut self,
        now: ClockTime,
        index: usize,
        arrival: &LegArrival<'_>,
        payload: &CopyPayload,
    ) -> Result<Copy, RefusalReason> {
        let pair = &self.pairs[index];
        if !pair.reachability.is_open(now) {
            return Err(RefusalReason::Unreachable);
        }
        let rule = &self.rules[pair.rule].rule;
        // A unicast copy is a new datagram: the system chooses its hop limit, and nobody has to want it.
        if let PathSide::Route(target) = pair.key.to {
            return Ok(Copy { destination: target, hop_limit: None, payload: payload.clone() });
        }
        let destination = rewritten(rule, arrival.destination);
        let hop_limit = match (rule.hop_limit, rule.traffic.protocol) {
            (Some(hop_limit), _) => hop_limit,
            // Receivers of discovery protocols check it: mDNS wants 255 (RFC 6762 section 11).
            (None, Some(protocol)) => protocol.hop_limit(),
            // Senders to these use 1, and no router reduces it.
            (None, None) if [arrival.destination, destination].iter().any(is_of_one_link) => 1,
            (None, None) if arrival.hop_limit > 1 => arrival.hop_limit - 1,
            (None, None) => return Err(RefusalReason::HopLimit),
        };
        let to = match pair.key.to {
            PathSide::Leg(to) => to,
            PathSide::AmtGateways(listener)
                if self.is_wanted_by_gateways(listener, destination, arrival.source.ip()) =>
            {
                return Ok(Copy { destination, hop_limit: Some(hop_limit), payload: payload.clone() });
            }
            PathSide::AmtGateways(_) | PathSide::Route(_) => return Err(RefusalReason::NotWanted),
        };
        // At the other end of a tunnel, the other relay chooses the address that it sends from.
        let family = Family::of(destination.ip());
        let has_family =
            |addresses: &[IpAddr]| addresses.iter().any(|address| Family::of(*address) == family);
        if !self.is_tunnel(to) && !self.addresses(to).is_some_and(has_family) {
            return Err(RefusalReason::NoLeg);
        }
        if !self.is_wanted(now, index, to, destination, arrival.source.ip()) {
            return Err(RefusalReason::NotWanted);
        }
        let rule = &self.rules[self.pairs[index].rule].rule;
        if rule.traffic.protocol != Some(LocalDiscovery::Mdns) {
            return Ok(Copy { destination, hop_limit: Some(hop_limit), payload: payload.clone() });
        }
        // Copies of datagrams from port 5353 are sent from that port, where a unicast answer would end at this relay.
        let clear_unicast = Some(arrival.source.port()) == LocalDiscovery::Mdns.source_port();
        let is_claimed = |name: mcast_packet::payload::Name<'_>| self.names.is_claimed(now, to, name);
        let payload = match filter(arrival.payload, &rule.services, clear_unicast, is_claimed) {
            FilteredMessage::Nothing => return Err(RefusalReason::Filtered),
            FilteredMessage::Whole => payload.clone(),
            FilteredMessage::Part(part) => {
                // The guard knows only what arrived. Should another relay return this part, it has to be recognized as well.
                let source = LegSource { leg: arrival.leg, address: arrival.source.ip() };
                let of_request = (!clear_unicast).then_some(source.address);
                self.guard.remember(now, destination, &part, of_request, source);
                CopyPayload::Other(part.into())
            }
        };
        Ok(Copy { destination, hop_limit: Some(hop_limit), payload })
    }

    fn send(
        &mut self,
        now: ClockTime,
        index: usize,
        (arrival, datagrams): (&LegArrival<'_>, u64),
        copy: Copy,
        trails: &mut CopyTrails,
    ) -> Result<(), RefusalReason> {
        let pair = &self.pairs[index];
        // Gateways receive it with its own source inside a datagram of the listener, so it needs no path.
        if let (PathSide::AmtGateways(listener), Some(hop_limit)) = (pair.key.to, copy.hop_limit) {
            let Copy { destination, payload, .. } = copy;
            let source = arrival.source;
            self.outputs.push_back(RelayOutput::Encapsulate {
                listener,
                source,
                destination,
                hop_limit,
                payload,
            });
            return Ok(());
        }
        let trail = match pair.key.to_leg() {
            Some(to) if self.is_tunnel(to) => {
                let of_arrival = &arrival.trail;
                self.trails.of_copy(of_arrival, datagrams, arrival.destination, copy.destination, trails)?
            }
            _ => RelayPath::default(),
        };
        let rule = &self.rules[pair.rule].rule;
        let (protocol, repair) = (rule.traffic.protocol, rule.repair);
        // A request from another port is answered to that port, so it needs a path of its own.
        let shared =
            protocol.and_then(LocalDiscovery::source_port).filter(|port| *port == arrival.source.port());
        let sender = shared.is_none().then_some(arrival.source);
        let family = Family::of(copy.destination.ip());
        let (side, number) = (pair.key.to, pair.rule);
        let keeps_source = rule.keep_source && self.can_keep_source(arrival, family);
        if rule.keep_source && !keeps_source {
            self.report_replaced(now, number, arrival);
        }
        let key = PathKey::Forward { pair: self.pairs[index].key, family, sender, keeps_source };
        let port =
            if keeps_source { Some(PathPort::Sender(arrival.source)) } else { shared.map(PathPort::Shared) };
        let path = self.path(now, key, side, family, port)?;
        let Copy { destination, hop_limit, payload } = copy;
        let source = arrival.source;
        self.outputs.push_back(RelayOutput::Send {
            path,
            source,
            trail,
            repair,
            destination,
            hop_limit,
            payload,
        });
        Ok(())
    }

    /// Returns the path for a key, opening it if necessary.
    pub(super) fn path(
        &mut self,
        now: ClockTime,
        key: PathKey,
        side: PathSide,
        family: Family,
        port: Option<PathPort>,
    ) -> Result<PathId, RefusalReason> {
        if let Some(path) = self.paths.touch(now, key) {
            return Ok(path);
        }
        let (path, port, closed) =
            self.paths.open(now, key, port).map_err(|_| RefusalReason::TooManyPaths)?;
        self.outputs.extend(closed.map(RelayOutput::ClosePath));
        self.outputs.push_back(RelayOutput::OpenPath { path, side, family, port });
        Ok(path)
    }
}

/// A datagram to send.
struct Copy {
    destination: SocketAddr,
    hop_limit: Option<u8>,
    payload: CopyPayload,
}

/// What was sent of a datagram.
#[derive(Debug, Default)]
struct SentCopies {
    places: Vec<(PathSide, SocketAddr)>,
    trails: CopyTrails,
}

fn is_of_one_link(destination: &SocketAddr) -> bool {
    mcast_group::Group::new(destination.ip()).is_ok_and(is_of_link)
}

/// Returns where the rule sends a datagram to this address.
fn rewritten(rule: &crate::rule::Rule, destination: SocketAddr) -> SocketAddr {
    let Some(rewrite) = &rule.rewrite else {
        // A broadcast to one network is a broadcast to all hosts on another one.
        let is_multicast = destination.ip().is_multicast();
        let all_hosts = SocketAddr::new(std::net::Ipv4Addr::BROADCAST.into(), destination.port());
        return if is_multicast { destination } else { all_hosts };
    };
    let address = mcast_group::GroupAddr::try_from(destination).ok();
    let mut ranges = rule.traffic.ranges().iter();
    let range = address.and_then(|address| ranges.find(|range| range.contains(address)));
    rewrite.apply(range, destination)
}

impl Relay {
    /// Handles a unicast datagram that has arrived at a path: a reply to a copy, or the sender's answer to a reply. All
    /// outputs of earlier calls must have been taken.
    pub fn handle_reply(&mut self, now: ClockTime, path: PathId, source: SocketAddr) {
        if let Some(rule) = self.rule_without_replies(path) {
            self.refuse(now, rule, RefusalReason::Reply);
            return;
        }
        let sent = match self.paths.touch_id(now, path) {
            Some(PathKey::Forward { pair, sender: Some(sender), .. }) if can_reply_to(source) => {
                self.return_path(now, path, &pair, sender, source).map(|path| (path, sender, pair))
            }
            // Only who asked may continue the conversation: another source on the port could be anyone.
            Some(PathKey::Return { forward, responder }) => match self.paths.touch_id(now, forward) {
                Some(PathKey::Forward { pair, sender: Some(sender), .. }) if sender.ip() == source.ip() => {
                    Some((forward, responder, pair))
                }
                Some(_) | None => None,
            },
            Some(PathKey::Forward { .. }) | None => None,
        };
        let Some((path, destination, pair)) = sent else { return };
        let mut repair = None;
        if let Some(rule) = self.pairs.iter().find(|known| known.key == pair).map(|pair| pair.rule)
            && let Some(state) = self.rules.get_mut(rule)
        {
            state.counts.replies += 1;
            repair = state.rule.repair;
        }
        let payload = CopyPayload::AsReceived;
        let trail = RelayPath::default();
        self.outputs.push_back(RelayOutput::Send {
            path,
            source,
            trail,
            repair,
            destination,
            hop_limit: None,
            payload,
        });
    }

    /// Returns the rule of a path if it returns no replies.
    fn rule_without_replies(&self, path: PathId) -> Option<usize> {
        let Some(PathKey::Forward { pair, .. }) = self.paths.key(path) else { return None };
        let rule = self.pairs.iter().find(|known| known.key == pair)?.rule;
        self.rules.get(rule).filter(|state| state.rule.no_replies).map(|_| rule)
    }

    /// Returns the path on which the sender gets the replies of this host.
    fn return_path(
        &mut self,
        now: ClockTime,
        forward: PathId,
        pair: &PairKey,
        sender: SocketAddr,
        responder: SocketAddr,
    ) -> Option<PathId> {
        let (key, side) = (PathKey::Return { forward, responder }, PathSide::Leg(pair.from));
        // Some programs check the port that a reply comes from.
        let port = PathPort::Preferred(responder.port());
        self.path(now, key, side, Family::of(sender.ip()), Some(port)).ok()
    }
}
