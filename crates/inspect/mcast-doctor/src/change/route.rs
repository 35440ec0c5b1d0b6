//! Routes of groups.

use serde::{Deserialize, Serialize};

use super::{Query, word_after};
use crate::action::Action;

/// A route to a destination with a metric in a table: the kernel has one of these for IPv4, and replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    is_v6: bool,
    to: String,
    /// The table; `None` for the main one.
    table: Option<String>,
    /// How the route is entered: `add` fails if there is one already.
    verb: String,
    state: State,
}

/// What the route does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// There is no such route.
    Absent,
    /// It is of a type, such as `multicast`, and leads to an interface.
    By { kind: Option<String>, interface: String, metric: u32 },
    /// It is another one, in the words of `ip route show`.
    Other { words: Vec<String> },
}

/// The metric of IPv6 routes that are entered without one.
const DEFAULT_METRIC_V6: u32 = 1024;

impl Route {
    /// Returns the IPv4 route that leads to an interface.
    pub(crate) fn v4(to: &str, interface: &str) -> Self {
        let state = State::By { kind: None, interface: interface.to_owned(), metric: 0 };
        Self { is_v6: false, to: to.to_owned(), table: None, verb: "replace".to_owned(), state }
    }

    /// Returns the IPv6 route of a type that leads to an interface. A metric of 1 comes before those of the kernel's own routes
    /// for groups (256), which every interface has.
    pub(crate) fn v6(kind: &str, to: &str, interface: &str, metric: Option<u32>) -> Self {
        let metric = metric.unwrap_or(DEFAULT_METRIC_V6);
        let state = State::By { kind: Some(kind.to_owned()), interface: interface.to_owned(), metric };
        Self { is_v6: true, to: to.to_owned(), table: None, verb: "replace".to_owned(), state }
    }

    /// Puts the route into the table `local`, which comes before all rules for routing.
    pub(crate) fn in_table_local(mut self) -> Self {
        self.table = Some("local".to_owned());
        self
    }

    /// Enters the route only if there is none.
    pub(crate) fn added(mut self) -> Self {
        self.verb = "add".to_owned();
        self
    }

    /// Makes it the deletion of the route.
    pub(super) fn delete(&mut self) {
        self.verb = "del".to_owned();
    }

    /// Makes it the state without the route.
    pub(super) fn clear(&mut self) {
        self.state = State::Absent;
    }

    pub(super) fn actions(&self) -> Vec<Action> {
        let begin: &[&str] = if self.is_v6 { &["-6", "route"] } else { &["route"] };
        let table: Vec<_> = self.table.iter().flat_map(|table| ["table", table]).collect();
        match &self.state {
            State::Absent => Vec::new(),
            State::By { kind, interface, metric } => {
                let metric = metric.to_string();
                let default = if self.is_v6 { DEFAULT_METRIC_V6.to_string() } else { "0".to_owned() };
                let kind = kind.as_deref();
                let mut words = [begin, &[self.verb.as_str()]].concat();
                words.extend(kind.into_iter().chain([self.to.as_str(), "dev", interface]).chain(table));
                // A deletion without a metric matches the routes of all metrics.
                if metric != default || (self.is_v6 && self.verb == "del") {
                    words.extend(["metric", &metric]);
                }
                vec![Action::of("ip", words)]
            }
            State::Other { words: listed } => {
                let words = begin.iter().copied().chain(["replace"]).chain(restorable(listed)).chain(table);
                vec![Action::of("ip", words)]
            }
        }
    }

    /// Returns the present route with the metric of this one; this one, if it is there.
    pub(super) fn present(&self, query: Query<'_>) -> Option<Self> {
        let State::By { kind, interface, metric } = &self.state else { return None };
        let begin: &[&str] = if self.is_v6 { &["-6", "route", "show"] } else { &["route", "show"] };
        // Routes of type `local` are in the table of this name.
        let is_local = self.table.is_some() || kind.as_deref() == Some("local");
        let table: &[&str] = if is_local { &["table", "local"] } else { &[] };
        let listing = query("ip", &[begin, table, &[self.to.as_str()]].concat())?;
        let metric = metric.to_string();
        let same: Vec<_> =
            listing.lines().filter(|line| word_after(line, "metric").unwrap_or("0") == metric).collect();
        let is_own = |line: &&str| {
            let first = line.split_whitespace().next().unwrap_or_default();
            kind.as_deref().is_none_or(|kind| kind == first)
                && (kind.is_some() || !first.starts_with(|letter: char| letter.is_ascii_lowercase()))
                && word_after(line, "dev") == Some(interface)
                && !line.split_whitespace().any(|word| word == "via" || word == "nexthop")
        };
        let state = match (same.iter().any(is_own), same.first()) {
            (true, _) => self.state.clone(),
            (false, None) => State::Absent,
            (false, Some(line)) => {
                State::Other { words: line.split_whitespace().map(str::to_owned).collect() }
            }
        };
        let table = self.table.clone().or_else(|| is_local.then(|| "local".to_owned()));
        let table = if matches!(state, State::Other { .. }) { table } else { self.table.clone() };
        Some(Self { state, table, ..self.clone() })
    }

    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.state, State::Absent)
    }

    /// Returns whether both do the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.state == other.state
    }

    pub(super) fn to(&self) -> &str {
        &self.to
    }

    /// Returns what it does, as the object of a sentence.
    pub(super) fn state(&self) -> String {
        match &self.state {
            State::Absent => "not there".to_owned(),
            State::By { interface, .. } => format!("by {interface}"),
            State::Other { words } => format!("`{}`", words.join(" ")),
        }
    }
}

/// Returns the words of a listed route that describe it; the others are states, or what becomes of it.
fn restorable(listed: &[String]) -> Vec<&str> {
    const STATES: [&str; 5] = ["linkdown", "dead", "offload", "trap", "rt_offload"];
    let mut kept = Vec::new();
    let mut words = listed.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "error" => drop(words.next()),
            "expires" => {
                let time = words.next().unwrap_or_default();
                kept.extend(["expires", time.trim_end_matches("sec")]);
            }
            word if STATES.contains(&word) => {}
            word => kept.push(word),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::{Change, actions};
    use super::*;

    /// Returns how to undo a route, if these are the routes before.
    fn undo(route: &Route, listing: &str) -> String {
        let before = route.present(&mut |_, _| Some(listing.to_owned())).unwrap();
        let change = Change::Route(route.clone());
        let undo = super::super::undoing(&[super::super::Recorded::new(change, Some(Change::Route(before)))]);
        crate::action::line(&actions(&undo)).unwrap_or_default()
    }

    #[test]
    fn replaced_route_is_restored() {
        let route = Route::v4("224.0.0.0/4", "eth0");
        assert_eq!(undo(&route, ""), "ip route del 224.0.0.0/4 dev eth0");
        for (before, after) in [
            ("unreachable 224.0.0.0/4 \n", "unreachable 224.0.0.0/4"),
            ("224.0.0.0/4 dev eth1 scope link linkdown \n", "224.0.0.0/4 dev eth1 scope link"),
        ] {
            assert_eq!(undo(&route, before), format!("ip route replace {after}"));
        }
        let other_metric = "224.0.0.0/4 dev eth1 scope link metric 100\n";
        assert_eq!(undo(&route, other_metric), "ip route del 224.0.0.0/4 dev eth0");
        assert_eq!(undo(&route, "224.0.0.0/4 dev eth0 scope link\n"), "", "it was there");
    }

    #[test]
    fn ipv6_route_comes_before_that_of_the_kernel_and_leaves_it() {
        let route = Route::v6("multicast", "ff00::/8", "eth0", Some(1)).in_table_local();
        let own = "ip -6 route del multicast ff00::/8 dev eth0 table local metric 1";
        assert_eq!(undo(&route, ""), own);
        for interface in ["eth0", "eth1"] {
            let kernel = format!("multicast ff00::/8 dev {interface} proto kernel metric 256 pref medium\n");
            assert_eq!(undo(&route, &kernel), own);
        }
        let before = "unreachable ff00::/8 dev lo metric 1 error -101 pref medium\n";
        assert_eq!(
            undo(&route, before),
            "ip -6 route replace unreachable ff00::/8 dev lo metric 1 pref medium table local"
        );
    }
}
