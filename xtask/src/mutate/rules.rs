//! The rules of the stream protocol, the relay, tunnels, the bridge and the log, and how to break each.

use super::package::{
    AMT, BRIDGE, FAIRNESS, HTTP, KAFKA, LOG, Package, RABBITMQ, RELAY, REVERSE, STREAM, TUNNEL,
};

/// A rule of a state machine.
pub(super) struct Rule {
    /// The rule.
    pub(super) name: &'static str,
    /// The package that implements it.
    pub(super) package: &'static Package,
    /// The file that implements it, below the sources of the package.
    pub(super) file: &'static str,
    /// The code that implements it, which occurs once in the file.
    pub(super) code: &'static str,
    /// The replacement that breaks it.
    pub(super) broken: &'static str,
}

const fn rule(name: &'static str, file: &'static str, code: &'static str, broken: &'static str) -> Rule {
    Rule { name, package: &STREAM, file, code, broken }
}

const fn fairness_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &FAIRNESS, file, code, broken }
}

const fn relay_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &RELAY, file, code, broken }
}

const fn tunnel_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &TUNNEL, file, code, broken }
}

const fn bridge_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &BRIDGE, file, code, broken }
}

const fn reverse_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &REVERSE, file, code, broken }
}

const fn rabbitmq_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &RABBITMQ, file, code, broken }
}

const fn kafka_rule(
    name: &'static str,
    file: &'static str,
    code: &'static str,
    broken: &'static str,
) -> Rule {
    Rule { name, package: &KAFKA, file, code, broken }
}

const fn log_rule(name: &'static str, file: &'static str, code: &'static str, broken: &'static str) -> Rule {
    Rule { name, package: &LOG, file, code, broken }
}

const fn amt_rule(name: &'static str, file: &'static str, code: &'static str, broken: &'static str) -> Rule {
    Rule { name, package: &AMT, file, code, broken }
}

const fn http_rule(name: &'static str, file: &'static str, code: &'static str, broken: &'static str) -> Rule {
    Rule { name, package: &HTTP, file, code, broken }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "missing datagrams are requested",
        "subscriber/feedback.rs",
        "self.requests_repairs() && is_heard && !self.delivery.has_ended() && !self.naks.is_empty()",
        "false",
    ),
    rule(
        "a datagram received before is a duplicate",
        "subscriber/arrive.rs",
        "Some(_) => !self.window.has(sequence) && !is_current,",
        "Some(_) => true,",
    ),
    rule(
        "datagrams beyond the window are dropped",
        "subscriber/arrive.rs",
        "Some(ahead) if ahead >= self.window.length() => {",
        "Some(ahead) if ahead == u64::MAX => {",
    ),
    rule(
        "buffered datagrams are acknowledged only up to the first gap",
        "subscriber/feedback.rs",
        "let missing = self.naks.first_gap().map_or(self.highest, |gap| gap.first);",
        "let missing = self.highest;",
    ),
    rule(
        "buffered datagrams reduce the advertised window",
        "subscriber/feedback.rs",
        "window: (self.room_end() - next) as u32,",
        "window: self.window.length() as u32,",
    ),
    rule(
        "a subscriber whose gap stops the publisher may send another NAK",
        "subscriber/feedback.rs",
        "self.end.is_some() || self.used_credit() >= self.credit / 2",
        "false",
    ),
    rule(
        "a large group without flow control sends no statuses for progress",
        "subscriber/feedback.rs",
        "(is_needed || !self.is_in_crowd())",
        "true",
    ),
    rule(
        "limits follow from what subscribers reported last",
        "publisher/ranking.rs",
        "Some(number) if number == known => return Some((id, known)),",
        "Some(_) => return Some((id, known)),",
    ),
    rule(
        "a full window requests no statuses of the other subscribers",
        "subscriber/feedback.rs",
        "flags.has(Flags::URGENT) && concerns",
        "flags.has(Flags::URGENT) || concerns",
    ),
    rule(
        "a subscriber that was removed may request again what waited for it",
        "publisher/repair_scheduler.rs",
        "state.requested_by = state.requested_by.filter(|requester| *requester != id);",
        "",
    ),
    rule(
        "a datagram that was overtaken does not count as lost",
        "subscriber/arrive.rs",
        "None => self.losses.note_overtaken(),",
        "None => {}",
    ),
    rule(
        "a status that was overtaken gives no room",
        "publisher/members.rs",
        "self.room_end = self.room_end.max(status.next + u64::from(status.window));",
        "self.room_end = self.progress.next + u64::from(status.window);",
    ),
    rule(
        "a doubtful round trip is measured again",
        "subscriber/peer.rs",
        "(self.doubtful, self.probes, self.probe_at) = (Some(sample), 0, now);",
        "self.round_trip = sample.round_trip;",
    ),
    rule(
        "data in flight fits into the socket's receive buffer",
        "subscriber/feedback.rs",
        "longest => (self.config.socket_buffer as u64 / u64::from(longest)).max(self.least_room()),",
        "_ => u64::MAX,",
    ),
    rule(
        "a late check finds a silent path",
        "subscriber/paths.rs",
        ".find(|(_, at)| now >= *at)?;",
        ".find(|(_, at)| now >= *at && now < *at + silence)?;",
    ),
    rule(
        "every lost message is reported",
        "subscriber/deliver.rs",
        "        if number <= self.expected {\n            return None;\n        }\n        let event",
        "        if number <= self.expected {\n            return None;\n        }\n        if !self.delivery.is_bridging() { self.expected = number; return None; }\n        let event",
    ),
    rule(
        "repairable datagrams are not given up",
        "subscriber/deliver.rs",
        "_ if self.base < self.oldest_retained => {\n                (gap_end.min(self.oldest_retained)",
        "_ if true => {\n                (gap_end",
    ),
    rule(
        "no message is delivered while a snapshot is wanted",
        "subscriber/deliver.rs",
        "if self.delivery.is_closed() {\n                return None;",
        "if self.delivery.has_stopped() {\n                return None;",
    ),
    rule(
        "with on-loss stop, nothing is delivered after a loss",
        "subscriber/deliver.rs",
        "OnLoss::Stop => self.delivery.stop(),",
        "OnLoss::Stop => {}",
    ),
    rule(
        "an outdated message of a key is not delivered",
        "subscriber/deliver.rs",
        "if !self.latest.is_latest(key, number) {",
        "if !self.latest.is_latest(key, number) && number == MessageNumber::MAX {",
    ),
    rule(
        "a stream ends only after its last datagram",
        "publisher/state.rs",
        "let is_over = self.closed && sent == self.ring.next;",
        "let is_over = self.closed;",
    ),
    rule(
        "fragments of a message are assembled only if they are consecutive",
        "subscriber/deliver.rs",
        "self.discard_staged_before(self.base);\n        self.assembly.abandon();",
        "self.discard_staged_before(self.base);",
    ),
    rule(
        "an earlier incarnation of the publisher is ignored",
        "subscriber/publisher_state.rs",
        "self.incarnations.current() > Some(header.incarnation)",
        "false",
    ),
    rule(
        "a new incarnation starts with an empty window",
        "subscriber/publisher_state.rs",
        "        self.window.clear();\n",
        "",
    ),
    rule(
        "any symbols of a block recover as many datagrams",
        "fec/code.rs",
        "quotient(255 ^ datagram, (255 - symbol) ^ datagram)",
        "quotient(255 ^ datagram, 255 ^ datagram)",
    ),
    rule(
        "symbols that complete no block do not stop requests",
        "subscriber/feedback.rs",
        "gap.tries < 2 && !self.recovery.is_idle()",
        "!self.recovery.is_idle()",
    ),
    rule(
        "a subscriber of a one-way publisher sends nothing",
        "subscriber/recovery.rs",
        "self.config.mute || self.heartbeat.flow == FlowControl::OneWay",
        "self.config.mute",
    ),
    rule(
        "a one-way publisher retains only what parity may still recover",
        "publisher/state.rs",
        "FlowControl::OneWay => self.parity.settled(now).max(self.ring.oldest_retained),",
        "FlowControl::OneWay => self.ring.oldest_retained,",
    ),
    rule(
        "a one-way publisher of a signed stream retains what no manifest covers yet",
        "publisher/parity.rs",
        "self.sent.push_back((now, self.vouched.unwrap_or(end)));",
        "self.sent.push_back((now, end));",
    ),
    rule(
        "what is recovered from parity is verified",
        "subscriber/recovery.rs",
        "if !self.may_be_genuine(now, Arrival::Recovered, &datagram, &view) {",
        "if self.base > sequence {",
    ),
    rule(
        "what was recovered does not keep out what arrives",
        "subscriber/verify/mod.rs",
        "staged.arrival == Arrival::Recovered && staged.digest != digest",
        "staged.arrival == Arrival::Recovered && staged.digest == digest",
    ),
    rule(
        "parity answers only subscribers that have room for its block",
        "publisher/parity.rs",
        ".is_some_and(|end| end <= room_end);",
        ".is_some_and(|end| end > room_end.min(base));",
    ),
    rule(
        "a block ends in time",
        "publisher/parity.rs",
        "is_over || now >= open.since + BLOCK_TIME",
        "is_over",
    ),
    rule(
        "unverified data is not delivered",
        "subscriber/verify/mod.rs",
        "                self.stage(now, arrival, datagram, view, digest);\n                false",
        "                self.stage(now, arrival, datagram, view, digest);\n                true",
    ),
    rule(
        "data with another digest than the signed one is discarded",
        "subscriber/verify/mod.rs",
        "                self.blame(now, arrival);\n                false",
        "                self.blame(now, arrival);\n                true",
    ),
    rule(
        "data that waits is compared with its signed digest",
        "subscriber/verify/mod.rs",
        "if staged.digest != digest {",
        "if false {",
    ),
    rule(
        "unsigned heartbeats and manifests are refused",
        "subscriber/verify/mod.rs",
        "None => Some(Distrust::Unsigned),",
        "None => return true,",
    ),
    rule(
        "another key than the trusted ones signs nothing",
        "subscriber/verify/mod.rs",
        "=> Some(Distrust::UnknownKey(id)),",
        "=> return true,",
    ),
    rule(
        "a signature is checked",
        "sign/mod.rs",
        ".any(|key| key.verify(text, signature))",
        ".next().is_some()",
    ),
    rule(
        "a signature covers stream, incarnation and sequence",
        "sign/mod.rs",
        "for part in [CONTEXT, head, body] {",
        "for part in [CONTEXT, &alloc::vec![0; head.len()][..], body] {",
    ),
    rule(
        "a signature covers the digests",
        "sign/mod.rs",
        "for part in [CONTEXT, head, body] {",
        "for part in [CONTEXT, head, &[]] {",
    ),
    rule(
        "of an incarnation, the salt of the first signed heartbeat counts",
        "subscriber/verify/mod.rs",
        "_ if is_namesake => None,",
        "_ if is_namesake && false => None,",
    ),
    rule(
        "forged data that has taken the place of a manifest is discarded",
        "subscriber/verify/mod.rs",
        "let may_be_forged = is_overdue && ",
        "let may_be_forged = false && is_overdue && ",
    ),
    rule(
        "a subscriber that verifies takes only the echo of its own probe",
        "subscriber/verify/mod.rs",
        "!self.is_verifying() || self.publisher.is_expected(now, echo)",
        "!self.is_verifying() || self.publisher.is_expected(now, echo) || true",
    ),
    rule(
        "wrong signatures are checked at most 1,000 times per second",
        "subscriber/verify/mod.rs",
        "                    refusals.spend(1);",
        "                    refusals.spend(0);",
    ),
    rule(
        "what was published before a change of the key is signed with the old one",
        "publisher/signing.rs",
        "        self.flush(now);\n        self.write_manifest(now);\n        if let",
        "        if let",
    ),
    rule(
        "resets are signed",
        "publisher/signing.rs",
        "Kind::Heartbeat | Kind::Ncf | Kind::Reset | Kind::Announce",
        "Kind::Heartbeat | Kind::Ncf | Kind::Announce",
    ),
    rule(
        "unsealed datagrams are rejected",
        "subscriber/arrive.rs",
        "view.header.epoch == KeyEpoch::CLEAR && !self.config.keys.is_empty()",
        "false",
    ),
    rule(
        "datagrams that fail authentication are rejected",
        "seal/mod.rs",
        "is_whole.then_some(end + text)",
        "Some(end + text)",
    ),
    rule(
        "a repair is sealed like the original",
        "seal/mod.rs",
        "head[Header::FLAGS_AT] = Flags(flags).without(Flags::MUTABLE).0;",
        "",
    ),
    rule(
        "each publisher seals with its own derived key",
        "seal/mod.rs",
        "bytes[31..39].copy_from_slice(&salt.to_be_bytes());",
        "",
    ),
    rule(
        "the previous key still opens datagrams",
        "seal/mod.rs",
        "self.secrets.retain(|(known, _)| *known != epoch);\n        self.secrets.push",
        "self.secrets.clear();\n        self.secrets.push",
    ),
    rule(
        "datagrams that a waited-for subscriber lacks are not overwritten",
        "publisher/publish.rs",
        "let keep = slowest.map_or(sent, |(_, next)| next.clamp(self.ring.oldest_retained, sent));",
        "let keep = sent;",
    ),
    rule(
        "datagrams are not overwritten before they are sent",
        "publisher/publish.rs",
        "if self.ring.has_room(count, keep) {",
        "if keep > Sequence::default() {",
    ),
    rule(
        "repairs stay within their rate limit",
        "publisher/repair_scheduler.rs",
        "self.allowance.has(length) && pacer",
        "pacer",
    ),
    rule(
        "a datagram is not repaired twice in quick succession",
        "publisher/repair_scheduler.rs",
        "let is_recent = |at: ClockTime| now.since(at) < holdoff;",
        "let is_recent = |at: ClockTime| at == ClockTime::NEVER && holdoff == Nanos::ZERO;",
    ),
    rule(
        "silent subscribers are removed",
        "publisher/state.rs",
        "while let Some(id) = silent(self) {",
        "while let Some(id) = silent(self).filter(|_| false) {",
    ),
    rule(
        "a subscriber that gets repairs is not evicted",
        "publisher/members.rs",
        "} else if has_received && !lacks_nothing && vouched",
        "} else if has_received && lacks_nothing && vouched",
    ),
    rule(
        "unicast repairs go only to verified addresses",
        "publisher/feedback.rs",
        "if !self.proof.is_valid(now, from, token) {",
        "if token == AddressToken(u64::MAX) {",
    ),
    rule(
        "a subscriber that changes its address is verified again",
        "proof.rs",
        "IpAddr::V4(ip) => hasher.write(&ip.octets()),",
        "IpAddr::V4(_) => {}",
    ),
    rule(
        "a repairer answers a request from an unproven address with an echo only",
        "repairer/mod.rs",
        "Ok(nak) if !self.proof.is_valid(now, from, nak.token) => {",
        "Ok(nak) if nak.token == AddressToken(u64::MAX) => {",
    ),
    rule(
        "a repairer sends one subscriber no more than its credit",
        "repairer/mod.rs",
        "if !has_room || !admits(&requester.credit) || !admits(&self.allowance) {",
        "if !has_room || !admits(&self.allowance) {",
    ),
    rule(
        "a repairer sends all subscribers no more than a part of what it received",
        "repairer/mod.rs",
        "if !has_room || !admits(&requester.credit) || !admits(&self.allowance) {",
        "if !has_room || !admits(&requester.credit) {",
    ),
    rule(
        "what a repairer does not answer is requested of the publisher",
        "subscriber/feedback.rs",
        "is_in_time && gap.is_unrequested() && !list.is_used_up()",
        "is_in_time && gap.tries == 0 && !list.is_used_up()",
    ),
    rule(
        "a repairer has no more time to answer than the publisher",
        "subscriber/naks.rs",
        "self.repairer.patience(round_trip).min(longest)",
        "self.repairer.patience(round_trip)",
    ),
    rule(
        "what a repairer sends without a request is not delivered",
        "subscriber/repairing.rs",
        "            && self.naks.awaits_repairer(sequence);",
        ";",
    ),
    rule(
        "a repairer that does not answer is given up",
        "subscriber/repairers.rs",
        "let is_over = chosen.unanswered >= MAX_UNANSWERED;",
        "let is_over = chosen.unanswered == u32::MAX;",
    ),
    rule(
        "the repairs of others are not reported to the publisher",
        "subscriber/repairing.rs",
        "if !self.repairers.knows(from) || self.publisher.get() == Some(from) {",
        "if !self.repairers.is_chosen(from) || self.publisher.get() != Some(from) {",
    ),
    rule(
        "heavy loss reduces the rate",
        "publisher/congestion.rs",
        "if loss >= HIGH && now >= immune_until && !other_on_trial {",
        "if loss >= HIGH && now == ClockTime::NEVER && !other_on_trial {",
    ),
    fairness_rule(
        "parity counts as what arrives",
        "subscriber/feedback.rs",
        "(received + parity).saturating_sub(recovered + repaired_locally)",
        "received.saturating_add(0 * (parity + recovered + repaired_locally))",
    ),
    fairness_rule(
        "an automatic rate sends less when the queue is long",
        "publisher/auto_rate/model.rs",
        "(gain * missing).clamp(-GREATEST_CUT, gain)",
        "(gain * missing).clamp(0.0, gain)",
    ),
    fairness_rule(
        "an automatic rate competes with flows that fill the queue",
        "publisher/auto_rate/solitude.rs",
        "if self.shared >= ENOUGH {",
        "if self.shared == u8::MAX {",
    ),
    fairness_rule(
        "an automatic rate is not starved by flows that ignore loss",
        "publisher/auto_rate/flow.rs",
        "4 * reduction.least >= 3 * reduction.queue",
        "reduction.least == Nanos::ZERO",
    ),
    fairness_rule(
        "an automatic rate makes up for random loss",
        "publisher/auto_rate/model.rs",
        "self.trial.share().min(self.recent.share()).min(GREATEST_BACKGROUND)",
        "self.trial.share().min(0.0)",
    ),
    fairness_rule(
        "a subscriber below the floor is evicted",
        "publisher/auto_rate/machine.rs",
        "if member.slow_since.is_some_and(|since| now.since(since) >= eviction) {",
        "if member.slow_since == Some(ClockTime::NEVER) {",
    ),
    rule(
        "a trial slows down by a bounded factor",
        "publisher/congestion.rs",
        "self.below(arrived).max(offered / LARGEST_CUT)",
        "self.below(arrived)",
    ),
    rule(
        "repairs for a subscriber need its credit",
        "publisher/repair_flow.rs",
        "if !self.credit.has(bytes) {",
        "if !self.credit.has(bytes) && now == ClockTime::NEVER {",
    ),
    rule(
        "subscribers share the first credit",
        "publisher/repair_flow.rs",
        "(CREDIT / subscribers.max(1)).max(LEAST_CREDIT)",
        "CREDIT.max(subscribers)",
    ),
    rule(
        "a subscriber reports repairs without waiting for a heartbeat",
        "subscriber/feedback.rs",
        "if is_news && self.requests_repairs() {",
        "if is_news && unreported == u32::MAX {",
    ),
    rule(
        "links are unknown again when a limit ends",
        "publisher/pacing.rs",
        "if self.pacer.limit(now, found) && self.has_flow_control() {",
        "if self.pacer.limit(now, found) && now == ClockTime::NEVER {",
    ),
    rule(
        "repairs that arrive pay for more",
        "publisher/repair_flow.rs",
        "self.credit.add(credit);",
        "self.credit.add(credit / 16);",
    ),
    rule(
        "repairs that others requested give no credit",
        "publisher/repair_flow.rs",
        "(bytes * paid.min(sent)).checked_div(sent).unwrap_or(bytes)",
        "(bytes * sent).checked_div(sent).unwrap_or(paid)",
    ),
    rule(
        "repairs that cannot have arrived yet do not count as lost",
        "publisher/repair_flow.rs",
        "self.singles.until(until) + group.log.until(until)",
        "self.singles.total() + group.log.total()",
    ),
    rule(
        "a trial shows nothing if others send as much as before",
        "publisher/congestion.rs",
        "per_second(self.sent_bytes, self.elapsed) <= self.before / 4 * 3",
        "per_second(self.sent_bytes, self.elapsed) > self.before / 1_000_000",
    ),
    rule(
        "what one subscriber's trial shows holds for the others",
        "publisher/congestion.rs",
        "*immune_until = until.max(*immune_until);",
        "*immune_until = until.min(*immune_until);",
    ),
    rule(
        "losses of a subscriber that heard nothing are not judged",
        "publisher/pacing.rs",
        "Reception::Interrupted => return member.mark.begin_at(sent),",
        "Reception::Interrupted => {}",
    ),
    rule(
        "in a large group few subscribers send NAKs",
        "backoff.rs",
        "if group_size <= SMALL_GROUP || longest == Nanos::ZERO {",
        "if group_size < u32::MAX {",
    ),
    rule(
        "the end of a burst is announced",
        "publisher/heartbeat.rs",
        "self.at = tail.min(busy.max(now));",
        "self.at = now + Nanos::SECOND;",
    ),
    rule(
        "there are no unnecessary wake-ups",
        "subscriber/feedback.rs",
        "        if self.has_everything() {\n            deadline = ClockTime::NEVER;",
        "        if self.delivery.has_ended() && self.base == Sequence::MAX {\n            deadline = ClockTime::NEVER;",
    ),
    rule(
        "a lost message is never acknowledged",
        "subscriber/deliver.rs",
        "        self.acknowledgements.skip_to(end);\n",
        "",
    ),
    rule(
        "messages that a snapshot covers are not acknowledged",
        "subscriber/mod.rs",
        "            self.acknowledgements.skip_to(message);\n",
        "",
    ),
    rule(
        "a message that waits to be processed is not acknowledged as processed",
        "subscriber/acknowledgements.rs",
        "let processed = if self.unprocessed.is_none() { expected } else { self.processed };",
        "let processed = expected;",
    ),
    rule(
        "messages of another incarnation acknowledge nothing",
        "subscriber/acknowledgements.rs",
        "let is_known = self.content_incarnation() == Some(at.incarnation);",
        "let is_known = at.incarnation > Incarnation(0);",
    ),
    rule(
        "a small group acknowledges without a heartbeat",
        "subscriber/acknowledgements.rs",
        "self.acknowledgements.is_requested && self.heartbeat.group_size <= SMALL_GROUP",
        "self.acknowledgements.is_requested && self.heartbeat.group_size > SMALL_GROUP",
    ),
    rule(
        "a subscriber acknowledges only messages after its last loss",
        "publisher/acknowledgements.rs",
        "self.range.0 <= message && message < self.range.1",
        "message < self.range.1",
    ),
    rule(
        "subscribers with the same name acknowledge once",
        "publisher/acknowledgements.rs",
        "identity: name.map_or(Identity::Unnamed(id), Identity::Named),",
        "identity: name.filter(|_| !is_present).map_or(Identity::Unnamed(id), Identity::Named),",
    ),
    rule(
        "all who were present must acknowledge a message",
        "publisher/acknowledgements.rs",
        "self.owes.0 <= message && self.owes.1.is_none_or(|end| message < end)",
        "self.owes.0 <= message && self.owes.1.is_none()",
    ),
    rule(
        "a publisher blocks while messages cannot be acknowledged",
        "publisher/acknowledgements.rs",
        "self.is_lost && self.quorum.on_loss == QuorumLoss::Block",
        "self.is_lost && self.settled == MessageNumber::MAX",
    ),
    amt_rule(
        "a relay of AMT keeps nothing without a valid code",
        "amt/relay.rs",
        "(None, self.is_authentic(from, nonce, mac) && self.update(now, from, packet))",
        "(None, self.update(now, from, packet))",
    ),
    amt_rule(
        "a teardown needs the code of the gateway that it names",
        "amt/relay.rs",
        "(None, self.is_authentic(gateway, nonce, mac) && self.remove(gateway))",
        "(None, self.is_authentic(from, nonce, mac) && self.remove(gateway))",
    ),
    amt_rule(
        "the code of AMT covers the port",
        "amt/secret.rs",
        "&gateway.port().to_be_bytes()",
        "&0_u16.to_be_bytes()",
    ),
    amt_rule(
        "secrets of AMT expire",
        "amt/secret.rs",
        "if now < self.rotate_at {",
        "if now < self.rotate_at * 100 {",
    ),
    amt_rule(
        "a flood of requests is not answered",
        "amt/relay.rs",
        "if limiter.allows(from.ip(), now) {",
        "if limiter.allows(from.ip(), now) || !from.ip().is_loopback() {",
    ),
    amt_rule(
        "a gateway takes data only of its relay",
        "amt/gateway.rs",
        "if !is_relay || !self.tunnels.iter().any(has_session) {",
        "if !self.tunnels.iter().any(|tunnel| tunnel.session.is_some()) {",
    ),
    amt_rule(
        "a gateway that has moved ends the tunnel to its old address",
        "amt/gateway.rs",
        "&& (before.relay, before.endpoint) != (session.relay, session.endpoint)",
        "&& before.relay != session.relay",
    ),
    amt_rule(
        "a gateway notices silence",
        "amt/gateway.rs",
        "if self.last_data.is_some_and(|last| now >= last + SILENCE) {",
        "if self.last_data.is_some_and(|last| now >= last + SILENCE * 100) {",
    ),
    amt_rule(
        "a gateway that found its relay again asks for a new code",
        "amt/gateway.rs",
        "self.request_where(now, |_| true);",
        "self.request_where(now, |tunnel| tunnel.session.is_none());",
    ),
    amt_rule(
        "reports of a gateway are repeated",
        "amt/gateway.rs",
        "tunnel.repeated.extend(added);",
        "drop(added);",
    ),
    amt_rule(
        "gateways receive only the sources that they have joined",
        "amt/relay.rs",
        "members.filter(move |(_, sources)| sources.admits(source)).map(|(gateway, _)| *gateway)",
        "members.filter(move |(_, sources)| !sources.is_none() || source.is_loopback()).map(|(gateway, _)| *gateway)",
    ),
    amt_rule(
        "gateways at one address are limited",
        "amt/relay.rs",
        "&& self.gateways.range(ports).count() < self.limits.gateways_per_address",
        "&& self.gateways.range(ports).count() < self.limits.gateways",
    ),
    amt_rule(
        "a gateway takes only answers to its own requests",
        "amt/gateway.rs",
        "tunnel.request.is_some_and(|attempt| attempt.nonce == nonce)",
        "tunnel.request.is_some_and(|attempt| attempt.nonce == nonce || nonce > 0)",
    ),
    amt_rule(
        "a gateway takes only what it has joined",
        "amt/gateway.rs",
        "if !joined.is_some_and(|sources| sources.admits(datagram.source.ip())) {",
        "if !joined.is_some_and(|sources| !sources.is_none()) {",
    ),
    amt_rule(
        "gateways that no longer report are forgotten",
        "amt/relay.rs",
        "let is_gone = |last: &Duration| now >= *last + lifetime;",
        "let is_gone = |last: &Duration| now >= *last + lifetime * 100;",
    ),
    amt_rule(
        "a damaged report is not applied",
        "amt/relay.rs",
        "Some(Transport::Igmp(control)) if is_whole && control.checksum == ChecksumStatus::Valid => {",
        "Some(Transport::Igmp(control)) if is_whole => {",
    ),
    http_rule(
        "a name that is not of this host is refused",
        "http/access.rs",
        "if request.host.is_some() && !is_own(host, &config.hosts) {",
        "if request.host.is_some() && host.is_empty() {",
    ),
    http_rule(
        "pages of other sites read nothing",
        "http/access.rs",
        "Some(origin) if origin.strip_prefix(\"http://\") == request.host.as_deref() => Ok(None),",
        "Some(origin) if origin.starts_with(\"http://\") => Ok(None),",
    ),
    http_rule(
        "pages of other sites cause no joins",
        "http/access.rs",
        "None if request.is_cross_site && !config.origins.iter().any(|allowed| allowed == \"*\") => {",
        "None if request.is_cross_site && config.origins.len() > 100 => {",
    ),
    http_rule(
        "HTTP clients receive only groups of the rules",
        "http/server.rs",
        "rule.leg == key.leg && has_group && has_sources",
        "rule.leg == key.leg && has_sources",
    ),
    http_rule(
        "HTTP clients receive only sources of the rules",
        "http/server.rs",
        "SourceFilter::Include(sources) => sources.iter().all(|source| traffic.sources.admits(*source)),",
        "SourceFilter::Include(_) => true,",
    ),
    http_rule(
        "a request is limited in time",
        "http/server.rs",
        "ClientState::Request(_) if now >= client.since + REQUEST_TIME => {",
        "ClientState::Request(_) if now >= client.since + REQUEST_TIME * 1_000 => {",
    ),
    http_rule(
        "a request is limited in length",
        "http/server.rs",
        "Ok(None) if head.len() > MAX_HEAD => {",
        "Ok(None) if head.len() > MAX_HEAD * 1_000 => {",
    ),
    http_rule(
        "connections without a request do not keep others out",
        "http/server.rs",
        "self.idlest().filter(|_| has_room)?.state = ClientState::Gone;",
        "self.idlest().filter(|_| !has_room)?.state = ClientState::Gone;",
    ),
    http_rule(
        "a connection is closed in favour of others of another address",
        "http/server.rs",
        "let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;",
        "let (most, _) = counts.into_iter().min_by_key(|(_, count)| *count)?;",
    ),
    http_rule(
        "a client that takes nothing is dropped",
        "http/server.rs",
        "is_over(client.blocked_since) || is_over(own.behind_since)",
        "is_over(own.behind_since)",
    ),
    http_rule(
        "a client that remains behind is dropped",
        "http/server.rs",
        "if is_over(client.blocked_since) || is_over(own.behind_since) => {",
        "if is_over(client.blocked_since) => {",
    ),
    http_rule(
        "streams that rules no longer name end",
        "http/server.rs",
        "self.end_stream(now, id, CloseCode::GoingAway);\n        }\n    }",
        "let _ = (now, id);\n        }\n    }",
    ),
    http_rule(
        "what is kept for HTTP clients is bounded",
        "http/feed.rs",
        "while self.cost > capacity && self.chunks.len() > 1 {",
        "while self.cost > capacity * 100 && self.chunks.len() > 1 {",
    ),
    http_rule(
        "what a client has missed is reported to it",
        "http/channel.rs",
        "(missed > 0).then(|| (missed, gap()))",
        "(missed > 0).then(|| (missed, Vec::new()))",
    ),
    http_rule(
        "a group is left after its last client",
        "http/channel.rs",
        "stream.idle_since = (stream.clients == 0).then_some(now);",
        "stream.idle_since = None;",
    ),
    http_rule(
        "an identifier of another life is unknown",
        "http/channel.rs",
        "(u64::from_str_radix(given, 16).ok()? == epoch).then(|| number.parse().ok())?",
        "(u64::from_str_radix(given, 16).is_ok()).then(|| number.parse().ok())?",
    ),
    http_rule(
        "a control frame of a client is short",
        "http/websocket.rs",
        "&& first & !0x0f == FIN && length <= MAX_CONTROL => {}",
        "&& first & !0x0f == FIN => {}",
    ),
    http_rule(
        "data of a client is refused",
        "http/websocket.rs",
        "0..=2 => return refused(CloseCode::Data),",
        "0..=2 if length > 1_000 => return refused(CloseCode::Data),",
    ),
    http_rule(
        "pings of a client are bounded",
        "http/server.rs",
        "ClientFrame::Ping(payload) if !client.outbox.is_full() => {",
        "ClientFrame::Ping(payload) => {",
    ),
    http_rule(
        "a datagram counts once for the rate of a rule",
        "relay/forward.rs",
        "if let Some((_, is_admitted)) = self.admitted.iter().find(|(known, _)| *known == rule) {",
        "if let Some((_, is_admitted)) = self.admitted.iter().find(|(known, _)| *known == rule && *known > 99) {",
    ),
    http_rule(
        "announcements are sent with each key",
        "relay/election.rs",
        "false => self.authenticators.iter().map(|key| announcement.emit(Some(&**key))).collect(),",
        "false => self.authenticators.iter().take(1).map(|key| announcement.emit(Some(&**key))).collect(),",
    ),
    http_rule(
        "announcements are accepted with each key",
        "relay/election.rs",
        "others.iter().fold(parse(first), |parsed, key| parsed.or_else(|_| parse(key)))",
        "others.iter().take(0).fold(parse(first), |parsed, key| parsed.or_else(|_| parse(key)))",
    ),
    relay_rule(
        "a relay does not forward its own copies",
        "relay/forward.rs",
        "if is_local && self.is_own(arrival.source) {",
        "if false {",
    ),
    relay_rule(
        "a relay does not forward the copies of another one",
        "relay/forward.rs",
        "if is_local && self.peers.sender_of(arrival.source).is_some() {",
        "if false {",
    ),
    relay_rule(
        "nothing is forwarded between legs on the same segment",
        "relay/mod.rs",
        "one == other || self.same_segment.contains_key(&(one.min(other), one.max(other)))",
        "one == other",
    ),
    relay_rule(
        "relays do not keep memberships of each other alive",
        "relay/membership.rs",
        "|| self.peers.has_address(source);",
        ";",
    ),
    relay_rule(
        "a relay that starts listens first",
        "relay/election.rs",
        "PairState::Listening { until: now + LISTENING }",
        "PairState::Listening { until: now }",
    ),
    relay_rule(
        "a relay that is silent is replaced within 3 s",
        "peers/table.rs",
        "Duration::from_millis(2_400)",
        "Duration::from_millis(3_400)",
    ),
    relay_rule(
        "a goodbye is a take-over at once",
        "peers/table.rs",
        "if announcement.goodbye {",
        "if false {",
    ),
    relay_rule(
        "a relay that returns leaves the forwarder alone",
        "peers/table.rs",
        "(false, true) => peer.priority >= candidate.priority,",
        "(false, true) => is_better,",
    ),
    relay_rule(
        "a forwarder gives way to a better one",
        "peers/table.rs",
        "(true, forwards) => forwards && is_better,",
        "(true, _) => false,",
    ),
    relay_rule(
        "repeats of discovery protocols are dropped",
        "guard/mod.rs",
        "if protocol.is_some() && self.contents.is_in_set(now, key, SET_WINDOW) {",
        "if false {",
    ),
    relay_rule(
        "the same request of another host is another request",
        "guard/mod.rs",
        ".filter(|protocol| protocol.requests_reply(arrival.source, arrival.payload))",
        ".filter(|_| false)",
    ),
    relay_rule(
        "probes that come back convict a source",
        "guard/suspect.rs",
        "            test.echoes += 1;",
        "            test.echoes += 0;",
    ),
    relay_rule(
        "one probe that comes back is not a proof",
        "guard/suspect.rs",
        "const PROBES: u8 = 3;",
        "const PROBES: u8 = 1;",
    ),
    relay_rule(
        "echoes of a source in quarantine are dropped",
        "guard/suspect.rs",
        "                if arrival.may_be_echo() {\n                    *last_echo = now;",
        "                if false {\n                    *last_echo = now;",
    ),
    relay_rule(
        "what is held back is sent if a probe does not come back",
        "guard/suspect.rs",
        "None => Some(self.acquit(now)),",
        "None => Some({ let _ = self.acquit(now); VecDeque::new() }),",
    ),
    relay_rule(
        "a relay has no part in the storm of others",
        "guard/suspect.rs",
        "(true, _) if is_storm => self.convict(now),",
        "(true, _) if false && is_storm => self.convict(now),",
    ),
    relay_rule(
        "each copy may come back",
        "relay/forward.rs",
        "self.guard.emit(now, content, sent.places.len());",
        "self.guard.emit(now, content, 0);",
    ),
    relay_rule(
        "a group is left once nobody wants it",
        "demand/group_state.rs",
        "const LAST_MEMBER: Duration = Duration::from_secs(2);",
        "const LAST_MEMBER: Duration = Duration::from_secs(20);",
    ),
    tunnel_rule(
        "a counter is accepted once",
        "session.rs",
        "if !self.received.is_new(counter) {",
        "if false {",
    ),
    tunnel_rule(
        "an address that has no cookie gets one, and nothing else",
        "endpoint.rs",
        "if hello.cookie != cookie(period) && (period == 0 || hello.cookie != cookie(period - 1)) {",
        "if false {",
    ),
    tunnel_rule(
        "an old cookie proves nothing",
        "endpoint.rs",
        "let period = now.as_secs() / COOKIE_PERIOD.as_secs();",
        "let period = 0;",
    ),
    tunnel_rule(
        "a relay keeps its tunnel while it is there",
        "endpoint.rs",
        "Some(link) if link.is_of_another(hello.relay) && link.was_heard_within(now, IN_USE) => {",
        "Some(link) if false => {",
    ),
    tunnel_rule(
        "a secret that is removed ends its tunnels",
        "endpoint.rs",
        "if link.session().is_some_and(|(session, _)| !keys.has(session.epoch())) {",
        "if false {",
    ),
    tunnel_rule(
        "a new address is followed only once it has answered",
        "link.rs",
        "candidate.challenge == number && candidate.address == from;",
        "candidate.address == from || candidate.challenge == number;",
    ),
    tunnel_rule("a new address is challenged", "link.rs", "is_newest && from != current.address", "false"),
    tunnel_rule(
        "a repaired piece is delivered once",
        "link.rs",
        "if arrived != Arrived::Duplicate {",
        "if true {",
    ),
    tunnel_rule(
        "a datagram is not longer than the path",
        "link.rs",
        "if start == 0 || self.room().is_none_or(|room| self.body.len() <= room) {",
        "if true {",
    ),
    tunnel_rule(
        "what an end wants is repeated until it is confirmed",
        "link.rs",
        "self.wants.as_mut().filter(|wants| !wants.is_received && wants.next <= now)",
        "self.wants.as_mut().filter(|wants| wants.pause == FIRST_WANTS_PAUSE && !wants.is_received && wants.next <= now)",
    ),
    tunnel_rule(
        "sequences start again with another relay at the other end",
        "link.rs",
        "            self.transport = Transport::default();\n        }",
        "        }",
    ),
    tunnel_rule(
        "missing pieces are requested until their bound",
        "repair.rs",
        "missing.retain(|_, missing| missing.until > now);",
        "missing.retain(|_, missing| missing.until > now && !missing.was_asked);",
    ),
    tunnel_rule(
        "the end of a burst in a tunnel is announced",
        "repair.rs",
        "self.tail = Some((now + tail_interval(mark.bound_ms), TAILS, mark.bound_ms));",
        "self.tail = None;",
    ),
    tunnel_rule(
        "the memory for repairs is bounded",
        "repair.rs",
        "while self.bytes > MAX_KEPT ||",
        "while self.bytes > usize::MAX ||",
    ),
    tunnel_rule(
        "the memory for incomplete records is bounded",
        "reassembly.rs",
        "while self.partial.len() > MAX_PARTIAL || self.bytes > MAX_BYTES {",
        "while false {",
    ),
    tunnel_rule(
        "a path that carries less is noticed",
        "path_mtu.rs",
        "None if self.size > BASE => (self.size, 1),",
        "None if false => (self.size, 1),",
    ),
    relay_rule(
        "a datagram does not come back through tunnels",
        "trails.rs",
        "if trail.relays().contains(&self.relay) {",
        "if false {",
    ),
    relay_rule(
        "a datagram that comes by two tunnels is forwarded once",
        "trails.rs",
        "if !window.is_new(trail.number) {",
        "if false {",
    ),
    relay_rule(
        "a site gets only what it wants",
        "relay/membership.rs",
        "return self.demand.site_wants(leg, destination, source);",
        "return true;",
    ),
    rule(
        "another publisher of the same messages continues the stream",
        "subscriber/incarnations.rs",
        "self.successor.is_some_and(|successor| self.is_continued_by(&successor.identity))",
        "false",
    ),
    rule(
        "what a publisher that continues has is not given up",
        "subscriber/deliver.rs",
        "None if self.incarnations.is_continued() => {",
        "None if false => {",
    ),
    reverse_rule(
        "a bridge that hears a greater incarnation is silent",
        "reverse/mod.rs",
        "Some(own) if own > heard.incarnation => {}",
        "Some(_) => {}",
    ),
    reverse_rule(
        "a bridge takes over with the oldest message that the former one retained",
        "reverse/mod.rs",
        "Position::new(origin.incarnation, heard.oldest)",
        "Position::new(origin.incarnation, heard.next)",
    ),
    reverse_rule(
        "subscribers have everything before another incarnation begins",
        "reverse/mod.rs",
        "Role::Draining { until } if publisher.is_complete || now >= until =>",
        "Role::Draining { .. } =>",
    ),
    reverse_rule(
        "a bridge takes over within 3 s",
        "reverse/config.rs",
        "silence: Nanos::from_secs(2),",
        "silence: Nanos::from_secs(3),",
    ),
    reverse_rule(
        "messages that are missing in the engine are skipped",
        "reverse/mod.rs",
        "if end > next.number {\n                self.actions.push_back(PublisherAction::Skip(end));",
        "if end > next.number {",
    ),
    rule(
        "a message that came from the history is not delivered again from the live stream",
        "history/machine.rs",
        "LiveContent::Message { .. } if is_past => {}",
        "LiveContent::Message { .. } if is_past && at.number.0 == u64::MAX => {}",
    ),
    rule(
        "what the history lacks is reported as lost",
        "history/machine.rs",
        "            self.skip_to(first, Cause::NotInHistory);\n            self.note_progress(now);",
        "            self.position = Some(first);\n            self.note_progress(now);",
    ),
    rule(
        "a gap in the history is reported as lost",
        "history/machine.rs",
        "self.skip_to(end, cause.reported());",
        "self.position = Some(end);",
    ),
    rule(
        "what a history brings that was delivered is skipped",
        "history/machine.rs",
        "if end < position || end == position && matches!(record.content, HistoryContent::Message { .. }) {",
        "if end < position && first.number.0 == u64::MAX {",
    ),
    rule(
        "a history that brings nothing ends the wait",
        "history/machine.rs",
        "|| now >= self.given_up_at(&reading)\n",
        "\n",
    ),
    rule(
        "what is discarded of a full backlog comes from the history",
        "history/machine.rs",
        "            self.backlog.pop();\n        }\n    }",
        "            self.backlog.pop();\n            self.position = self.backlog.front();\n        }\n    }",
    ),
    bridge_rule(
        "a bridge with a hole does not overtake a bridge without",
        "machine/batch.rs",
        "from.max(ready) + self.config.hole_wait",
        "from.max(ready)",
    ),
    bridge_rule(
        "bridges get their time at each hole",
        "machine/batch.rs",
        "Some(stored_before) => stored_before,",
        "Some(_) => waiting.since,",
    ),
    bridge_rule(
        "bridges get their time again after the engine stood still",
        "machine/tail.rs",
        "let stood_still = now.since(sent) > self.config.hole_wait / 4;",
        "let stood_still = false;",
    ),
    bridge_rule(
        "a gap record ends where another bridge has messages",
        "machine/batch.rs",
        "let end = end.min(self.hole.map_or(end, |waiting| waiting.least_end));",
        "",
    ),
    bridge_rule(
        "an incarnation that was not closed is closed by a gap record",
        "machine/batch.rs",
        "Some(Tail { position, closes: false, .. }) => {",
        "Some(Tail { position, closes: false, .. }) if position.number.0 == u64::MAX => {",
    ),
    bridge_rule(
        "the rest of a gap is recorded behind what another bridge stored of it",
        "machine/batch.rs",
        "Content::Gap { first: start.number, cause }",
        "Content::Gap { first: record.first(), cause }",
    ),
    bridge_rule(
        "what is sent behind a refused batch does not count",
        "machine/tail.rs",
        "                self.is_refused = true;\n                self.observe(tail)?;",
        "                self.observe(tail)?;",
    ),
    bridge_rule(
        "stored records are retained for an engine that loses them",
        "machine/backlog.rs",
        "while self.bytes > self.capacity && self.stored > 0 {",
        "while self.stored > 0 {",
    ),
    bridge_rule(
        "a full buffer stops a bridge",
        "machine/backlog.rs",
        "self.pending_bytes() >= self.capacity",
        "false",
    ),
    bridge_rule(
        "a bridge looks for records that the engine loses while it is idle",
        "machine/batch.rs",
        "self.deadline = self.deadline.min(self.poll_at);",
        "",
    ),
    bridge_rule(
        "a stream is not mixed with another one",
        "machine/tail.rs",
        ".filter(|found| *found != expected)",
        ".filter(|_| false)",
    ),
    bridge_rule(
        "each datagram of a group has a number of its own",
        "machine/numbering.rs",
        "self.numbering.next = number + 1;",
        "",
    ),
    bridge_rule(
        "datagrams of a group that the system dropped have numbers",
        "machine/numbering.rs",
        "self.numbering.next = first + count;",
        "",
    ),
    bridge_rule(
        "a bridge of groups never continues an incarnation",
        "machine/numbering.rs",
        "self.incarnation = Some(least.max(next));",
        "self.incarnation = Some(least);",
    ),
    bridge_rule(
        "a bridge of groups stores nothing while another one is noted",
        "machine/numbering.rs",
        "self.config.group.is_none() || self.numbering.is_alone",
        "true",
    ),
    bridge_rule(
        "a bridge of groups gives up when another one stays",
        "machine/numbering.rs",
        "if now.since(since) > PATIENCE { Err(BridgeRefusal::OtherBridge) } else { Ok(()) }",
        "if now.since(since) > PATIENCE { Ok(()) } else { Ok(()) }",
    ),
    bridge_rule(
        "a bridge of groups stops when another one has taken over",
        "machine/tail.rs",
        "newer.filter(|_| self.config.group.is_some() && self.has_begun())",
        "newer.filter(|_| false)",
    ),
    bridge_rule(
        "what other bridges of groups do later does not stop one that stores",
        "machine/numbering.rs",
        "        if self.numbering.is_alone {\n            return Ok(());\n        }\n",
        "",
    ),
    rabbitmq_rule(
        "a record in RabbitMQ is effective only behind the one that it names",
        "rabbitmq/chain.rs",
        "if follows || is_anchored {",
        "if true {",
    ),
    rabbitmq_rule(
        "a reader of RabbitMQ begins with a record that is known to be effective",
        "rabbitmq/chain.rs",
        "if follows || is_anchored {",
        "if follows {",
    ),
    rabbitmq_rule(
        "a reader of RabbitMQ goes back to an effective record that it missed",
        "rabbitmq/chain.rs",
        "entry.known.filter(is_missed)",
        "entry.known.filter(|_| false)",
    ),
    rabbitmq_rule(
        "a reader of RabbitMQ takes only records for missed that it has not read",
        "rabbitmq/chain.rs",
        "self.known().is_none_or(|last| last < *known)",
        "self.known().is_none_or(|last| last <= *known)",
    ),
    rabbitmq_rule(
        "a reader of RabbitMQ skips what is before its place",
        "rabbitmq/chain.rs",
        "if offset < self.next {",
        "if false {",
    ),
    rabbitmq_rule(
        "a gap record in RabbitMQ has no name that would drop messages",
        "rabbitmq/sink.rs",
        "(!is_gap(record) && number > last?)",
        "(number > last?)",
    ),
    rabbitmq_rule(
        "what RabbitMQ would drop has no name",
        "rabbitmq/sink.rs",
        "(!is_gap(record) && number > last?)",
        "(!is_gap(record) && number >= last?)",
    ),
    rabbitmq_rule(
        "gap records are published to RabbitMQ alone",
        "rabbitmq/sink.rs",
        "is_gap(before) || is_gap(record) ||",
        "",
    ),
    rabbitmq_rule(
        "incarnations are published to RabbitMQ one after the other",
        "rabbitmq/sink.rs",
        " || before.position.incarnation != record.position.incarnation",
        "",
    ),
    kafka_rule(
        "a bridge stands by while the active one may append",
        "kafka/standby.rs",
        "let is_over = now.saturating_duration_since(since) >= period;",
        "let is_over = true;",
    ),
    kafka_rule(
        "a bridge stands by while the active one appends",
        "kafka/standby.rs",
        "Some((known, since)) if known == tail => since,",
        "Some((_, since)) => since,",
    ),
    kafka_rule(
        "bridges do not take over from each other ever again",
        "kafka/standby.rs",
        "period.saturating_mul(2)",
        "period",
    ),
    kafka_rule(
        "a bridge takes over at once where none is active",
        "kafka/standby.rs",
        "ActiveBridge::None => true,",
        "ActiveBridge::None => false,",
    ),
    kafka_rule(
        "a bridge that has what the active one lacks takes over at once",
        "kafka/standby.rs",
        "if fills(next, hole) => true,",
        "if fills(next, hole) => false,",
    ),
    kafka_rule(
        "a bridge does not take over in order to record a gap",
        "kafka/standby.rs",
        "    !is_gap\n        && record",
        "    record",
    ),
    log_rule(
        "what is found in a log is synced before it is called durable",
        "recovery.rs",
        "rewrite(&*files, &scanner, &name, index.length)?;",
        "",
    ),
    log_rule(
        "incarnations in a log grow, whatever the clock does",
        "writer.rs",
        "incarnation: proposed.max(least),",
        "incarnation: proposed,",
    ),
    log_rule(
        "a segment is synced before the next one begins",
        "writer.rs",
        "segment.file.sync().map_err(",
        "Ok::<(), io::Error>(()).map_err(",
    ),
    log_rule(
        "a segment is not written again after a failed write",
        "writer.rs",
        "self.state = State::Broken(segment);",
        "self.state = State::Writing(segment);",
    ),
    log_rule(
        "after a failed sync nothing is accepted",
        "writer.rs",
        "self.state = State::Failed;\n            return Err(error);",
        "return Err(error);",
    ),
    log_rule("a failed sync of another thread is known", "writer.rs", "*has_failed = result.is_err();", ""),
    log_rule(
        "the name of a segment is durable before its records",
        "writer.rs",
        "if let Err(cause) = self.files.sync_directory() {",
        "if let Err(cause) = Ok::<(), io::Error>(()) {",
    ),
    log_rule(
        "the header of a segment is durable before its name",
        "writer.rs",
        "&header.bytes(), true)?;",
        "&header.bytes(), false)?;",
    ),
    log_rule(
        "no two segments have the same salt",
        "writer.rs",
        "salt: self.salts.draw(segment),",
        "salt: 7,",
    ),
    log_rule(
        "a log has one writer",
        "writer.rs",
        "lock.ok_or(LogError::InUse(directory))?;",
        "lock.unwrap_or_else(|| Box::new(directory));",
    ),
    log_rule(
        "a segment without records is removed after the next one has begun",
        "writer.rs",
        "self.empty = Some(name);",
        "let _ = self.files.remove(&name.segment_file());",
    ),
    log_rule(
        "a batch that was refused has no numbers",
        "writer.rs",
        "segment.index.restore(before);\n",
        "segment.index.restore(before);\n                self.next.0 += 1;\n",
    ),
    log_rule(
        "records of a refused batch do not count",
        "reader.rs",
        "Parsed::Record(head) if end.is_some_and(|end| !head.is_before(end)) => Parsed::End,",
        "",
    ),
    log_rule(
        "a reader looks again before it leaves a segment",
        "reader.rs",
        "if !cursor.is_second_look {",
        "if false {",
    ),
    log_rule(
        "damaged records are not delivered",
        "format/record.rs",
        "if checksum(record, salt, offset) != u32_at(head, CHECKSUM_AT) {",
        "if false {",
    ),
    log_rule(
        "an index by time is right although clocks go back",
        "format/index.rs",
        "latest_before: self.state.latest",
        "latest_before: time",
    ),
    log_rule(
        "removed segments leave no hole",
        "retention.rs",
        "files.sync_directory()",
        "Ok::<(), std::io::Error>(())",
    ),
];
