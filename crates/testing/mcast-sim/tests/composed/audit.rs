//! What a subscriber delivers and reports, held against what was published.

use mcast_stream_proto::subscriber::{Cause, Message, SubscriberEvent};
use mcast_stream_proto::wire::Incarnation;

use crate::feed::Bases;
use crate::plan::{Begin, FeedPlan, Gaps, ReaderPlan};

/// The number of keys.
const KEYS: u64 = 7;

/// Returns the key of the message with this number: that of the value that it updates.
pub(crate) const fn key_of(number: u64) -> u64 {
    number % KEYS
}

/// Returns the message with this number.
pub(crate) fn content(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = format!("{number:08} ").into_bytes();
    bytes.resize(length.max(9), b'a' + (number % 26) as u8);
    bytes
}

/// The account of a subscriber, over all its processes.
#[derive(Debug)]
pub(crate) struct Audit {
    begin: Begin,
    length: usize,
    /// Whether only the latest message of each key matters.
    is_latest: bool,
    /// Whether the log may lack its oldest messages.
    is_pruned: bool,
    /// Where the messages of each incarnation begin, and the one that is followed.
    bases: Bases,
    incarnation: Incarnation,
    /// Whether messages are missing of which an unknown number is still to be reported.
    owes_unknown: bool,
    /// How many losses of unknown size had been reported when the present incarnation began.
    unknown_before: u64,
    /// The number of the next message.
    pub(crate) cursor: Option<u64>,
    /// The first number that none of its processes has accounted for.
    pub(crate) most: u64,
    /// The first number that was accounted for.
    pub(crate) first: Option<u64>,
    pub(crate) delivered: u64,
    /// When it found where it starts.
    pub(crate) joined_at: Option<u64>,
    /// Reported losses: first, end, cause, and when.
    pub(crate) lost: Vec<(u64, u64, Cause, u64)>,
    pub(crate) unknown: u64,
    /// When a history was reported as failed.
    pub(crate) history_failed: Vec<u64>,
    /// The number of messages that the end of the stream reported.
    pub(crate) ended: Option<u64>,
    /// When it delivered each message.
    pub(crate) delivered_at: Vec<(u64, u64)>,
    /// The paths that were reported as silent.
    pub(crate) silent_paths: Vec<u8>,
    pub(crate) violations: Vec<String>,
}

impl Audit {
    pub(crate) fn new(plan: &ReaderPlan, feed: &FeedPlan, bases: Bases) -> Self {
        Self {
            bases,
            incarnation: Incarnation(0),
            owes_unknown: false,
            unknown_before: 0,
            begin: plan.begin,
            length: feed.length,
            is_latest: plan.gaps == Gaps::Latest,
            is_pruned: feed.is_pruned(),
            cursor: None,
            most: 0,
            first: None,
            delivered: 0,
            joined_at: None,
            lost: Vec::new(),
            unknown: 0,
            history_failed: Vec::new(),
            ended: None,
            delivered_at: Vec::new(),
            silent_paths: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Another process of the subscriber, which does not continue where the last one was.
    pub(crate) fn start_again(&mut self, begin: Begin) {
        (self.begin, self.cursor, self.first) = (begin, None, None);
        (self.owes_unknown, self.unknown_before) = (false, self.unknown);
        if self.is_latest {
            (self.delivered_at, self.lost) = (Vec::new(), Vec::new());
        }
    }

    /// Returns the incarnation that is followed.
    pub(crate) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn message(&mut self, now: u64, message: &Message<'_>) {
        let number = self.bases.of(message.incarnation) + message.number.0;
        if self.begin == Begin::Snapshot && self.cursor.is_none() {
            self.violations.push(format!("message {number} is delivered before the state"));
        }
        self.check_unknown(now);
        match self.is_latest {
            true => self.check_latest(number),
            false => self.account(now, number, number + 1),
        }
        self.delivered += 1;
        self.delivered_at.push((number, now));
        if message.bytes != content(number, self.length) {
            self.violations.push(format!("message {number} is not what was published"));
        }
    }

    pub(crate) fn event(&mut self, now: u64, event: &SubscriberEvent) {
        if let SubscriberEvent::Joined { incarnation, .. } = event {
            self.joined_at.get_or_insert(now);
            self.incarnation = *incarnation;
        }
        let base = self.bases.of(self.incarnation);
        match *event {
            SubscriberEvent::Joined { message, .. } if self.begin == Begin::Live => {
                self.cursor.get_or_insert(base + message.0);
            }
            SubscriberEvent::Restarted { to, .. } => self.restarted(now, to),
            SubscriberEvent::Lost { first, end, cause } => {
                let (first, end) = (base + first.0, base + end.0);
                self.lost.push((first, end, cause, now));
                // Without the state, nothing before was promised.
                if self.begin == Begin::Snapshot {
                    self.cursor.get_or_insert(first);
                }
                if !self.is_latest {
                    self.account(now, first, end);
                }
            }
            SubscriberEvent::PathSilent(path) => self.silent_paths.push(path),
            SubscriberEvent::LostUnknown { .. } => {
                (self.unknown, self.owes_unknown) = (self.unknown + 1, false);
            }
            SubscriberEvent::HistoryFailed { .. } => self.history_failed.push(now),
            SubscriberEvent::Ended { messages } => {
                self.check_unknown(now);
                let messages = base + messages;
                self.ended = Some(messages);
                if self.is_latest {
                    self.account_latest(messages);
                }
                if self.cursor.is_some_and(|cursor| cursor != messages) {
                    self.violations.push(format!("it ended with {messages} at {:?}", self.cursor));
                }
            }
            _ => {}
        }
    }

    /// Another publisher begins the stream again. What is missing of the former ones is lost, or of unknown number.
    fn restarted(&mut self, now: u64, to: Incarnation) {
        let base = self.bases.of(to);
        self.check_unknown(now);
        if let Some(cursor) = self.cursor {
            if cursor > base {
                self.violations.push(format!("{to:?} begins with {base} after {cursor} at {now}"));
            }
            self.owes_unknown = cursor < base && self.unknown == self.unknown_before && !self.is_latest;
        }
        // The next state follows.
        self.cursor = self.cursor.filter(|_| self.begin != Begin::Snapshot).map(|_| base);
        (self.incarnation, self.unknown_before) = (to, self.unknown);
    }

    fn check_unknown(&mut self, now: u64) {
        if core::mem::take(&mut self.owes_unknown) {
            self.violations
                .push(format!("what is missing before {:?} is not reported at {now}", self.incarnation));
        }
    }

    /// The state of the publisher arrives, with all messages before this one.
    pub(crate) fn state(&mut self, now: u64, incarnation: Incarnation, number: u64) {
        let number = self.bases.of(incarnation) + number;
        if self.cursor.is_some_and(|cursor| cursor > number) {
            self.violations
                .push(format!("the state has {number} messages, {:?} were delivered at {now}", self.cursor));
        }
        self.first.get_or_insert(number);
        (self.cursor, self.most) = (Some(number), self.most.max(number));
    }

    /// No message follows a newer one of its key, and none comes twice.
    fn check_latest(&mut self, number: u64) {
        let is_newer = |(known, _): &&(u64, u64)| *known >= number && key_of(*known) == key_of(number);
        if let Some((newer, _)) = self.delivered_at.iter().find(is_newer) {
            self.violations.push(format!("{number} follows {newer}, which has the same key"));
        }
    }

    /// At the end, each message was delivered, is reported as lost, or was superseded by one that was delivered.
    fn account_latest(&mut self, messages: u64) {
        let Some(first) = self.cursor else { return };
        let newest = |key| {
            self.delivered_at.iter().map(|(number, _)| *number).filter(|number| key_of(*number) == key).max()
        };
        let newest: Vec<_> = (0..KEYS).map(newest).collect();
        let is_lost = |number: u64| self.lost.iter().any(|(first, end, ..)| (*first..*end).contains(&number));
        let is_missing = |number: &u64| newest[key_of(*number) as usize] < Some(*number) && !is_lost(*number);
        if let Some(missing) = (first..messages).find(is_missing) {
            self.violations.push(format!("{missing} is neither delivered, lost, nor superseded"));
        }
        self.first = self.delivered_at.first().map(|(number, _)| *number);
        self.cursor = Some(messages);
    }

    /// Accounts for the messages from a number to before another one.
    fn account(&mut self, now: u64, first: u64, end: u64) {
        match self.cursor {
            Some(cursor) if cursor != first => {
                self.violations.push(format!("{first} follows {cursor} at {now}"));
            }
            Some(_) => {}
            None => self.check_start(first),
        }
        self.first.get_or_insert(first);
        (self.cursor, self.most) = (Some(end), self.most.max(end));
    }

    /// Whether it has reported that its start could not be honoured.
    fn has_reported(&self) -> bool {
        self.unknown > 0 || !self.history_failed.is_empty()
    }

    fn check_start(&mut self, first: u64) {
        let is_right = match self.begin {
            Begin::Live | Begin::Time(_) | Begin::Snapshot => true,
            Begin::Oldest => first == 0 || self.is_pruned,
            Begin::Number(number) | Begin::Resume(number) => first == number,
        };
        if !is_right && !self.has_reported() {
            self.violations
                .push(format!("it starts {:?} with message {first}, and reports nothing", self.begin));
        }
    }

    /// Returns the first message from which on everything was delivered.
    pub(crate) fn unbroken_since(&self) -> Option<u64> {
        let lost = self.lost.iter().map(|(_, end, ..)| *end).max();
        self.cursor.filter(|_| !self.has_reported()).and_then(|_| lost.max(self.first))
    }

    pub(crate) fn lost_messages(&self) -> u64 {
        self.lost.iter().map(|(first, end, ..)| end - first).sum()
    }

    /// Whether nothing is lost or unknown.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost.is_empty() && !self.has_reported()
    }
}
