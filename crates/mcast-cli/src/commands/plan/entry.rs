//! The entries of a plan: each line has a name, a membership and options.

use mcast::group::{Expand, SessionDescription, WellKnown};
use mcast::{Membership, ParseError};

use super::finding::{FileLine, Finding, Severity};

/// All planned entries, and findings about invalid lines.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) entries: Vec<Entry>,
    pub(super) unreadable: Vec<Finding>,
}

/// A line of the list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: FileLine,
    pub(super) name: String,
    pub(super) memberships: Vec<Membership>,
    /// The name that redundant feeds have in common.
    pub(super) pair: Option<String>,
    pub(super) hop_limit: Option<u8>,
    /// The ids of findings that are intended.
    pub(super) allowed: Vec<String>,
    /// Whether the group is given by its registered name.
    pub(super) is_by_name: bool,
}

impl Plan {
    pub(super) fn memberships(&self) -> usize {
        self.entries.iter().map(|entry| entry.memberships.len()).sum()
    }

    /// Adds the entries of a file: a list, or a session description.
    pub(super) fn read(&mut self, file: &str, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.starts_with("v=0") {
            return self.read_description(file, text);
        }
        for (number, line) in text.lines().enumerate() {
            let place = FileLine { file: file.to_owned(), line: number + 1 };
            let content = line.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            match Entry::parse(place.clone(), content) {
                Ok(entry) => self.entries.push(entry),
                Err(message) => {
                    self.unreadable.push(Finding::new(&place, Severity::Fault, "unreadable", message));
                }
            }
        }
    }

    /// Adds one entry per medium of a session description. Its name is its own if that is unique in the file, otherwise
    /// its kind and line.
    fn read_description(&mut self, file: &str, text: &str) {
        let description = match text.parse::<SessionDescription>() {
            Ok(description) => description,
            Err(error) => {
                let place = FileLine { file: file.to_owned(), line: error.line() };
                let message = error.error().to_string();
                return self.unreadable.push(Finding::new(&place, Severity::Fault, "unreadable", message));
            }
        };
        let first = self.entries.len();
        for stream in description.streams {
            if let Some(entry) =
                self.entries.iter_mut().skip(first).find(|each| each.place.line == stream.line)
            {
                entry.memberships.push(stream.membership);
                continue;
            }
            self.entries.push(Entry {
                place: FileLine { file: file.to_owned(), line: stream.line },
                name: stream.id.unwrap_or_else(|| format!("{}-{}", stream.media, stream.line)),
                memberships: vec![stream.membership],
                pair: stream.duplicates.map(|set| format!("{file} DUP {}", set + 1)),
                hop_limit: stream.hop_limit,
                allowed: Vec::new(),
                is_by_name: false,
            });
        }
    }
}

impl Entry {
    /// `NAME MEMBERSHIP [KEY=VALUE…]`.
    fn parse(place: FileLine, line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let (Some(name), Some(text)) = (words.next(), words.next()) else {
            return Err(format!("\"{line}\" is a name without a membership: write NAME GROUP:PORT"));
        };
        let is_membership = |text: &str| Expand::default().memberships(text).is_ok();
        if is_membership(name) && !is_membership(text) {
            return Err(format!("\"{name}\" is a membership without a name before it: write NAME {name}"));
        }
        let expansion = Expand::default().memberships(text).map_err(|error: ParseError| error.to_string())?;
        let host = text.split([':', '%']).next().unwrap_or(text);
        let mut entry = Self {
            place,
            name: name.to_owned(),
            memberships: expansion.items,
            pair: None,
            hop_limit: expansion.hints.hop_limit,
            allowed: Vec::new(),
            is_by_name: !WellKnown::named(host).is_empty(),
        };
        words.try_for_each(|word| entry.option(word))?;
        Ok(entry)
    }

    fn option(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            Some(("pair", name)) if !name.is_empty() => self.pair = Some(name.to_owned()),
            Some(("ttl", number)) => {
                self.hop_limit = Some(
                    number
                        .parse()
                        .map_err(|_| format!("\"{word}\" is not a valid TTL: write ttl=0 to ttl=255"))?,
                );
            }
            Some(("allow", ids)) if !ids.is_empty() => {
                self.allowed.extend(ids.split(',').map(ToOwned::to_owned));
            }
            _ => {
                return Err(format!("\"{word}\" is not understood: write pair=NAME, ttl=N or allow=ID,ID"));
            }
        }
        Ok(())
    }
}
