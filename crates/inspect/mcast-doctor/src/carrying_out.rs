//! Carrying out actions, and running programs that print a state, in a network namespace.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::action::{self, Action};
use crate::{Error, Result, socket_change};

/// The network namespace in which programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// That of the calling thread.
    Own,
    /// That of a process.
    Of(u32),
}

impl Network {
    /// Runs a program that prints a state, and returns its output; `None` if it fails. `cat` reads a file of `/proc`.
    pub(crate) fn output_of(self, program: &str, args: &[&str]) -> Option<String> {
        if let (Self::Own, "cat", [path]) = (self, program, args) {
            return fs::read_to_string(path).ok();
        }
        let mut command = self.command(program);
        let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Carries out an action without a shell. What a program prints goes to standard error.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::RemedyFailed`], [`Error::Write`] or [`Error::Socket`].
    pub(crate) fn carry_out(self, action: &Action) -> Result<()> {
        match action {
            Action::Run { program, args } => self.run(program, args),
            Action::Write { path, text } => write(path, text),
            Action::Remove { path } => remove(path),
            Action::Socket(action) => socket_change::make(action),
        }
    }

    fn run(self, program: &str, args: &[String]) -> Result<()> {
        let output = self.command(program).args(args).stderr(Stdio::inherit()).output();
        let output = output.map_err(|source| Error::Start { program: program.to_owned(), source })?;
        // If standard error is closed, the remedy still counts.
        let _ = io::stderr().write_all(&output.stdout);
        if output.status.success() {
            return Ok(());
        }
        Err(Error::RemedyFailed {
            program: program.to_owned(),
            status: output.status,
            command: action::line(&[Action::of(program, args)]).unwrap_or_default(),
            needs_root: true,
        })
    }

    fn command(self, program: &str) -> Command {
        match self {
            // A signal and a cgroup are not part of a network.
            Self::Of(pid) if program != "kill" => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
                command
            }
            _ => Command::new(program),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Write { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
