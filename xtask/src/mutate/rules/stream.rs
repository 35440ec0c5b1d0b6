//! The rules of the stream protocol.

use super::Rule;
use crate::mutate::package::{FAIRNESS, STREAM};

pub(super) const RULES: &[Rule] = &[
    STREAM.rule(
        "missing datagrams are requested",
        "context.requests_repairs() && is_heard && !context.delivery.has_ended && !self.naks.is_empty()",
        "false",
    ),
    STREAM.rule(
        "a datagram received before is a duplicate",
        "Some(_) if !self.window.has(sequence) => Whereabouts::New,",
        "Some(_) => Whereabouts::New,",
    ),
    STREAM.rule(
        "nothing is confirmed before all subscribers are known",
        "if self.awaits_claims() {",
        "if false {",
    ),
    STREAM.rule(
        "a message of which a part was received is not confirmed",
        "return self.intake.next_message().nearest(view.header.message);",
        "return self.ring.message_at(at, self.intake.next_message());",
    ),
    STREAM.rule(
        "datagrams beyond the window are dropped",
        "Some(ahead) if ahead >= self.window.length() => Whereabouts::Beyond,",
        "Some(ahead) if ahead == u64::MAX => Whereabouts::Beyond,",
    ),
    STREAM.rule(
        "buffered datagrams are acknowledged only up to the first gap",
        "let missing = self.naks.first_gap().map_or(self.highest, |gap| gap.first);",
        "let missing = self.highest;",
    ),
    STREAM.rule(
        "buffered datagrams reduce the advertised window",
        "window: (sequencer.room_end(context) - next) as u32,",
        "window: sequencer.window.length() as u32,",
    ),
    STREAM.rule(
        "a subscriber whose gap stops the publisher may send another NAK",
        "context.publisher.end.is_some() || self.used_credit() >= self.credit / 2",
        "false",
    ),
    STREAM.rule(
        "a large group without flow control sends no statuses for progress",
        "(is_needed || !context.publisher.is_large_group())",
        "true",
    ),
    STREAM.rule(
        "limits follow from what subscribers reported last",
        "Some(number) if number == known => return Some((id, known)),",
        "Some(_) => return Some((id, known)),",
    ),
    STREAM.rule(
        "a subscriber that was removed may request again what waited for it",
        "state.requested_by = state.requested_by.filter(|requester| *requester != id);",
        "",
    ),
    STREAM.rule(
        "a datagram that was overtaken does not count as lost",
        "            self.losses.record_overtaken();\n",
        "",
    ),
    STREAM.rule(
        "a status that was overtaken gives no room",
        "self.room_end = self.room_end.max(status.next + u64::from(status.window));",
        "self.room_end = self.progress.next + u64::from(status.window);",
    ),
    STREAM.rule(
        "a doubtful round trip is measured again",
        "(self.doubtful, self.probes, self.probe_at) = (Some(sample), 0, now);",
        "self.round_trip = sample.round_trip;",
    ),
    STREAM.rule(
        "data in flight fits into the socket's receive buffer",
        "longest => (context.config.socket_buffer as u64 / u64::from(longest)).max(least),",
        "_ => u64::MAX,",
    ),
    STREAM.rule(
        "a late check finds a silent path",
        ".find(|(_, at)| now >= *at)?;",
        ".find(|(_, at)| now >= *at && now < *at + silence)?;",
    ),
    STREAM.rule(
        "every lost message is reported",
        "            Assembled::Gap(number) => {",
        "            Assembled::Gap(number) => { if !below.context.delivery.is_bridging() { below.context.delivery.expected = number; return None; }",
    ),
    STREAM.rule(
        "repairable datagrams are not given up",
        "        if sequencer.base < sequencer.oldest_retained {\n",
        "        if true {\n",
    ),
    STREAM.rule(
        "no message is delivered while a snapshot is wanted",
        "            if below.context.delivery.is_closed() {\n                return self.poll_closed(&mut below)",
        "            if below.context.delivery.has_stopped() {\n                return self.poll_closed(&mut below)",
    ),
    STREAM.rule(
        "with on-loss stop, nothing is delivered after a loss",
        "OnLoss::Stop => context.delivery.stop(),",
        "OnLoss::Stop => {}",
    ),
    STREAM.rule(
        "an outdated message of a key is not delivered",
        "if !self.latest.is_latest(key, number) {",
        "if !self.latest.is_latest(key, number) && number == MessageNumber::MAX {",
    ),
    STREAM.rule(
        "a stream ends only after its last datagram",
        "let is_over = self.intake.is_closed() && sent == self.ring.next;",
        "let is_over = self.intake.is_closed();",
    ),
    STREAM.rule(
        "fragments of a message are assembled only if they are consecutive",
        "        let passed = below.sequencer.give_up_before(end);\n        self.record_given_up(below, passed);\n        below.assembler.abandon();",
        "        let passed = below.sequencer.give_up_before(end);\n        self.record_given_up(below, passed);",
    ),
    STREAM.rule(
        "a new incarnation starts with an empty window",
        "        window.clear();\n",
        "",
    ),
    STREAM.rule(
        "any symbols of a block recover as many datagrams",
        "quotient(255 ^ datagram, (255 - symbol) ^ datagram)",
        "quotient(255 ^ datagram, 255 ^ datagram)",
    ),
    STREAM.rule(
        "symbols that complete no block do not stop requests",
        "Some(&mut replaced).filter(|_| gap.tries < 2)",
        "Some(&mut replaced)",
    ),
    STREAM.rule(
        "a subscriber of a one-way publisher sends nothing",
        "self.config.mute || self.heartbeat().flow == FlowControl::OneWay",
        "self.config.mute",
    ),
    STREAM.rule(
        "a one-way publisher retains only what parity may still recover",
        "FlowControl::OneWay => self.scheduler.parity.sent_with_parity(now).max(self.ring.oldest_retained),",
        "FlowControl::OneWay => self.ring.oldest_retained,",
    ),
    STREAM.rule(
        "a one-way publisher of a signed stream retains what no manifest covers yet",
        "self.sent.push_back((now, signed.verified_through.map_or(end, |verified| verified.min(end))));",
        "self.sent.push_back((now, end));",
    ),
    STREAM.rule(
        "what is recovered from parity is verified",
        "if !self.may_be_genuine(&recovered) {",
        "if self.base > sequence {",
    ),
    STREAM.rule(
        "parity answers only subscribers that have room for its block",
        ".is_some_and(|end| end <= room_end);",
        ".is_some_and(|end| end > room_end.min(base));",
    ),
    STREAM.rule(
        "a subscriber that symbols do not help gets the datagrams",
        "!needs_more || requests < MOST_SYMBOL_REQUESTS",
        "!needs_more || requests < u8::MAX",
    ),
    STREAM.rule(
        "at a low rate, a manifest covers little",
        "|| self.bytes >= self.enough",
        "|| self.bytes == u64::MAX",
    ),
    STREAM.rule(
        "losses count among the datagrams that were reported with them",
        "self.set_mark(now, other_repairs, sent.saturating_sub(decided));",
        "self.set_mark(now, other_repairs, 0);",
    ),
    STREAM.rule(
        "a crowd that loses different datagrams gets parity",
        "is_lossy && self.known >= CROWD_SAMPLE && is_crowd(subscribers)",
        "is_lossy && self.known == u64::MAX && is_crowd(subscribers)",
    ),
    STREAM.rule(
        "a crowd that loses the same datagrams gets no parity",
        "losers >= enough && self.requested >= enough && self.requested >= INDEPENDENT * share",
        "losers >= enough",
    ),
    STREAM.rule(
        "a crowd that needs more NAKs than it may send gets parity",
        "LOSSY.min(requestable(self.rate))",
        "LOSSY",
    ),
    STREAM.rule(
        "a block ends in time",
        "is_over || now >= open.since + self.delay",
        "is_over",
    ),
    STREAM.rule(
        "unverified data is not delivered",
        "                self.stage(arrived, digest);\n                false",
        "                self.stage(arrived, digest);\n                true",
    ),
    STREAM.rule(
        "data with another digest than the signed one is discarded",
        "                sequencer.blame(context, arrived.arrival);\n                false",
        "                sequencer.blame(context, arrived.arrival);\n                true",
    ),
    STREAM.rule(
        "data that waits is compared with its signed digest",
        "if staged.digest != digest {",
        "if false {",
    ),
    STREAM.rule(
        "unsigned heartbeats and manifests are refused",
        "None => Some(VerificationFailure::Unsigned),",
        "None => return true,",
    ),
    STREAM.rule(
        "another key than the trusted ones signs nothing",
        "=> Some(VerificationFailure::UnknownKey(id)),",
        "=> return true,",
    ),
    STREAM.rule(
        "a signature is checked",
        ".any(|key| key.verify(text, signature))",
        ".next().is_some()",
    ),
    STREAM.rule(
        "a signature covers stream, incarnation and sequence",
        "for part in [CONTEXT, head, body] {",
        "for part in [CONTEXT, &alloc::vec![0; head.len()][..], body] {",
    ),
    STREAM.rule(
        "a signature covers the digests",
        "for part in [CONTEXT, head, body] {",
        "for part in [CONTEXT, head, &[]] {",
    ),
    STREAM.rule(
        "of an incarnation, the salt of the first signed heartbeat counts",
        "_ if is_namesake => None,",
        "_ if is_namesake && false => None,",
    ),
    STREAM.rule(
        "forged data that has taken the place of a manifest is discarded",
        "let may_be_forged = is_overdue && ",
        "let may_be_forged = false && is_overdue && ",
    ),
    STREAM.rule(
        "a subscriber that verifies takes only the echo of its own probe",
        "(!is_verifying || peer.is_expected(now, &echo))",
        "!self.is_verifying() || self.publisher.is_expected(now, echo) || true",
    ),
    STREAM.rule(
        "wrong signatures are checked at most 1,000 times per second",
        "                    refusals.spend(1);",
        "                    refusals.spend(0);",
    ),
    STREAM.rule(
        "what was published before a change of the key is signed with the old one",
        "        self.flush_all(now);\n        if let",
        "        if let",
    ),
    STREAM.rule(
        "resets are signed",
        "Kind::Heartbeat | Kind::Ncf | Kind::Reset | Kind::Announce",
        "Kind::Heartbeat | Kind::Ncf | Kind::Announce",
    ),
    STREAM.rule(
        "unsealed datagrams are rejected",
        "view.header.epoch == KeyEpoch::CLEAR && !context.config.keys.is_empty()",
        "false",
    ),
    STREAM.rule(
        "datagrams that fail authentication are rejected",
        "is_whole.then_some(end + text)",
        "Some(end + text)",
    ),
    STREAM.rule(
        "a repair is sealed like the original",
        "head[Header::FLAGS_AT] = Flags(flags).without(Flags::MUTABLE).0;",
        "",
    ),
    STREAM.rule(
        "each publisher seals with its own derived key",
        "bytes[31..39].copy_from_slice(&salt.to_be_bytes());",
        "",
    ),
    STREAM.rule(
        "the previous key still opens datagrams",
        "self.secrets.retain(|(known, _)| *known != epoch);\n        self.secrets.push",
        "self.secrets.clear();\n        self.secrets.push",
    ),
    STREAM.rule(
        "datagrams that a waited-for subscriber lacks are not overwritten",
        "            Some((_, next)) => next.clamp(self.ring.oldest_retained, sent),",
        "            Some(_) => sent,",
    ),
    STREAM.rule(
        "datagrams are not overwritten before they are sent",
        "if self.ring.has_room(count, keep) {",
        "if keep > Sequence::default() {",
    ),
    STREAM.rule(
        "repairs stay within their rate limit",
        "self.allowance.has(length) && pacer",
        "pacer",
    ),
    STREAM.rule(
        "a datagram is not repaired twice in quick succession",
        "let is_recent = |at: ClockTime| now.since(at) < holdoff;",
        "let is_recent = |at: ClockTime| at == ClockTime::NEVER && holdoff == Duration::ZERO;",
    ),
    STREAM.rule(
        "silent subscribers are removed",
        "while let Some(id) = self.subscribers.silent(now, self.context.config.subscriber_timeout) {",
        "while let Some(id) = self.subscribers.silent(now, Duration::MAX) {",
    ),
    STREAM.rule(
        "unicast repairs go only to verified addresses",
        "if !self.subscribers.proof.is_valid(now, from, token) {",
        "if token == AddressToken(u64::MAX) {",
    ),
    STREAM.rule(
        "echoes to unproven addresses are limited",
        "false if self.subscribers.echo_limit.admits(now) => Target::Aside(from),",
        "false => Target::Aside(from),",
    ),
    STREAM.rule(
        "an address counts as proven only while its member is heard",
        "member.is_some_and(|member| now.since(member.last_heard) <= self.subscribers.recent())",
        "member.is_some()",
    ),
    STREAM.rule(
        "echoes of a repairer are limited",
        "Answer::Echo(..) if !self.echo_limit.admits(now) => Answer::Refused,",
        "Answer::Echo(..) if self.proof.is_valid(now, from, AddressToken::NONE) => Answer::Refused,",
    ),
    STREAM.rule(
        "a subscriber that changes its address is verified again",
        "IpAddr::V4(ip) => hasher.write(&ip.octets()),",
        "IpAddr::V4(_) => {}",
    ),
    STREAM.rule(
        "a repairer answers a request from an unproven address with an echo only",
        "Ok(nak) if !self.proof.is_valid(now, from, nak.token) => {",
        "Ok(nak) if nak.token == AddressToken(u64::MAX) => {",
    ),
    STREAM.rule(
        "a repairer sends one subscriber no more than its credit",
        "if !has_room || !admits(&requester.credit) || !admits(&self.allowance) {",
        "if !has_room || !admits(&self.allowance) {",
    ),
    STREAM.rule(
        "a repairer sends all subscribers no more than a part of what it received",
        "if !has_room || !admits(&requester.credit) || !admits(&self.allowance) {",
        "if !has_room || !admits(&requester.credit) {",
    ),
    STREAM.rule(
        "what a repairer does not answer is requested of the publisher",
        "is_in_time && gap.is_unrequested() && !list.is_used_up()",
        "is_in_time && gap.tries == 0 && !list.is_used_up()",
    ),
    STREAM.rule(
        "a repairer has no more time to answer than the publisher",
        "self.repairer.timeout(round_trip).min(longest)",
        "self.repairer.timeout(round_trip)",
    ),
    STREAM.rule(
        "what a repairer sends without a request is not delivered",
        "            && sequencer.naks.awaits_repairer(sequence);",
        ";",
    ),
    STREAM.rule(
        "a repairer that does not answer is given up",
        "let is_over = chosen.unanswered >= MAX_UNANSWERED;",
        "let is_over = chosen.unanswered == u32::MAX;",
    ),
    STREAM.rule(
        "the repairs of others are not reported to the publisher",
        "if !sequencer.repairers.knows(from) || context.publisher.peer.get() == Some(from) {",
        "if !self.repairers.is_chosen(from) || self.publisher.get() != Some(from) {",
    ),
    STREAM.rule(
        "heavy loss reduces the rate",
        "if loss >= HIGH && now >= immune_until && !other_on_trial {",
        "if loss >= HIGH && now == ClockTime::NEVER && !other_on_trial {",
    ),
    FAIRNESS.rule(
        "parity counts as what arrives",
        "(self.received + self.parity).saturating_sub(self.recovered + self.repaired_locally)",
        "received.saturating_add(0 * (parity + recovered + repaired_locally))",
    ),
    FAIRNESS.rule(
        "an automatic rate sends less when the queue is long",
        "(gain * missing).clamp(-GREATEST_CUT, gain)",
        "(gain * missing).clamp(0.0, gain)",
    ),
    FAIRNESS.rule(
        "an automatic rate competes with flows that fill the queue",
        "if self.shared >= ENOUGH {",
        "if self.shared == u8::MAX {",
    ),
    FAIRNESS.rule(
        "an automatic rate competes where the queue overflows early",
        "2 * sample.queue_at_loss >= 3 * self.target()",
        "sample.queue_at_loss >= 100 * self.target()",
    ),
    STREAM.rule(
        "the limit after a severe loss grows",
        "self.compensated(sample.arrived).max(SLOWEST)",
        "self.compensated(sample.arrived)",
    ),
    FAIRNESS.rule(
        "an automatic rate is not starved by flows that ignore loss",
        "if reduction.is_without_effect() &&",
        "if false &&",
    ),
    FAIRNESS.rule(
        "a reduction is not undone if the stream itself fills the queue",
        "&& self.arrivals <= self.arrived.saturating_mul(self.samples.into()) / 16 * 15",
        "&& self.arrivals < u64::MAX",
    ),
    FAIRNESS.rule(
        "a reduction is judged before the next one",
        "let is_judged = elapsed >= delay && self.reduction.is_none();",
        "let is_judged = elapsed >= delay;",
    ),
    FAIRNESS.rule(
        "a stream without a window begins with slow start beside others",
        "Some(flow) if flow.is_starting() => {",
        "Some(flow) if flow.is_starting() && now == ClockTime::NEVER => {",
    ),
    FAIRNESS.rule(
        "a loss in a test does not reduce the window of before",
        "if flow.window() >= self.window(self.average) {",
        "if flow.window() > 0.0 {",
    ),
    FAIRNESS.rule(
        "a short queue does not show that others have gone",
        "Mode::Beside { flow, test_at, .. } if now >= test_at => {",
        "Mode::Beside { flow, test_at, .. } if now >= test_at || self.queue == Duration::ZERO => {",
    ),
    FAIRNESS.rule(
        "slow start waits for what is sent to arrive",
        "if self.is_starting { 2.0 * arriving } else { target }",
        "if self.is_starting { f64::MAX.max(arriving) } else { target }",
    ),
    STREAM.rule(
        "a buffer of parity counts with what it takes",
        "self.chunks.capacity() * CHUNK",
        "self.chunks.len() * CHUNK",
    ),
    FAIRNESS.rule(
        "a trial that leaves a queue shows an automatic rate that others fill it",
        "if is_timed_out && self.queue",
        "if false && is_timed_out && self.queue",
    ),
    FAIRNESS.rule(
        "an automatic rate makes up for random loss",
        "self.trial.share().min(self.recent.share()).min(GREATEST_BACKGROUND)",
        "self.trial.share().min(0.0)",
    ),
    FAIRNESS.rule(
        "a subscriber below the floor is evicted",
        "if member.link.slow_since.is_some_and(|since| now.since(since) >= eviction) {",
        "if member.link.slow_since == Some(ClockTime::NEVER) {",
    ),
    STREAM.rule(
        "a trial slows down by a bounded factor",
        "self.below(arrived).max(offered / LARGEST_CUT)",
        "self.below(arrived)",
    ),
    STREAM.rule(
        "repairs for a subscriber need its credit",
        "match self.credit.has(bytes) {",
        "match self.credit.has(bytes) || now != ClockTime::NEVER {",
    ),
    STREAM.rule(
        "subscribers share the first credit",
        "(CREDIT / subscribers.max(1)).max(LEAST_CREDIT)",
        "CREDIT.max(subscribers)",
    ),
    STREAM.rule(
        "a subscriber reports repairs without waiting for a heartbeat",
        "if is_news && context.requests_repairs() {",
        "if is_news && unreported == u32::MAX {",
    ),
    STREAM.rule(
        "links are unknown again when a limit ends",
        "if at.pacer.limit(now, found) && at.context.config.has_flow_control() {",
        "if at.pacer.limit(now, found) && now == ClockTime::NEVER {",
    ),
    STREAM.rule(
        "repairs that arrive pay for more",
        "self.credit.add(credit);",
        "self.credit.add(credit / 16);",
    ),
    STREAM.rule(
        "repairs that others requested give no credit",
        "(bytes * paid.min(sent)).checked_div(sent).unwrap_or(bytes)",
        "(bytes * sent).checked_div(sent).unwrap_or(paid)",
    ),
    STREAM.rule(
        "repairs that cannot have arrived yet do not count as lost",
        "self.singles.until(until) + group.log.until(until)",
        "self.singles.total() + group.log.total()",
    ),
    STREAM.rule(
        "a trial shows nothing if others send as much as before",
        "per_second(self.sent_bytes, self.elapsed) <= self.before / 4 * 3",
        "per_second(self.sent_bytes, self.elapsed) > self.before / 1_000_000",
    ),
    STREAM.rule(
        "what one subscriber's trial shows holds for the others",
        "*immune_until = until.max(*immune_until);",
        "*immune_until = until.min(*immune_until);",
    ),
    STREAM.rule(
        "losses of a subscriber that heard nothing are not judged",
        "Reception::Interrupted => return member.link.mark.begin_at(sent),",
        "Reception::Interrupted => {}",
    ),
    STREAM.rule(
        "in a large group few subscribers send NAKs",
        "if group_size <= SMALL_GROUP || longest == Duration::ZERO {",
        "if group_size < u32::MAX {",
    ),
    STREAM.rule(
        "the end of a burst is announced",
        "self.at = tail.min(busy.max(now));",
        "self.at = now + Duration::from_secs(1);",
    ),
    STREAM.rule(
        "there are no unnecessary wake-ups",
        "_ if reporter.has_everything(context, sequencer) => ClockTime::NEVER,",
        "_ if delivery.has_ended && sequencer.base == Sequence::MAX => ClockTime::NEVER,",
    ),
    STREAM.rule(
        "a lost message is never acknowledged",
        "        below.reporter.account.record_loss(end);\n",
        "",
    ),
    STREAM.rule(
        "messages that a snapshot covers are not acknowledged",
        "            self.reporter.account.skip_to(message);\n",
        "",
    ),
    STREAM.rule(
        "a message that waits to be processed is not acknowledged as processed",
        "let processed = if self.unprocessed.is_none() { received } else { self.processed };",
        "let processed = received;",
    ),
    STREAM.rule(
        "messages of another incarnation acknowledge nothing",
        "content == Some(at.incarnation) && self.record_processed",
        "content.is_some() && self.record_processed",
    ),
    STREAM.rule(
        "a subscriber acknowledges only messages after its last loss",
        "self.range.0 <= message && message < self.range.1",
        "message < self.range.1",
    ),
    STREAM.rule(
        "subscribers with the same name acknowledge once",
        "identity: name.map_or(Identity::Unnamed(id), Identity::Named),",
        "identity: name.filter(|_| !is_present).map_or(Identity::Unnamed(id), Identity::Named),",
    ),
    STREAM.rule(
        "all who were present must acknowledge a message",
        "self.owes.0 <= message && self.owes.1.is_none_or(|end| message < end)",
        "self.owes.0 <= message && self.owes.1.is_none()",
    ),
    STREAM.rule(
        "a publisher blocks while messages cannot be acknowledged",
        "self.is_lost && self.quorum.on_loss == QuorumLoss::Block",
        "self.is_lost && self.settled == MessageNumber::MAX",
    ),
    STREAM.rule(
        "a message that came from the history is not delivered again from the live stream",
        "LiveContent::Message { .. } if is_past => {}",
        "LiveContent::Message { .. } if is_past && at.number.0 == u64::MAX => {}",
    ),
    STREAM.rule(
        "what the history lacks is reported as lost",
        "            self.delivery.skip_to(first, Cause::NotInHistory);\n            self.record_progress();",
        "            self.delivery.position = Some(first);\n            self.record_progress();",
    ),
    STREAM.rule(
        "a gap in the history is reported as lost",
        "self.delivery.skip_to(end, cause.reported());",
        "self.delivery.position = Some(end);",
    ),
    STREAM.rule(
        "what a history brings that was delivered is skipped",
        "if end < position || end == position && matches!(record.content, HistoryContent::Message { .. }) {",
        "if end < position && first.number.0 == u64::MAX {",
    ),
    STREAM.rule(
        "a history that brings nothing ends the wait",
        "|| self.given_up_at(reading).is_some_and(|at| self.clock.now() >= at)\n",
        "\n",
    ),
    STREAM.rule(
        "what is discarded of a full backlog comes from the history",
        "            self.backlog.pop();\n        }\n    }",
        "            self.backlog.pop();\n            self.delivery.position = self.backlog.front();\n        }\n    }",
    ),
    STREAM.rule(
        "a start waits longer for a server than a loss",
        "            (false, true) => timeout.saturating_mul(START_TIMEOUT),",
        "            (false, true) => timeout.into(),",
    ),
    STREAM.rule(
        "a start with the oldest message waits for a server that was shown",
        "self.is_at_oldest() && self.config.searches && !self.search.exists()",
        "self.is_at_oldest() && self.config.searches",
    ),
    STREAM.rule(
        "messages before those that the publisher retains are not left out silently",
        "self.has_no_server() && front.number == MessageNumber(0);",
        "self.has_no_server();",
    ),
    STREAM.rule(
        "a start whose server does not answer is a loss",
        "Some(HistoryStart::Oldest) => self.is_at_oldest() && !self.has_no_server(),",
        "Some(HistoryStart::Oldest) => false,",
    ),
    STREAM.rule(
        "losses that wait behind one that no server answers have the same timeout",
        ".map_or_else(|| self.clock.now(), |since| self.asking.moment(since.max(noticed)));",
        ".map_or_else(|| self.clock.now(), |_| self.clock.now());",
    ),
    STREAM.rule(
        "the time in which a busy application keeps a loss from being requested counts for no timeout",
        "self.asking.stop(self.clock.now());",
        "",
    ),
    STREAM.rule(
        "the time in which the process does not run counts for no timeout",
        "now.since(self.seen).min(Self::LONGEST_STEP);",
        "now.since(self.seen);",
    ),
    STREAM.rule(
        "the searches of others replace its own",
        "    pub(super) fn overhear(&mut self, now: ClockTime, run: RunTime, random: &mut Random) {\n        self.postpone(now, run, random);",
        "    pub(super) fn overhear(&mut self, now: ClockTime, run: RunTime, random: &mut Random) {\n        let _ = (now, run, random);",
    ),
    STREAM.rule(
        "another server is preferred to one that has failed",
        "        if self.failed.contains(&server) {",
        "        if false {",
    ),
    STREAM.rule(
        "searches do not make servers flood the network",
        "now.max(sent_at + Self::SHORTEST_INTERVAL)",
        "now.max(sent_at)",
    ),
    STREAM.rule(
        "a start in the past includes what the publisher discards before it knows the subscriber",
        "Healing::Reached => {\n                self.config.heal || matches!(cause, Cause::Unrecoverable | Cause::PublisherGone)\n            }",
        "Healing::Reached => self.config.heal,",
    ),
    STREAM.rule(
        "a subscriber that reads a history does not have everything",
        "            && !progress.is_reading\n    }",
        "    }",
    ),
    STREAM.rule(
        "what a history replaces is not lost for acknowledgements",
        "if matches!(self.source, Source::Live) {\n            self.skip_to(end);",
        "if !matches!(self.source, Source::Live) || end.0 > 0 {\n            self.skip_to(end);",
    ),
    STREAM.rule(
        "what a history replaces is not lost for the publisher",
        "Source::History(_) => (0, self.history_in(content).map_or(0, |history| history.lost)),",
        "Source::History(_) => live,",
    ),
    STREAM.rule(
        "what a history gives is processed only when the application says so",
        "self.record_given(last, if before.is_some() { last } else { first });",
        "let _ = last;",
    ),
    STREAM.rule(
        "time in which a publisher does not run does not count at its end",
        "self.since = later(self.since);",
        "",
    ),
    STREAM.rule(
        "a publisher waits at its end for those that read",
        "Phase::Receiving if self.is_complete() => Phase::Reading { since: now },",
        "Phase::Receiving if self.is_sent() => Phase::Reading { since: now },",
    ),
    STREAM.rule(
        "a subscriber that joined in vain gets another chance at the end",
        "        self.subscribers.ending.joining.retain(|_, joining| matches!(joining, Joining::Expected { .. }));\n        self.subscribers.ending.phase",
        "        self.subscribers.ending.phase",
    ),
];
