//! Plans: lists of named memberships, and what is wrong with them.

mod finding;
mod groups;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::cmp::Reverse;

use crate::{Expand, Membership, ParseError, SessionDescription, WellKnown};
pub use finding::{PlanCheck, PlanFinding, PlanLine, PlanSeverity};

/// A plan of the groups in a network: named memberships, and the pairs that carry the same data redundantly.
///
/// [`check`](Self::check) compares each group with the registries and RFCs, all entries with each other, and the feeds
/// of each pair, which should have no point of failure in common.
///
/// ```
/// use mcast_group::{AddressPlan, PlanCheck};
///
/// let mut plan = AddressPlan::default();
/// plan.add("groups.txt", "\
/// prices-a  10.0.0.7@232.1.2.3%eth1:5000  pair=prices
/// prices-b  10.9.0.7@232.9.2.3%eth2:5000  pair=prices
/// ");
/// let findings = plan.check();
/// assert_eq!(findings[0].check, PlanCheck::PairSamePort);
/// assert_eq!(findings[0].line.to_string(), "groups.txt:2");
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressPlan {
    entries: Vec<PlanEntry>,
    unreadable: Vec<PlanFinding>,
}

impl AddressPlan {
    /// Returns the entries in the order in which they were added.
    #[must_use]
    pub fn entries(&self) -> &[PlanEntry] {
        &self.entries
    }

    /// Returns the findings by file and line, without those that the lines allow.
    #[must_use]
    pub fn check(&self) -> Vec<PlanFinding> {
        let mut findings = self.unreadable.clone();
        let entries = &self.entries;
        check_allowances(entries, &mut findings);
        check_names(entries, &mut findings);
        entries.iter().for_each(|entry| groups::check_each(entry, &mut findings));
        groups::check_together(entries, &mut findings);
        groups::check(entries, &mut findings);
        findings.retain(|finding| !is_allowed(entries, finding));
        let files: Vec<&str> = entries.iter().map(|entry| entry.line.file.as_str()).collect();
        let rank = |finding: &PlanFinding| files.iter().position(|file| *file == finding.line.file);
        findings.sort_by_key(|finding| {
            (rank(finding).unwrap_or(usize::MAX), finding.line.number, Reverse(finding.severity()))
        });
        findings
    }
}

fn is_allowed(entries: &[PlanEntry], finding: &PlanFinding) -> bool {
    let entry = entries.iter().find(|entry| entry.line == finding.line);
    entry.is_some_and(|entry| entry.allowed.contains(&finding.check))
}

fn check_allowances(entries: &[PlanEntry], findings: &mut Vec<PlanFinding>) {
    for entry in entries {
        let messages = entry.unknown_ids.iter().map(|id| format!("there is no finding \"{id}\" to allow"));
        findings.extend(messages.map(|message| PlanFinding::of(entry, PlanCheck::Unreadable, message)));
    }
}

fn check_names(entries: &[PlanEntry], findings: &mut Vec<PlanFinding>) {
    let mut first = BTreeMap::new();
    for entry in entries {
        match first.get(&entry.name) {
            None => drop(first.insert(&entry.name, &entry.line)),
            Some(line) => {
                let message = format!("the name \"{}\" is already used ({line})", entry.name);
                findings.push(PlanFinding::of(entry, PlanCheck::NameTwice, message));
            }
        }
    }
}

/// A line of a plan, or a medium of a session description.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanEntry {
    /// The line that it is in.
    pub line: PlanLine,
    /// The name.
    pub name: String,
    /// The memberships; several if the line gives a range.
    pub memberships: Vec<Membership>,
    /// The name that redundant feeds have in common.
    pub pair: Option<String>,
    /// The hop limit that the sender uses.
    pub hop_limit: Option<u8>,
    /// The findings that are intended.
    pub allowed: Vec<PlanCheck>,
    /// Whether the group is given by its registered name.
    pub by_name: bool,
    /// The ids of intended findings that do not exist.
    unknown_ids: Vec<String>,
}

impl AddressPlan {
    /// Adds the entries of a text: a list, or a session description. `file` is its name in findings. A line that cannot
    /// be parsed becomes a finding.
    ///
    /// A line of a list is `NAME MEMBERSHIP [pair=NAME] [ttl=N] [allow=ID,…]`, with the memberships of [`Expand`]; `#`
    /// starts a comment.
    pub fn add(&mut self, file: &str, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.starts_with("v=0") {
            return match text.parse::<SessionDescription>() {
                Ok(description) => self.add_description(file, description),
                Err(error) => {
                    let line = PlanLine::new(file, error.line());
                    self.unreadable.push(PlanFinding::unreadable(line, error.error().to_string()));
                }
            };
        }
        for (index, line) in text.lines().enumerate() {
            let content = line.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let line = PlanLine::new(file, index + 1);
            match PlanEntry::parse(line.clone(), content) {
                Ok(entry) => self.entries.push(entry),
                Err(message) => self.unreadable.push(PlanFinding::unreadable(line, message)),
            }
        }
    }

    /// Adds one entry per medium of a session description. Its name is its own if it has one, otherwise its kind and
    /// line.
    fn add_description(&mut self, file: &str, description: SessionDescription) {
        let first = self.entries.len();
        for stream in description.streams {
            let same = self.entries.iter_mut().skip(first).find(|each| each.line.number == stream.line);
            if let Some(entry) = same {
                entry.memberships.push(stream.membership);
                continue;
            }
            self.entries.push(PlanEntry {
                name: stream.id.unwrap_or_else(|| format!("{}-{}", stream.media, stream.line)),
                pair: stream.duplicates.map(|set| format!("{file} DUP {}", set + 1)),
                hop_limit: stream.hop_limit,
                ..PlanEntry::new(PlanLine::new(file, stream.line), vec![stream.membership])
            });
        }
    }
}

impl PlanEntry {
    fn new(line: PlanLine, memberships: Vec<Membership>) -> Self {
        Self {
            line,
            name: String::new(),
            memberships,
            pair: None,
            hop_limit: None,
            allowed: Vec::new(),
            by_name: false,
            unknown_ids: Vec::new(),
        }
    }

    /// `NAME MEMBERSHIP [KEY=VALUE…]`.
    fn parse(line: PlanLine, text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let (Some(name), Some(membership)) = (words.next(), words.next()) else {
            return Err(format!("\"{text}\" is a name without a membership: write NAME GROUP:PORT"));
        };
        let is_membership = |text: &str| Expand::default().memberships(text).is_ok();
        if is_membership(name) && !is_membership(membership) {
            return Err(format!("\"{name}\" is a membership without a name before it: write NAME {name}"));
        }
        let expansion =
            Expand::default().memberships(membership).map_err(|error: ParseError| error.to_string())?;
        let host = membership.split([':', '%']).next().unwrap_or(membership);
        let mut entry = Self {
            name: name.to_owned(),
            hop_limit: expansion.hints.hop_limit,
            by_name: !WellKnown::named(host).is_empty(),
            ..Self::new(line, expansion.items)
        };
        words.try_for_each(|word| entry.option(word))?;
        Ok(entry)
    }

    fn option(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            Some(("pair", name)) if !name.is_empty() => self.pair = Some(name.to_owned()),
            Some(("ttl", number)) => {
                let invalid = |_| format!("\"{word}\" is not a valid TTL: write ttl=0 to ttl=255");
                self.hop_limit = Some(number.parse().map_err(invalid)?);
            }
            Some(("allow", ids)) if !ids.is_empty() => {
                for id in ids.split(',') {
                    match PlanCheck::with_id(id) {
                        Some(check) => self.allowed.push(check),
                        None => self.unknown_ids.push(id.to_owned()),
                    }
                }
            }
            _ => {
                return Err(format!("\"{word}\" is not understood: write pair=NAME, ttl=N or allow=ID,ID"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    /// Returns the findings except notes.
    fn findings_of(text: &str) -> Vec<(usize, &'static str)> {
        all(text).into_iter().filter(|(_, id)| *id != "shared-port").collect()
    }

    fn all(text: &str) -> Vec<(usize, &'static str)> {
        let mut plan = AddressPlan::default();
        plan.add("plan", text);
        plan.check().iter().map(|finding| (finding.line.number, finding.check.id())).collect()
    }

    #[test]
    fn a_good_plan_has_no_findings() {
        let text = "\u{feff}# two feeds\n\
                prices-a 10.0.0.7@232.1.2.3%eth1:5000 pair=prices ttl=8\n\n\
                prices-b 10.9.0.7@232.9.2.4%eth2:5001 pair=prices ttl=8 # the other\n\
                video 239.192.1.0/28:5004\n\
                discovery mdns\n";
        assert_eq!(findings_of(text), []);
    }

    #[test]
    fn invalid_lines_are_faults_and_the_others_are_checked() {
        let text = "alone\n239.192.1.1:5000\nx 10.0.0.1:5\nx 239.192.1.1:5000 ttl=many\n\
                y 239.192.1.1:5000 colour=red\nz 225.1.1.1:5000 allow=nonsense";
        let unreadable = [1, 2, 3, 4, 5].map(|line| (line, "unreadable"));
        assert_eq!(findings_of(text), [&unreadable[..], &[(6, "unreadable"), (6, "reserved")]].concat());
        assert_eq!(findings_of("239.192.1.1:5000 video"), [(1, "unreadable")]);
    }

    #[test]
    fn each_group_is_checked_against_the_registries() {
        for (membership, id) in [
            ("225.1.1.1:5000", "reserved"),
            ("224.0.0.3:5000", "unassigned"),
            ("224.0.1.129:5000", "registered"),
            ("239.255.255.250:5000", "in-use"),
            ("233.252.0.1:5000", "documentation"),
            ("233.8.9.1:5000", "not-yours"),
            ("239.1.2.3:5000", "kept"),
            ("239.255.255.100:5000", "scope-top"),
            ("239.128.0.5:5000", "mac-alias-of-control"),
            ("232.1.2.3:5000", "ssm-without-source"),
            ("!10.0.0.1@232.1.2.3:5000", "ssm-without-source"),
            ("[ff3e::8000:1]:5000", "ssm-without-source"),
            ("224.0.0.251:5353 ttl=8", "scope-too-small"),
        ] {
            let findings = findings_of(&format!("x {membership}"));
            assert!(findings.contains(&(1, id)), "{membership}: {findings:?}");
        }
        assert_eq!(findings_of("x 239.255.255.250:5000 allow=in-use,scope-top,registered"), []);
    }

    #[test]
    fn conflicting_groups_are_found() {
        assert_eq!(findings_of("a 239.192.1.1:5000\nb 239.192.1.1:5000\n"), [(2, "overlap")]);
        assert_eq!(findings_of("a 239.192.1.0/30:5000\nb 239.192.1.2+9:5000\n"), [(2, "overlap")]);
        assert_eq!(findings_of("a 239.192.1.1%eth0:5000\nb 239.192.1.1%eth1:5000\n"), []);
        assert_eq!(findings_of("a 239.192.1.1:5000\nb 239.192.1.1:5001\n"), [(2, "same-group")]);
        // With different sources the network separates them.
        assert_eq!(findings_of("a 10.0.0.1@232.1.1.1:5000\nb 10.0.0.2@232.1.1.1:5000\n"), []);
        assert_eq!(
            findings_of("a 10.0.0.1@232.1.1.1:5000\nb 10.0.0.1,10.0.0.2@232.1.1.1:5000\n"),
            [(2, "overlap")]
        );
        // 239.64.1.1 and 239.192.1.1 have the same lower 23 bits.
        assert_eq!(findings_of("a 239.192.1.1:5000\nb 239.64.1.1:5001 allow=kept\n"), [(2, "mac-alias")]);
        assert_eq!(all("a 239.192.1.1:5000\nb 239.192.1.2:5000\n"), [(2, "shared-port")]);
        assert_eq!(findings_of("a 239.192.1.1:5000\na 239.192.1.2:5001\n"), [(2, "name-twice")]);
    }

    #[test]
    fn large_ranges_are_compared_quickly() {
        let start = std::time::Instant::now();
        assert_eq!(findings_of("a 239.193.0.0/16:5000\nb 239.193.0.0/16:5000\n"), [(2, "overlap")]);
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }

    #[test]
    fn redundant_feeds_must_differ() {
        let pair = |a: &str, b: &str| findings_of(&format!("a {a} pair=x\nb {b} pair=x\n"));
        assert_eq!(findings_of("a 239.192.1.1:5000 pair=x\n"), [(1, "pair-alone")]);
        assert_eq!(pair("239.192.1.1%eth0:5000", "239.192.2.1%eth1:5001"), []);
        assert!(pair("239.192.1.1%eth0:5000", "239.192.1.1%eth1:5001").contains(&(2, "pair-same-group")));
        assert_eq!(pair("239.192.1.1%eth0:5000", "239.192.2.1%eth1:5000"), [(2, "pair-same-port")]);
        assert_eq!(pair("239.192.1.1%eth0:5000", "239.192.2.1%eth0:5001"), [(2, "pair-same-interface")]);
        assert_eq!(
            pair("10.0.0.1@239.192.1.1%eth0:5000", "10.0.0.1@239.192.2.1%eth1:5001"),
            [(2, "pair-same-source")]
        );
        let aliases = pair("239.192.1.1%eth0:5000", "239.64.1.1%eth1:5001");
        assert!(aliases.contains(&(2, "pair-alias")) && !aliases.contains(&(2, "mac-alias")), "{aliases:?}");
        assert!(pair("239.192.1.1%eth0:5000", "[ff0e::8000:1%eth1]:5001").contains(&(2, "pair-scopes")));
    }

    #[test]
    fn a_session_description_is_a_plan() {
        let text = "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=x\nt=0 0\na=group:DUP a b\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 239.192.1.1/8\na=mid:a\n\
                m=video 5000 RTP/AVP 33\nc=IN IP4 239.192.1.1/8\na=mid:b\n";
        let found = findings_of(text);
        assert!(found.contains(&(9, "pair-same-group")), "{found:?}");
        let broken = text.replace("IN IP4 239.192.1.1/8", "nowhere");
        let mut plan = AddressPlan::default();
        plan.add("x.sdp", &broken);
        assert_eq!(plan.check()[0].line.to_string(), "x.sdp:7");
    }
}
