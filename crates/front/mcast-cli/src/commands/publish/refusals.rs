//! Who was refused: warnings, and events of `--json`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::SystemTime;

use mcast_stream::RefusedRequest;
use mcast_stream::wire::SubscriberId;
use mcast_terminal::{Console, Output};
use serde::Serialize;

use crate::log_lines::{LogLimiter, and_more};
use crate::message_layer::refusal_text;
use crate::output::{rfc3339, write_json};

const HISTORY: &str = "history-refused";
const SNAPSHOT: &str = "snapshot-refused";
const SUBSCRIBER: &str = "subscriber-refused";
/// The events.
#[cfg(feature = "schema")]
pub(super) const EVENTS: [&str; 3] = [HISTORY, SNAPSHOT, SUBSCRIBER];

/// Why a subscriber was refused.
const LIMIT: &str = "exceeds the limit of subscribers: it is not waited for, and gets no repairs";

/// One object per refusal: of each kind, at most 10 in 10 s, 3 of them of one address, and then the latest every 10 s.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct RefusalRecord {
    /// What was refused: a request for the history (`history-refused`) or for a snapshot (`snapshot-refused`), or a
    /// subscriber (`subscriber-refused`)
    event: &'static str,
    /// Time of the refusal (RFC 3339, UTC, with nanoseconds)
    time: String,
    /// Address and port of the client or the subscriber
    address: SocketAddr,
    /// Only with `subscriber-refused`: ID of the subscriber
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriber: Option<String>,
    /// Why
    reason: String,
    /// Only if present: number of others that were refused within the 10 s before it and are not reported
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
}

impl RefusalRecord {
    fn new(event: &'static str, address: SocketAddr, reason: String) -> Self {
        let time = rfc3339(SystemTime::now());
        Self { event, time, address, subscriber: None, reason, more: None }
    }

    /// Returns the text of the warning.
    fn text(&self) -> String {
        let Self { address, reason, .. } = self;
        let of = |what| {
            let refused = RefusedRequest { client: *address, reason: reason.clone() };
            refusal_text(what, &refused)
        };
        match (&self.subscriber, self.event) {
            (Some(subscriber), _) => format!("subscriber {subscriber} at {address} {reason}"),
            (None, SNAPSHOT) => of("a snapshot"),
            (None, _) => of("the history"),
        }
    }
}

/// Reports who was refused, so limited that nobody can fill a disk with it.
pub(super) struct Refusals<'a> {
    console: &'a Console,
    is_json: bool,
    out: Output,
    limiter: LogLimiter<&'static str, RefusalRecord>,
}

impl<'a> Refusals<'a> {
    pub(super) fn new(console: &'a Console, is_json: bool) -> Self {
        Self { console, is_json, out: console.output(), limiter: LogLimiter::new() }
    }

    pub(super) fn history(&mut self, refused: RefusedRequest) {
        self.report(RefusalRecord::new(HISTORY, refused.client, refused.reason));
    }

    pub(super) fn snapshot(&mut self, refused: RefusedRequest) {
        self.report(RefusalRecord::new(SNAPSHOT, refused.client, refused.reason));
    }

    /// A subscriber exceeds the limit.
    pub(super) fn subscriber(&mut self, subscriber: SubscriberId, address: SocketAddr) {
        let record = RefusalRecord::new(SUBSCRIBER, address, LIMIT.to_owned());
        self.report(RefusalRecord { subscriber: Some(subscriber.to_string()), ..record });
    }

    /// Prints another event as JSON.
    pub(super) fn write_event(&mut self, event: &impl Serialize) {
        if self.is_json {
            let written = write_json(&mut self.out, event).and_then(|()| self.out.flush());
            self.warn(written);
        }
    }

    /// Reports what was withheld and is due. Call it in the main loop.
    pub(super) fn poll(&mut self) {
        while let Some((record, more)) = self.limiter.due() {
            self.write(record, more);
        }
    }

    /// Reports what is left at the end.
    pub(super) fn finish(&mut self) {
        while let Some((record, more)) = self.limiter.rest() {
            self.write(record, more);
        }
    }

    fn report(&mut self, record: RefusalRecord) {
        if let Some(record) = self.limiter.admit(record.event, Some(record.address.ip()), record) {
            self.write(record, 0);
        }
    }

    fn write(&mut self, record: RefusalRecord, more: u64) {
        self.console.warn(format_args!("{}{}", record.text(), and_more(more)));
        self.write_event(&RefusalRecord { more: (more > 0).then_some(more), ..record });
    }

    /// A reader of events that is gone does not end the stream. The closing report fails as well.
    fn warn(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.console.warn(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_subscriber_is_named_with_its_address_and_the_reason() {
        let record = RefusalRecord::new(SUBSCRIBER, "10.0.0.7:5000".parse().unwrap(), LIMIT.to_owned());
        let record = RefusalRecord { subscriber: Some("00ff".into()), more: Some(4), ..record };
        assert_eq!(record.text(), format!("subscriber 00ff at 10.0.0.7:5000 {LIMIT}"));
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["event"], "subscriber-refused");
        assert_eq!((&json["address"], &json["subscriber"]), (&"10.0.0.7:5000".into(), &"00ff".into()));
        assert_eq!((&json["reason"], &json["more"]), (&LIMIT.into(), &4.into()));
    }
}
