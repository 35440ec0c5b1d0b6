//! Remedies: actions that run without a shell, and the only place that quotes them for one.

use std::fmt;
use std::path::{Path, PathBuf};

use mcast_sys::SocketChange;
use serde::{Deserialize, Serialize};

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

/// Program to run, or file to write or remove, or a change of a socket
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Action {
    /// Run a program without a shell.
    Run {
        /// Program to run, looked up in `PATH`
        program: String,
        /// Arguments of the program, passed as they are
        args: Vec<String>,
    },
    /// Write a file, replacing its contents. Missing directories are created.
    Write {
        /// Path of the file to write
        path: PathBuf,
        /// Complete new contents of the file
        text: String,
    },
    /// Remove a file.
    Remove {
        /// Path of the file to remove
        #[serde(rename = "remove")]
        path: PathBuf,
    },
    /// Change a socket of a program that runs.
    Socket(SocketAction),
}

/// The change of one option or membership of a socket that a program has open. The program continues to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SocketAction {
    /// Process whose socket is changed
    pub pid: u32,
    /// Inode of the socket, as `/proc/PID/fd` shows it
    pub socket: u64,
    /// Change of the socket, such as `join 239.1.2.3%2` or `hops ipv4 16`
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    #[serde(with = "as_text")]
    pub change: SocketChange,
}

/// Serializes changes in their text form.
mod as_text {
    use mcast_sys::SocketChange;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(change: &SocketChange, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(change)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketChange, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
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

/// A shell that users paste commands into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    /// `sh` and compatible shells.
    Posix,
    /// The common subset of `cmd.exe` and PowerShell.
    Windows,
}

/// Returns words as one line for a POSIX shell, such as that of a remote machine.
pub(crate) fn posix_line(words: &[String]) -> String {
    Shell::Posix.words(words)
}

/// Returns actions as one line to paste into this system's shell; empty if there are none.
#[must_use]
pub fn command_line(actions: &[Action]) -> String {
    line(actions).unwrap_or_default()
}

/// Returns actions as one line for a POSIX shell.
pub(crate) fn posix_script(actions: &[Action]) -> String {
    Shell::Posix.script(actions).unwrap_or_default()
}

impl Remedy {
    /// Returns a remedy that runs the tool's program and takes effect at once.
    #[must_use]
    pub fn now(tool: Tool, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::with_actions(tool, Persistence::Now, vec![Action::run(tool, args)])
    }

    /// Returns a remedy that runs the tool's program and is permanent.
    #[must_use]
    pub fn permanent(tool: Tool, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::with_actions(tool, Persistence::Permanent, vec![Action::run(tool, args)])
    }

    /// Returns a remedy that writes `text` to the file at `path`.
    #[must_use]
    pub fn file(
        tool: Tool,
        persistence: Persistence,
        path: impl Into<PathBuf>,
        text: impl Into<String>,
    ) -> Self {
        Self::with_actions(tool, persistence, vec![Action::Write { path: path.into(), text: text.into() }])
    }

    /// Returns a remedy that consists of advice in prose.
    #[must_use]
    pub fn advice(tool: Tool, advice: impl Into<String>) -> Self {
        Self {
            tool,
            persistence: Persistence::Permanent,
            instructions: Instructions::Advice(advice.into()),
            scope: None,
            undo: None,
        }
    }

    /// Returns a remedy that changes a socket of a program that runs.
    #[must_use]
    pub fn of_socket(action: Action) -> Self {
        Self::with_actions(Tool::Socket, Persistence::Now, vec![action])
    }

    pub(crate) fn with_actions(tool: Tool, persistence: Persistence, actions: Vec<Action>) -> Self {
        let needs_root = tool != Tool::Mcast;
        Self {
            tool,
            persistence,
            instructions: Instructions::Actions { actions, needs_root },
            scope: None,
            undo: None,
        }
    }

    /// Sets what the actions change, and when.
    #[must_use]
    pub fn with_scope(self, scope: RemedyScope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    /// Appends another invocation of the tool's program.
    #[must_use]
    pub fn then(mut self, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        if let Instructions::Actions { actions, .. } = &mut self.instructions {
            actions.push(Action::run(self.tool, args));
        }
        self
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
        let remedy = Self { instructions, undo, ..self };
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

/// Returns actions as one line for this system's shell; `None` if there are none.
pub(crate) fn line(actions: &[Action]) -> Option<String> {
    Shell::here().script(actions)
}

impl Action {
    fn run(tool: Tool, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self::Run { program: tool.program().unwrap_or("mcast").to_owned(), args }
    }
}

impl Tool {
    /// Returns the name of the program to run; `None` if no program on this machine applies the remedy.
    #[must_use]
    pub const fn program(self) -> Option<&'static str> {
        self.names().1
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

impl Shell {
    const fn here() -> Self {
        if cfg!(windows) { Self::Windows } else { Self::Posix }
    }

    fn script(self, actions: &[Action]) -> Option<String> {
        let lines: Vec<_> = actions.iter().map(|action| self.line(action)).collect();
        (!lines.is_empty()).then(|| lines.join(" && "))
    }

    fn line(self, action: &Action) -> String {
        match action {
            Action::Run { program, args } => self.words([program].into_iter().chain(args)),
            Action::Write { path, text } => self.write(path, text),
            Action::Remove { path } => format!("rm -f {}", self.quote(&path.to_string_lossy())),
            Action::Socket(SocketAction { pid, socket, change }) => {
                let change = self.quote(&format!("{socket} {change}"));
                format!("mcast doctor --pid {pid} --change {change}")
            }
        }
    }

    fn write(self, path: &Path, text: &str) -> String {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let path = path.to_string_lossy();
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        format!(
            "mkdir -p {} && printf '%s\\n' {} > {}",
            self.quote(folder),
            self.words(&lines),
            self.quote(&path)
        )
    }

    fn words<'a>(self, words: impl IntoIterator<Item = &'a String>) -> String {
        words.into_iter().map(|word| self.quote(word)).collect::<Vec<_>>().join(" ")
    }

    /// Quotes a word so that the shell passes it on unchanged.
    fn quote(self, word: &str) -> String {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+=:,./%@".contains(letter);
        if !word.is_empty() && word.chars().all(is_plain) {
            return word.to_owned();
        }
        match self {
            Self::Posix => format!("'{}'", word.replace('\'', r"'\''")),
            Self::Windows => format!("\"{}\"", word.replace('"', "\\\"")),
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
        let Remedy { tool, persistence, instructions, scope, undo } = remedy;
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
            Effective::AfterRestart => "takes effect for programs started later: restart those that run",
            Effective::AfterReconnect => "takes effect when the interface is connected again",
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

    /// Interface names that Linux accepts and that contain shell syntax.
    const HOSTILE: [&str; 7] = ["x;id>y", "$(id)", "`id`", "a'b", "a\"b", "a&b|c", "*"];

    #[test]
    fn hostile_name_stays_one_argument() {
        for name in HOSTILE {
            let remedy = Remedy::now(Tool::Ip, ["link", "set", "dev", name, "up"]);
            let Action::Run { program, args } = &remedy.actions()[0] else { panic!("{remedy:?}") };
            assert_eq!((program.as_str(), args[3].as_str()), ("ip", name));
        }
    }

    #[test]
    #[cfg(unix)]
    fn shell_reads_quoted_word_unchanged() {
        for name in HOSTILE.into_iter().chain(["", "plain", "two words", "-x", "~", "#"]) {
            let text = format!("printf '%s' {}", Shell::Posix.quote(name));
            let output = std::process::Command::new("sh").args(["-c", &text]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), name, "{text}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn shell_command_writes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new folder").join("x;id>y.conf");
        let text = "[Route]\nName=$(id) %s 'x'\n";
        let remedy = Remedy::file(Tool::Networkd, Persistence::Permanent, &path, text);
        for _ in 0..2 {
            let command = remedy.command().unwrap();
            let status = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
            assert!(status.success(), "{command}");
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "the second run replaces the file");
    }

    #[test]
    fn windows_names_with_spaces_are_quoted() {
        let remedy = Remedy::now(Tool::Netsh, ["interface", "set", "interface", "Ethernet 2", "enabled"]);
        assert_eq!(
            Shell::Windows.script(remedy.actions()).unwrap(),
            "netsh interface set interface \"Ethernet 2\" enabled"
        );
    }

    #[test]
    fn remedy_serializes_as_actions_and_command() {
        let remedy = Remedy::now(Tool::Ip, ["link", "set", "dev", "x;id>y", "up"]);
        let command = match Shell::here() {
            Shell::Posix => "ip link set dev 'x;id>y' up",
            Shell::Windows => "ip link set dev \"x;id>y\" up",
        };
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
