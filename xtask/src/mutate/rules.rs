//! The rules, and how each is broken.

/// A rule of the protocol.
pub(super) struct Rule {
    /// What no longer holds.
    pub(super) name: &'static str,
    /// Where it is kept, below `crates/mcast-stream/src`.
    pub(super) file: &'static str,
    /// The code that keeps it, which stands there once.
    pub(super) code: &'static str,
    /// What stands there instead.
    pub(super) broken: &'static str,
}

const fn rule(name: &'static str, file: &'static str, code: &'static str, broken: &'static str) -> Rule {
    Rule { name, file, code, broken }
}

pub(super) const RULES: &[Rule] = &[
    rule(
        "what is missing is asked for",
        "receiver/ask.rs",
        "self.config.repairs() && is_heard && !self.ended && !self.gaps.is_empty()",
        "false",
    ),
    rule(
        "what came before is a copy",
        "receiver/arrive.rs",
        "Some(_) => !self.window.has(sequence) && !is_current,",
        "Some(_) => true,",
    ),
    rule(
        "what is beyond the window is not kept",
        "receiver/arrive.rs",
        "Some(ahead) if ahead >= self.window.length() => {",
        "Some(ahead) if ahead == u64::MAX => {",
    ),
    rule(
        "what was set aside is there only if nothing before it is missing",
        "receiver/ask.rs",
        "true => self.gaps.first().map_or(self.highest, |gap| gap.first),",
        "true => self.highest,",
    ),
    rule(
        "what was set aside leaves less room",
        "receiver/ask.rs",
        "window: (self.room_end() - next) as u32,",
        "window: self.window.length() as u32,",
    ),
    rule(
        "every lost message is told",
        "receiver/deliver.rs",
        "        if number <= self.expected {\n            return None;\n        }\n        let event",
        "        if number <= self.expected {\n            return None;\n        }\n        if !self.bridging { self.expected = number; return None; }\n        let event",
    ),
    rule(
        "what can be repaired is not given up",
        "receiver/deliver.rs",
        "_ if self.base < self.trail => (gap_end.min(self.trail), Cause::Unrecoverable),",
        "_ if true => (gap_end, Cause::Unrecoverable),",
    ),
    rule(
        "nothing is handed out while a snapshot is wanted",
        "receiver/deliver.rs",
        "if self.held || self.stopped {\n                return None;",
        "if self.stopped {\n                return None;",
    ),
    rule(
        "who wants to stop at a loss is handed out nothing more",
        "receiver/deliver.rs",
        "OnLoss::Stop => self.stopped = true,",
        "OnLoss::Stop => {}",
    ),
    rule(
        "an outdated message of a key is not handed out",
        "receiver/deliver.rs",
        "if !self.latest.is_news(key, number) {",
        "if !self.latest.is_news(key, number) && number == u64::MAX {",
    ),
    rule(
        "a stream ends behind its last datagram",
        "sender/state.rs",
        "let is_over = self.closed && sent == self.ring.next;",
        "let is_over = self.closed;",
    ),
    rule(
        "pieces of a message are put together only if they follow each other",
        "receiver/deliver.rs",
        "        self.gaps.trim(self.base);\n        self.assembly.abandon();",
        "        self.gaps.trim(self.base);",
    ),
    rule(
        "a former life of the sender is not followed",
        "receiver/sender_state.rs",
        "self.incarnation > Some(header.incarnation)",
        "false",
    ),
    rule("a new life begins anew", "receiver/sender_state.rs", "        self.window.clear();\n", ""),
    rule(
        "what is not sealed is refused",
        "receiver/arrive.rs",
        "packet.header.epoch == KeyEpoch::CLEAR && !self.config.keys.is_empty()",
        "false",
    ),
    rule(
        "a seal that does not fit is refused",
        "seal/mod.rs",
        "is_whole.then_some(end + text)",
        "Some(end + text)",
    ),
    rule(
        "a repair is sealed as what it repairs",
        "seal/mod.rs",
        "head[Header::FLAGS_AT] = Flags(flags).without(Flags::MUTABLE).0;",
        "",
    ),
    rule(
        "whoever seals has keys of its own",
        "seal/mod.rs",
        "bytes[31..39].copy_from_slice(&salt.to_be_bytes());",
        "",
    ),
    rule(
        "the key before still opens",
        "seal/mod.rs",
        "self.secrets.retain(|(known, _)| *known != epoch);\n        self.secrets.push",
        "self.secrets.clear();\n        self.secrets.push",
    ),
    rule(
        "nothing is overwritten that somebody who is waited for lacks",
        "sender/publish.rs",
        "let keep = slowest.map_or(sent, |(_, next)| next.clamp(self.ring.trail, sent));",
        "let keep = sent;",
    ),
    rule(
        "nothing is overwritten before it was sent",
        "sender/publish.rs",
        "if self.ring.has_room(count, keep) {",
        "if keep > 0 {",
    ),
    rule(
        "repairs keep to their allowance",
        "sender/repair.rs",
        "self.repair_allowance.has(length) && self.pace",
        "self.pace",
    ),
    rule(
        "what was just repaired is not repaired again",
        "sender/repair.rs",
        "let is_recent = |at: u64| now.saturating_sub(at) < holdoff;",
        "let is_recent = |at: u64| at == u64::MAX && holdoff == 0;",
    ),
    rule(
        "who falls silent is forgotten",
        "sender/state.rs",
        "while let Some(id) = silent(self) {",
        "while let Some(id) = silent(self).filter(|_| false) {",
    ),
    rule(
        "repairs go only where somebody has proven to be",
        "sender/feedback.rs",
        "if !self.is_proven(now, from, token) {",
        "if token == u64::MAX {",
    ),
    rule(
        "who moves has to prove it again",
        "sender/feedback.rs",
        "IpAddr::V4(ip) => hasher.write(&ip.octets()),",
        "IpAddr::V4(_) => {}",
    ),
    rule(
        "great losses slow the sender",
        "sender/congestion.rs",
        "if loss < HIGH || now < immune_until",
        "if loss < 2_000_000 || now < immune_until",
    ),
    rule(
        "of many few ask",
        "backoff.rs",
        "if group_size <= SMALL_GROUP || longest == 0 {",
        "if group_size < u32::MAX {",
    ),
    rule(
        "the end of a burst is told",
        "sender/transmit.rs",
        "self.heartbeat_at = tail.min(busy.max(now));",
        "self.heartbeat_at = now + 1_000_000_000;",
    ),
    rule(
        "nobody wakes for nothing",
        "receiver/ask.rs",
        "        if self.has_all() {\n            deadline = u64::MAX;",
        "        if self.ended && self.base == u64::MAX {\n            deadline = u64::MAX;",
    ),
];
