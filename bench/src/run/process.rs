//! A running contestant.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mcast_lab::{Child, Host};
use serde::de::DeserializeOwned;

use super::counters::cpu_seconds;

/// How long a contestant may take to open its sockets.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a contestant may take to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(15);

/// The processor that a program is pinned to, so that sender and receiver do not share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// The first.
    Sender,
    /// The second, if there is one.
    Receiver,
}

impl Cpu {
    fn number(self) -> usize {
        let last = thread::available_parallelism().map_or(0, |count| count.get() - 1);
        match self {
            Self::Sender => 0,
            Self::Receiver => last.min(1),
        }
    }
}

/// A running contestant, which is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    output: Receiver<String>,
    /// Its output so far, for error messages.
    lines: Vec<String>,
}

/// Starts a program on a host, pinned to a processor.
///
/// # Errors
/// If it cannot be started.
pub fn start(host: &Host, cpu: Cpu, program: &[OsString]) -> Result<Running> {
    start_with(host, cpu, program, Stdio::null())
}

/// Starts a program that runs until its standard input is closed by [`stop`](Running::stop).
///
/// # Errors
/// As [`start`].
pub fn start_with_input(host: &Host, cpu: Cpu, program: &[OsString]) -> Result<Running> {
    start_with(host, cpu, program, Stdio::piped())
}

fn start_with(host: &Host, cpu: Cpu, program: &[OsString], input: Stdio) -> Result<Running> {
    let what = words(program);
    let mut command = host.command("taskset")?;
    command.arg("--cpu-list").arg(cpu.number().to_string()).args(program);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting `{what}`"))?;
    let (to, output) = channel();
    forward(child.stdout.take(), to.clone());
    forward(child.stderr.take(), to);
    Ok(Running { what, child, output, lines: Vec::new() })
}

impl Running {
    /// Waits for the line that reports that its sockets are open.
    ///
    /// # Errors
    /// If it exits or takes too long; the error contains its output.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.wait_for(START_TIMEOUT, |line| (line == "ready").then_some(()))
    }

    /// Waits for a line that contains `text`.
    ///
    /// # Errors
    /// As [`wait_ready`](Self::wait_ready).
    pub fn wait_for_text(&mut self, text: &str) -> Result<()> {
        self.wait_for(START_TIMEOUT, |line| line.contains(text).then_some(()))
    }

    /// Waits for the JSON object that it prints at the end.
    ///
    /// # Errors
    /// As [`wait_ready`](Self::wait_ready).
    pub fn result<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T> {
        self.wait_for(within, |line| serde_json::from_str(line).ok())
    }

    /// Closes its standard input, and waits until it exits.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait_timeout(EXIT_TIMEOUT)?;
        Ok(())
    }

    /// Requests its end, as Ctrl-C does.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn interrupt(&self) -> Result<()> {
        Ok(self.child.signal(libc::SIGINT)?)
    }

    /// Returns the number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the CPU time that it has used so far, in seconds.
    ///
    /// # Errors
    /// If it has exited.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// Waits until it exits, and returns its output.
    ///
    /// # Errors
    /// If it takes too long.
    pub fn text(mut self, within: Duration) -> Result<String> {
        let ended = self.wait_for(within, |_| None::<()>);
        match self.child.try_wait()? {
            Some(_) => Ok(self.lines.join("\n")),
            None => ended.map(|()| String::new()),
        }
    }

    fn wait_for<T>(&mut self, within: Duration, mut found: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let result = found(&line);
                    self.lines.push(line);
                    if let Some(result) = result {
                        return Ok(result);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("`{}` took too long{}", self.what, self.last_output())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait_timeout(Duration::from_secs(5))?;
                    bail!("`{}` ended ({status}){}", self.what, self.last_output());
                }
            }
        }
    }

    fn last_output(&self) -> String {
        let from = self.lines.len().saturating_sub(8);
        match self.lines[from..].join("\n  ") {
            text if text.is_empty() => " without output".to_owned(),
            text => format!(", its output:\n  {text}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait_timeout(Duration::from_secs(5));
    }
}

/// Forwards the lines of a pipe to a channel.
fn forward(pipe: Option<impl Read + Send + 'static>, to: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Formats a command line, with absolute paths shortened to file names.
pub(crate) fn words(program: &[OsString]) -> String {
    let bare = |word: &OsString| {
        let path = Path::new(word);
        let name = path.file_name().filter(|_| path.is_absolute());
        name.unwrap_or(word).to_string_lossy().into_owned()
    };
    program.iter().map(bare).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_has_no_directories() {
        let program = ["env", "A=/b/c", "/x/y/peer", "10.0.0.1/24"].map(OsString::from);
        assert_eq!(words(&program), "env A=/b/c peer 10.0.0.1/24");
    }
}
