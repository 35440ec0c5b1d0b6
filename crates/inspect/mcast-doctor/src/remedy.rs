//! Remedies: what fixes a cause, what that affects, and how it is undone.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::action::{Action, line};
use crate::carrying_out::Network;
use crate::change::{self, Change, Recorded};

/// What fixes the cause of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "RemedyRecord")]
pub struct Remedy {
    /// The tool that applies the remedy: a system program, or the program at fault.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub tool: Tool,
    /// How long the remedy lasts.
    pub persistence: Persistence,
    /// What to do.
    pub instructions: Instructions,
    /// What the actions change, and when; `None` for advice, and for commands that change nothing.
    pub scope: Option<RemedyScope>,
    /// How to undo the actions, from the state of this machine before them; `None` if they cannot be undone.
    pub undo: Option<Instructions>,
    /// What the actions change.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) changes: Vec<Change>,
    /// The network that they change.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) network: Network,
}

/// What to do to apply a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "InstructionsRecord")]
pub enum Instructions {
    /// Actions that this machine can carry out itself, in order. A failed action stops the sequence.
    Actions {
        /// The actions, in order.
        actions: Vec<Action>,
        /// Whether the actions need root.
        needs_root: bool,
    },
    /// Advice in prose, for what no command can do.
    Advice(String),
}

/// How long a remedy lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Persistence {
    /// It takes effect at once and lasts until the next boot.
    #[serde(rename = "until-reboot")]
    Now,
    /// It is permanent, and takes effect at the next boot or reload at the latest.
    #[serde(rename = "permanent")]
    Permanent,
}

/// The tool that applies a remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tool {
    /// `sysctl` and the files in `/etc/sysctl.d`.
    Sysctl,
    /// `ip` from iproute2.
    Ip,
    /// `tc` from iproute2.
    Tc,
    /// `bridge` from iproute2.
    Bridge,
    /// `ethtool`.
    Ethtool,
    /// `nft`.
    Nft,
    /// The old `iptables` and `ip6tables`.
    Iptables,
    /// `ebtables-nft`.
    Ebtables,
    /// firewalld's `firewall-cmd`.
    Firewalld,
    /// `ufw`.
    Ufw,
    /// systemd-networkd.
    Networkd,
    /// NetworkManager's `nmcli`.
    NetworkManager,
    /// `route` on macOS and FreeBSD.
    Route,
    /// `ifconfig` on macOS and FreeBSD.
    Ifconfig,
    /// `netsh` on Windows.
    Netsh,
    /// The `mcast` command.
    Mcast,
    /// The program at fault: its options or its code.
    Program,
    /// The network: a switch, a router, an access point.
    Network,
    /// The container runtime.
    Container,
    /// `kill`, which sends signals to processes.
    Kill,
    /// A socket of a program that runs, which the doctor changes.
    Socket,
}

impl Remedy {
    /// Returns a remedy that runs the tool's program, takes effect at once, and cannot be undone.
    #[must_use]
    pub fn now(tool: Tool, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::of(tool, Persistence::Now, [Change::command(tool.program_or_mcast(), args)])
    }

    /// Returns a remedy that runs the tool's program, is permanent, and cannot be undone.
    #[must_use]
    pub fn permanent(tool: Tool, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::of(tool, Persistence::Permanent, [Change::command(tool.program_or_mcast(), args)])
    }

    /// Returns a remedy that writes `text` to the file at `path`.
    #[must_use]
    pub fn file(
        tool: Tool,
        persistence: Persistence,
        path: impl Into<PathBuf>,
        text: impl Into<String>,
    ) -> Self {
        Self::of(tool, persistence, [Change::File { path: path.into(), text: Some(text.into()) }])
    }

    /// Returns a remedy that consists of advice in prose.
    #[must_use]
    pub fn advice(tool: Tool, advice: impl Into<String>) -> Self {
        let instructions = Instructions::Advice(advice.into());
        Self { instructions, ..Self::of(tool, Persistence::Permanent, []) }
    }

    /// Returns a remedy that changes a socket of a program that runs.
    #[must_use]
    pub fn of_socket(action: crate::SocketAction) -> Self {
        Self::of(Tool::Socket, Persistence::Now, [Change::Socket(action)])
    }

    /// Returns a remedy that makes a change which lasts until the next boot.
    pub(crate) fn now_changing(tool: Tool, change: Change) -> Self {
        Self::of(tool, Persistence::Now, [change])
    }

    /// Returns a remedy that runs the tool's program, and another run that undoes it.
    pub(crate) fn with_undo<S: AsRef<str>, T: AsRef<str>>(
        tool: Tool,
        persistence: Persistence,
        args: impl IntoIterator<Item = S>,
        undo: impl IntoIterator<Item = T>,
    ) -> Self {
        let program = tool.program_or_mcast();
        let undo = Some(Action::of(program, undo));
        Self::of(tool, persistence, [Change::Command { run: Action::of(program, args), undo }])
    }

    /// Returns a remedy that makes changes, in this order.
    pub(crate) fn of(
        tool: Tool,
        persistence: Persistence,
        changes: impl IntoIterator<Item = Change>,
    ) -> Self {
        let changes: Vec<_> = changes.into_iter().collect();
        let (actions, needs_root) = (change::actions(&changes), tool != Tool::Mcast);
        let instructions = Instructions::Actions { actions, needs_root };
        Self { tool, persistence, instructions, scope: None, undo: None, changes, network: Network::Own }
    }

    /// Returns the remedy with marks in what it makes, by which that is found when it must be undone.
    #[must_use]
    pub fn marked(&self, id: &str) -> Self {
        let number = |number: usize| if number == 0 { id.to_owned() } else { format!("{id}-{number}") };
        let changes = self.changes.iter().enumerate();
        let changes = changes.map(|(index, change)| change.clone().marked(&number(index)));
        let marked = Self::of(self.tool, self.persistence, changes);
        let marked = Self { scope: self.scope.clone(), undo: self.undo.clone(), ..marked };
        match self.network {
            Network::Own => marked,
            Network::Of(pid) => marked.in_network_of(pid).unwrap_or_else(|| self.clone()),
        }
    }

    /// Sets what the actions change, and when.
    #[must_use]
    pub fn with_scope(self, scope: RemedyScope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Returns the remedy for the network namespace of a process; `None` if it would change this machine instead.
    pub(crate) fn in_network_of(self, pid: u32) -> Option<Self> {
        let Instructions::Actions { actions, .. } = &self.instructions else { return Some(self) };
        // A signal or a cgroup is not part of a network, and a socket stays in its own.
        if matches!(self.tool, Tool::Kill | Tool::Container | Tool::Socket) {
            return Some(self);
        }
        let enter = |action: &Action| match action {
            Action::Run { program, args } => {
                let words = [format!("--net=/proc/{pid}/ns/net"), program.clone()];
                let args = words.into_iter().chain(args.iter().cloned()).collect();
                Some(Action::Run { program: "nsenter".into(), args })
            }
            Action::Write { .. } | Action::Remove { .. } | Action::Socket(_) => None,
        };
        let enter_all = |actions: &[Action]| {
            let actions = actions.iter().map(enter).collect::<Option<Vec<_>>>()?;
            Some(Instructions::Actions { actions, needs_root: true })
        };
        let undo = match &self.undo {
            Some(Instructions::Actions { actions, .. }) => enter_all(actions),
            other => other.clone(),
        };
        let instructions = enter_all(actions)?;
        let is_lasting = self.persistence == Persistence::Permanent;
        let remedy = Self { instructions, undo, network: Network::Of(pid), ..self };
        (!is_lasting).then_some(remedy)
    }

    /// Marks the actions as needing root.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        if let Instructions::Actions { needs_root, .. } = &mut self.instructions {
            *needs_root = true;
        }
        self
    }

    /// Returns the actions; empty if the remedy is advice.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        match &self.instructions {
            Instructions::Actions { actions, .. } => actions,
            Instructions::Advice(_) => &[],
        }
    }

    /// Returns the actions as one line to paste into this system's shell; `None` if the remedy is advice.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        line(self.actions())
    }
}

impl Remedy {
    /// Adds how to undo it, from the present state of this machine.
    pub(crate) fn add_undo(&mut self) {
        if self.undo.is_none() && self.tool != Tool::Mcast {
            let mut query = |program: &str, args: &[&str]| self.network.output_of(program, args);
            self.undo = undo_of(self.changes.iter().map(|change| Recorded::read(change, &mut query)));
        }
    }

    /// Returns how to undo it on a machine of which nothing is known, with `VALUE` for a value before.
    pub(crate) fn undo_with_placeholders(&self) -> Option<Instructions> {
        let unknown = |change: &Change| Recorded::new(change.clone(), Some(change.placeholder()));
        self.undo.clone().or_else(|| undo_of(self.changes.iter().map(unknown)))
    }
}

/// Returns how to undo changes by hand; `None` if one of them cannot be undone.
fn undo_of(recorded: impl Iterator<Item = Recorded>) -> Option<Instructions> {
    let recorded: Vec<_> = recorded.collect();
    if !recorded.iter().all(Recorded::is_undoable) {
        return None;
    }
    let undoing = change::undoing(&recorded);
    // With a table that was made, its chains and rules are deleted.
    let table = undoing.iter().find(|change| matches!(change, Change::Table { .. }));
    let changes = table.map_or(&undoing[..], std::slice::from_ref);
    if let [Change::Rule(rule)] = changes
        && let change::Firewall::Nft { family, table, chain, .. } = &rule.firewall
    {
        return Some(Instructions::Advice(format!(
            "Delete the rule by its handle, which `nft -a list chain {family} {table} {chain}` shows: `nft delete rule {family} {table} {chain} handle N`"
        )));
    }
    let actions = change::actions(changes);
    (!actions.is_empty()).then_some(Instructions::Actions { actions, needs_root: true })
}

impl Instructions {
    /// Returns the actions as one line to paste into this system's shell, or the advice.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Actions { actions, .. } => line(actions).unwrap_or_default(),
            Self::Advice(advice) => advice.clone(),
        }
    }
}

impl Tool {
    /// Returns the name of the program to run; `None` if no program on this machine applies the remedy.
    #[must_use]
    pub const fn program(self) -> Option<&'static str> {
        self.names().1
    }

    /// Returns the name of the program to run, which is that of this command if the tool has none.
    fn program_or_mcast(self) -> &'static str {
        self.program().unwrap_or("mcast")
    }

    /// Returns the name to show, and the name of the program to run.
    const fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Sysctl => ("sysctl", Some("sysctl")),
            Self::Ip => ("ip", Some("ip")),
            Self::Tc => ("tc", Some("tc")),
            Self::Bridge => ("bridge", Some("bridge")),
            Self::Ethtool => ("ethtool", Some("ethtool")),
            Self::Nft => ("nft", Some("nft")),
            Self::Iptables => ("iptables", Some("iptables-legacy")),
            Self::Ebtables => ("ebtables", Some("ebtables-nft")),
            Self::Firewalld => ("firewalld", Some("firewall-cmd")),
            Self::Ufw => ("ufw", Some("ufw")),
            Self::Networkd => ("networkd", Some("networkctl")),
            Self::NetworkManager => ("NetworkManager", Some("nmcli")),
            Self::Route => ("route", Some("route")),
            Self::Ifconfig => ("ifconfig", Some("ifconfig")),
            Self::Netsh => ("netsh", Some("netsh")),
            Self::Mcast => ("mcast", Some("mcast")),
            Self::Program => ("in the program", None),
            Self::Network => ("in the network", None),
            Self::Container => ("container", None),
            Self::Kill => ("kill", Some("kill")),
            Self::Socket => ("socket", None),
        }
    }
}

/// A remedy as it is serialized.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct RemedyRecord {
    /// Tool that applies the remedy, such as sysctl, ip, nft, firewalld, networkd, mcast, program or network
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    tool: Tool,
    /// How long the remedy lasts: until the next boot or permanently
    persistence: Persistence,
    #[serde(flatten)]
    instructions: InstructionsRecord,
    /// What the steps change
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// When the change takes effect: at once, for programs that are started later, or when the interface is
    /// connected again
    #[serde(skip_serializing_if = "Option::is_none")]
    effective: Option<Effective>,
    /// Risk for other traffic or for a remote session
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// How to restore the state before the steps; omitted if that is not possible
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<InstructionsRecord>,
}

/// Instructions as they are serialized.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum InstructionsRecord {
    Actions {
        /// All steps as one quoted shell command line
        command: String,
        /// Whether the steps need root privileges
        needs_root: bool,
        /// Steps in order, to be carried out without a shell
        steps: Vec<Action>,
    },
    Advice {
        /// Advice, in one sentence, if no command can apply the remedy
        advice: String,
    },
}

impl From<Remedy> for RemedyRecord {
    fn from(remedy: Remedy) -> Self {
        let Remedy { tool, persistence, instructions, scope, undo, .. } = remedy;
        let (scope, effective, warning) = match scope {
            Some(RemedyScope { affects, effective, warning }) => (Some(affects), Some(effective), warning),
            None => (None, None, None),
        };
        let undo = undo.map(InstructionsRecord::from);
        Self { tool, persistence, instructions: instructions.into(), scope, effective, warning, undo }
    }
}

impl From<Instructions> for InstructionsRecord {
    fn from(instructions: Instructions) -> Self {
        let command = instructions.text();
        match instructions {
            Instructions::Actions { actions: steps, needs_root } => {
                Self::Actions { command, needs_root, steps }
            }
            Instructions::Advice(advice) => Self::Advice { advice },
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.names().0)
    }
}

/// What a remedy changes, when that takes effect, and what may go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemedyScope {
    /// What is affected: `every group of this host`.
    pub affects: String,
    /// When the change takes effect.
    pub effective: Effective,
    /// The risk for other traffic or for a remote session.
    pub warning: Option<String>,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effective {
    /// At once, also for programs that run.
    AtOnce,
    /// For programs that are started later: those that run must be restarted.
    AfterRestart,
    /// When the interface is connected again.
    AfterReconnect,
}

impl RemedyScope {
    /// Returns the scope of a change that takes effect at once.
    #[must_use]
    pub fn new(affects: impl Into<String>) -> Self {
        Self { affects: affects.into(), effective: Effective::AtOnce, warning: None }
    }

    /// Returns the scope of a change that takes effect for programs that are started later.
    #[must_use]
    pub fn after_restart(affects: impl Into<String>) -> Self {
        Self { effective: Effective::AfterRestart, ..Self::new(affects) }
    }

    /// Adds a warning.
    #[must_use]
    pub fn warning(self, warning: impl Into<String>) -> Self {
        Self { warning: Some(warning.into()), ..self }
    }

    /// Sets when the change takes effect.
    #[must_use]
    pub(crate) fn effective(self, effective: Effective) -> Self {
        Self { effective, ..self }
    }
}

/// Writes what is affected, and when: `every group of this host; restart the program`.
impl fmt::Display for RemedyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.effective {
            Effective::AtOnce => "takes effect at once",
            Effective::AfterRestart => "takes effect for programs started later: restart running ones",
            Effective::AfterReconnect => "takes effect when the interface is next connected",
        };
        write!(f, "{}; {when}", self.affects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_of_another_network_are_run_there_or_removed() {
        let command = |remedy: Remedy| remedy.in_network_of(7).and_then(|remedy| remedy.command());
        let sysctl = Remedy::now(Tool::Sysctl, ["-w", "x=0"]);
        assert_eq!(command(sysctl).as_deref(), Some("nsenter --net=/proc/7/ns/net sysctl -w x=0"));
        assert_eq!(Remedy::file(Tool::Sysctl, Persistence::Permanent, "/etc/x", "x").in_network_of(7), None);
        assert_eq!(Remedy::permanent(Tool::NetworkManager, ["x"]).in_network_of(7), None);
        let unchanged = [Remedy::advice(Tool::Program, "Join."), Remedy::now(Tool::Kill, ["-CONT", "7"])];
        for remedy in unchanged {
            assert_eq!(remedy.clone().in_network_of(7), Some(remedy));
        }
    }

    #[test]
    fn remedy_serializes_as_actions_and_command() {
        let remedy = Remedy::now(Tool::Ip, ["link", "set", "dev", "x;id>y", "up"]);
        let command =
            if cfg!(windows) { "ip link set dev \"x;id>y\" up" } else { "ip link set dev 'x;id>y' up" };
        let expected = serde_json::json!({
            "tool": "ip",
            "persistence": "until-reboot",
            "command": command,
            "needs_root": true,
            "steps": [{ "program": "ip", "args": ["link", "set", "dev", "x;id>y", "up"] }],
        });
        assert_eq!(serde_json::to_value(remedy).unwrap(), expected);
        let advice = serde_json::to_value(Remedy::advice(Tool::Network, "Plug it in.")).unwrap();
        assert_eq!(
            advice,
            serde_json::json!({ "tool": "network", "persistence": "permanent", "advice": "Plug it in." })
        );
    }
}
