//! Programs that answer questions on their standard input.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use mcast_lab::{Child, Host};

/// A program that answers each line with one.
pub(crate) struct Conversation {
    pub(crate) child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Conversation {
    pub(crate) fn start(host: &Host, program: &str, arguments: &[&str]) -> Self {
        let mut command = host.command(program).unwrap();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the program has ended");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line()
    }
}
