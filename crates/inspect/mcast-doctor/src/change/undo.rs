//! Undoing changes: what is still as it was changed becomes as it was before, and nothing else is touched.

use std::fmt;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Change, Query, word_after};
use crate::carrying_out::Network;
use crate::{Error, Result, socket_change};

/// How often a firewall rule is read again that cannot be read, and how long after that.
const READINGS: usize = 3;
const READING_INTERVAL: Duration = Duration::from_millis(100);

/// A change that was made, with what was there before and after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) change: Change,
    /// What was there before; `None` if it is not known.
    before: Option<Change>,
    /// What is there after it: the system may round a value. `None` before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Change>,
    /// The index of the changed interface: another one may get its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
}

/// What became of one change when it was undone.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChangeOutcome {
    /// It was undone.
    Undone,
    /// It was gone already.
    Gone,
    /// Something else is there now, which is left alone: a sentence that says what.
    LeftAlone(String),
    /// It could not be undone.
    Failed(Error),
}

impl Recorded {
    pub(crate) const fn new(change: Change, before: Option<Change>) -> Self {
        Self { change, before, after: None, index: None }
    }

    /// Reads what is there before a change.
    pub(crate) fn read(change: &Change, query: Query<'_>) -> Self {
        let index = change.interface_name().and_then(|name| index_of(name, query));
        let before = change.present(query);
        // The kernel does not report by which interface a socket sends if it was chosen by index: the examination knows it.
        let before = before.or_else(|| unreported(change));
        Self { index, ..Self::new(change.clone(), before) }
    }

    /// Reads what is there after the change.
    pub(crate) fn read_after(&mut self, query: Query<'_>) {
        self.after = self.change.present(query);
    }

    /// Returns the change that undoes this one; `None` if that is not known. A change that changed nothing needs none.
    pub(crate) fn inverse(&self) -> Option<Option<Change>> {
        match (&self.change, self.before.as_ref()) {
            (Change::Command { undo, .. }, _) => {
                undo.clone().map(|run| Some(Change::Command { run, undo: None }))
            }
            (Change::Reload, _) => Some(Some(Change::Reload)),
            (_, None) => None,
            (change, Some(before)) if before.is(change) => Some(None),
            (Change::Route(own), Some(Change::Route(before))) if before.is_absent() => {
                let mut deletion = own.clone();
                deletion.delete();
                Some(Some(Change::Route(deletion)))
            }
            (_, Some(before)) => Some(Some(before.clone())),
        }
    }

    /// Returns whether it can be undone.
    pub(crate) fn is_undoable(&self) -> bool {
        self.inverse().is_some()
    }

    /// Undoes it, if it is still there.
    fn revert(&self, network: Network, query: Query<'_>) -> ChangeOutcome {
        let Some(inverse) = self.inverse() else { return ChangeOutcome::Failed(Error::NotUndone) };
        let Some(inverse) = inverse else { return ChangeOutcome::Gone };
        match self.look(query) {
            Ok(Present::Own) => match carry_out(&inverse, network, query) {
                Ok(()) => ChangeOutcome::Undone,
                Err(error) if socket_change::is_over(&error) => ChangeOutcome::Gone,
                Err(error) => ChangeOutcome::Failed(error),
            },
            Ok(Present::Nothing) => ChangeOutcome::Gone,
            Ok(Present::Other(sentence)) => ChangeOutcome::LeftAlone(sentence),
            Err(error) => ChangeOutcome::Failed(error),
        }
    }

    /// Looks what is at the place of the change.
    fn look(&self, query: Query<'_>) -> Result<Present> {
        if matches!(self.change, Change::Reload | Change::Command { .. }) {
            return Ok(Present::Own);
        }
        if let (Some(index), Some(name)) = (self.index, self.change.interface_name())
            && index_of(name, query) != Some(index)
        {
            return Ok(renamed(name, index, query));
        }
        if let Change::Socket(action) = &self.change {
            return match socket_change::present(action) {
                Err(error) if socket_change::is_over(&error) => Ok(Present::Nothing),
                Err(error) => Err(error),
                // Only an interface that was chosen by index is not reported.
                Ok(None) => Ok(Present::Own),
                Ok(Some(change)) => {
                    Ok(self.compare(&Change::Socket(crate::SocketAction { change, ..action.clone() })))
                }
            };
        }
        match self.change.present(query).or_else(|| self.present_soon(query)) {
            Some(now) => Ok(self.compare(&now)),
            // Its file in /proc is gone with the interface, or with the process.
            None if matches!(self.change, Change::Setting { .. } | Change::Process { .. }) => {
                Ok(Present::Nothing)
            }
            None => Err(Error::Unreadable { what: self.change.place() }),
        }
    }

    /// Reads a firewall rule again: `nft` fails while another program changes the rules that it lists.
    fn present_soon(&self, query: Query<'_>) -> Option<Change> {
        let Change::Rule(_) = &self.change else { return None };
        (0..READINGS).find_map(|_| {
            thread::sleep(READING_INTERVAL);
            self.change.present(query)
        })
    }

    fn compare(&self, now: &Change) -> Present {
        let is_before = self.before.as_ref().is_some_and(|before| before.is(now));
        let is_later_process = match (self.before.as_ref(), now) {
            (Some(Change::Process { started: first, .. }), Change::Process { started: now, .. }) => {
                first != now
            }
            _ => false,
        };
        let is_absent = matches!(now, Change::Route(route) if route.is_absent());
        if is_before || is_later_process || is_absent {
            return Present::Nothing;
        }
        if self.change.is(now) || self.after.as_ref().is_some_and(|after| after.is(now)) {
            return Present::Own;
        }
        let (place, was) = (self.change.place(), self.change.state());
        Present::Other(format!(
            "{place} is {} now and was changed to {was}: somebody has changed it since",
            now.state()
        ))
    }
}

/// What is at the place of a change.
enum Present {
    /// What the change made.
    Own,
    /// Nothing is left of the change.
    Nothing,
    /// Something else, with the sentence that says so.
    Other(String),
}

/// Undoes changes, and returns what became of each, in their order. Files come first, because what is loaded again reads them;
/// loading comes last; the others are undone in reverse order. Settings beside each other keep theirs: a general one, such as
/// `all`, may change those of interfaces, which are restored after it.
pub(crate) fn revert(recorded: &[Recorded], network: Network) -> Vec<ChangeOutcome> {
    let mut query = |program: &str, args: &[&str]| network.output_of(program, args);
    let mut outcomes: Vec<_> = recorded.iter().map(|_| ChangeOutcome::Gone).collect();
    let mut has_file = false;
    for number in order(recorded) {
        // Without a file that was restored, there is nothing to read again.
        if matches!(recorded[number].change, Change::Reload) && !has_file {
            continue;
        }
        outcomes[number] = recorded[number].revert(network, &mut query);
        let is_undone = matches!(outcomes[number], ChangeOutcome::Undone);
        has_file |= is_undone && matches!(recorded[number].change, Change::File { .. });
    }
    outcomes
}

/// Returns the changes that undo these, in the order in which they are made, as far as they are known.
pub(crate) fn undoing(recorded: &[Recorded]) -> Vec<Change> {
    order(recorded).into_iter().filter_map(|number| recorded[number].inverse().flatten()).collect()
}

fn order(recorded: &[Recorded]) -> Vec<usize> {
    let mut order: Vec<_> = (0..recorded.len()).rev().collect();
    order.sort_by_key(|number| match recorded[*number].change {
        Change::File { .. } => 0,
        Change::Reload => 2,
        _ => 1,
    });
    let is_setting = |number: &usize| matches!(recorded[*number].change, Change::Setting { .. });
    for settings in order.chunk_by_mut(|one, next| is_setting(one) && is_setting(next)) {
        if settings.iter().all(is_setting) {
            settings.reverse();
        }
    }
    order
}

fn carry_out(inverse: &Change, network: Network, query: Query<'_>) -> Result<()> {
    inverse.actions_now(query).iter().try_for_each(|action| network.carry_out(action))
}

/// Returns the inverse of a change of a socket whose present state the kernel does not report.
fn unreported(change: &Change) -> Option<Change> {
    let Change::Socket(action) = change else { return None };
    let mcast_sys::SocketChange::SendBy { family, by, instead_of } = action.change else { return None };
    let change = mcast_sys::SocketChange::SendBy { family, by: instead_of, instead_of: by };
    Some(Change::Socket(crate::SocketAction { change, ..action.clone() }))
}

/// Returns the index of an interface.
fn index_of(name: &str, query: Query<'_>) -> Option<u32> {
    let line = query("ip", &["-o", "link", "show", "dev", name])?;
    line.split(':').next()?.trim().parse().ok()
}

/// Looks for an interface that is not there under its name any more.
fn renamed(name: &str, index: u32, query: Query<'_>) -> Present {
    let all = query("ip", &["-o", "link", "show"]).unwrap_or_default();
    let number = format!("{index}:");
    let own = all.lines().find(|line| line.starts_with(&number));
    let now = own.and_then(|line| word_after(line, &number)).map(|now| now.trim_end_matches(':'));
    match now.and_then(|now| now.split('@').next()) {
        Some(now) => Present::Other(format!("{name} is now called {now}, so it was not changed")),
        None => Present::Nothing,
    }
}

impl Change {
    /// Returns whether both are the same state of the same place.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Setting { value: one, .. }, Self::Setting { value: two, .. }) => {
                one.split_whitespace().eq(two.split_whitespace())
            }
            (Self::Route(one), Self::Route(two)) => one.is(two),
            (Self::Process { runs: one, .. }, Self::Process { runs: two, .. }) => one == two,
            (Self::Socket(one), Self::Socket(two)) => same_socket_state(&one.change, &two.change),
            (Self::NewInterface(one), Self::NewInterface(two)) => {
                (one.is_there, &one.mark) == (two.is_there, &two.mark)
            }
            (one, two) => one == two,
        }
    }

    /// Returns what is changed, as the subject of a sentence.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Setting { name, .. } => name.clone(),
            Self::File { path, .. } => path.display().to_string(),
            Self::Reload => "the configuration of systemd-networkd".to_owned(),
            Self::Interface { interface, attribute, .. } => format!("{attribute} of {interface}"),
            Self::NewInterface(new) => format!("interface {}", new.name),
            Self::Address { interface, address, .. } => format!("{address} on {interface}"),
            Self::Host { mac, port, .. } => format!("the entry of {mac} at {port}"),
            Self::MacvlanSource { interface, mac, .. } => format!("source {mac} of {interface}"),
            Self::Policy { selector, .. } => format!("the IPsec policy {}", selector.join(" ")),
            Self::Route(route) => format!("the route to {}", route.to()),
            Self::RoutingRule { words, priority, .. } => {
                format!("the routing rule {priority}: {}", words.join(" "))
            }
            Self::Rule(rule) => {
                let mark = rule.mark.as_deref().unwrap_or("that was inserted");
                format!("the firewall rule {mark}")
            }
            Self::Chain(chain) => format!("the chain {} {} {}", chain.family, chain.table, chain.name),
            Self::Table { family, name, .. } => format!("the table {family} {name}"),
            Self::Process { pid, .. } => format!("process {pid}"),
            Self::Socket(action) => format!("socket {} of process {}", action.socket, action.pid),
            Self::Connection { uuid, option, .. } => format!("{option} of connection {uuid}"),
            Self::Command { run, .. } => crate::action::line(std::slice::from_ref(run)).unwrap_or_default(),
        }
    }

    /// Returns the state of the place, as the object of a sentence.
    fn state(&self) -> String {
        let there = |is_there: bool| if is_there { "there" } else { "not there" }.to_owned();
        match self {
            Self::Setting { value, .. } | Self::Interface { value, .. } if !value.is_empty() => value.clone(),
            Self::Interface { .. } | Self::Setting { .. } => "none".to_owned(),
            Self::File { text: Some(_), .. } => "another text".to_owned(),
            Self::File { text: None, .. } => "not there".to_owned(),
            Self::NewInterface(new) => match (&new.mark, new.is_there) {
                (None, true) => "another one".to_owned(),
                (_, is_there) => there(is_there),
            },
            Self::Address { is_there, .. }
            | Self::Host { is_there, .. }
            | Self::MacvlanSource { is_there, .. }
            | Self::Connection { is_there, .. }
            | Self::RoutingRule { is_there, .. }
            | Self::Rule(super::Rule { is_there, .. }) => there(*is_there),
            Self::Policy { priority, is_there: true, .. } => format!("of priority {priority}"),
            Self::Policy { is_there: false, .. } => "not there".to_owned(),
            Self::Chain(super::Chain { is_used: true, .. }) | Self::Table { is_used: true, .. } => {
                "in use by rules of others".to_owned()
            }
            Self::Chain(super::Chain { is_there, .. }) | Self::Table { is_there, .. } => there(*is_there),
            Self::Route(route) => route.state(),
            Self::Process { runs, .. } => if *runs { "running" } else { "stopped" }.to_owned(),
            Self::Socket(action) => format!("`{}`", action.change),
            Self::Reload | Self::Command { .. } => "unknown".to_owned(),
        }
    }
}

/// Returns whether two changes of a socket have the same result. Whether a socket had another interface before is ignored.
fn same_socket_state(one: &mcast_sys::SocketChange, two: &mcast_sys::SocketChange) -> bool {
    use mcast_sys::SocketChange::SendBy;
    match (one, two) {
        (SendBy { family: first, by: one, .. }, SendBy { family: second, by: two, .. }) => {
            (first, one) == (second, two)
        }
        _ => one == two,
    }
}

/// Writes what became of it, as the predicate of a sentence.
impl fmt::Display for ChangeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undone => f.write_str("undone"),
            Self::Gone => f.write_str("was gone already"),
            Self::LeftAlone(sentence) => f.write_str(sentence),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Firewall, Rule};

    #[test]
    fn rules_that_cannot_be_read_for_a_moment_are_read_again() {
        let [family, table, chain] = ["inet", "filter", "input"].map(str::to_owned);
        let mut rule = Rule::new(Firewall::Nft { family, table, chain, is_first: true }, ["accept"]);
        rule.mark = Some("mcast-1".into());
        let recorded = Recorded { change: Change::Rule(rule), before: None, after: None, index: None };
        let listing = r#"{"nftables":[{"rule":{"family":"inet","table":"filter","chain":"input","handle":4,"comment":"mcast-1"}}]}"#;
        let mut failures = 2;
        let mut query = |program: &str, _: &[&str]| {
            let fails = program == "nft" && failures > 0;
            failures -= usize::from(fails);
            (!fails).then(|| listing.to_owned())
        };
        assert!(matches!(recorded.look(&mut query), Ok(Present::Own)));
        assert!(matches!(recorded.look(&mut |_, _| None), Err(Error::Unreadable { .. })));
    }
}
