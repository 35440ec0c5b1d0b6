//! The process that a bridge runs in: its own, or one with other bridges of a file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::figures::Figures;
use crate::interrupt::{Interrupt, Service};

/// The process of a bridge.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// If it runs other bridges, too.
    shared: Option<Seat>,
}

/// The place of a bridge among others of a file.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) name: Arc<str>,
    /// Set when it is to end.
    pub(super) stop: Interrupt,
    pub(super) figures: Figures,
    pub(super) end: Option<Instant>,
}

/// A record with the name of its bridge, if that is one of several.
#[derive(Serialize)]
pub(super) struct Labelled<'a, T> {
    #[serde(flatten)]
    record: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<&'a str>,
}

impl Process {
    pub(super) fn shared(seat: Seat) -> Self {
        Self { shared: Some(seat) }
    }

    /// Returns the connection to the service manager. Who runs several bridges has it for all of them.
    pub(super) fn service(&self) -> Service {
        self.shared.as_ref().map_or_else(Service::begin, |_| Service::none())
    }

    /// Returns what ends the bridge. Signals are caught once per process.
    pub(super) fn interrupt(
        &self,
        catch: impl FnOnce() -> anyhow::Result<Interrupt>,
    ) -> anyhow::Result<Interrupt> {
        self.shared.as_ref().map_or_else(catch, |seat| Ok(seat.stop.clone()))
    }

    pub(super) fn figures(&self) -> Figures {
        self.shared.as_ref().map(|seat| seat.figures.clone()).unwrap_or_default()
    }

    /// Returns when a bridge that was started at `start` is to end.
    pub(super) fn end(&self, start: Instant, timeout: Option<Duration>) -> Option<Instant> {
        match &self.shared {
            Some(seat) => seat.end,
            None => timeout.and_then(|timeout| start.checked_add(timeout)),
        }
    }

    pub(super) fn label<'a, T>(&'a self, record: &'a T) -> Labelled<'a, T> {
        Labelled { record, bridge: self.shared.as_ref().map(|seat| &*seat.name) }
    }
}
