//! Passes datagrams to the kernel, and counts those that it accepts and refuses.

use mcast::{Error, ErrorKind, Outgoing, Sender};

use super::targets::Target;
use crate::console::Console;

/// Counts of datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
}

/// Sends datagrams, and continues after errors of single ones.
pub(crate) struct Dispatch<'a> {
    sender: &'a Sender,
    console: &'a Console,
    count: Count,
    warned: Vec<ErrorKind>,
}

impl<'a> Dispatch<'a> {
    pub(crate) fn new(sender: &'a Sender, console: &'a Console) -> Self {
        Self { sender, console, count: Count::default(), warned: Vec::new() }
    }

    /// Sends all of these datagrams.
    pub(crate) fn send<'t>(
        &mut self,
        outgoing: &[Outgoing<'_>],
        targets: impl Iterator<Item = &'t Target> + Clone,
    ) -> anyhow::Result<()> {
        let mut rest = outgoing;
        while !rest.is_empty() {
            match self.sender.send_batch(rest) {
                Ok(went) => {
                    self.count.sent += went as u64;
                    self.count.bytes +=
                        rest[..went].iter().map(|each| each.payload().len() as u64).sum::<u64>();
                    rest = &rest[went..];
                }
                Err(error) => {
                    self.refuse(error, targets.clone())?;
                    rest = &rest[1..];
                }
            }
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> Count {
        self.count
    }

    /// Handles a refused datagram. Before anything was sent, it ends the command. Later it is counted, and reported
    /// once per reason, because interfaces may come back and queues become free.
    fn refuse<'t>(
        &mut self,
        error: Error,
        mut targets: impl Iterator<Item = &'t Target>,
    ) -> anyhow::Result<()> {
        if self.count.sent == 0 && error.kind() != ErrorKind::QueueFull {
            return Err(error.into());
        }
        self.count.refused += 1;
        if !self.warned.contains(&error.kind()) {
            self.warned.push(error.kind());
            // The error contains only the index of an interface that has vanished.
            let gone = error.interface().filter(|_| error.kind() == ErrorKind::NoSuchInterface);
            match gone.and_then(|interface| targets.find_map(|target| target.name_of(interface))) {
                Some(name) => self.console.warn(format_args!("{name} is gone: {error}")),
                None => self.console.warn(&error),
            }
            if let Some(remedy) = error.remedy() {
                self.console.advise(remedy);
            }
        }
        Ok(())
    }
}
