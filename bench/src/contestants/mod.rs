//! The contestants, and how to start them.

mod foreign;
mod list;
mod messages;
mod ours;

use std::ffi::OsString;

use crate::tools::{Need, Tools};

pub use list::{ALL, COMMAND, PYTHON, named};
pub use messages::{MESSENGERS, Messages, Messenger, Side, messenger};

/// A contestant that sends, receives, or both.
#[derive(Clone, Copy, Debug)]
pub struct Contestant {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// A short description.
    pub what: &'static str,
    /// How it is implemented.
    pub(crate) kind: Kind,
    /// Whether it takes part in sending.
    pub sends: bool,
    /// Whether it takes part in receiving from another program.
    pub receives: bool,
}

/// How a contestant is implemented.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A program of this crate, by name, and whether it may use segmentation offload.
    Rust(&'static str, Trains),
    /// The reference in C, by its system calls, with or without metadata.
    Reference(&'static str, Metadata),
    /// A program in `bench/python/`, its mode, and the interpreter that it needs.
    Python(&'static str, &'static str, Need),
    /// socat.
    Socat,
    /// iperf 2.
    Iperf,
    /// `mcast recv --discard`, from sockets or past them.
    Command(Input),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trains {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    Read,
    Dropped,
}

/// Where the command receives from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Sockets,
    Wire,
}

/// The work of a contestant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Bytes of payload.
    pub size: usize,
    /// Receive buffer to request, in bytes; 0 for its own default.
    pub buffer: usize,
    /// Seconds before the measurement window starts.
    pub warm_up: f64,
    /// Length of the measurement window, in seconds.
    pub seconds: f64,
    /// How fast to send.
    pub pace: Pace,
    /// The groups.
    pub groups: Groups,
}

/// How fast to send, and how long to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as possible; counted in the window.
    Flood,
    /// At a rate, a fixed number in total; receivers count until no more arrive.
    Even {
        /// Datagrams per second.
        rate: u32,
        /// Datagrams in total.
        count: u64,
    },
}

/// A range of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The first.
    pub first: &'static str,
    /// How many consecutive groups.
    pub count: u32,
}

/// The group of most tables.
pub const ONE_GROUP: Groups = Groups { first: "239.77.0.1", count: 1 };
/// The port of all groups.
pub const PORT: u16 = 7700;

/// How the datagrams of a contestant are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// By the program.
    Itself,
    /// By the kernel, for programs that do not count.
    Kernel,
    /// By the program, over its whole life, in the summary that it prints once it is interrupted.
    Whole,
}

impl Contestant {
    /// The tool that it needs.
    #[must_use]
    pub const fn need(&self) -> Option<Need> {
        match self.kind {
            Kind::Rust(..) => None,
            Kind::Reference(..) => Some(Need::Reference),
            Kind::Python(_, _, need) => Some(need),
            Kind::Socat => Some(Need::Socat),
            Kind::Iperf => Some(Need::Iperf),
            Kind::Command(_) => Some(Need::Mcast),
        }
    }

    /// How its datagrams are counted.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        match self.kind {
            Kind::Socat | Kind::Iperf => Counts::Kernel,
            Kind::Rust(..) | Kind::Reference(..) | Kind::Python(..) => Counts::Itself,
            Kind::Command(_) => Counts::Whole,
        }
    }

    /// Returns the command line that receives.
    #[must_use]
    pub fn receiver(&self, tools: &Tools, task: &Task) -> Vec<OsString> {
        match self.kind {
            Kind::Socat => foreign::socat_receiver(tools, task),
            Kind::Iperf => foreign::iperf_receiver(tools, task),
            Kind::Command(input) => ours::command(tools, input, task),
            kind => ours::program(kind, tools, "receive", task),
        }
    }

    /// Returns the command line that sends.
    #[must_use]
    pub fn sender(&self, tools: &Tools, task: &Task) -> Vec<OsString> {
        match self.kind {
            Kind::Socat => foreign::socat_sender(tools, task),
            Kind::Iperf => foreign::iperf_sender(tools, task),
            kind => ours::program(kind, tools, "send", task),
        }
    }

    /// Returns the command line of one end of a ping-pong test.
    #[must_use]
    pub(crate) fn pinger(&self, tools: &Tools, role: &str, spin: bool, task: &Task) -> Vec<OsString> {
        let mut program = ours::program(self.kind, tools, role, task);
        if spin {
            program.push("--spin".into());
        }
        program
    }
}

/// Converts words to arguments.
fn words<const N: usize>(words: [&str; N]) -> impl Iterator<Item = OsString> + use<N> {
    words.map(OsString::from).into_iter()
}
