//! `--ack`: which subscribers must acknowledge messages, what is waited for, and what each has acknowledged.

use std::time::{Duration, Instant};

use mcast_stream::Publisher;
use mcast_stream::publisher::{
    AckLevel, AckProgress, AckWait, Acknowledgers, KnownSubscribers, PublisherConfig, Quorum, QuorumLoss,
    SubscriberPresence, Watermarks,
};
use mcast_stream::wire::{SubscriberId, SubscriberName};
use mcast_terminal::Console;

use crate::log_lines::LogLines;
use crate::output::{count, count_of, record};

/// How long a message may wait for an acknowledgement before that is reported.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Subscribers that are named one by one; further ones are only counted.
const MOST_NAMED: usize = 8;

/// Parses who must acknowledge a message, what acknowledges it, and what happens if that is no longer possible.
pub(super) fn parse_quorum(text: &str) -> Result<Quorum, String> {
    let mut parts = text.split(':');
    let acknowledgers = parse_acknowledgers(parts.next().unwrap_or_default())?;
    let mut quorum = Quorum { acknowledgers, level: AckLevel::Received, on_loss: QuorumLoss::Block };
    for part in parts {
        match part {
            "processed" => quorum.level = AckLevel::Processed,
            "report" => quorum.on_loss = QuorumLoss::Report,
            _ => return Err("after the subscribers, write :processed, :report or both".into()),
        }
    }
    Ok(quorum)
}

/// Parses a number, `all`, or names.
fn parse_acknowledgers(text: &str) -> Result<Acknowledgers, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Acknowledgers::All),
        (_, Ok(0)) => Err("must be at least 1".into()),
        (_, Ok(count)) if count <= PublisherConfig::MOST_SUBSCRIBERS => Ok(Acknowledgers::Count(count)),
        (_, Ok(_)) => {
            Err(format!("a publisher knows at most {} subscribers", PublisherConfig::MOST_SUBSCRIBERS))
        }
        _ => {
            let mut names = Vec::new();
            for name in text.split(',') {
                let name = name.parse::<SubscriberName>().map_err(|error| error.to_string())?;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Ok(Acknowledgers::Named(names))
        }
    }
}

/// Reports what acknowledgements wait for, each time that this changes.
#[derive(Debug, Default)]
pub(super) struct AckReporter {
    reported: Option<String>,
    /// The first message that is not settled, and since when.
    pending: Option<(u64, Instant)>,
    /// Whether all messages were published, so that none is waited for once those are settled.
    has_ended: bool,
}

impl AckReporter {
    /// Notes that all messages were published.
    pub(super) const fn end(&mut self) {
        self.has_ended = true;
    }

    /// Reports what is waited for if nothing can be published, or if a message has waited for long.
    pub(super) fn report(&mut self, publisher: &Publisher, lines: &LogLines<'_>) {
        let Some(progress) = publisher.ack_progress() else { return };
        if self.has_ended && progress.is_settled() {
            return;
        }
        let first = (progress.settled < progress.next).then_some(progress.settled.0);
        let since = match (first, self.pending) {
            (Some(first), Some((known, since))) if known == first => Some(since),
            (Some(_), _) => Some(Instant::now()),
            (None, _) => None,
        };
        self.pending = first.zip(since);
        let is_late = since.is_some_and(|since| since.elapsed() >= TIMEOUT);
        let (is_waiting, text) = match publisher.ack_wait().filter(|_| progress.is_lost || is_late) {
            Some(wait) => (true, waiting_for(publisher, progress, &wait)),
            None if progress.is_lost || is_late || self.reported.is_none() => return,
            None => (false, "all subscribers that must acknowledge messages are present".into()),
        };
        // In one place, so that the latest of them is the state.
        if self.reported.as_ref() != Some(&text) {
            lines.note(&text);
        }
        self.reported = is_waiting.then_some(text);
    }
}

/// Returns a description of what is waited for.
fn waiting_for(publisher: &Publisher, progress: AckProgress, wait: &AckWait) -> String {
    let AckWait { message, acknowledged, required, waiting, lacking, absent, .. } = wait;
    let mut parts = Vec::new();
    if progress.settled < progress.next {
        parts.push(format!(
            "message {message} is acknowledged by {acknowledged} of {}",
            count_of(*required as u64, "subscriber")
        ));
        if !waiting.is_empty() {
            parts.push(format!("waiting for {}", names(publisher, waiting, |_| None)));
        }
    } else {
        let present = waiting.len() + acknowledged;
        parts.push(format!(
            "waiting for {} that must acknowledge messages: {} present",
            count_of(*required as u64, "subscriber"),
            if present == 1 { "1 is".into() } else { format!("{} are", count(present as u64)) }
        ));
    }
    if !absent.is_empty() {
        let all: Vec<_> = absent.iter().map(SubscriberName::as_str).collect();
        parts.push(format!("nobody is present as {}", all.join(", ")));
    }
    if !lacking.is_empty() && progress.settled < progress.next {
        let watermarks = publisher.watermarks();
        let why = |id: SubscriberId| {
            let of = watermarks.iter().find(|each| each.subscriber == id)?;
            Some(match of.presence {
                SubscriberPresence::Present => "does not have it",
                SubscriberPresence::Evicted => "evicted",
                SubscriberPresence::Left => "left",
                SubscriberPresence::Failed => "has failed",
                _ => "silent",
            })
        };
        parts.push(format!("not from {}", names(publisher, lacking, why)));
    }
    parts.join("; ")
}

/// Returns the names of subscribers, or their addresses, each with a remark.
fn names(
    publisher: &Publisher,
    subscribers: &[SubscriberId],
    remark: impl Fn(SubscriberId) -> Option<&'static str>,
) -> String {
    let name = |id: &SubscriberId| {
        let name = publisher.shown(*id, None);
        match remark(*id) {
            Some(remark) => format!("{name} ({remark})"),
            None => name,
        }
    };
    let mut all: Vec<_> = subscribers.iter().take(MOST_NAMED).map(name).collect();
    if let Some(more) = subscribers.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        all.push(format!("{} more", count(more as u64)));
    }
    all.join(", ")
}

record! {
    /// `unsent` messages were not even published.
    pub(super) fn new(progress: AckProgress, unsent: u64, watermarks: &[Watermarks]) {}

    /// What is reported about acknowledgements at the end.
    pub(super) struct AckReport {
        /// Whether all messages were acknowledged as required
        complete: bool = progress.is_complete() && unsent == 0,
        /// Messages that were acknowledged as required
        acknowledged: u64 = progress.acknowledged,
        /// Messages that could not be acknowledged as required, with `--ack WHO:report`
        unacknowledged: u64 = progress.unacknowledged,
        /// Messages that were not acknowledged by the end
        pending: u64 = progress.next.ahead_of(progress.settled) + unsent,
        /// What each subscriber has acknowledged; of subscribers that left, only the last few thousand
        watermarks: Vec<Row> = watermarks.iter().map(Row::new).collect(),
    }
}

record! {
    fn new(each: &Watermarks) {}

    /// Subscriber
    struct Row {
        /// ID of the subscriber
        subscriber: String = each.subscriber.to_string(),
        /// Name that it claims, if any
        name: Option<String> = each.name.map(|name| name.to_string()),
        /// Address and port of the subscriber
        address: String = each.address.to_string(),
        /// Whether it was present at the end
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["present", "evicted", "left", "failed", "silent"])))]
        presence: &'static str = each.presence.name(),
        /// Number of the first message that it has acknowledged: the first after its last loss
        since: u64 = each.since.0,
        /// Number of the first message after those that its application was given
        received: u64 = each.received.0,
        /// Number of the first message after those that its application has processed
        processed: u64 = each.processed.0,
        /// Messages that were published after those that it has received
        missing: u64 = each.missing,
        /// Messages that it has reported as lost to its application
        lost: u64 = each.lost,
    }
}

impl AckReport {
    /// Returns whether all messages were acknowledged as required.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn print(&self, console: &Console) {
        let Self { acknowledged, unacknowledged, pending, .. } = *self;
        let all = acknowledged + unacknowledged + pending;
        let text = format!("acknowledged {} of {}", count(acknowledged), count_of(all, "message"));
        match self.complete {
            true => console.note(text),
            false => console.warn(text),
        }
        if self.watermarks.is_empty() {
            return;
        }
        let label = |row: &Row| {
            row.name.as_ref().map_or_else(|| row.address.clone(), |name| format!("{name} {}", row.address))
        };
        let width = self.watermarks.iter().map(|row| label(row).len()).max().unwrap_or(0);
        console.note(format_args!(
            "  {:width$}  {:>10} {:>10} {:>10} {:>10}  presence",
            "subscriber", "received", "processed", "missing", "lost"
        ));
        for row in &self.watermarks {
            let Row { presence, received, processed, missing, lost, .. } = row;
            console.note(format_args!(
                "  {:width$}  {received:>10} {processed:>10} {missing:>10} {lost:>10}  {presence}",
                label(row)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_states_who_what_and_what_if_not() {
        let all = |level, on_loss| Ok(Quorum { acknowledgers: Acknowledgers::All, level, on_loss });
        assert_eq!(parse_quorum("all"), all(AckLevel::Received, QuorumLoss::Block));
        assert_eq!(parse_quorum("all:processed"), all(AckLevel::Processed, QuorumLoss::Block));
        assert_eq!(parse_quorum("all:report:processed"), all(AckLevel::Processed, QuorumLoss::Report));
        for text in ["", ":report", "all:", "all:block", "db:processed,audit"] {
            parse_quorum(text).unwrap_err();
        }
    }

    #[test]
    fn numbers_all_and_names_are_told_apart() {
        assert_eq!(parse_acknowledgers("2"), Ok(Acknowledgers::Count(2)));
        assert_eq!(parse_acknowledgers("all"), Ok(Acknowledgers::All));
        let names = ["db", "audit-1"].map(|name| name.parse().unwrap());
        assert_eq!(parse_acknowledgers("db,audit-1,db"), Ok(Acknowledgers::Named(names.to_vec())));
        for text in ["", "0", "16385", "db,", "db,all", "db,2", "a b"] {
            parse_acknowledgers(text).unwrap_err();
        }
    }
}
