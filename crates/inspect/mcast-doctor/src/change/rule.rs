//! Firewall rules, which are found again by the mark in their comment, and the chains and tables that are made for them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Query;
use crate::action::Action;

/// A firewall rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) firewall: Firewall,
    /// What it matches, and what it does.
    pub(crate) words: Vec<String>,
    pub(crate) is_there: bool,
    /// Its comment. A rule without one cannot be distinguished from those of others.
    pub(crate) mark: Option<String>,
}

/// Where a rule is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Firewall {
    /// At the head of a chain of nftables, or at its end.
    Nft { family: String, table: String, chain: String, is_first: bool },
    /// At a place of a chain of the old `iptables` or `ip6tables`, or at its end.
    Legacy { program: String, table: String, chain: String, place: Option<String> },
    /// At the head of a chain of `ebtables-nft`, whose rules have no comments: it is found again by its words.
    Ebtables { table: String, chain: String },
    /// In the rules of `ufw`.
    Ufw,
}

impl Rule {
    pub(crate) fn new(firewall: Firewall, words: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Self { firewall, words, is_there: true, mark: None }
    }

    /// Returns the actions that insert it, or that delete it where it can be named without a look at the rules.
    pub(super) fn actions(&self) -> Vec<Action> {
        let words = self.words.iter().map(String::as_str);
        match (&self.firewall, self.is_there) {
            (Firewall::Nft { family, table, chain, is_first }, true) => {
                let verb = if *is_first { "insert" } else { "add" };
                let comment = self.mark.as_ref().map(|mark| format!("\"{mark}\""));
                let comment = comment.iter().flat_map(|comment| ["comment", comment]);
                let begin = [verb, "rule", family, table, chain].into_iter();
                vec![Action::of("nft", begin.chain(words).chain(comment))]
            }
            (Firewall::Nft { .. }, false) => Vec::new(),
            (Firewall::Legacy { program, chain, place, .. }, true) => {
                let place = place.iter().map(String::as_str);
                let begin = match self.place() {
                    Some(_) => ["-I", chain],
                    None => ["-A", chain],
                };
                vec![self.legacy(program, begin.into_iter().chain(place))]
            }
            (Firewall::Legacy { program, chain, .. }, false) => vec![self.legacy(program, ["-D", chain])],
            (Firewall::Ebtables { table, chain }, true) => {
                vec![Action::of("ebtables-nft", ["-t", table, "-I", chain, "1"].into_iter().chain(words))]
            }
            (Firewall::Ebtables { table, chain }, false) => {
                vec![Action::of("ebtables-nft", ["-t", table, "-D", chain].into_iter().chain(words))]
            }
            (Firewall::Ufw, true) => {
                let comment = self.mark.iter().flat_map(|mark| ["comment", mark]);
                vec![Action::of("ufw", words.chain(comment))]
            }
            (Firewall::Ufw, false) => vec![Action::of("ufw", std::iter::once("delete").chain(words))],
        }
    }

    const fn place(&self) -> Option<&String> {
        match &self.firewall {
            Firewall::Legacy { place, .. } => place.as_ref(),
            _ => None,
        }
    }

    /// Returns a run of the old `iptables` with this rule.
    fn legacy<'a>(&'a self, program: &str, command: impl IntoIterator<Item = &'a str>) -> Action {
        let Firewall::Legacy { table, .. } = &self.firewall else { return Action::of(program, command) };
        let comment = self.mark.iter().flat_map(|mark| ["-m", "comment", "--comment", mark]);
        let words = self.words.iter().map(String::as_str);
        Action::of(program, ["-t", table].into_iter().chain(command).chain(words).chain(comment))
    }

    /// Returns the actions that insert it, or that delete what carries its mark now.
    pub(super) fn actions_now(&self, query: Query<'_>) -> Vec<Action> {
        let (Firewall::Nft { .. }, false) = (&self.firewall, self.is_there) else { return self.actions() };
        let rules = self.with_mark(query).unwrap_or_default();
        let delete = |[family, table, chain, handle]: &[String; 4]| {
            Action::of("nft", ["delete", "rule", family, table, chain, "handle", handle])
        };
        rules.iter().map(delete).chain(self.restored(query)).collect()
    }

    /// Returns whether a rule with its mark is there; `None` if that cannot be read. A rule without a mark is not known to be.
    pub(super) fn is_present(&self, query: Query<'_>) -> Option<bool> {
        if let Firewall::Ebtables { table, chain } = &self.firewall {
            let rules = query("ebtables-nft", &["-t", table, "-L", chain])?;
            return Some(rules.lines().any(|line| line.split_whitespace().eq(&self.words)));
        }
        let Some(mark) = &self.mark else { return Some(false) };
        Some(match &self.firewall {
            Firewall::Nft { .. } => !self.with_mark(query)?.is_empty() || !self.restored(query).is_empty(),
            Firewall::Legacy { program, table, .. } => {
                let rules = query(program, &["-t", table, "-S"])?;
                rules.split_whitespace().any(|word| word.trim_matches('"') == mark)
            }
            Firewall::Ufw => query("ufw", &["show", "added"])?.contains(mark.as_str()),
            Firewall::Ebtables { .. } => return None,
        })
    }

    /// Returns the family, table, chain and handle of the rules of nftables with its mark.
    fn with_mark(&self, query: Query<'_>) -> Option<Vec<[String; 4]>> {
        let ruleset: Value = serde_json::from_str(&query("nft", &["-j", "list", "ruleset"])?).ok()?;
        let objects = ruleset["nftables"].as_array()?;
        let of = |object: &Value| {
            let rule = &object["rule"];
            let text = |key: &str| rule[key].as_str().map(str::to_owned);
            let handle = rule["handle"].as_u64()?.to_string();
            (text("comment") == self.mark).then_some([
                text("family")?,
                text("table")?,
                text("chain")?,
                handle,
            ])
        };
        Some(objects.iter().filter_map(of).collect())
    }

    /// Returns how to delete the rules with its mark that `iptables-restore` has loaded: a rule that was saved and loaded by the
    /// tools of `iptables` has its comment in a form that `nft` does not show.
    fn restored(&self, query: Query<'_>) -> Vec<Action> {
        let (Firewall::Nft { family, table, .. }, Some(mark)) = (&self.firewall, &self.mark) else {
            return Vec::new();
        };
        let program = match family.as_str() {
            "ip" => "iptables-nft",
            "ip6" => "ip6tables-nft",
            _ => return Vec::new(),
        };
        let listing = query(program, &["-t", table, "-S"]).unwrap_or_default();
        // What `nft` shows was found by its own comment.
        let shown = self.with_mark(query).is_some_and(|rules| !rules.is_empty());
        let own = listing
            .lines()
            .filter(|line| !shown && line.split_whitespace().any(|word| word.trim_matches('"') == mark));
        let delete = |line: &str| {
            let words = line.split_whitespace().skip(1).map(|word| word.trim_matches('"'));
            Action::of(program, ["-t", table, "-D"].into_iter().chain(words))
        };
        own.filter(|line| line.starts_with("-A ")).map(delete).collect()
    }
}

/// A chain of nftables that is made for a rule. It is deleted only while it has no rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) family: String,
    pub(crate) table: String,
    pub(crate) name: String,
    /// Its type, hook and priority, in brackets.
    pub(crate) hook: Vec<String>,
    pub(crate) is_there: bool,
    /// Whether it has rules.
    pub(crate) is_used: bool,
}

impl Chain {
    pub(super) fn action(&self) -> Action {
        let (verb, hook) = if self.is_there { ("add", &self.hook[..]) } else { ("delete", &[][..]) };
        let begin = [verb, "chain", &self.family, &self.table, &self.name].into_iter();
        Action::of("nft", begin.chain(hook.iter().map(String::as_str)))
    }

    pub(super) fn present(&self, query: Query<'_>) -> Self {
        let listing = query("nft", &["-j", "list", "chain", &self.family, &self.table, &self.name]);
        let is_used = listing.as_ref().is_some_and(|listing| listing.contains("\"rule\":"));
        Self { is_there: listing.is_some(), is_used, ..self.clone() }
    }
}

/// Returns whether a listing of a table has anything but the table.
pub(super) fn has_more_than_table(listing: &str) -> bool {
    let listing: Value = serde_json::from_str(listing).unwrap_or_default();
    let objects = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    objects.iter().any(|object| object.get("metainfo").is_none() && object.get("table").is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        let chain = |word: &str| word.to_owned();
        let firewall =
            Firewall::Nft { family: chain("inet"), table: chain("t"), chain: chain("c"), is_first: true };
        let rule = Rule::new(firewall, ["udp", "dport", "7001", "accept"]);
        Rule { mark: Some("mcast-7-1".into()), ..rule }
    }

    fn ruleset(rules: &[(u64, Option<&str>)]) -> String {
        let rule = |(handle, comment): &(u64, Option<&str>)| serde_json::json!({"rule": {"family": "inet", "table": "t", "chain": "c", "handle": handle, "comment": comment}});
        let rules: Vec<_> = rules.iter().map(rule).collect();
        serde_json::json!({ "nftables": rules }).to_string()
    }

    /// Handles start again when a ruleset is reloaded: the one that the rule had may be that of another rule.
    #[test]
    fn rule_is_deleted_by_its_mark_and_no_other_is() {
        let removal = Rule { is_there: false, ..rule() };
        let words = |rules: &[(u64, Option<&str>)]| {
            let text = ruleset(rules);
            let actions = removal.actions_now(&mut |program, _| (program == "nft").then(|| text.clone()));
            crate::action::line(&actions)
        };
        assert_eq!(
            words(&[(3, None), (4, Some("mcast-7-1")), (5, Some("mcast-7-12"))]).as_deref(),
            Some("nft delete rule inet t c handle 4")
        );
        assert_eq!(words(&[(3, None), (4, Some("ssh"))]), None);
        let is_there = |rules: &[(u64, Option<&str>)]| {
            let text = ruleset(rules);
            rule().is_present(&mut |program, _| (program == "nft").then(|| text.clone()))
        };
        assert_eq!(is_there(&[(3, None)]), Some(false));
        assert_eq!(is_there(&[(9, Some("mcast-7-1"))]), Some(true));
        assert_eq!(rule().is_present(&mut |_, _| None), None, "the rules cannot be read");
    }

    #[test]
    fn old_rule_is_deleted_with_its_comment() {
        let word = |word: &str| word.to_owned();
        let firewall = Firewall::Legacy {
            program: word("iptables-legacy"),
            table: word("filter"),
            chain: word("INPUT"),
            place: Some(word("2")),
        };
        let rule = Rule::new(firewall, ["-p", "igmp", "-j", "ACCEPT"]);
        let marked = Rule { mark: Some("mcast-7-1".into()), ..rule };
        assert_eq!(
            crate::action::line(&marked.actions()).unwrap(),
            "iptables-legacy -t filter -I INPUT 2 -p igmp -j ACCEPT -m comment --comment mcast-7-1"
        );
        let removal = Rule { is_there: false, ..marked };
        assert_eq!(
            crate::action::line(&removal.actions()).unwrap(),
            "iptables-legacy -t filter -D INPUT -p igmp -j ACCEPT -m comment --comment mcast-7-1"
        );
    }
}
