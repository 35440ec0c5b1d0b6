//! A host that runs Windows programs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mcast_lab::{Host, Lab};
use tempfile::TempDir;

use crate::support::{Ended, Running, program};

/// `eth0` of both on one cable: Windows with 10.0.0.1 and fd00::1, Linux with .2 and ::2.
pub(crate) struct Pair {
    pub(crate) windows: Windows,
    pub(crate) linux: Host,
    _lab: Lab,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let (windows, linux) = (lab.host("windows").unwrap(), lab.host("linux").unwrap());
        let switch = lab.switch("lan").unwrap();
        windows.connect("eth0", &switch, &["10.0.0.1/24", "fd00::1/64"]).unwrap();
        linux.connect("eth0", &switch, &["10.0.0.2/24", "fd00::2/64"]).unwrap();
        Self { windows: Windows::on(windows), linux, _lab: lab }
    }
}

/// Wine on a host, with a prefix of its own: Wine's server makes all sockets, so it must live there.
pub(crate) struct Windows {
    host: Host,
    prefix: TempDir,
}

impl Windows {
    fn on(host: Host) -> Self {
        let home = home();
        let prefix = TempDir::new_in(&home).unwrap();
        link_tree(&home.join("prefix"), prefix.path());
        Self { host, prefix }
    }

    /// `mcast.exe` with these arguments, to its end.
    pub(crate) fn mcast(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// `mcast.exe recv` with these arguments, once it has joined.
    pub(crate) fn recv(&self, arguments: &[&str]) -> Running {
        let running = self.start(&[&["recv"], arguments].concat());
        running.stderr.wait_for("joined");
        running
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let words = self.words(arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        program(&self.host, words[0], &words[1..], false)
    }

    /// The same in a console: on a terminal of its own, whose keys are what is written to standard input.
    pub(crate) fn console(&self, arguments: &[&str]) -> Running {
        let quoted =
            self.words(arguments).iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let script = ["--quiet", "--return", "--flush", "--command", &quoted, "/dev/null"];
        program(&self.host, "script", &script, true)
    }

    /// Sets what Wine wants, and becomes Wine.
    fn words(&self, arguments: &[&str]) -> Vec<String> {
        let home = home().display().to_string();
        let mut words = vec!["env".to_owned(), format!("WINEPREFIX={}", self.prefix.path().display())];
        words.push(format!("WINEPATH={home}"));
        words.extend(["WINEARCH=win64", "WINEDEBUG=-all"].map(str::to_owned));
        words.extend(["MCAST_WINE_PROGRAM", "MCAST_WINDOWS_COMMAND"].map(variable));
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        words
    }
}

/// Ends Wine's server, which otherwise runs some seconds longer than its programs.
impl Drop for Windows {
    fn drop(&mut self) {
        let wine = PathBuf::from(variable("MCAST_WINE_PROGRAM"));
        let server = wine.with_file_name("wineserver64");
        let Ok(mut command) = self.host.command(server) else { return };
        command.arg("-k").env("WINEPREFIX", self.prefix.path()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = command.spawn() {
            let _ = child.wait_timeout(crate::support::TIMEOUT);
        }
    }
}

fn home() -> PathBuf {
    PathBuf::from(variable("MCAST_WINE"))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `cargo verify --only wine` sets it"))
}

/// The same tree under another name, its files shared except for the registry. Wine's server replaces a registry file
/// that has one name, but truncates and rewrites one that has several, and all prefixes would read it half written.
fn link_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir(&target).unwrap();
            link_tree(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else if target.extension().is_some_and(|extension| extension == "reg") {
            fs::copy(entry.path(), target).unwrap();
        } else {
            fs::hard_link(entry.path(), target).unwrap();
        }
    }
}
