//! Actions of remedies, which run without a shell, and the only place that quotes them for one.

use std::path::{Path, PathBuf};

use mcast_sys::SocketChange;
use serde::{Deserialize, Serialize};

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
    /// Change of the socket, such as `join 239.255.2.3%2` or `hops ipv4 16`
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

/// A shell that users paste commands into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    /// `sh` and compatible shells.
    Posix,
    /// The common subset of `cmd.exe` and PowerShell.
    Windows,
}

/// Returns words as one line for a POSIX shell, such as that of a remote machine.
#[must_use]
pub fn posix_line(words: &[String]) -> String {
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

/// Returns actions as one line for this system's shell; `None` if there are none.
pub(crate) fn line(actions: &[Action]) -> Option<String> {
    Shell::here().script(actions)
}

impl Action {
    /// Returns the run of a program with these arguments.
    pub(crate) fn of(program: &str, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self::Run { program: program.to_owned(), args }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Interface names that Linux accepts and that contain shell syntax.
    const HOSTILE: [&str; 7] = ["x;id>y", "$(id)", "`id`", "a'b", "a\"b", "a&b|c", "*"];

    #[test]
    fn hostile_name_stays_one_argument() {
        for name in HOSTILE {
            let action = Action::of("ip", ["link", "set", "dev", name, "up"]);
            let Action::Run { program, args } = &action else { panic!("{action:?}") };
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
        let write = Action::Write { path: path.clone(), text: text.to_owned() };
        for _ in 0..2 {
            let command = command_line(std::slice::from_ref(&write));
            let status = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
            assert!(status.success(), "{command}");
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "the second run replaces the file");
    }

    #[test]
    fn windows_names_with_spaces_are_quoted() {
        let action = Action::of("netsh", ["interface", "set", "interface", "Ethernet 2", "enabled"]);
        assert_eq!(
            Shell::Windows.script(&[action]).unwrap(),
            "netsh interface set interface \"Ethernet 2\" enabled"
        );
    }
}
