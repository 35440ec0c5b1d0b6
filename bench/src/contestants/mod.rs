//! Who takes part, and how each is started.

mod foreign;
mod list;
mod messages;
mod ours;

use std::ffi::OsString;

use crate::tools::{Need, Tools};

pub use list::{ALL, PYTHON, named};
pub use messages::{MESSENGERS, Messages, Messenger, Side, messenger};

/// A way to send or receive that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Contestant {
    /// What tables and the command line call it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    /// What it is made of.
    pub(crate) kind: Kind,
    /// Whether it takes part in sending.
    pub sends: bool,
    /// Whether it takes part in receiving what another program sent.
    pub receives: bool,
}

/// What a contestant is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One of this crate's own programs, by name, and whether it may use trains.
    Rust(&'static str, Trains),
    /// The reference in C, by its calls, and with the metadata or without.
    Reference(&'static str, Metadata),
    /// A program in `bench/python/`, how it is to go about it, and the interpreter that it needs.
    Python(&'static str, &'static str, Need),
    /// socat.
    Socat,
    /// iperf 2.
    Iperf,
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

/// What a contestant is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Bytes of payload.
    pub size: usize,
    /// Receive buffer to ask for; 0: its own default.
    pub buffer: usize,
    /// Seconds before the window opens.
    pub warm_up: f64,
    /// The window.
    pub seconds: f64,
    /// How fast to send.
    pub pace: Pace,
    /// The groups.
    pub groups: Groups,
}

/// How fast to send, and until when to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as it goes, counted in the window.
    Flood,
    /// So many in all, so many a second; receivers count until nothing comes.
    Even {
        /// Datagrams a second.
        rate: u32,
        /// Datagrams in all.
        count: u64,
    },
}

/// Which groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The first.
    pub first: &'static str,
    /// How many, counting up.
    pub count: u32,
}

/// The one group of most tables.
pub const ONE_GROUP: Groups = Groups { first: "239.77.0.1", count: 1 };
/// The port of all of them.
pub const PORT: u16 = 7700;

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The program itself.
    Itself,
    /// The kernel, for programs that don't.
    Kernel,
}

impl Contestant {
    /// What has to be there for it.
    #[must_use]
    pub const fn need(&self) -> Option<Need> {
        match self.kind {
            Kind::Rust(..) => None,
            Kind::Reference(..) => Some(Need::Reference),
            Kind::Python(_, _, need) => Some(need),
            Kind::Socat => Some(Need::Socat),
            Kind::Iperf => Some(Need::Iperf),
        }
    }

    /// Who counts what it does.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        match self.kind {
            Kind::Socat | Kind::Iperf => Counts::Kernel,
            Kind::Rust(..) | Kind::Reference(..) | Kind::Python(..) => Counts::Itself,
        }
    }

    /// The command that receives.
    #[must_use]
    pub fn receiver(&self, tools: &Tools, task: &Task) -> Vec<OsString> {
        match self.kind {
            Kind::Socat => foreign::socat_receiver(tools, task),
            Kind::Iperf => foreign::iperf_receiver(tools, task),
            kind => ours::program(kind, tools, "receive", task),
        }
    }

    /// The command that sends.
    #[must_use]
    pub fn sender(&self, tools: &Tools, task: &Task) -> Vec<OsString> {
        match self.kind {
            Kind::Socat => foreign::socat_sender(tools, task),
            Kind::Iperf => foreign::iperf_sender(tools, task),
            kind => ours::program(kind, tools, "send", task),
        }
    }

    /// One end of a ping-pong.
    #[must_use]
    pub(crate) fn pinger(&self, tools: &Tools, role: &str, spin: bool, task: &Task) -> Vec<OsString> {
        let mut program = ours::program(self.kind, tools, role, task);
        if spin {
            program.push("--spin".into());
        }
        program
    }
}

/// Words to arguments.
fn words<const N: usize>(words: [&str; N]) -> impl Iterator<Item = OsString> + use<N> {
    words.map(OsString::from).into_iter()
}
