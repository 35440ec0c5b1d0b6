//! The rules of the relay and of tunnels.

use super::Rule;
use crate::mutate::package::{AMT, HTTP, RELAY, SERVER, TUNNEL};

pub(super) const RULES: &[Rule] = &[
    AMT.rule(
        "a relay of AMT keeps nothing without a valid code",
        "(None, self.is_authentic(from, nonce, mac) && self.update(now, from, packet))",
        "(None, self.update(now, from, packet))",
    ),
    AMT.rule(
        "a teardown needs the code of the gateway that it names",
        "(None, self.is_authentic(gateway, nonce, mac) && self.remove(gateway))",
        "(None, self.is_authentic(from, nonce, mac) && self.remove(gateway))",
    ),
    AMT.rule(
        "the code of AMT covers the port",
        "&gateway.port().to_be_bytes()",
        "&0_u16.to_be_bytes()",
    ),
    AMT.rule(
        "secrets of AMT expire",
        "if now < self.rotate_at {",
        "if now < self.rotate_at * 100 {",
    ),
    AMT.rule(
        "a flood of requests is not answered",
        "if limiter.allows(now, from.ip()) {",
        "if limiter.allows(now, from.ip()) || !from.ip().is_loopback() {",
    ),
    AMT.rule(
        "a gateway takes data only of its relay",
        "if !is_relay || !self.tunnels.iter().any(has_session) {",
        "if !self.tunnels.iter().any(|tunnel| tunnel.session.is_some()) {",
    ),
    AMT.rule(
        "a gateway that has moved ends the tunnel to its old address",
        "&& (before.relay, before.endpoint) != (session.relay, session.endpoint)",
        "&& before.relay != session.relay",
    ),
    AMT.rule(
        "a gateway notices silence",
        "if self.last_data.is_some_and(|last| now >= last + SILENCE) {",
        "if self.last_data.is_some_and(|last| now >= last + SILENCE * 100) {",
    ),
    AMT.rule(
        "a gateway that found its relay again asks for a new code",
        "self.request_where(now, |_| true);",
        "self.request_where(now, |tunnel| tunnel.session.is_none());",
    ),
    AMT.rule(
        "reports of a gateway are repeated",
        "tunnel.repeated.extend(added);",
        "drop(added);",
    ),
    AMT.rule(
        "gateways receive only the sources that they have joined",
        "members.filter(move |(_, sources)| sources.admits(source)).map(|(gateway, _)| *gateway)",
        "members.filter(move |(_, sources)| !sources.is_none() || source.is_loopback()).map(|(gateway, _)| *gateway)",
    ),
    AMT.rule(
        "gateways at one address are limited",
        "&& self.gateways.range(ports).count() < self.limits.gateways_per_address",
        "&& self.gateways.range(ports).count() < self.limits.gateways",
    ),
    AMT.rule(
        "a gateway takes only answers to its own requests",
        "tunnel.request.is_some_and(|attempt| attempt.nonce == nonce)",
        "tunnel.request.is_some_and(|attempt| attempt.nonce == nonce || nonce > 0)",
    ),
    AMT.rule(
        "a gateway takes only what it has joined",
        "if !joined.is_some_and(|sources| sources.admits(datagram.source.ip())) {",
        "if !joined.is_some_and(|sources| !sources.is_none()) {",
    ),
    AMT.rule(
        "gateways that no longer report are forgotten",
        "let is_gone = |last: &ClockTime| now >= *last + lifetime;",
        "let is_gone = |last: &ClockTime| now >= *last + lifetime * 100;",
    ),
    AMT.rule(
        "a damaged report is not applied",
        "Some(Transport::Igmp(control)) if is_whole && control.checksum == ChecksumStatus::Valid => {",
        "Some(Transport::Igmp(control)) if is_whole => {",
    ),
    SERVER.rule(
        "a name that is not of this host is refused",
        "if is_own(host, &self.hosts) || public.is_some_and(|public| public.eq_ignore_ascii_case(host)) {",
        "if !host.is_empty() || public.is_some_and(|public| public.eq_ignore_ascii_case(host)) {",
    ),
    HTTP.rule(
        "what a client lacks is kept",
        "stream.needed = stream.needed.min(position);",
        "stream.needed = stream.needed.max(position);",
    ),
    HTTP.rule(
        "what may be requested again is kept",
        "if matches!(kind, StreamKind::Udp | StreamKind::Rtp) {",
        "if true {",
    ),
    SERVER.rule(
        "pages of other sites read nothing",
        "Some((\"http\", authority)) => authority == host,",
        "Some((\"http\", _)) => true,",
    ),
    SERVER.rule(
        "pages of other sites cause no joins",
        "None if request.is_cross_site && !self.origins.iter().any(|allowed| allowed == \"*\") => {",
        "None if request.is_cross_site && self.origins.len() > 100 => {",
    ),
    HTTP.rule(
        "HTTP clients receive only groups of the rules",
        "ranges.iter().any(|range| range.contains(address)).then_some(&rule.traffic.sources)",
        "(!ranges.is_empty()).then_some(&rule.traffic.sources)",
    ),
    HTTP.rule(
        "HTTP clients receive only sources of the rules",
        "SourceFilter::Include(sources) => sources.iter().all(|source| named.admits(*source)),",
        "SourceFilter::Include(_) => true,",
    ),
    SERVER.rule(
        "a request is limited in time",
        "ConnectionState::Request(_) if now >= client.since + REQUEST_TIME => {",
        "ConnectionState::Request(_) if now >= client.since + REQUEST_TIME * 1_000 => {",
    ),
    SERVER.rule(
        "a request is limited in length",
        "Ok(None) if head.len() > MAX_HEAD => {",
        "Ok(None) if head.len() > MAX_HEAD * 1_000 => {",
    ),
    SERVER.rule(
        "connections without a request do not keep others out",
        "self.idlest().filter(|_| has_room)?.state = ConnectionState::Gone;",
        "self.idlest().filter(|_| !has_room)?.state = ConnectionState::Gone;",
    ),
    SERVER.rule(
        "a connection is closed in favour of others of another address",
        "let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;",
        "let (most, _) = counts.into_iter().min_by_key(|(_, count)| *count)?;",
    ),
    SERVER.rule(
        "a client that takes nothing is dropped",
        "is_over(client.blocked_since) || is_over(own.behind_since)",
        "is_over(own.behind_since)",
    ),
    SERVER.rule(
        "a client that remains behind is dropped",
        "if is_over(client.blocked_since) || is_over(own.behind_since) => {",
        "if is_over(client.blocked_since) => {",
    ),
    HTTP.rule(
        "streams that rules no longer name end",
        "self.end_stream(now, id, CloseCode::GoingAway);\n        }\n    }",
        "let _ = (now, id);\n        }\n    }",
    ),
    SERVER.rule(
        "what is kept for HTTP clients is bounded",
        "while self.cost > capacity && self.chunks.len() > 1 {",
        "while self.cost > capacity * 100 && self.chunks.len() > 1 {",
    ),
    HTTP.rule(
        "what a client has missed is reported to it",
        "(missed > 0).then(|| (missed, gap()))",
        "(missed > 0).then(|| (missed, Vec::new()))",
    ),
    HTTP.rule(
        "a group is left after its last client",
        "stream.idle_since = (stream.clients == 0).then_some(now);",
        "stream.idle_since = None;",
    ),
    SERVER.rule(
        "an identifier of another life is unknown",
        "(u64::from_str_radix(given, 16).ok()? == epoch).then(|| number.parse().ok())?",
        "(u64::from_str_radix(given, 16).is_ok()).then(|| number.parse().ok())?",
    ),
    HTTP.rule(
        "a control frame of a client is short",
        "&& first & !0x0f == FIN && length <= MAX_CONTROL => {}",
        "&& first & !0x0f == FIN => {}",
    ),
    HTTP.rule(
        "data of a client is refused",
        "0..=2 => return refused(CloseCode::Data),",
        "0..=2 if length > 1_000 => return refused(CloseCode::Data),",
    ),
    HTTP.rule(
        "pings of a client are bounded",
        "ClientFrame::Ping(payload) if !client.is_full() => {",
        "ClientFrame::Ping(payload) => {",
    ),
    HTTP.rule(
        "a datagram counts once for the rate of a rule",
        "if let Some((_, is_admitted)) = self.admitted.iter().find(|(known, _)| *known == rule) {",
        "if let Some((_, is_admitted)) = self.admitted.iter().find(|(known, _)| *known == rule && *known > 99) {",
    ),
    HTTP.rule(
        "announcements are sent with each key",
        "false => self.authenticators.iter().map(|key| announcement.emit(Some(&**key))).collect(),",
        "false => self.authenticators.iter().take(1).map(|key| announcement.emit(Some(&**key))).collect(),",
    ),
    HTTP.rule(
        "announcements are accepted with each key",
        "others.iter().fold(parse(first), |parsed, key| parsed.or_else(|_| parse(key)))",
        "others.iter().take(0).fold(parse(first), |parsed, key| parsed.or_else(|_| parse(key)))",
    ),
    RELAY.rule(
        "a relay does not forward its own copies",
        "if is_local && self.is_own(arrival.source) {",
        "if false {",
    ),
    RELAY.rule(
        "a relay does not forward the copies of another one",
        "if is_local && let Some(relay) = self.peers.sender_of(arrival.source) {",
        "if false && let Some(relay) = self.peers.sender_of(arrival.source) {",
    ),
    RELAY.rule(
        "nothing is forwarded between legs on the same segment",
        "one == other || self.same_segment.contains_key(&(one.min(other), one.max(other)))",
        "one == other",
    ),
    RELAY.rule(
        "relays do not keep memberships of each other alive",
        "|| self.peers.has_address(source);",
        ";",
    ),
    RELAY.rule(
        "a relay that starts listens first",
        "PairState::Down => return PairState::Listening { until: now + LISTENING },",
        "PairState::Down => return PairState::Listening { until: now },",
    ),
    RELAY.rule(
        "a relay that did not run listens first",
        "running.for_each(|pair| pair.state = PairState::Listening { until: now + LISTENING });",
        "running.for_each(|pair| pair.state = PairState::Listening { until: now });",
    ),
    RELAY.rule(
        "a relay that is silent is replaced within 3 s",
        "Duration::from_millis(2_400)",
        "Duration::from_millis(3_400)",
    ),
    RELAY.rule(
        "a goodbye is a take-over at once",
        "if announcement.goodbye {",
        "if false {",
    ),
    RELAY.rule(
        "a relay that returns leaves the forwarder alone",
        "(false, true) => peer.priority >= candidate.priority,",
        "(false, true) => is_better,",
    ),
    RELAY.rule(
        "a forwarder gives way to a better one",
        "(true, forwards) => forwards && is_better,",
        "(true, _) => false,",
    ),
    RELAY.rule(
        "repeats of discovery protocols are dropped",
        "if protocol.is_some() && self.contents.is_in_set(now, key, SET_WINDOW) {",
        "if false {",
    ),
    RELAY.rule(
        "the same request of another host is another request",
        ".filter(|protocol| protocol.requests_reply(arrival.source, arrival.payload))",
        ".filter(|_| false)",
    ),
    RELAY.rule(
        "probes that come back convict a source",
        "            self.echoes = self.echoes.saturating_add(1);",
        "            self.echoes = self.echoes.saturating_add(0);",
    ),
    RELAY.rule(
        "one probe that comes back is not a proof",
        "const ECHOES: u8 = 3;",
        "const ECHOES: u8 = 1;",
    ),
    RELAY.rule(
        "coincidence does not convict a source",
        "const DEVIATIONS_SQUARED: u64 = 10;",
        "const DEVIATIONS_SQUARED: u64 = 0;",
    ),
    RELAY.rule(
        "a host fills only its own share of the groups",
        "if self.groups.len() >= max_groups || of_host >= max_of_host {",
        "if self.groups.len() >= max_groups {",
    ),
    RELAY.rule(
        "a sender fills only its own share of the paths",
        "if owned >= (self.capacity / SHARE).max(LEAST_SHARE) {",
        "if false {",
    ),
    RELAY.rule(
        "forged hosts take groups from each other",
        ".filter(|(_, groups)| **groups > of_host + 1)?;",
        ".filter(|_| false)?;",
    ),
    RELAY.rule(
        "forged senders keep out nobody",
        "idle => idle >= TRIAL && entry.uses < PROVEN && owner.is_none(),",
        "_ => false,",
    ),
    RELAY.rule(
        "echoes of a source in quarantine are dropped",
        "            SuspectState::Quarantined { .. } => Step::Echo,",
        "            SuspectState::Quarantined { .. } => Step::Pass,",
    ),
    RELAY.rule(
        "a source in quarantine is tested again",
        "            } else if now >= *recheck {",
        "            } else if now >= *recheck * 1_000 {",
    ),
    RELAY.rule(
        "what is held back is sent if the source is acquitted",
        "        self.state = SuspectState::Drained(Drain::new(now, rate, held).into());",
        "        self.state = SuspectState::Drained(Drain::new(now, rate, HeldRepeats::default()).into());",
    ),
    RELAY.rule(
        "nothing is allowed to a source that was part of a loop",
        "(self.state, self.allowance) = (SuspectState::Watched, Allowance::none(now));",
        "(self.state, self.allowance) = (SuspectState::Watched, Allowance::new(now));",
    ),
    RELAY.rule(
        "a source that has repeated as many datagrams as it sent originals is tested again",
        "        self.credit -= 1;",
        "        self.credit -= 0;",
    ),
    RELAY.rule(
        "copies of what the relay sends for the first time do not count as originals",
        "if originals * 4 >= count * 3 { OwnResult::Continues(rate)",
        "if count > 0 { OwnResult::Continues(rate)",
    ),
    RELAY.rule(
        "probes have contents that have not just arrived",
        "            silent => (silent.min(self.few()), 0),",
        "            _ => (wanted, u64::MAX),",
    ),
    RELAY.rule(
        "what others send to each other has the origin that it had",
        "        if now - self.first.last > MEMORY && !self.has_another(now, source) {",
        "        if now - self.first.last > MEMORY {",
    ),
    RELAY.rule(
        "a relay has no part in the storm of others",
        "        if is_fast && circulates && self.quiet_windows >= 2 {",
        "        if self.quiet_windows > 100 {",
    ),
    RELAY.rule(
        "each copy may come back",
        "self.guard.emit(now, content, copies);",
        "self.guard.emit(now, content, 0);",
    ),
    RELAY.rule(
        "each copy of a coalesced buffer may come back",
        "self.guard.emit_together(copies);",
        "self.guard.emit_together(0);",
    ),
    RELAY.rule(
        "a repeat in a coalesced buffer is recognized",
        "hash_map::Entry::Vacant(place) if !is_known => place.insert(run),",
        "hash_map::Entry::Vacant(place) => place.insert(run),",
    ),
    RELAY.rule(
        "the datagrams of a coalesced buffer are remembered one by one",
        "let run = self.by_key.remove(&key)?;",
        "let run = self.by_key.remove(&key).filter(|_| false)?;",
    ),
    RELAY.rule(
        "limits count each datagram of a coalesced buffer",
        "&& !state.limits.limits()",
        "",
    ),
    RELAY.rule(
        "a group is left once nobody wants it",
        "const LAST_MEMBER: Duration = Duration::from_secs(2);",
        "const LAST_MEMBER: Duration = Duration::from_secs(20);",
    ),
    TUNNEL.rule(
        "an address that has not proven that it receives gets a token, and nothing else",
        "if !incoming.remote_address_validated() {",
        "if false {",
    ),
    TUNNEL.rule(
        "handshakes of one host that are not finished have a bound",
        "if of_host >= MAX_OF_HOST {",
        "if false {",
    ),
    TUNNEL.rule(
        "handshakes that are not finished have a bound",
        "if unfinished().count() >= MAX_UNFINISHED",
        "if unfinished().count() >= usize::MAX",
    ),
    TUNNEL.rule(
        "only a known key is accepted",
        "let is_known = parse(public).is_some_and(|key| self.0.contains(&key));",
        "let is_known = parse(public).is_some();",
    ),
    TUNNEL.rule(
        "a key is for the tunnels that its lines name",
        "key.is_some_and(|key| self.keys.admits(&name, &key));",
        "key.is_some();",
    ),
    TUNNEL.rule(
        "a relay keeps its tunnel while it is there",
        "Some(other) if now < other.heard + IN_USE => {",
        "Some(other) if false && now < other.heard + IN_USE => {",
    ),
    TUNNEL.rule(
        "a key that is removed ends its tunnels",
        "            if is_removed {",
        "            if false && is_removed {",
    ),
    TUNNEL.rule(
        "a repaired piece is delivered once",
        "let is_new = arrived != Arrived::Duplicate;",
        "let is_new = true;",
    ),
    TUNNEL.rule(
        "a repair that has become too large for the path is sent in parts",
        "if frame.len() <= room {",
        "if true {",
    ),
    TUNNEL.rule(
        "what an end wants follows the list that is still waiting",
        "self.wants.as_ref().filter(|_| !self.is_written && session.control.is_idle())",
        "self.wants.as_ref().filter(|_| !self.is_written && session.control.is_idle() && self.peer.is_none())",
    ),
    TUNNEL.rule(
        "sequences start again with another relay at the other end",
        "            self.transport = Transport::default();\n        }",
        "        }",
    ),
    TUNNEL.rule(
        "missing pieces are requested until their bound",
        "missing.retain(|_, missing| missing.until > now);",
        "missing.retain(|_, missing| missing.until > now && !missing.was_asked);",
    ),
    TUNNEL.rule(
        "the end of a burst in a tunnel is announced",
        "self.tail = Some((now + tail_interval(mark.bound_ms), TAILS, mark.bound_ms));",
        "self.tail = None;",
    ),
    TUNNEL.rule(
        "the memory for repairs is bounded",
        "while self.bytes > MAX_KEPT ||",
        "while self.bytes > usize::MAX ||",
    ),
    TUNNEL.rule(
        "the memory for incomplete records is bounded",
        "while self.partial.len() > MAX_PARTIAL || self.bytes > MAX_BYTES {",
        "while false {",
    ),
    RELAY.rule(
        "a datagram does not come back through tunnels",
        "trail.relays().contains(&self.relay)",
        "false",
    ),
    RELAY.rule(
        "of a buffer, what another tunnel has brought before is not forwarded again",
        "window.map_or(number > 0, |window| window.is_new(number))",
        "window.map_or(number > 0, |_| number > 0)",
    ),
    RELAY.rule(
        "a datagram that comes by two tunnels is forwarded once",
        "if !window.is_new(trail.number) {",
        "if false {",
    ),
    RELAY.rule(
        "a site gets only what it wants",
        "return self.demand.site_wants(leg, destination, source);",
        "return true;",
    ),
];
