//! The rules of bridges.

use super::Rule;
use crate::mutate::package::{BRIDGE, KAFKA, NATS, RABBITMQ, REVERSE};

pub(super) const RULES: &[Rule] = &[
    REVERSE.rule(
        "a bridge that hears a greater incarnation is silent",
        "Some(own) if own > heard.incarnation => {}",
        "Some(_) => {}",
    ),
    REVERSE.rule(
        "a bridge takes over with the oldest message that the former one retained",
        "Position::new(origin.incarnation, heard.oldest)",
        "Position::new(origin.incarnation, heard.next)",
    ),
    REVERSE.rule(
        "subscribers have everything before another incarnation begins",
        "Role::Draining { until } if publisher.is_complete || now >= until =>",
        "Role::Draining { .. } =>",
    ),
    REVERSE.rule(
        "a bridge takes over within 3 s",
        "silence: Duration::from_secs(2),",
        "silence: Duration::from_secs(3),",
    ),
    REVERSE.rule(
        "messages that are missing in the engine are skipped",
        "if end > next.number {\n                self.actions.push_back(PublisherAction::Skip(end));",
        "if end > next.number {",
    ),
    BRIDGE.rule(
        "a bridge with a hole does not overtake a bridge without",
        "from.max(ready) + self.config.hole_wait",
        "from.max(ready)",
    ),
    BRIDGE.rule(
        "bridges get their time at each hole",
        "Some(stored_before) => stored_before,",
        "Some(_) => waiting.since,",
    ),
    BRIDGE.rule(
        "bridges get their time again after the engine stood still",
        "let stood_still = now.since(sent) > self.config.hole_wait / 4;",
        "let stood_still = false;",
    ),
    BRIDGE.rule(
        "a gap record ends where another bridge has messages",
        "let end = end.min(self.hole.map_or(end, |waiting| waiting.least_end));",
        "",
    ),
    BRIDGE.rule(
        "an incarnation that was not closed is closed by a gap record",
        "Some(LastRecord { position, closes: false, .. }) => {",
        "Some(LastRecord { position, closes: false, .. }) if position.number.0 == u64::MAX => {",
    ),
    BRIDGE.rule(
        "the rest of a gap is recorded behind what another bridge stored of it",
        "Content::Gap { first: start.number, cause }",
        "Content::Gap { first: record.first(), cause }",
    ),
    BRIDGE.rule(
        "what is sent behind a refused batch does not count",
        "                self.is_refused = true;\n                self.observe(tail)?;",
        "                self.observe(tail)?;",
    ),
    BRIDGE.rule(
        "stored records are retained for an engine that loses them",
        "while self.bytes > self.capacity && self.stored > 0 {",
        "while self.stored > 0 {",
    ),
    BRIDGE.rule("a full buffer stops a bridge", "self.pending_bytes() >= self.capacity", "false"),
    BRIDGE.rule(
        "a bridge looks for records that the engine loses while it is idle",
        "self.deadline = self.deadline.min(self.poll_at);",
        "",
    ),
    BRIDGE.rule(
        "a stream is not mixed with another one",
        ".filter(|found| *found != expected)",
        ".filter(|_| false)",
    ),
    BRIDGE.rule("each datagram of a group has a number of its own", "self.numbering.next = number + 1;", ""),
    BRIDGE.rule(
        "datagrams of a group that the system dropped have numbers",
        "self.numbering.next = first + count;",
        "",
    ),
    BRIDGE.rule(
        "a bridge of groups never continues an incarnation",
        "self.incarnation = Some(least.max(next));",
        "self.incarnation = Some(least);",
    ),
    BRIDGE.rule(
        "a bridge of groups gives up when another one follows_restarts",
        "if now.since(since) > TIMEOUT { Err(BridgeRefusal::OtherBridge) } else { Ok(()) }",
        "if now.since(since) > TIMEOUT { Ok(()) } else { Ok(()) }",
    ),
    BRIDGE.rule(
        "a bridge of groups stops when another one has taken over",
        "newer.filter(|_| self.config.group.is_some() && self.has_begun())",
        "newer.filter(|_| false)",
    ),
    BRIDGE.rule(
        "what other bridges of groups do later does not stop one that stores",
        "        if self.numbering.is_alone {\n            return Ok(());\n        }\n",
        "",
    ),
    NATS.rule(
        "of two bridges, one stores a batch behind the last message of copies in NATS",
        "headers.set(entry::EXPECTED_SEQUENCE, sequence);",
        "",
    ),
    NATS.rule(
        "a batch for copies in NATS follows the record that is expected",
        "if before != known || !self.is_stored(batch, records, sequence)? {",
        "if !self.is_stored(batch, records, sequence)? {",
    ),
    NATS.rule(
        "a large batch for copies in NATS is stored in parts",
        "const MOST_IN_BATCH: usize = 1_000;",
        "const MOST_IN_BATCH: usize = 1_100;",
    ),
    NATS.rule(
        "a part of a batch for copies in NATS follows the one before it",
        "self.unnamed = (last, sequence + records.len() as u64);",
        "self.unnamed = (last, sequence);",
    ),
    NATS.rule(
        "the last record of copies in NATS is known after it was removed",
        "&& last == sequence",
        "&& last > sequence",
    ),
    NATS.rule(
        "notes have as many copies in NATS as the stream",
        "\"num_replicas\": self.stream.copies,",
        "\"num_replicas\": 1,",
    ),
    RABBITMQ.rule(
        "a record in RabbitMQ is effective only behind the one that it names",
        "if follows || is_anchored {",
        "if true {",
    ),
    RABBITMQ.rule(
        "a reader of RabbitMQ begins with a record that is known to be effective",
        "if follows || is_anchored {",
        "if follows {",
    ),
    RABBITMQ.rule(
        "a reader of RabbitMQ goes back to an effective record that it missed",
        "entry.known.filter(is_missed)",
        "entry.known.filter(|_| false)",
    ),
    RABBITMQ.rule(
        "a reader of RabbitMQ skips what is before its place",
        "if offset < self.next {",
        "if false {",
    ),
    RABBITMQ.rule(
        "a gap record in RabbitMQ has no name that would drop messages",
        "(!is_gap(record) && number > last?)",
        "(number > last?)",
    ),
    RABBITMQ.rule("gap records are published to RabbitMQ alone", "is_gap(before) || is_gap(record) ||", ""),
    RABBITMQ.rule(
        "a bridge whose login was accepted waits for a new password",
        "EngineErrorKind::LoginRefused if may_renew =>",
        "EngineErrorKind::LoginRefused if may_renew && self.what.is_empty() =>",
    ),
    RABBITMQ.rule(
        "only a password in a file can be another one",
        "matches!(self, Self::File(_))",
        "matches!(self, Self::File(_) | Self::Text(_))",
    ),
    RABBITMQ.rule(
        "incarnations are published to RabbitMQ one after the other",
        " || before.position.incarnation != record.position.incarnation",
        "",
    ),
    KAFKA.rule(
        "a bridge stands by while the active one may append",
        "let is_over = now.saturating_duration_since(since) >= period;",
        "let is_over = true;",
    ),
    KAFKA.rule(
        "a bridge stands by while the active one appends",
        "Some((known, since)) if known == tail => since,",
        "Some((_, since)) => since,",
    ),
    KAFKA.rule("bridges do not take over from each other ever again", "period.saturating_mul(2)", "period"),
    KAFKA.rule(
        "a bridge takes over at once where none is active",
        "ActiveBridge::None => true,",
        "ActiveBridge::None => false,",
    ),
    KAFKA.rule(
        "a bridge that has what the active one lacks takes over at once",
        "if fills(next, hole) => true,",
        "if fills(next, hole) => false,",
    ),
    KAFKA.rule(
        "a bridge does not take over in order to record a gap",
        "    !is_gap\n        && record",
        "    record",
    ),
];
