//! The contestants for reliable messages, and how to start them.

use std::ffi::OsString;
use std::net::IpAddr;

use super::{ONE_GROUP, PORT, words};
use crate::network::SENDER;
use crate::tools::{Need, Tools, aeron_directory};

/// A contestant that publishes reliable messages.
#[derive(Clone, Copy, Debug)]
pub struct Messenger {
    /// Its name in tables and on the command line.
    pub name: &'static str,
    /// A short description.
    pub what: &'static str,
    /// Messages per second that it publishes where others publish as many as they can.
    pub feed: Option<u32>,
    kind: MessengerKind,
}

#[derive(Clone, Copy, Debug)]
enum MessengerKind {
    /// One of this crate: its way of publishing, and further options of both sides.
    Ours(&'static str, &'static [&'static str]),
    /// With further settings of its driver.
    Aeron(&'static [&'static str]),
    /// With further options.
    Norm(&'static [&'static str]),
}

/// All contestants; the first is the reference.
pub const MESSENGERS: &[Messenger] = &[
    ours("mcast-stream", "`Publisher::publish`, one message per call", "publish", &[]),
    ours("mcast-stream-all", "`Publisher::publish_all`", "all", &[]),
    ours(
        "mcast-stream-each",
        "`Publisher::publish` with `max_delay(Duration::ZERO)`, each sent at once",
        "each",
        &[],
    ),
    ours("mcast-stream-sealed", "`Publisher::publish`, sealed by AES-128-GCM", "publish", &["--sealed"]),
    ours(
        "mcast-stream-signed",
        "`Publisher::publish`, signed by Ed25519, and verified",
        "publish",
        &["--signed"],
    ),
    ours(
        "mcast-stream-4-threads",
        "`Publisher::publish` of one publisher, called by four threads at once",
        "publish",
        &["--threads", "4"],
    ),
    ours(
        "mcast-stream-spin",
        "`Publisher::publish`, and a subscriber that polls in a loop, as that of Aeron does",
        "publish",
        &["--spin"],
    ),
    ours("mcast-stream-fec", "`Publisher::publish` with `Fec::Auto`", "corrected", &[]),
    Messenger {
        feed: Some(10_000),
        ..ours("mcast-stream-fec-feed", "10,000 messages a second with `Fec::Auto`", "corrected", &[])
    },
    Messenger {
        name: "aeron",
        what: "Aeron: C media driver in the process, C client; `fc=min`, windows of 2 MiB",
        feed: None,
        kind: MessengerKind::Aeron(&[]),
    },
    Messenger {
        name: "aeron-tuned",
        what: "Aeron, whose subscriber reports a loss after at most 50 µs (`AERON_NAK_MULTICAST_MAX_BACKOFF`), not 10 ms",
        feed: None,
        // `nak-delay` of a channel is for unicast in the C driver.
        kind: MessengerKind::Aeron(&["AERON_NAK_MULTICAST_MAX_BACKOFF=50us"]),
    },
    Messenger {
        name: "norm",
        what: "NORM: a stream of libnorm at the rate at which it does best here: 2 Gbit/s to one receiver, 1 to \
               several; repaired by retransmission",
        feed: None,
        kind: MessengerKind::Norm(&[]),
    },
    Messenger {
        name: "norm-fec",
        what: "NORM with its forward error correction: at most 16 parity segments for a block of 64, on request",
        feed: None,
        kind: MessengerKind::Norm(&["--parity", "16"]),
    },
    ours(
        "mcast-stream-acked",
        "`Publisher::publish`, then `wait` until all subscribers have acknowledged it",
        "acked",
        &[],
    ),
    Messenger {
        name: "norm-acked",
        what: "NORM: a watermark after each message, which all receivers acknowledge",
        feed: None,
        kind: MessengerKind::Norm(&["--acked", "1"]),
    },
    ours("mcast-stream-logged-each", "`LoggedPublisher::publish`, two acknowledgements", "logged", &[]),
    ours("mcast-stream-logged", "`LoggedPublisher::publish_all`, two acknowledgements", "logged-all", &[]),
    ours(
        "mcast-stream-synced",
        "`LoggedPublisher::append_all`, each batch on the disk before it is sent; batches share syncs",
        "synced-queue",
        &[],
    ),
    ours(
        "mcast-stream-synced-wait",
        "`LoggedPublisher::publish_all`, each batch on the disk before the next one is published",
        "synced-all",
        &[],
    ),
    ours("tcp-acked", "TCP: one connection per receiver, which replies with a byte", "tcp-acked", &[]),
    ours("tcp", "TCP, for context: one connection per receiver, everything written to each", "tcp", &[]),
];

const fn ours(
    name: &'static str,
    what: &'static str,
    how: &'static str,
    further: &'static [&'static str],
) -> Messenger {
    Messenger { name, what, feed: None, kind: MessengerKind::Ours(how, further) }
}

/// Returns the contestant with this name.
#[must_use]
pub fn messenger(name: &str) -> Option<&'static Messenger> {
    MESSENGERS.iter().find(|each| each.name == name)
}

/// What to publish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Messages {
    /// Bytes per message.
    pub size: usize,
    /// For how many seconds.
    pub seconds: f64,
    /// Messages per second, evenly spaced; `None` for as fast as possible.
    pub rate: Option<u32>,
    /// The number of subscribers.
    pub receivers: usize,
    /// How long a subscriber runs after the first message, in seconds.
    pub timeout: f64,
    /// The greatest rate of a contestant that needs one, in bits per second.
    pub limit: &'static str,
}

/// The role of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The publisher, at [`SENDER`].
    Publish,
    /// A subscriber at this address.
    Subscribe(IpAddr),
}

impl Messenger {
    /// The tool that it needs.
    #[must_use]
    pub const fn need(&self) -> Option<Need> {
        match self.kind {
            MessengerKind::Ours(..) => None,
            MessengerKind::Aeron(_) => Some(Need::Aeron),
            MessengerKind::Norm(_) => Some(Need::Norm),
        }
    }

    /// Returns the limits of its rate to try, in bits per second. NORM does not find its rate, and a receiver that it
    /// overruns costs it more than a lower rate.
    #[must_use]
    pub const fn limits(&self, receivers: usize) -> &'static [&'static str] {
        match (self.kind, receivers) {
            (MessengerKind::Norm(_), 1) => &["2e9"],
            (MessengerKind::Norm(_), _) => &["1e9", "3e8"],
            (MessengerKind::Ours(..) | MessengerKind::Aeron(_), _) => &["unlimited"],
        }
    }

    /// Returns the command line.
    #[must_use]
    pub fn program(&self, tools: &Tools, side: Side, messages: &Messages) -> Vec<OsString> {
        let role = match side {
            Side::Publish => "publish",
            Side::Subscribe(_) => "subscribe",
        };
        let mut program: Vec<OsString> = match self.kind {
            MessengerKind::Ours(how, further) => {
                let mut program = vec![tools.this().into()];
                program.extend(words(["messages", role, "--how", how, "--publisher", SENDER]));
                program.extend(further.iter().map(Into::into));
                if side == Side::Publish && (how.starts_with("logged") || how.starts_with("synced")) {
                    program.extend(["--log".into(), tools.made().join("durable").into()]);
                }
                program
            }
            MessengerKind::Aeron(further) => {
                let mut directory = OsString::from("AERON_DIR=");
                directory.push(aeron_directory());
                let mut program = vec!["env".into(), directory];
                program.extend(further.iter().map(Into::into));
                program.extend([tools.aeron().into(), role.into()]);
                program
            }
            MessengerKind::Norm(further) => {
                let mut program = vec![tools.norm().into(), role.into()];
                program.extend(words(["--bits", messages.limit]));
                program.extend(further.iter().map(Into::into));
                program
            }
        };
        program.extend(options(side, messages));
        program
    }
}

fn options(side: Side, messages: &Messages) -> Vec<OsString> {
    let Messages { size, seconds, rate, receivers, timeout, limit: _ } = *messages;
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
    fn names_are_unique() {
        let names: HashSet<_> = MESSENGERS.iter().map(|messenger| messenger.name).collect();
        assert_eq!(names.len(), MESSENGERS.len());
    }
}
