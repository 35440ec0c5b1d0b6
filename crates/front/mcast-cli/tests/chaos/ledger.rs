//! The output of one subscriber, checked line by line.

use std::time::Instant;

use serde_json::Value;

/// Pauses between two messages that are longer than this are remembered, in milliseconds.
const PAUSE: u128 = 1_000;

/// What a subscriber has of one incarnation of the publisher.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) incarnation: u64,
    /// The number of the publisher in the round, from the text of its messages.
    pub(crate) publisher: Option<usize>,
    /// All before this one were delivered or reported as lost.
    pub(crate) next: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// An unknown number was reported as lost behind `next`.
    pub(crate) lost_unknown: bool,
    /// The subscriber reported that the publisher is silent.
    pub(crate) silent: bool,
    /// The stream had this many messages, as the subscriber reported.
    pub(crate) ended: Option<u64>,
}

/// What one subscriber process printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: Vec<Account>,
    pub(crate) faults: Vec<String>,
    /// Pauses between two messages.
    pub(crate) pauses: Vec<(Instant, Instant)>,
    pub(crate) sender: Option<String>,
    last: Option<Instant>,
}

impl Ledger {
    pub(crate) fn take(&mut self, now: Instant, line: &str) {
        let Ok(row) = serde_json::from_str::<Value>(line) else {
            return self.faults.push(format!("printed no JSON: {line}"));
        };
        match row["event"].as_str() {
            None | Some("message") => self.message(now, &row),
            Some(event) => self.event(event, &row),
        }
    }

    fn message(&mut self, now: Instant, row: &Value) {
        if let Some(last) = self.last.replace(now)
            && (now - last).as_millis() > PAUSE
        {
            self.pauses.push((last, now));
        }
        let sequence = row["sequence"].as_u64().unwrap();
        let text = row["text"].as_str().unwrap_or_default();
        let Some((publisher, number)) = read(text) else {
            return self.faults.push(format!("message {sequence} was never published: {text:?}"));
        };
        let Some(account) = self.accounts.last_mut() else {
            return self.faults.push(format!("message {sequence} came before `joined`"));
        };
        if number != sequence {
            self.faults.push(format!("message {number} of publisher {publisher} has number {sequence}"));
        }
        if *account.publisher.get_or_insert(publisher) != publisher
            || row["incarnation"] != account.incarnation
        {
            self.faults.push(format!(
                "message {sequence} of publisher {publisher} arrived in incarnation {}",
                account.incarnation
            ));
        }
        let may_skip = account.lost_unknown && sequence > account.next;
        if sequence != account.next && !may_skip {
            let fault =
                if sequence < account.next { "arrived again or late" } else { "came behind a silent gap" };
            self.faults
                .push(format!("publisher {publisher}: message {sequence} {fault}, {} was due", account.next));
        }
        account.next = sequence + 1;
        account.delivered += 1;
        account.silent = false;
    }

    fn event(&mut self, event: &str, row: &Value) {
        if event == "joined" {
            return self.joined(row);
        }
        let Some(account) = self.accounts.last_mut() else { return };
        match event {
            "lost" => {
                let (first, count) = (row["sequence"].as_u64().unwrap(), row["count"].as_u64().unwrap());
                if first != account.next && !account.lost_unknown {
                    let due = account.next;
                    self.faults.push(format!("reported {count} lost from {first} on, {due} was due"));
                }
                account.next = first + count;
                account.lost += count;
            }
            "lost-unknown" => account.lost_unknown = true,
            "ended" => account.ended = row["count"].as_u64(),
            "publisher-silent" => account.silent = true,
            "publisher-back" => account.silent = false,
            _ => {}
        }
    }

    /// A subscriber that followed one incarnation must account for all of the next one.
    fn joined(&mut self, row: &Value) {
        let incarnation = row["incarnation"].as_u64().unwrap();
        self.sender = row["publisher"].as_str().map(str::to_owned);
        let first = if self.accounts.is_empty() { row["sequence"].as_u64().unwrap() } else { 0 };
        if self.accounts.iter().any(|account| account.incarnation >= incarnation) {
            self.faults.push(format!("joined incarnation {incarnation} again"));
        }
        self.accounts.push(Account {
            incarnation,
            publisher: None,
            next: first,
            delivered: 0,
            lost: 0,
            lost_unknown: false,
            silent: false,
            ended: None,
        });
    }

    /// Whether it reported that anything is missing.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.accounts.iter().any(|account| account.lost > 0 || account.lost_unknown)
    }
}

/// The text of a message: incarnation, number, and padding.
pub(crate) fn text(publisher: usize, number: u64) -> String {
    let filling = (number * 7 % 800) as usize;
    format!("{publisher}:{number}:{}\n", "x".repeat(filling))
}

fn read(message: &str) -> Option<(usize, u64)> {
    let mut parts = message.split(':');
    let (publisher, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (text(publisher, number).trim_end() == message).then_some((publisher, number))
}
