//! The rules that only hold if the parts of the message layer work together: the composed simulation must notice.

use super::Rule;
use crate::mutate::package::{COMPOSED, COMPOSED_LOG};

pub(super) const RULES: &[Rule] = &[
    COMPOSED.rule(
        "together: a server that a heartbeat shows exists",
        "    pub(super) fn record_advertised(&mut self, at: Option<SocketAddr>) {\n        self.exists = true;",
        "    pub(super) fn record_advertised(&mut self, at: Option<SocketAddr>) {\n        self.exists = false;",
    ),
    COMPOSED.rule(
        "together: a start waits for its timeout",
        "            (false, true) => timeout.saturating_mul(START_TIMEOUT),",
        "            (false, true) => (timeout / 2).into(),",
    ),
    COMPOSED.rule(
        "together: what is here waits for a late manifest",
        "            && context.publisher.end.is_none()\n            && self.stage",
        "            && context.publisher.end.is_some()\n            && self.stage",
    ),
    COMPOSED.rule(
        "together: a start without an answer is reported",
        "        if !is_answered && !is_abandoned && !is_everything {",
        "        if is_answered && !is_abandoned && !is_everything {",
    ),
    COMPOSED.rule(
        "together: an unknown loss at a start is reported",
        "                if is_unknown {\n                    self.delivery.report_unknown();",
        "                if is_unknown && front.number.0 == u64::MAX {\n                    self.delivery.report_unknown();",
    ),
    COMPOSED.rule(
        "together: only what is before the live stream comes from the history",
        "positions.is_some_and(|(position, front)| position >= front)",
        "positions.is_some_and(|(position, front)| position > front)",
    ),
    COMPOSED.rule(
        "together: the live stream is skipped up to what was delivered",
        "            LiveContent::Message { .. } if is_past => {}",
        "            LiveContent::Message { .. } if is_past && at.number.0 == u64::MAX => {}",
    ),
    COMPOSED.rule(
        "together: what the history lacks is a loss",
        "            self.delivery.skip_to(first, Cause::NotInHistory);\n            self.record_progress();",
        "            self.delivery.position = Some(first);\n            self.record_progress();",
    ),
    COMPOSED.rule(
        "together: a gap in the history is a loss",
        "                    self.delivery.skip_to(end, cause.reported());",
        "                    self.delivery.position = Some(end);",
    ),
    COMPOSED.rule(
        "together: a loss of the live stream is healed",
        "            Healing::AsConfigured => self.config.heal,",
        "            Healing::AsConfigured => false,",
    ),
    COMPOSED.rule(
        "together: what was discarded since a start is requested",
        "            Healing::Reached => {\n                self.config.heal || matches!(cause, Cause::Unrecoverable | Cause::PublisherGone)\n            }",
        "            Healing::Reached => self.config.heal,",
    ),
    COMPOSED.rule(
        "together: own stalls count for no timeout",
        "now.since(self.seen).min(Self::LONGEST_STEP)",
        "now.since(self.seen)",
    ),
    COMPOSED.rule(
        "together: progress begins the timeout again",
        "        (self.progress_at, self.edge_since, self.lacks_since) = (run, None, None);",
        "        let _ = run;\n        (self.edge_since, self.lacks_since) = (None, None);",
    ),
    COMPOSED.rule(
        "together: a failed request is repeated",
        "        (self.exchange, self.lacks_since) = (Exchange::None, None);\n        self.retry = (2 * self.retry).min(LONGEST_FAILED_RETRY);",
        "        self.lacks_since = None;\n        self.retry = (2 * self.retry).min(LONGEST_FAILED_RETRY);",
    ),
    COMPOSED.rule(
        "together: a search is repeated",
        "            turn.next_at = now + interval + random.below(interval / 4);",
        "            turn.next_at = now + 400 * interval + random.below(interval / 4);",
    ),
    COMPOSED.rule(
        "together: a server that failed is asked again if there is no other",
        "        if run >= turn.since + AVOIDANCE\n",
        "        if run >= turn.since + 1_000 * AVOIDANCE\n",
    ),
    COMPOSED.rule(
        "together: a start with a number that is retained needs no server",
        "            self.position = Some(Position::new(identity.content, number));",
        "            let _ = number;",
    ),
    COMPOSED.rule(
        "together: what the backlog counts is not counted twice",
        "        statistics.messages = statistics.messages.wrapping_sub(1);",
        "        statistics.messages = statistics.messages.wrapping_sub(0);",
    ),
    COMPOSED.rule(
        "together: losses that are healed are not counted",
        "                *lost = lost.wrapping_sub(end.ahead_of(first));",
        "                *lost = lost.wrapping_sub(0);",
    ),
    COMPOSED.rule(
        "together: who reads a history does not count as given everything",
        "            flags if flags & Status::DELIVERED != 0 && flags & Status::READING == 0 => Self::Delivered,",
        "            flags if flags & Status::DELIVERED != 0 => Self::Delivered,",
    ),
    COMPOSED.rule(
        "together: who reads a history says so",
        "            is_reading: !self.is_idle(),",
        "            is_reading: false,",
    ),
    COMPOSED.rule(
        "together: a publisher takes who reads for unread",
        "            _ if self.is_unread(member) => Some(SubscriberProgress::Unread),\n",
        "            _ if self.is_unread(member) && self.ring.next.0 == 0 => Some(SubscriberProgress::Unread),\n",
    ),
    COMPOSED.rule(
        "together: who reads a history has not confirmed all",
        "            && !progress.is_reading\n    }",
        "            && (!progress.is_reading || self.ring.next.0 > 0)\n    }",
    ),
    COMPOSED.rule(
        "together: the publisher counts no loss that a history replaces",
        "            Source::History(_) => (0, self.history_in(content).map_or(0, |history| history.lost)),",
        "            Source::History(_) => live,",
    ),
    COMPOSED.rule(
        "together: with a history, a loss of the live stream moves no acknowledgement",
        "        if matches!(self.source, Source::Live) {\n            self.skip_to(end);",
        "        if matches!(self.source, Source::Live) || end.0 > 0 {\n            self.skip_to(end);",
    ),
    COMPOSED.rule(
        "together: a message of the history is processed when the application says so",
        "            self.record_given(last, if before.is_some() { last } else { first });",
        "            let _ = (last, first);",
    ),
    COMPOSED.rule(
        "together: what a subscriber had processed before it resumes is acknowledged",
        "            self.reported.since = processed;",
        "            let _ = processed;",
    ),
    COMPOSED.rule(
        "together: an unknown loss is shown to the publisher",
        "reading | if is_unknown { Status::UNKNOWN_LOSS } else { 0 }",
        "{ let _ = is_unknown; reading }",
    ),
    COMPOSED.rule(
        "together: a publisher waits at its end for those that receive",
        "                Phase::Receiving if self.is_complete() => Phase::Reading { since: now },",
        "                Phase::Receiving if self.is_sent() => Phase::Reading { since: now },",
    ),
    COMPOSED.rule(
        "together: a joining subscriber is expected",
        "        self.joining.values().any(|joining| matches!(joining, Joining::Expected { .. }))",
        "        false",
    ),
    COMPOSED.rule(
        "together: own stalls of a publisher count for nothing at its end",
        "        self.since = later(self.since);",
        "        let _ = later(self.since);",
    ),
    COMPOSED.rule(
        "together: a restarted publisher waits for claims at its end",
        "        self.is_sent()\n            && !self.continuation.awaits_claims()\n",
        "        self.is_sent()\n",
    ),
    COMPOSED.rule(
        "together: what was recalled is not sent",
        "        self.ring.sent = self.ring.next;\n",
        "\n",
    ),
    COMPOSED.rule(
        "together: echoes to unproven addresses go aside",
        "            false if self.subscribers.echo_limit.admits(now) => Target::Aside(from),",
        "            false if self.subscribers.echo_limit.admits(now) => Target::Address(from),",
    ),
    COMPOSED.rule(
        "together: a repairer's echoes go aside",
        ".send(Target::Aside(from), header.incarnation, Kind::Echo,",
        ".send(Target::Address(from), header.incarnation, Kind::Echo,",
    ),
    COMPOSED.rule(
        "together: acknowledgements are required across a crash",
        "            (self.first, self.settled) = (first, first);",
        "            let _ = first;",
    ),
    COMPOSED_LOG.rule(
        "together: a stream continues after a crash",
        "            LastState::Running { boot: of } => of == boot && of != UNKNOWN,",
        "            LastState::Running { .. } => false,",
    ),
    COMPOSED_LOG.rule(
        "together: what subscribers may lack is recalled",
        "        if unconfirmed == Unconfirmed::Nothing {\n            return Ok(Self::default());",
        "        if unconfirmed != Unconfirmed::Nothing {\n            return Ok(Self::default());",
    ),
    COMPOSED_LOG.rule(
        "together: as much is recalled as a publisher retains",
        "            if !is_gap && (!is_sent || self.bytes <= most && !(is_confirmed && self.bytes > least)) {",
        "            if !is_gap && (self.bytes <= most / 64 && !(is_confirmed && self.bytes > least / 64)) {",
    ),
    COMPOSED.rule(
        "together: what was not sent stays in the log",
        "let needed = [recalled, lacking].into_iter().flatten().fold(unfinished, Ord::min);",
        "let needed = [recalled, lacking].into_iter().flatten().fold(self.intake.next_message(), Ord::min);",
    ),
    COMPOSED.rule(
        "together: a restarted publisher overwrites nothing at first",
        "        self.claimed_until.map(|_| self.first)",
        "        None",
    ),
    COMPOSED.rule(
        "together: who joins while the end is repeated is waited for",
        "                Phase::Repeating { .. } if !is_time_over && !self.is_complete() => Phase::Receiving,\n",
        "\n",
    ),
    COMPOSED.rule(
        "together: the live stream begins the timeout of a start",
        "{ reading.record_progress(self.clock.now()); } self.delivery",
        "{ let _ = reading; } self.delivery",
    ),
    COMPOSED.rule(
        "together: an unknown subscriber probes again at the end",
        "            self.peer.probe_at_the_end(now, self.end.is_none());\n",
        "",
    ),
    COMPOSED.rule(
        "together: nothing is given up while the publisher is silent",
        "        if self.publisher.is_silent(self.clock.now()) {",
        "        if self.publisher.is_silent(self.clock.now()) && is_lacking && self.has_stream_ended {",
    ),
    COMPOSED.rule(
        "together: a start waits for a server that has answered",
        "            (false, true) if self.is_reached => return None,\n",
        "",
    ),
    COMPOSED.rule(
        "together: a position waits for a server that exists",
        "            (false, _) if self.continues_by_history() => return None,\n",
        "",
    ),
    COMPOSED.rule(
        "together: messages that wait for the rate leave room for repairs",
        "            None if self.ring.next > sent && self.intake.left_to_write().is_none() => {",
        "            None if self.ring.next > sent && self.intake.left_to_write().is_some() => {",
    ),
    COMPOSED.rule(
        "together: a stalled connection is replaced",
        "        if reading.is_stalled(run) {",
        "        if reading.is_stalled(run) && reading.frames.len() > 1 {",
    ),
];
