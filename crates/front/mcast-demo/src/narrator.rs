//! Prints events, and counts failed checks.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anstyle::Style;
use mcast::GroupAddr;
use mcast_json::write_json;
use mcast_packet::hexdump;
use mcast_terminal::{Console, Output, Palette, text_width, wrap};
use serde::{Serialize, Serializer};

/// The widest line of text.
const MOST_WIDTH: usize = 84;
/// The column of the rest of a sentence, after the mark, the host and the verb.
const REST: usize = 22;
/// The width of a hexdump of 16 bytes a line, with its indentation.
const HEXDUMP: usize = 76;

/// The output format of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text with line drawing.
    Text,
    /// ASCII text.
    Ascii,
    /// JSON Lines.
    Json,
}

/// Returns the width of text.
fn width() -> usize {
    text_width().min(MOST_WIDTH)
}

/// Prints the demonstration line by line.
pub(crate) struct Narrator<'a> {
    console: &'a Console,
    form: Form,
    output: Output,
    palette: Palette,
    cast: &'static [&'static str],
    act: &'static str,
    checks: usize,
    failed: usize,
    /// Whether an empty line precedes the next one.
    apart: bool,
    begun: Instant,
}

/// One object per event; the fields depend on the event. The last line is a different record: demo-verdict.json.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Line<'a> {
    /// Part of the demonstration: flooding, snooping, two interfaces or loopback
    part: &'a str,
    /// Host or switch at which the event occurred
    host: &'a str,
    #[serde(flatten)]
    event: &'a Event,
    /// Whether the event is the expected one
    as_expected: bool,
    /// Expected event, if a different one occurred
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a Event>,
}

/// One object at the end.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Verdict {
    /// Record type
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["verdict"])))]
    event: &'static str,
    /// Where the demonstration ran: on virtual hosts (`lab`) or on the loopback interface only
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["lab", "loopback"])))]
    environment: &'static str,
    /// Number of events compared with the expected ones
    checks: usize,
    /// Number of events that differed from the expected ones; if not 0, the exit status is 1
    failed: usize,
}

/// Returns the schemas of what `--json` writes. Needs the feature `schema`.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<mcast_json::RecordSchema> {
    use mcast_json::RecordSchema;

    let event = "Event: a receiver joined on given interfaces (`joined`) or let the kernel choose the interface \
                 (`joined_anywhere`), a sender sent a datagram, a receiver received a datagram or nothing, a capture \
                 saw a packet or nothing, a captured frame was compared with the tutorial's, or a switch learned the \
                 members of a group";
    let mut fact = RecordSchema::new::<Line<'_>>("demo-fact", "Observed event (`mcast demo --json`)")
        .describe("event", event)
        .describe("expected.event", event);
    for event in ["", "expected."] {
        fact = fact
            .describe(&format!("{event}interfaces[]"), "Name of an interface")
            .describe(&format!("{event}differences[]"), "Name of a field")
            .describe(&format!("{event}hosts[]"), "Name of a host");
    }
    vec![fact, RecordSchema::new::<Verdict>("demo-verdict", "Verdict (`mcast demo --json`)")]
}

impl<'a> Narrator<'a> {
    /// Creates a narrator. Each host of `cast` has its own colour.
    pub(crate) fn new(console: &'a Console, form: Form, cast: &'static [&'static str]) -> Self {
        Self {
            console,
            form,
            output: console.output(),
            palette: if form == Form::Text { *console.palette() } else { Palette::new(false) },
            cast,
            act: "",
            checks: 0,
            failed: 0,
            apart: false,
            begun: Instant::now(),
        }
    }

    /// Prints a scene.
    pub(crate) fn show(&mut self, scene: Scene<'_>) -> io::Result<()> {
        let heading = self.palette.heading;
        match scene {
            Scene::Title(about) => {
                let about = fitted(about, "mcast demo  ".len());
                self.line(&format!("{heading}mcast demo{heading:#}  {about}"))
            }
            Scene::Act { name, title } => {
                self.act = name;
                let title = match title.split_once("  ") {
                    Some((number, rest)) => format!("{number}  {}", fitted(rest, number.len() + 2)),
                    None => fitted(title, 0),
                };
                self.paragraph(&format!("{heading}{title}{heading:#}"))
            }
            Scene::Picture(picture) => {
                let picture = picture.trim_matches('\n');
                let needed = picture.lines().map(|line| line.chars().count()).max().unwrap_or_default();
                match needed <= width() {
                    true => self.paragraph(&self.paint(picture)),
                    false => {
                        let text = format!("The network is drawn in terminals of {needed} columns or more.");
                        self.paragraph(&format!("  {}", fitted(&text, 2)))
                    }
                }
            }
            Scene::Explanation(text) => self.paragraph(&format!("  {}", self.paint(&fitted(text, 2)))),
            Scene::Step { host, event, expected } => self.step(host, event, expected),
        }
    }

    /// Prints an event at a host, compared with the expected one. An action has none: a failed one ends the
    /// demonstration.
    fn step(&mut self, host: &str, event: &Event, expected: Option<&Event>) -> io::Result<()> {
        let wrong = expected.filter(|expected| *expected != event);
        self.checks += usize::from(expected.is_some());
        self.failed += usize::from(wrong.is_some());
        if self.form == Form::Json {
            let as_expected = wrong.is_none();
            let line = Line { part: self.act, host, event, as_expected, expected: wrong };
            write_json(&mut self.output, &line)?;
            return self.output.flush();
        }
        let bad = self.palette.bad;
        match (expected, wrong) {
            (None, _) => self.sentence(" ", Style::new(), host, event),
            (_, None) => self.sentence(self.form.right(), self.palette.good, host, event),
            (_, Some(expected)) => {
                self.sentence(self.form.wrong(), bad, host, event)?;
                self.line(&format!("    {bad}should have {}{bad:#} {expected}", expected.verb()))
            }
        }
    }

    /// Prints the result, and returns whether all checks passed.
    pub(crate) fn end(mut self, environment: &'static str, advice: &str) -> io::Result<bool> {
        let (checks, failed) = (self.checks, self.failed);
        self.apart = true;
        if self.form == Form::Json {
            write_json(&mut self.output, &Verdict { event: "verdict", environment, checks, failed })?;
        } else if failed == 0 {
            let good = self.palette.good;
            let result = format!("All {checks} checks passed.");
            // The command in the advice stays whole.
            let gap = if result.len() + 1 + advice.len() <= width() { " " } else { "\n" };
            self.line(&format!("{good}{result}{good:#}{gap}{advice}"))?;
        } else {
            let bad = self.palette.bad;
            self.line(&format!("{bad}{failed} of {checks} checks failed.{bad:#}"))?;
        }
        self.output.flush()?;
        self.console.detail(format_args!("it took {:.1} s", self.begun.elapsed().as_secs_f64()));
        Ok(failed == 0)
    }

    fn sentence(&mut self, mark: &str, style: Style, host: &str, event: &Event) -> io::Result<()> {
        let (colour, dim, verb) = (self.colour(host), self.palette.dim, event.verb());
        let begin = format!("  {style}{mark}{style:#} {colour}{host:<8}{colour:#} {dim}{verb:<8}{dim:#} ");
        let rest = fitted(&event.to_string(), REST);
        self.line(&format!("{begin}{rest}"))?;
        if event.bytes().is_empty() {
            return Ok(());
        }
        let dump = match width() < HEXDUMP {
            true => narrow_hexdump(event.bytes()),
            false => hexdump(event.bytes()).to_string(),
        };
        dump.lines().try_for_each(|line| self.line(&format!("    {dim}{line}{dim:#}")))
    }

    /// Prints text with an empty line before and after it.
    fn paragraph(&mut self, text: &str) -> io::Result<()> {
        self.apart = true;
        self.line(text)?;
        self.apart = true;
        Ok(())
    }

    /// Prints a line, and flushes it.
    fn line(&mut self, text: &str) -> io::Result<()> {
        let gap = if std::mem::take(&mut self.apart) { "\n" } else { "" };
        match self.form {
            Form::Json => return Ok(()),
            Form::Text => writeln!(self.output, "{gap}{text}")?,
            Form::Ascii => writeln!(self.output, "{gap}{}", ascii(text))?,
        }
        self.output.flush()
    }

    fn colour(&self, host: &str) -> Style {
        let number = self.cast.iter().position(|name| *name == host);
        number.map_or(self.palette.heading, |number| self.palette.of_number(number))
    }

    /// Colours the names of hosts.
    fn paint(&self, text: &str) -> String {
        let paint = |text: String, host: &&str| {
            let colour = self.colour(host);
            text.replace(host, &format!("{colour}{host}{colour:#}"))
        };
        self.cast.iter().fold(text.to_owned(), paint)
    }
}

impl Form {
    fn right(self) -> &'static str {
        if self == Self::Ascii { "+" } else { "✓" }
    }

    fn wrong(self) -> &'static str {
        if self == Self::Ascii { "!" } else { "✗" }
    }
}

/// Returns a text in lines that begin in this column.
fn fitted(text: &str, column: usize) -> String {
    wrap(text, width() - column).join(&format!("\n{:column$}", ""))
}

/// Returns the bytes in hexadecimal, eight a line.
fn narrow_hexdump(bytes: &[u8]) -> String {
    let line = |(number, bytes): (usize, &[u8])| {
        let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{:04x}  {}\n", number * 8, bytes.join(" "))
    };
    bytes.chunks(8).enumerate().map(line).collect()
}

/// Replaces line-drawing characters with ASCII.
fn ascii(text: &str) -> String {
    let plain = |character| match character {
        '─' => '-',
        '│' => '|',
        '┌' | '┐' | '└' | '┘' | '┬' | '┴' | '├' | '┤' | '┼' => '+',
        '▲' => '^',
        '▼' => 'v',
        other => other,
    };
    text.chars().map(plain).collect()
}

/// Something that happened at a host. Its `Display` is the rest of a sentence after the host and the [verb](Self::verb).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields of all variants have the same few names")]
pub enum Event {
    /// A receiver joined on these interfaces.
    Joined {
        #[serde(flatten)]
        group: Endpoint,
        /// `joined`: interfaces on which the receiver joined
        interfaces: Vec<String>,
    },
    /// A receiver joined and left the choice of the interface to the kernel.
    JoinedAnywhere {
        #[serde(flatten)]
        group: Endpoint,
    },
    /// A sender sent.
    Sent {
        #[serde(flatten)]
        group: Endpoint,
        /// Interface on which the datagram or packet was sent, received or captured
        interface: String,
        /// `sent`, `received`: payload
        text: String,
    },
    /// A receiver received a datagram.
    Received {
        #[serde(flatten)]
        group: Endpoint,
        interface: String,
        /// `received`: source address of the datagram
        source: IpAddr,
        /// `received`: TTL on arrival; omitted if the system does not report it
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<u8>,
        text: String,
    },
    /// A receiver received nothing, or nothing more, until the timeout.
    ReceivedNothing {
        #[serde(flatten)]
        group: Endpoint,
    },
    /// A capture saw a packet. `bytes` is empty if they are not shown.
    Captured {
        interface: String,
        /// `captured`: one-line summary of the packet
        summary: String,
        /// `captured`: bytes of the frame in hexadecimal; omitted if they are not shown
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        #[serde(rename = "hex", serialize_with = "as_hexadecimal", skip_serializing_if = "Vec::is_empty")]
        bytes: Vec<u8>,
    },
    /// A capture saw no such frame.
    CapturedNothing {
        interface: String,
        /// `captured_nothing`: packet that the capture waited for
        packet: String,
    },
    /// A captured frame was compared with the tutorial's; these fields differ.
    Compared {
        /// `compared`: names of the fields that differ
        differences: Vec<&'static str>,
    },
    /// A switch has learned which hosts are members of a group.
    Learned {
        group: IpAddr,
        /// `learned`: members of the group
        hosts: Vec<String>,
    },
}

impl Event {
    #[cfg(target_os = "linux")]
    pub(crate) fn captured(interface: &str, summary: String, bytes: Vec<u8>) -> Self {
        Self::Captured { interface: interface.to_owned(), summary, bytes }
    }

    /// Returns the verb of the sentence whose subject is the host.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Joined { .. } | Self::JoinedAnywhere { .. } => "joined",
            Self::Sent { .. } => "sent",
            Self::Received { .. } | Self::ReceivedNothing { .. } => "received",
            Self::Captured { .. } | Self::CapturedNothing { .. } => "captured",
            Self::Compared { .. } => "compared",
            Self::Learned { .. } => "learned",
        }
    }

    /// Returns the frame to show below the sentence; empty if there is none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Captured { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

/// Writes the rest of the sentence.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { group, interfaces } if interfaces.is_empty() => write!(f, "{group} nowhere"),
            Self::Joined { group, interfaces } => write!(f, "{group} on {}", interfaces.join(" and ")),
            Self::JoinedAnywhere { group } => write!(f, "{group} on INADDR_ANY"),
            Self::Sent { group, interface, text } => write!(f, "{text:?} to {group} on {interface}"),
            Self::Received { group, interface, source, text, .. } => {
                write!(f, "{text:?} for {} from {source} on {interface}", group.group)
            }
            Self::ReceivedNothing { group } => write!(f, "nothing; still waiting for {group}"),
            Self::Captured { interface, summary, bytes } if bytes.is_empty() => {
                write!(f, "on {interface} {summary}")
            }
            Self::Captured { summary, .. } => f.write_str(summary),
            Self::CapturedNothing { interface, packet } => write!(f, "on {interface} no {packet}"),
            Self::Compared { differences } if differences.is_empty() => {
                f.write_str("with the expected frame: identical to the last byte")
            }
            Self::Compared { differences } => {
                write!(f, "with the expected frame: identical except for {}", differences.join(", "))
            }
            Self::Learned { group, hosts } if hosts.is_empty() => write!(f, "{group} has no members"),
            Self::Learned { group, hosts } => write!(f, "{group} has the members {}", hosts.join(" and ")),
        }
    }
}

/// A group and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Endpoint {
    /// Group
    pub group: IpAddr,
    /// UDP port
    pub port: u16,
}

impl From<GroupAddr> for Endpoint {
    fn from(address: GroupAddr) -> Self {
        SocketAddr::from(address).into()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { group: address.ip(), port: address.port() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.group, self.port).fmt(f)
    }
}

fn as_hexadecimal<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

/// A part of a demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scene<'a> {
    /// What is demonstrated.
    Title(&'static str),
    /// An act begins.
    Act {
        /// A short name that identifies it.
        name: &'static str,
        /// Its title.
        title: &'static str,
    },
    /// A drawing of the network, made of line-drawing characters.
    Picture(&'static str),
    /// A paragraph that explains what the steps show.
    Explanation(&'static str),
    /// Something happened at a host.
    Step {
        /// The name of the host.
        host: &'a str,
        /// What happened.
        event: &'a Event,
        /// What should have happened; `None` for an action, which cannot differ.
        expected: Option<&'a Event>,
    },
}

/// Shows a scene.
pub type Show<'a> = &'a mut dyn FnMut(Scene<'_>) -> io::Result<()>;

/// Where a demonstration plays.
pub(crate) struct Stage<'a>(pub(crate) Show<'a>);

impl Stage<'_> {
    pub(crate) fn show(&mut self, scene: Scene<'_>) -> io::Result<()> {
        (self.0)(scene)
    }

    /// Reports an action at a host.
    pub(crate) fn report(&mut self, host: &str, event: &Event) -> io::Result<()> {
        self.show(Scene::Step { host, event, expected: None })
    }

    /// Reports an event at a host, and what was expected.
    pub(crate) fn check(&mut self, host: &str, event: &Event, expected: &Event) -> io::Result<()> {
        self.show(Scene::Step { host, event, expected: Some(expected) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_an_ascii_form() {
        assert_eq!(ascii("┌─┐│└┬┘"), "+-+|+++");
    }
}
