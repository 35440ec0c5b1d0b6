//! Output of the programs of a network: each line is prefixed with its host's name.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use anstyle::Style;
use mcast_lab::topology::{OutputStream, ProgramEvent};
use mcast_lab::{BadLink, Program, Topology};
use mcast_terminal::{Console, Output};
use serde::Serialize;

use crate::output::{Palette, Payload, count_of, rfc3339, seconds, write_json};

/// Prints the events of a network.
pub(super) struct Printer<'a> {
    console: &'a Console,
    output: Output,
    programs: &'a [Program],
    description: &'a str,
    /// The hosts in order, which decides their colours.
    hosts: Vec<&'a str>,
    width: usize,
    json: bool,
    begun: Instant,
    /// Whether all programs have been asked to end.
    stopping: bool,
    ends: Vec<End>,
}

/// How a program ended.
#[derive(Clone, Copy)]
enum End {
    /// The program still runs.
    Running,
    Ended {
        status: ExitStatus,
        as_expected: bool,
        after: Duration,
    },
    Stopped {
        after: Duration,
    },
    Skipped,
}

/// An event as JSON.
#[derive(Serialize)]
struct Object<'a> {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<&'a str>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

/// The fields of specific events.
#[derive(Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Nothing {},
    Command {
        command: &'a str,
    },
    Line {
        stream: &'static str,
        #[serde(flatten)]
        payload: Payload<'a>,
    },
    Ended {
        status: Option<i32>,
        signal: Option<i32>,
        as_expected: bool,
    },
}

impl<'a> Printer<'a> {
    pub(super) fn new(topology: &'a Topology, json: bool, console: &'a Console) -> Self {
        let hosts: Vec<&str> = topology.hosts().collect();
        Self {
            console,
            output: console.output(),
            programs: topology.programs(),
            description: topology.description(),
            width: hosts.iter().map(|host| host.chars().count()).max().unwrap_or(0),
            hosts,
            json,
            begun: Instant::now(),
            stopping: false,
            ends: vec![End::Running; topology.programs().len()],
        }
    }

    /// Announces the network.
    pub(super) fn begin(&mut self, name: &str) -> io::Result<()> {
        let heading = self.console.palette_for_notes().heading;
        let separator = if self.description.is_empty() { "" } else { "  " };
        self.console.note(format_args!("{heading}{name}{heading:#}{separator}{}", self.description));
        if self.programs.is_empty() {
            self.console.warn("there is nothing to do: no host has a command to run");
            self.console.advise(format_args!(
                "add a line such as `run = [\"mcast interfaces\"]` to a host, \
                or open a shell on a host: `mcast lab shell {name} HOST`"
            ));
        }
        Ok(())
    }

    /// Records that all programs have been asked to end, so that their end is not a failure.
    pub(super) fn stopping(&mut self) {
        self.stopping = true;
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Prints an event.
    pub(super) fn print(&mut self, event: &ProgramEvent) -> io::Result<()> {
        self.remember(event);
        if self.json { self.write_json(event) } else { self.write_text(event) }
    }

    fn remember(&mut self, event: &ProgramEvent) {
        let (program, end) = match event {
            ProgramEvent::Ended { program, status, as_expected } => {
                let (after, as_expected) = (self.begun.elapsed(), *as_expected);
                match self.stopping && !as_expected {
                    true => (*program, End::Stopped { after }),
                    false => (*program, End::Ended { status: *status, as_expected, after }),
                }
            }
            ProgramEvent::Skipped { program } => (*program, End::Skipped),
            _ => return,
        };
        self.ends[program] = end;
    }

    fn write_text(&mut self, event: &ProgramEvent) -> io::Result<()> {
        match event {
            ProgramEvent::Started { program } => {
                let palette = self.console.palette_for_notes();
                let (prefix, dim) = (self.prefix(*program, palette), palette.dim);
                self.console.note(format_args!("{prefix}{dim}$ {}{dim:#}", self.programs[*program].command));
            }
            ProgramEvent::Line { program, stream: OutputStream::Stdout, line } => {
                let prefix = self.prefix(*program, self.console.palette());
                self.output.write_all(prefix.as_bytes())?;
                self.output.write_all(line)?;
                self.output.write_all(b"\n")?;
                self.output.flush()?;
            }
            ProgramEvent::Line { program, stream: OutputStream::Stderr, line } => {
                let prefix = self.prefix(*program, self.console.palette_for_notes());
                // In one call, so that no other line is written in between.
                let line = [prefix.as_bytes(), line, b"\n"].concat();
                io::stderr().lock().write_all(&line)?;
            }
            ProgramEvent::TimeLimit => {
                self.console.warn("the time limit has passed; stopping what still runs");
            }
            _ => {}
        }
        Ok(())
    }

    fn write_json(&mut self, event: &ProgramEvent) -> io::Result<()> {
        let (name, program, detail) = match event {
            ProgramEvent::Started { program } => {
                let command = &self.programs[*program].command;
                ("started", Some(*program), Detail::Command { command })
            }
            ProgramEvent::Ready { program } => ("ready", Some(*program), Detail::Nothing {}),
            ProgramEvent::Line { program, stream, line } => {
                let stream = if *stream == OutputStream::Stdout { "output" } else { "error" };
                ("line", Some(*program), Detail::Line { stream, payload: Payload::new(line) })
            }
            ProgramEvent::Ended { program, status, as_expected } => {
                let (status, signal) = (status.code(), status.signal());
                ("ended", Some(*program), Detail::Ended { status, signal, as_expected: *as_expected })
            }
            ProgramEvent::Skipped { program } => ("skipped", Some(*program), Detail::Nothing {}),
            ProgramEvent::TimeLimit => ("time_limit", None, Detail::Nothing {}),
            _ => return Ok(()),
        };
        let program = program.map(|program| &self.programs[program]);
        let object = Object {
            time: rfc3339(SystemTime::now()),
            event: name,
            host: program.map(|program| program.host.as_str()),
            program: program.map(|program| program.name.as_str()),
            detail,
        };
        write_json(&mut self.output, &object)?;
        self.output.flush()
    }

    /// Reports how the programs ended, and what the bad links did.
    pub(super) fn end(&mut self, links: &[BadLink]) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let palette = self.console.palette_for_notes();
        for (number, end) in self.ends.iter().enumerate() {
            let (style, mark, what) = end.describe(&self.programs[number], palette);
            let (prefix, dim) = (self.prefix(number, palette), palette.dim);
            let command = &self.programs[number].command;
            self.console.note(format_args!("{prefix}{style}{mark} {what}{style:#}  {dim}{command}{dim:#}"));
        }
        for link in links {
            let seen = link.statistics();
            self.console.note(format_args!(
                "bad link: {}, {} lost, {} duplicated, {} reordered",
                count_of(seen.datagrams, "datagram"),
                seen.lost,
                seen.duplicated,
                seen.reordered,
            ));
        }
        Ok(())
    }

    /// Returns whether the bad links lost only what was configured; prints a warning if not.
    pub(super) fn check_links(&self, links: &[BadLink]) -> bool {
        let overruns: u64 = links.iter().map(|link| link.statistics().overruns).sum();
        if overruns > 0 {
            let frames = count_of(overruns, "frame");
            self.console.warn(format_args!(
                "a bad link could not keep up and lost {frames} beyond its configured \
                    loss"
            ));
            self.console.help("send less, or send more slowly (`mcast send --rate`)");
        }
        overruns == 0
    }

    /// Returns the start of a line: the name of the program's host.
    fn prefix(&self, program: usize, palette: &Palette) -> String {
        let host = self.programs[program].host.as_str();
        let number = self.hosts.iter().position(|name| *name == host).unwrap_or(0);
        let (colour, dim, width) = (palette.of_number(number), palette.dim, self.width);
        format!("{colour}{host:width$}{colour:#} {dim}|{dim:#} ")
    }
}

impl End {
    /// Returns a style, a mark, and how the program ended.
    fn describe(self, program: &Program, palette: &Palette) -> (Style, &'static str, String) {
        let (good, bad) = ((palette.good, "✓"), (palette.bad, "✗"));
        let ((style, mark), words) = match self {
            Self::Stopped { after } => ((palette.warning, "-"), format!("stopped after {}", seconds(after))),
            Self::Running => (bad, "did not end".to_owned()),
            Self::Skipped => (bad, "not started: a program that it waits for was not ready".to_owned()),
            Self::Ended { status, as_expected, after } => {
                let after = seconds(after);
                let expected = status.code() == Some(program.expect);
                match (as_expected, expected, program.expect) {
                    (true, true, 0) => (good, format!("exit 0 after {after}")),
                    (true, true, status) => (good, format!("exit {status}, as expected, after {after}")),
                    (true, false, _) => (good, format!("stopped after {after}")),
                    (false, ..) => (bad, format!("{} after {after}", unexpected(status, program.expect))),
                }
            }
        };
        (style, mark, words)
    }
}

fn unexpected(status: ExitStatus, expect: i32) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    format!("{how}, expected {expect},")
}
