//! Labs on Linux, and the output of their programs: each line is prefixed with its host's name.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{self, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use anstyle::Style;
use anyhow::Context;
use mcast_lab::topology::{OutputStream, ProgramEvent, SHIPPED};
use mcast_lab::{BadLink, Command, Host, LabError, LabErrorKind, LabNetwork, Program, Topology};
use mcast_sys::{ClassifiedError, FailureClass};
use mcast_terminal::{Console, Output};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGQUIT};

use super::{Action, ListArguments, OnArguments, RunArguments, ShellArguments, ShowArguments};
use crate::exit::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{
    Palette, Payload, count_of, rfc3339, seconds, text_width, wrap, write_json, write_record,
};
use crate::settings;
use crate::words::closest;

pub(super) fn run(action: &Action, console: &Console) -> anyhow::Result<Outcome> {
    match action {
        Action::Run(run) => run_programs(run, console),
        Action::Shell(arguments) => shell(arguments, console),
        Action::On(arguments) => on(arguments),
        Action::Show(show) => self::show(show, console),
        Action::List(list) => self::list(list, console),
    }
}

fn show(show: &ShowArguments, console: &Console) -> anyhow::Result<Outcome> {
    let text = match shipped(&show.name) {
        _ if show.svg => topology(&show.name)?.to_svg(),
        Some(text) => text.to_owned(),
        None => {
            let unknown = Failure::usage(format!("mcast has no built-in network '{}'", show.name));
            return Err(unknown.remedy(format!("the built-in networks are {}", names_listed())).into());
        }
    };
    let mut output = console.output();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(Outcome::Yes)
}

/// One object per network.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct NetworkRecord<'a> {
    /// Name of the network for `mcast lab run` and `mcast lab shell`
    name: &'a str,
    /// Purpose of the network
    description: &'a str,
    /// Hosts and routers
    hosts: Vec<&'a str>,
}

fn list(list: &ListArguments, console: &Console) -> anyhow::Result<Outcome> {
    let mut output = console.output();
    let (heading, dim) = (console.palette().heading, console.palette().dim);
    for (name, text) in SHIPPED {
        let topology = Topology::parse(text).map_err(failed)?;
        let (description, hosts) = (topology.description(), topology.hosts().collect::<Vec<_>>());
        if list.json {
            write_record(&mut output, "network", &NetworkRecord { name, description, hosts })?;
            continue;
        }
        writeln!(output, "{heading}{name}{heading:#}  {dim}{}{dim:#}", hosts.join(", "))?;
        wrap(description, text_width() - 2).iter().try_for_each(|line| writeln!(output, "  {line}"))?;
    }
    output.flush()?;
    Ok(Outcome::Yes)
}

/// Returns `PATH` for programs in a lab, where `mcast` is this program.
fn path() -> anyhow::Result<OsString> {
    let program = env::current_exe().context("cannot determine the path of this program")?;
    let own = program.parent().map(PathBuf::from).into_iter();
    let others = env::var_os("PATH").unwrap_or_default();
    env::join_paths(own.chain(env::split_paths(&others)))
        .context("the directory of this program cannot be added to PATH")
}

/// Converts an error to a failure with its exit status. Its message does not repeat the remedy.
fn failed(error: LabError) -> anyhow::Error {
    let message = match (error.kind(), error.cause()) {
        (LabErrorKind::Refused { why, .. }, Some(cause)) => {
            format!("cannot {}: {why} ({cause})", error.operation())
        }
        (LabErrorKind::Refused { why, .. }, None) => format!("cannot {}: {why}", error.operation()),
        _ => message(&error),
    };
    let failure = Failure::new(error.class().unwrap_or(FailureClass::Environment), message);
    match error.remedy() {
        Some(remedy) => failure.remedy(remedy).into(),
        None => failure.into(),
    }
}

/// Returns the error as a sentence. A lab's errors start with the action that failed.
fn message(error: &LabError) -> String {
    format!("cannot {error}")
}

/// The longest wait before checking for Ctrl-C.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

fn run_programs(run: &RunArguments, console: &Console) -> anyhow::Result<Outcome> {
    let topology = topology(&run.topology)?;
    let network = topology.build().map_err(failed)?;
    let interrupt = Interrupt::catch(|| ())?;
    let mut printer = ScenarioPrinter::new(&topology, run.json, console);
    printer.begin(&run.topology)?;
    let as_expected = run_to_end(&network, run.timeout, &interrupt, &mut printer)?;
    printer.end(network.bad_links())?;
    let links_kept_up = printer.check_links(network.bad_links());
    Ok(interrupt.outcome().unwrap_or_else(|| Outcome::of(as_expected && links_kept_up)))
}

/// In a lab, the interfaces of the settings do not exist.
const NO_SETTINGS: &str = "";

/// Runs all programs to their end, and asks them to end after Ctrl-C or the time limit. Returns whether all ended as
/// expected.
fn run_to_end(
    network: &LabNetwork,
    timeout: Option<Duration>,
    interrupt: &Interrupt,
    printer: &mut ScenarioPrinter<'_>,
) -> anyhow::Result<bool> {
    let path = path()?;
    let mut run = network.run(move |_: &Program, command: &mut Command| {
        command.env("PATH", &path).env(settings::VARIABLE, NO_SETTINGS);
    });
    if let Some(timeout) = timeout {
        run = run.time_limit(timeout);
    }
    let mut as_expected = true;
    while !run.is_over() {
        if !printer.is_stopping() && interrupt.has_arrived() {
            printer.stopping();
            run.stop(signal_hook::consts::SIGINT).map_err(failed)?;
        }
        let Some(event) = run.next(POLL_INTERVAL).map_err(failed)? else { continue };
        as_expected &= is_expected(&event);
        if event == ProgramEvent::TimeLimit {
            printer.stopping();
        }
        printer.print(&event)?;
    }
    Ok(as_expected)
}

fn is_expected(event: &ProgramEvent) -> bool {
    match event {
        ProgramEvent::Ended { as_expected, .. } => *as_expected,
        ProgramEvent::Skipped { .. } | ProgramEvent::TimeLimit => false,
        _ => true,
    }
}

fn shell(shell: &ShellArguments, console: &Console) -> anyhow::Result<Outcome> {
    let topology = topology(&shell.topology)?;
    check_host(&topology, shell)?;
    let network = topology.build().map_err(failed)?;
    let host = network.host(&shell.host).with_context(|| format!("'{}' was not created", shell.host))?;
    let mut command = command(host, shell)?;
    command.env("PATH", path()?).env("MCAST_LAB_HOST", &shell.host).env(settings::VARIABLE, NO_SETTINGS);
    command.grant_access_to(topology.hosts().filter_map(|name| network.host(name))).map_err(failed)?;
    leave_interrupts_to_the_command()?;
    if shell.command.is_empty() {
        greet(&topology, host, console);
    }
    let status = command.status().map_err(failed)?;
    Ok(Outcome::of_program(status))
}

fn check_host(topology: &Topology, shell: &ShellArguments) -> anyhow::Result<()> {
    let hosts: Vec<&str> = topology.hosts().collect();
    if hosts.contains(&shell.host.as_str()) {
        return Ok(());
    }
    let unknown = Failure::usage(format!("{} has no host called '{}'", shell.topology, shell.host));
    Err(unknown.remedy(format!("its hosts are {}", hosts.join(", "))).into())
}

fn command(host: &Host, shell: &ShellArguments) -> anyhow::Result<Command> {
    if let Some((program, arguments)) = shell.command.split_first() {
        let mut command = host.command(program).map_err(failed)?;
        command.args(arguments);
        return Ok(command);
    }
    let program = env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = host.command(program).map_err(failed)?;
    // Plain shells take the prompt from the environment. The start files of bash overwrite it, but bash runs this
    // command after them.
    command.env("PS1", format!("(lab) {}$ ", shell.host));
    command.env("PROMPT_COMMAND", "PS1=\"(lab) ${PS1-}\"; unset PROMPT_COMMAND");
    Ok(command)
}

/// Leaves Ctrl-C and Ctrl-\ to the program on the host, which is in this process's group; this process waits for it.
/// The signals are caught and not ignored, because programs inherit ignored signals.
fn leave_interrupts_to_the_command() -> anyhow::Result<()> {
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .context("cannot pass Ctrl-C to the shell")?;
    }
    Ok(())
}

fn greet(topology: &Topology, host: &Host, console: &Console) {
    let heading = console.palette_for_notes().heading;
    let others: Vec<&str> = topology.hosts().filter(|name| *name != host.name()).collect();
    console
        .note(format_args!("You are on {heading}{}{heading:#}; `exit` takes the network down.", host.name()));
    if !others.is_empty() {
        let others = others.join(", ");
        console.note(format_args!("On the other hosts ({others}): mcast lab on HOST COMMAND"));
    }
}

/// Runs a command on another host of the lab whose shell this is.
fn on(on: &OnArguments) -> anyhow::Result<Outcome> {
    let OnArguments { host, command } = on;
    mcast_lab::enter_host(host).map_err(|error| match error.kind() {
        LabErrorKind::Unsupported(_) => Failure::usage(message(&error))
            .remedy("open a shell in a lab first: `mcast lab shell four-hosts eastny`")
            .into(),
        LabErrorKind::Missing(_) => Failure::usage(message(&error)).into(),
        _ => failed(error),
    })?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("there is no command to run").into());
    };
    // Returns only on failure: the command replaces this process.
    let error = process::Command::new(program).args(arguments).env("MCAST_LAB_HOST", host).exec();
    Err(Failure::environment(format!("cannot run {} on {host}: {error}", program.display())).into())
}

/// Returns the built-in topology of this name, or the topology in this file.
fn topology(name: &str) -> anyhow::Result<Topology> {
    let text = match shipped(name) {
        Some(text) => text.to_owned(),
        None => read(name)?,
    };
    Topology::parse(&text).map_err(|error| wrong(name, &text, error))
}

/// Returns the text of a built-in network.
fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// Returns the names of the built-in networks.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Returns the names of the hosts of a network; none if there is no such network, or its file is not a topology.
pub(crate) fn hosts(name: &str) -> Vec<String> {
    topology(name).map(|topology| topology.hosts().map(str::to_owned).collect()).unwrap_or_default()
}

/// Returns the names of the hosts of the lab in whose shell this program runs; none elsewhere.
pub(crate) fn hosts_of_this_shell() -> Vec<String> {
    mcast_lab::accessible_hosts()
}

/// Returns the names of the built-in networks as a list in a sentence.
fn names_listed() -> String {
    names().collect::<Vec<_>>().join(", ")
}

/// The maximum length of a topology, so that a device without an end is not read.
const MAX_LENGTH: u64 = 1 << 20;

fn read(path: &str) -> anyhow::Result<String> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(MAX_LENGTH + 1).read_to_string(&mut text).map(|_| text)
    };
    let text = read().map_err(|error| {
        let failure = Failure::environment(format!("cannot read \"{path}\": {error}"));
        match error.kind() {
            ErrorKind::NotFound => {
                let meant = closest(path, names());
                let meant = meant.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
                failure
                    .remedy(format!("{meant}give a topology file, or one of the networks {}", names_listed()))
            }
            _ => failure,
        }
    })?;
    if text.len() as u64 > MAX_LENGTH {
        return Err(Failure::usage(format!("\"{path}\" is longer than a topology may be, 1 MiB")).into());
    }
    Ok(text)
}

/// Returns an error in a topology with its line, in the format of compilers.
fn wrong(name: &str, text: &str, error: LabError) -> anyhow::Error {
    let LabErrorKind::Topology { line, problem } = error.kind() else { return failed(error) };
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim_end();
    Failure::usage(format!("{name}:{line}: {problem}\n{line:>5} | {shown}"))
        .remedy("compare it with one that works: `mcast lab show four-hosts`")
        .into()
}

/// Prints the events of a network.
struct ScenarioPrinter<'a> {
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

/// One object per event.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Object<'a> {
    /// Time at which the command noticed the event (RFC 3339, UTC, with nanoseconds)
    time: String,
    /// Event: a program started, is ready (programs that wait for it may start), wrote a line, ended, or was
    /// skipped because the event it waits for did not occur; or the time limit was reached
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [
            "started", "ready", "line", "ended", "skipped", "time_limit"
        ]))
    )]
    event: &'static str,
    /// Host that runs the program; omitted for `time_limit`
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    /// Name of the program in the topology; omitted for `time_limit`
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<&'a str>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

/// The fields of specific events.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Detail<'a> {
    Nothing {},
    Command {
        /// `started`: command line of the program
        command: &'a str,
    },
    Line {
        /// `line`: standard output or standard error
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["output", "error"])))]
        stream: &'static str,
        #[serde(flatten)]
        payload: Payload<'a>,
    },
    Ended {
        /// `ended`: exit status; null if a signal ended the program
        status: Option<i32>,
        /// `ended`: number of the signal that ended the program; null if the program exited
        signal: Option<i32>,
        /// `ended`: whether the program ended as the topology expects
        as_expected: bool,
    },
}

impl<'a> ScenarioPrinter<'a> {
    fn new(topology: &'a Topology, json: bool, console: &'a Console) -> Self {
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
    fn begin(&mut self, name: &str) -> io::Result<()> {
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
    fn stopping(&mut self) {
        self.stopping = true;
    }

    const fn is_stopping(&self) -> bool {
        self.stopping
    }

    fn print(&mut self, event: &ProgramEvent) -> io::Result<()> {
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
    fn end(&mut self, links: &[BadLink]) -> io::Result<()> {
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
    fn check_links(&self, links: &[BadLink]) -> bool {
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

mcast_json::schemas! { pub(crate),
    RecordSchema::new::<NetworkRecord<'_>>("lab-network", "Built-in network (`mcast lab list --json`)")
        .describe("hosts[]", "Name of a host")
        .event("network"),
    RecordSchema::new::<Object<'_>>("lab-event", "Lab event (`mcast lab run --json`)")
        .describe("text", "`line`: the line without its newline, if it is valid UTF-8")
        .describe("base64", "`line`: the line in base64 (RFC 4648, section 4), if it is not valid UTF-8"),
}
