//! What a remedy changes.
//!
//! A [`Change`] is one place of this machine and the state that it gets. It knows the actions that make it, reads how its place
//! looks now ([`Change::present`], a change of the same place), and so its inverse is the change that was present before. What
//! carries a mark is found again by it: a firewall rule by its comment, a new interface by its alias.

mod interface;
mod route;
mod rule;
mod undo;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::action::{Action, SocketAction};
use crate::snapshot::setting_path;
pub(crate) use interface::{Attribute, NewInterface};
pub(crate) use route::Route;
pub(crate) use rule::{Chain, Firewall, Rule};
pub use undo::ChangeOutcome;
pub(crate) use undo::{Recorded, revert, undoing};

/// Runs a program that prints a state, and returns its output; `None` if it fails.
pub(crate) type Query<'a> = &'a mut dyn FnMut(&str, &[&str]) -> Option<String>;

/// A place of this machine, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// A kernel setting, under its name for `sysctl`.
    Setting {
        name: String,
        value: String,
        /// The file that is loaded to set it, in place of `sysctl -w`.
        #[serde(skip)]
        file: Option<PathBuf>,
    },
    /// The contents of a file; `None` if there is none.
    File {
        path: PathBuf,
        text: Option<String>,
    },
    /// Files of systemd-networkd are read again.
    Reload,
    /// An attribute of an interface.
    Interface {
        interface: String,
        attribute: Attribute,
        value: String,
    },
    /// An interface on top of another one.
    NewInterface(NewInterface),
    /// An IPv6 address with its prefix length.
    Address {
        interface: String,
        address: String,
        is_there: bool,
    },
    /// An Ethernet address that a bridge port accepts.
    Host {
        mac: String,
        port: String,
        is_there: bool,
    },
    /// An Ethernet address whose frames a macvlan interface takes.
    MacvlanSource {
        interface: String,
        mac: String,
        is_there: bool,
    },
    /// An IPsec policy that lets datagrams pass: the words that select it, and its priority.
    Policy {
        selector: Vec<String>,
        priority: String,
        is_there: bool,
    },
    Route(Route),
    /// A rule for routing: the words after `ip`, and those after `add` or `del` as `ip -N rule` lists it, with its priority.
    RoutingRule {
        command: Vec<String>,
        words: Vec<String>,
        priority: u32,
        is_there: bool,
    },
    Rule(Rule),
    Chain(Chain),
    /// A table of nftables. It is deleted only while it is empty.
    Table {
        family: String,
        name: String,
        is_there: bool,
        is_used: bool,
    },
    /// A process runs, or is stopped. `started` distinguishes it from a later one with the same id.
    Process {
        pid: u32,
        runs: bool,
        started: Option<String>,
    },
    Socket(SocketAction),
    /// A value of a list of a connection of NetworkManager.
    Connection {
        uuid: String,
        option: String,
        value: String,
        is_there: bool,
    },
    /// A program runs. Its effect cannot be read.
    Command {
        run: Action,
        undo: Option<Action>,
    },
}

/// Returns the actions that make these changes.
pub(crate) fn actions(changes: &[Change]) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    for action in changes.iter().flat_map(Change::actions) {
        match (actions.last_mut(), action) {
            // One run of `sysctl` sets several settings, or loads a file with them.
            (Some(Action::Run { program: first, args }), Action::Run { program, args: more })
                if first == "sysctl"
                    && program == "sysctl"
                    && args[0] == "-w"
                    && more[0] == "-w"
                    && !args.iter().any(|word| word.split('=').next() == more[1].split('=').next()) =>
            {
                args.extend(more.into_iter().skip(1));
            }
            (Some(last), action) if *last == action => {}
            (_, action) => actions.push(action),
        }
    }
    actions
}

impl Change {
    /// Returns the change of a setting.
    pub(crate) fn setting(name: &str, value: impl std::fmt::Display) -> Self {
        Self::Setting { name: name.to_owned(), value: value.to_string(), file: None }
    }

    /// Returns the change of an attribute of an interface.
    pub(crate) fn interface(interface: &str, attribute: Attribute, value: impl std::fmt::Display) -> Self {
        Self::Interface { interface: interface.to_owned(), attribute, value: value.to_string() }
    }

    /// Returns the run of a program that cannot be undone.
    pub(crate) fn command(program: &str, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::Command { run: Action::of(program, args), undo: None }
    }

    /// Returns the change with a mark, by which it is found when it must be undone.
    pub(crate) fn marked(mut self, mark: &str) -> Self {
        match &mut self {
            Self::Rule(rule) => rule.mark = Some(mark.to_owned()),
            Self::NewInterface(new) => new.mark = Some(mark.to_owned()),
            _ => {}
        }
        self
    }

    /// Returns the actions that make the change, as far as they are known without a look at the machine.
    pub(crate) fn actions(&self) -> Vec<Action> {
        match self {
            Self::Setting { name, value, file } => vec![set(name, value, file.as_deref())],
            Self::File { path, text: Some(text) } => {
                vec![Action::Write { path: path.clone(), text: text.clone() }]
            }
            Self::File { path, text: None } => vec![Action::Remove { path: path.clone() }],
            Self::Reload => vec![Action::of("networkctl", ["reload"])],
            Self::Interface { interface, attribute, value } => vec![attribute.set(interface, value)],
            Self::NewInterface(new) => new.actions(),
            Self::Address { interface, address, is_there } => {
                vec![Action::of("ip", ["-6", "address", add(*is_there), address, "dev", interface])]
            }
            Self::Host { mac, port, is_there: true } => {
                vec![Action::of("bridge", ["fdb", "replace", mac, "dev", port, "master", "static"])]
            }
            Self::Host { mac, port, is_there: false } => {
                vec![Action::of("bridge", ["fdb", "del", mac, "dev", port, "master"])]
            }
            Self::MacvlanSource { interface, mac, is_there } => {
                let words =
                    ["link", "set", "dev", interface, "type", "macvlan", "macaddr", add(*is_there), mac];
                vec![Action::of("ip", words)]
            }
            Self::Policy { selector, priority, is_there: true } => {
                let begin = ["xfrm", "policy", "add"].into_iter().chain(selector.iter().map(String::as_str));
                vec![Action::of("ip", begin.chain(["priority", priority, "action", "allow"]))]
            }
            Self::Policy { selector, is_there: false, .. } => {
                let begin = ["xfrm", "policy", "delete"].into_iter();
                vec![Action::of("ip", begin.chain(selector.iter().map(String::as_str)))]
            }
            Self::Route(route) => route.actions(),
            Self::RoutingRule { command, words, priority, is_there } => {
                let priority = priority.to_string();
                let begin = command.iter().map(String::as_str).chain([add(*is_there)]);
                let words = begin.chain(words.iter().map(String::as_str));
                vec![Action::of("ip", words.chain(["priority", &priority]))]
            }
            Self::Rule(rule) => rule.actions(),
            Self::Chain(chain) => vec![chain.action()],
            Self::Table { family, name, is_there, .. } => {
                let verb = if *is_there { "add" } else { "delete" };
                vec![Action::of("nft", [verb, "table", family, name])]
            }
            Self::Process { pid, runs, .. } => {
                vec![Action::of("kill", [if *runs { "-CONT" } else { "-STOP" }, &pid.to_string()])]
            }
            Self::Socket(action) => vec![Action::Socket(action.clone())],
            Self::Connection { uuid, option, value, is_there } => {
                let option = format!("{}{option}", if *is_there { '+' } else { '-' });
                vec![Action::of("nmcli", ["connection", "modify", "uuid", uuid, &option, value])]
            }
            Self::Command { run, .. } => vec![run.clone()],
        }
    }

    /// Returns the actions that make the change on the machine as it is now. Those that remove a rule name what carries its mark.
    fn actions_now(&self, query: Query<'_>) -> Vec<Action> {
        match self {
            Self::Rule(rule) => rule.actions_now(query),
            _ => self.actions(),
        }
    }

    /// Returns the present state of the place; `None` if it is not known.
    pub(crate) fn present(&self, query: Query<'_>) -> Option<Self> {
        let mut now = self.clone();
        match &mut now {
            Self::Setting { name, value, file } => {
                *value = query("cat", &[setting_path(name).to_str()?])?.trim().replace('\t', " ");
                *file = None;
            }
            Self::File { path, text } => *text = read(path)?,
            Self::Reload => {}
            Self::Interface { interface, attribute, value } => *value = attribute.read(interface, query)?,
            Self::NewInterface(new) => return new.present(query).map(Self::NewInterface),
            Self::Address { interface, address, is_there } => {
                let listing = query("ip", &["-6", "address", "show", "dev", interface])?;
                *is_there = listing.lines().any(|line| word_after(line, "inet6") == Some(address));
            }
            Self::Host { mac, port, is_there } => {
                let listing = query("bridge", &["fdb", "show", "dev", port])?;
                let is_entry = |line: &str| {
                    let words: Vec<_> = line.split_whitespace().collect();
                    words.first().is_some_and(|first| first.eq_ignore_ascii_case(mac))
                        && words.contains(&"static")
                        && words.contains(&"master")
                };
                *is_there = listing.lines().any(is_entry);
            }
            Self::MacvlanSource { interface, mac, is_there } => {
                let state = query("ip", &["-d", "link", "show", "dev", interface])?;
                *is_there = state.to_lowercase().split_whitespace().any(|word| word == mac.to_lowercase());
            }
            Self::Policy { selector, priority, is_there } => {
                let words: Vec<_> = ["xfrm", "policy", "get"]
                    .into_iter()
                    .chain(selector.iter().map(String::as_str))
                    .collect();
                // It fails if no policy has this selector.
                let policy = query("ip", &words).unwrap_or_default();
                *is_there = !policy.trim().is_empty();
                if let Some(present) = word_after(&policy, "priority") {
                    present.clone_into(priority);
                }
            }
            Self::Route(route) => return route.present(query).map(Self::Route),
            Self::RoutingRule { command, words, priority, is_there } => {
                let begin = ["-N"].into_iter().chain(command.iter().map(String::as_str));
                let listing = query("ip", &begin.chain(["show"]).collect::<Vec<_>>())?;
                let priority = format!("{priority}:");
                let rule =
                    || std::iter::once(priority.as_str()).chain(words.iter().map(|word| numeric(word)));
                *is_there = listing.lines().any(|line| line.split_whitespace().eq(rule()));
            }
            Self::Rule(rule) => rule.is_there = rule.is_present(query)?,
            Self::Chain(chain) => return Some(Self::Chain(chain.present(query))),
            Self::Table { family, name, is_there, is_used } => {
                let listing = query("nft", &["-j", "list", "table", family, name]);
                *is_there = listing.is_some();
                *is_used = listing.is_some_and(|listing| rule::has_more_than_table(&listing));
            }
            Self::Process { pid, runs, started } => {
                let state = query("cat", &[&format!("/proc/{pid}/stat")])?;
                let fields: Vec<_> = state.rsplit_once(')')?.1.split_whitespace().collect();
                *runs = !matches!(*fields.first()?, "T" | "t");
                *started = fields.get(19).map(|time| (*time).to_owned());
            }
            Self::Socket(action) => action.change = crate::socket_change::present(action).ok()??,
            Self::Connection { uuid, option, value, is_there } => {
                let listing = query("nmcli", &["-g", option, "connection", "show", "uuid", uuid])?;
                *is_there = listing.split([',', '\n']).any(|each| each.trim().starts_with(value.as_str()));
            }
            Self::Command { .. } => return None,
        }
        Some(now)
    }

    /// Returns the change of the place that undoes this one on a machine of which nothing is known, with `VALUE` for a value.
    pub(crate) fn placeholder(&self) -> Self {
        let mut before = self.clone();
        match &mut before {
            Self::Setting { value, file, .. } => (*value, *file) = ("VALUE".to_owned(), None),
            Self::Interface { attribute, value, .. } => *value = attribute.placeholder().to_owned(),
            Self::File { text, .. } => *text = None,
            Self::Route(route) => route.clear(),
            Self::NewInterface(NewInterface { is_there, .. })
            | Self::Address { is_there, .. }
            | Self::Host { is_there, .. }
            | Self::MacvlanSource { is_there, .. }
            | Self::Policy { is_there, .. }
            | Self::RoutingRule { is_there, .. }
            | Self::Rule(Rule { is_there, .. })
            | Self::Chain(Chain { is_there, .. })
            | Self::Table { is_there, .. }
            | Self::Connection { is_there, .. }
            | Self::Process { runs: is_there, .. } => *is_there = !*is_there,
            Self::Reload | Self::Socket(_) | Self::Command { .. } => {}
        }
        before
    }

    /// Returns the name of the interface that is changed; `None` if none is.
    fn interface_name(&self) -> Option<&str> {
        match self {
            Self::Interface { interface, .. }
            | Self::Address { interface, .. }
            | Self::MacvlanSource { interface, .. } => Some(interface),
            Self::Host { port, .. } => Some(port),
            _ => None,
        }
    }
}

/// Returns the number of a table or an action, as `ip -N` lists it.
fn numeric(word: &str) -> &str {
    match word {
        "blackhole" => "6",
        "unreachable" => "7",
        "prohibit" => "8",
        "local" => "255",
        "main" => "254",
        "default" => "253",
        other => other,
    }
}

const fn add(is_there: bool) -> &'static str {
    if is_there { "add" } else { "del" }
}

/// Returns the action that sets a setting.
fn set(name: &str, value: &str, file: Option<&Path>) -> Action {
    if let Some(file) = file {
        return Action::of("sysctl", ["-p", &file.to_string_lossy()]);
    }
    // `sysctl` would take the name as a pattern and change every interface.
    if is_pattern(name) {
        return Action::Write { path: setting_path(name), text: format!("{value}\n") };
    }
    Action::of("sysctl", ["-w", &format!("{name}={value}")])
}

/// Returns whether `sysctl` takes a name as a pattern. Interface names may contain these characters.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', ']'])
}

/// Returns the contents of a file, if it exists; `None` if that is not known.
#[expect(clippy::option_option, reason = "a file that does not exist differs from one that cannot be read")]
fn read(path: &Path) -> Option<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Some(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(None),
        Err(_) => None,
    }
}

/// Returns the word that follows another in a text.
fn word_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()
}
