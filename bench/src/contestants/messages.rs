//! Who publishes messages that must all arrive, and how each is started.

use std::ffi::OsString;
use std::net::IpAddr;

use super::{ONE_GROUP, PORT, words};
use crate::network::SENDER;
use crate::tools::{Need, Tools, aeron_directory};

/// A way to publish messages that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Messenger {
    /// What tables and the command line call it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
    made_of: MadeOf,
}

#[derive(Clone, Copy, Debug)]
enum MadeOf {
    /// One of this crate's own, by how it publishes, and whether it seals.
    Ours(&'static str, Sealed),
    Aeron,
    Norm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealed {
    Yes,
    No,
}

/// Everybody. The first is whom the others are judged against.
pub const MESSENGERS: &[Messenger] = &[
    ours("mcast-stream", "mcast-stream: `Publisher::queue`, a message a call", "queue", Sealed::No),
    ours("mcast-stream-all", "mcast-stream: `Publisher::publish_all`", "all", Sealed::No),
    ours("mcast-stream-each", "mcast-stream: `Publisher::publish`, each sent at once", "each", Sealed::No),
    ours(
        "mcast-stream-sealed",
        "mcast-stream: `Publisher::queue`, sealed by AES-128-GCM",
        "queue",
        Sealed::Yes,
    ),
    Messenger {
        name: "aeron",
        what: "Aeron: C media driver in the process, C client; `fc=min`, windows of 2 MiB",
        made_of: MadeOf::Aeron,
    },
    Messenger {
        name: "norm",
        what: "NORM: a stream of libnorm at the rate at which it does best here: 2 Gbit/s to one receiver, 1 to \
               several; repaired by retransmission",
        made_of: MadeOf::Norm,
    },
    ours("tcp", "TCP, for context: a connection a receiver, everything written to each", "tcp", Sealed::No),
];

const fn ours(name: &'static str, what: &'static str, how: &'static str, sealed: Sealed) -> Messenger {
    Messenger { name, what, made_of: MadeOf::Ours(how, sealed) }
}

/// A contestant by its name.
#[must_use]
pub fn messenger(name: &str) -> Option<&'static Messenger> {
    MESSENGERS.iter().find(|each| each.name == name)
}

/// What is to be published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Messages {
    /// Bytes of each.
    pub size: usize,
    /// How long.
    pub seconds: f64,
    /// So many a second, evenly; as fast as it goes where there is no rate.
    pub rate: Option<u32>,
    /// To so many.
    pub receivers: usize,
    /// How long a subscriber stays from the first message on.
    pub timeout: f64,
}

/// One of the two roles, with what only that one needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who publishes, from [`SENDER`].
    Publish,
    /// Who subscribes, at this address.
    Subscribe(IpAddr),
}

impl Messenger {
    /// What has to be there for it.
    #[must_use]
    pub const fn need(&self) -> Option<Need> {
        match self.made_of {
            MadeOf::Ours(..) => None,
            MadeOf::Aeron => Some(Need::Aeron),
            MadeOf::Norm => Some(Need::Norm),
        }
    }

    /// The command.
    #[must_use]
    pub fn program(&self, tools: &Tools, side: Side, messages: &Messages) -> Vec<OsString> {
        let role = match side {
            Side::Publish => "publish",
            Side::Subscribe(_) => "subscribe",
        };
        let mut program: Vec<OsString> = match self.made_of {
            MadeOf::Ours(how, sealed) => {
                let mut program = vec![tools.this().into()];
                program.extend(words(["messages", role, "--how", how, "--publisher", SENDER]));
                program.extend((sealed == Sealed::Yes).then(|| "--sealed".into()));
                program
            }
            MadeOf::Aeron => {
                let mut directory = OsString::from("AERON_DIR=");
                directory.push(aeron_directory());
                vec!["env".into(), directory, tools.aeron().into(), role.into()]
            }
            MadeOf::Norm => {
                let bits = if messages.receivers == 1 { "2e9" } else { "1e9" };
                let mut program = vec![tools.norm().into(), role.into()];
                program.extend(words(["--bits", bits]));
                program
            }
        };
        program.extend(described(side, messages));
        program
    }
}

fn described(side: Side, messages: &Messages) -> Vec<OsString> {
    let Messages { size, seconds, rate, receivers, timeout } = *messages;
    let (group, size) = (format!("{}:{PORT}", ONE_GROUP.first), size.to_string());
    let mut all: Vec<OsString> = words(["--group", &group, "--size", &size]).collect();
    match side {
        Side::Publish => {
            let (seconds, receivers) = (seconds.to_string(), receivers.to_string());
            all.extend(words(["--interface", SENDER, "--seconds", &seconds, "--receivers", &receivers]));
            all.extend(rate.into_iter().flat_map(|rate| words(["--rate", &rate.to_string()])));
        }
        Side::Subscribe(address) => {
            all.extend(words(["--interface", &address.to_string(), "--timeout", &timeout.to_string()]));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_have_one_name() {
        let names: HashSet<_> = MESSENGERS.iter().map(|messenger| messenger.name).collect();
        assert_eq!(names.len(), MESSENGERS.len());
    }
}
