//! Sending datagrams and messages: what the command prints about targets, and about datagrams that the system refuses.

pub(crate) mod targets;

use mcast::{Error, Outgoing, Sender};
use mcast_traffic::vanished_interface;
pub(crate) use mcast_traffic::{DispatchCounts as Count, MessagePacer, Pace, SendTarget as Target};

use mcast_terminal::Console;

/// Sends datagrams, and warns of each reason for which the system refuses some.
pub(crate) struct Dispatch<'a> {
    dispatch: mcast_traffic::Dispatch<'a>,
    console: &'a Console,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(sender: &'a Sender, console: &'a Console) -> Self {
        Self { dispatch: mcast_traffic::Dispatch::new(sender), console }
    }

    /// Sends all of these datagrams.
    pub(crate) fn send<'t>(
        &mut self,
        outgoing: &[Outgoing<'_>],
        targets: impl Iterator<Item = &'t Target> + Clone,
    ) -> anyhow::Result<()> {
        let warn = |error: &Error| {
            warn_of_refusal(error, vanished_interface(error, targets.clone()), self.console);
        };
        Ok(self.dispatch.send(outgoing, warn)?)
    }

    pub(crate) fn count(&self) -> Count {
        self.dispatch.counts()
    }
}

/// Warns that the system refuses datagrams, because an interface has vanished or for another reason.
pub(crate) fn warn_of_refusal(error: &Error, vanished: Option<&str>, console: &Console) {
    match vanished {
        // The error contains only the index of the interface.
        Some(name) => console.warn(format_args!("{name} is gone: {error}")),
        None => console.warn(error),
    }
    if let Some(remedy) = error.remedy() {
        console.advise(remedy);
    }
}
