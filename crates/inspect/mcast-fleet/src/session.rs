//! A member on another machine, started with the system's ssh.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver as Lines, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mcast_sys::process;

use crate::hosts::{FleetHost, SessionError};
use crate::message::{MemberCommand, MemberEvent};
use mcast_doctor::posix_line;

/// The longest line that a member may print.
const MAX_LINE: u64 = 4 << 20;
/// The number of lines that wait for being read.
const PENDING_LINES: usize = 64;
/// How much of the end of standard error is kept.
const MAX_ERRORS: usize = 4 << 10;
/// The longest wait before a check whether to continue.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long ssh may take to end after its input has.
const EXIT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait for the rest of standard error once ssh has ended.
const ERRORS_TIMEOUT: Duration = Duration::from_secs(1);

/// How to reach the machines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshOptions {
    /// The ssh client.
    pub program: PathBuf,
    /// A configuration file instead of the user's.
    pub config: Option<PathBuf>,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// Whether to run the command on the machines as root, with sudo, which must not require a password.
    pub sudo: bool,
    /// The command on the machines.
    pub remote_command: String,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            program: "ssh".into(),
            config: None,
            connect_timeout: Duration::from_secs(10),
            sudo: false,
            remote_command: "mcast".into(),
        }
    }
}

impl SshOptions {
    /// Returns the command that runs `mcast` with these arguments on a host.
    fn command(&self, host: &FleetHost, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        let timeout = format!("ConnectTimeout={}", self.connect_timeout.as_secs().max(1));
        // A connection of its own, so that it ends with this process; without questions, so that it never waits.
        let options = [
            "BatchMode=yes",
            "ControlMaster=no",
            "ControlPath=none",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=3",
            "ClearAllForwardings=yes",
            "RemoteCommand=none",
            &timeout,
        ];
        command.arg("-T").args(options.iter().flat_map(|option| ["-o", option]));
        if let Some(port) = host.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", &host.destination, &self.remote_line(arguments)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns the line that the shell on the machine runs. The only place where words are quoted for it.
    fn remote_line(&self, arguments: &[String]) -> String {
        // The status of a machine depends on what sudo prints, so that must not be translated.
        let sudo = ["env", "LC_ALL=C", "sudo", "-n", "--"].map(str::to_owned);
        let mut words = if self.sudo { sudo.to_vec() } else { Vec::new() };
        words.push(self.remote_command.clone());
        words.extend_from_slice(arguments);
        posix_line(&words)
    }
}

/// A running ssh session. Dropping it ends the member: first by the end of its input, then by the end of the session.
pub(super) struct MemberSession {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<Vec<u8>>,
    errors: Arc<Mutex<VecDeque<u8>>>,
    /// Disconnected once all of standard error has been read.
    errors_end: Lines<()>,
}

impl MemberSession {
    pub(super) fn start(
        options: &SshOptions,
        host: &FleetHost,
        arguments: &[String],
    ) -> Result<Self, SessionError> {
        let start = |error: std::io::Error| {
            SessionError::Start(format!("cannot start {}: {error}", options.program.display()))
        };
        let mut command = options.command(host, arguments);
        // An interrupt by the keyboard goes to a whole process group. It must not end the sessions before their reports.
        process::lead_group(&mut command);
        let mut child = command.spawn().map_err(start)?;
        let (sender, lines) = sync_channel(PENDING_LINES);
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (errors_open, errors_end) = sync_channel(0);
        let session = Self { child, stdin, lines, errors: Arc::clone(&errors), errors_end };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.into()).spawn(work).map(drop).map_err(start)
        };
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            spawn("ssh output", Box::new(move || read_lines(stdout, &sender)))?;
            let read = move || {
                read_errors(stderr, &errors);
                drop(errors_open);
            };
            spawn("ssh errors", Box::new(read))?;
        }
        Ok(session)
    }

    /// Sends a command. A session that has ended is noticed by [`Self::next`].
    pub(super) fn send(&mut self, command: &MemberCommand) {
        if let (Some(stdin), Ok(line)) = (&mut self.stdin, serde_json::to_string(command))
            && writeln!(stdin, "{line}").and_then(|()| stdin.flush()).is_err()
        {
            self.stdin = None;
        }
    }

    /// Returns the next message of the member, by `deadline`. The start-up files of a shell may print something before it,
    /// and need not end the line.
    pub(super) fn next(
        &mut self,
        deadline: Instant,
        keep_going: &dyn Fn() -> bool,
    ) -> Result<MemberEvent, SessionError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = self.lines.recv_timeout(left.min(POLL_INTERVAL));
            match received {
                Ok(line) => {
                    if let Some(message) = message_in(&line) {
                        return serde_json::from_slice(message)
                            .map_err(|_| SessionError::Garbled(shortened(message)));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Also while it keeps printing something else.
            if !keep_going() {
                return Err(SessionError::Cancelled);
            }
            if left.is_zero() {
                return Err(SessionError::TimedOut);
            }
        }
    }

    fn ended(&mut self) -> SessionError {
        let status = self.wait();
        // ssh has ended, but what it wrote may not have been read yet. A process that it left behind can keep the pipe
        // open: do not wait for its end.
        let _ = self.errors_end.recv_timeout(ERRORS_TIMEOUT);
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = String::from_utf8_lossy(&errors.iter().copied().collect::<Vec<_>>()).trim().to_owned();
        SessionError::Ended { status: status.and_then(|status| status.code()), errors }
    }

    /// Closes the member's input, waits for the end of the session, and kills it if that takes too long.
    fn wait(&mut self) -> Option<ExitStatus> {
        self.stdin = None;
        let deadline = Instant::now() + EXIT_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(status) => return status,
                Err(_) => break,
            }
        }
        // With it ends the ssh through which it jumps.
        process::end_group(&mut self.child, true);
        self.child.wait().ok()
    }
}

impl Drop for MemberSession {
    fn drop(&mut self) {
        self.wait();
    }
}

fn read_lines(stdout: impl Read, lines: &SyncSender<Vec<u8>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        match (&mut stdout).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if lines.send(line).is_err() => return,
            Ok(_) => {}
        }
    }
}

/// Returns the message at the end of a line, if there is one. Members write the event first.
fn message_in(line: &[u8]) -> Option<&[u8]> {
    const START: &[u8] = b"{\"event\":";
    let start = line.windows(START.len()).position(|bytes| bytes == START)?;
    line.get(start..)
}

/// Keeps the end of standard error.
fn read_errors(mut stderr: impl Read, errors: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut buffer) {
        let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.extend(&buffer[..length]);
        let excess = errors.len().saturating_sub(MAX_ERRORS);
        errors.drain(..excess);
    }
}

fn shortened(line: &[u8]) -> String {
    const MOST: usize = 200;
    String::from_utf8_lossy(line).trim().chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &SshOptions, arguments: &[&str]) -> String {
        options.remote_line(&arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_quoted_for_the_remote_shell() {
        let options = SshOptions { remote_command: "/opt/my tools/mcast".into(), ..SshOptions::default() };
        assert_eq!(
            line(&options, &["doctor", "[ff15::1]:5", "a'b"]),
            "'/opt/my tools/mcast' doctor '[ff15::1]:5' 'a'\\''b'"
        );
        let options = SshOptions { sudo: true, ..SshOptions::default() };
        assert_eq!(line(&options, &["doctor"]), "env LC_ALL=C sudo -n -- mcast doctor");
    }

    #[test]
    fn the_command_of_ssh_asks_nothing_and_ends_its_options() {
        let host = "joe@a:2222".parse().unwrap();
        let command = SshOptions::default().command(&host, &["doctor".into()]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.contains(&"BatchMode=yes".into()) && words.contains(&"ConnectTimeout=10".into()));
        assert_eq!(&words[words.len() - 5..], ["-p", "2222", "--", "joe@a", "mcast doctor"]);
    }

    /// Starts a session with a script instead of ssh.
    #[cfg(unix)]
    fn session(folder: &std::path::Path, script: &str) -> MemberSession {
        use std::os::unix::fs::PermissionsExt;

        let path = folder.join("ssh");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = SshOptions { program: path, ..SshOptions::default() };
        MemberSession::start(&options, &"a".parse().unwrap(), &[]).ok().unwrap()
    }

    #[cfg(unix)]
    #[test]
    fn a_session_that_ends_or_prints_something_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let next = |script: &str| {
            let deadline = Instant::now() + Duration::from_secs(30);
            session(folder.path(), script).next(deadline, &|| true)
        };
        let ended = SessionError::Ended { status: Some(7), errors: "no".into() };
        assert_eq!(next("echo Welcome; echo no >&2; exit 7"), Err(ended));
        assert!(matches!(next("echo '{\"event\":\"other\"}'"), Err(SessionError::Garbled(_))));
        for noise in ["echo Welcome", "printf Welcome", "printf 'Gr\\374\\337e\\n'", "echo '{\"motd\":1}'"] {
            let script = format!("{noise}; echo '{{\"event\":\"probes-done\"}}'");
            assert_eq!(next(&script), Ok(MemberEvent::ProbesDone), "{noise}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_session_that_prints_without_end_times_out_or_is_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let mut endless = session(folder.path(), "exec yes");
        let soon = Instant::now() + Duration::from_millis(200);
        assert_eq!(endless.next(soon, &|| true), Err(SessionError::TimedOut));
        let deadline = Instant::now() + Duration::from_secs(30);
        assert_eq!(endless.next(deadline, &|| false), Err(SessionError::Cancelled));
    }

    #[cfg(unix)]
    #[test]
    fn a_session_does_not_share_the_interrupts_of_the_keyboard() {
        let folder = tempfile::tempdir().unwrap();
        let group = "ps -o pgid= -p $$ | tr -d ' '";
        let script = format!("test \"$({group})\" = $$ && echo '{{\"event\":\"probes-done\"}}'");
        let deadline = Instant::now() + Duration::from_secs(30);
        assert_eq!(session(folder.path(), &script).next(deadline, &|| true), Ok(MemberEvent::ProbesDone));
    }

    #[cfg(unix)]
    #[test]
    fn a_silent_session_times_out_and_ends_with_its_input() {
        let folder = tempfile::tempdir().unwrap();
        let mut silent = session(folder.path(), "exec cat");
        assert_eq!(silent.next(Instant::now(), &|| true), Err(SessionError::TimedOut));
        let deadline = Instant::now() + Duration::from_secs(30);
        assert_eq!(silent.next(deadline, &|| false), Err(SessionError::Cancelled));
        let begun = Instant::now();
        drop(silent);
        assert!(begun.elapsed() < EXIT_TIMEOUT);
        // One that ignores the end of its input is killed.
        let stubborn = session(folder.path(), "exec sleep 1000");
        drop(stubborn);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_missing_ssh_is_an_error() {
        let options = SshOptions { program: "/no/such/ssh".into(), ..SshOptions::default() };
        let started = MemberSession::start(&options, &"a".parse().unwrap(), &[]);
        assert!(matches!(started, Err(SessionError::Start(_))));
    }
}
