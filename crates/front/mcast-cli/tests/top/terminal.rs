//! A simulated user at a terminal, who reads the screen and presses keys.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use mcast_lab::{Child, Host};

use crate::pseudoterminal;
use crate::support::{MCAST, TIMEOUT};

/// `mcast` on its own terminal, in its own session, as a shell would start it.
pub(crate) struct Terminal {
    person: File,
    /// The program's end, which stays open here, so that its settings can be read afterwards.
    program: OwnedFd,
    settings_before: String,
    child: Child,
    shown: Arc<Shown>,
}

struct Shown {
    state: Mutex<Screen>,
    changed: Condvar,
}

struct Screen {
    parser: vt100::Parser,
    /// All output, including escape sequences.
    bytes: Vec<u8>,
}

impl Terminal {
    pub(crate) fn start(host: &Host, size: (u16, u16), folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(host, size, folder, arguments, &[])
    }

    pub(crate) fn start_with(
        host: &Host,
        size: (u16, u16),
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let (columns, rows) = size;
        let (person, program) = pseudoterminal::open_terminal(columns, rows);
        let settings_before = settings(&program);
        let end = || Stdio::from(program.try_clone().unwrap());
        // A shell changes the folder, and then execs the command.
        let mut command = host.command("setsid").unwrap();
        command.args(["--ctty", "--wait", "sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(folder).arg(MCAST);
        command.args(arguments).env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS").env_remove("LINES");
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let shown = Arc::new(Shown {
            state: Mutex::new(Screen {
                parser: vt100::Parser::new(nonzero(rows), nonzero(columns), 0),
                bytes: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let (reader, showing) = (person.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || showing.follow(reader));
        Self { person, program, settings_before, child, shown }
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    pub(crate) fn press(&self, keys: &str) {
        (&self.person).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.shown.state.lock().unwrap().parser.screen_mut().set_size(nonzero(rows), nonzero(columns));
        pseudoterminal::resize(&self.person, columns, rows);
    }

    /// Waits until a complete picture satisfies the condition, and returns its lines.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + TIMEOUT;
        let mut screen = self.shown.state.lock().unwrap();
        loop {
            let lines = screen.lines();
            if screen.is_whole() && is_so(&lines) {
                return lines;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; the screen:\n{}", lines.join("\n"));
            screen = self.shown.changed.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// Waits until this text is on the screen.
    pub(crate) fn wait_for(&self, text: &str) -> Vec<String> {
        self.wait_until(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    /// Returns all output so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.shown.state.lock().unwrap().bytes.clone()
    }

    /// Returns the process that controls the terminal: the command itself.
    pub(crate) fn command_id(&self) -> u32 {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().next().map_or(id, |child| child.parse().unwrap())
    }

    /// Waits for the end, and asserts that the terminal was restored.
    pub(crate) fn end(mut self) -> Option<i32> {
        let status = self.child.wait_timeout(TIMEOUT).unwrap();
        let deadline = Instant::now() + TIMEOUT;
        while !contains(&self.bytes(), b"\x1b[?1049l") {
            assert!(Instant::now() < deadline, "the terminal was not given back");
            thread::yield_now();
        }
        let screen = self.shown.state.lock().unwrap();
        assert!(!screen.parser.screen().hide_cursor(), "the cursor is still hidden");
        assert!(!screen.parser.screen().alternate_screen(), "the other screen is still shown");
        drop(screen);
        assert_eq!(settings(&self.program), self.settings_before, "the terminal's settings changed");
        status.code()
    }
}

impl Screen {
    /// Returns whether every picture is a complete synchronized update.
    fn is_whole(&self) -> bool {
        let last = |mark: &[u8]| self.bytes.windows(mark.len()).rposition(|window| window == mark);
        last(b"\x1b[?2026h") <= last(b"\x1b[?2026l")
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.parser.screen();
        screen.rows(0, screen.size().1.get()).collect()
    }
}

impl Shown {
    fn follow(&self, mut terminal: File) {
        let mut chunk = [0; 4096];
        // An error is the end: the other side is closed.
        while let Ok(count @ 1..) = terminal.read(&mut chunk) {
            let mut screen = self.state.lock().unwrap();
            screen.parser.process(&chunk[..count]);
            screen.bytes.extend_from_slice(&chunk[..count]);
            self.changed.notify_all();
        }
    }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

/// Returns the terminal's settings in the format of `stty -g`.
fn settings(program: &OwnedFd) -> String {
    let output =
        std::process::Command::new("stty").arg("-g").stdin(program.try_clone().unwrap()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
