//! Systems on which gateways of AMT do not run.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use mcast::{Batch, InterfaceIndex, Membership, Statistics};
use mcast_relay::amt::AmtRelayName;
use mcast_terminal::Console;

use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// A relay of AMT as an input, of which there is none.
pub(super) struct AmtInput<'a> {
    none: Infallible,
    pub(super) interrupt: Interrupt,
    console: PhantomData<&'a Console>,
}

impl<'a> AmtInput<'a> {
    pub(super) const INTERFACE: InterfaceIndex = match InterfaceIndex::new(u32::MAX) {
        Some(index) => index,
        None => unreachable!(),
    };

    pub(super) fn open(_: &AmtRelayName, _: Vec<Membership>, _: &'a Console) -> anyhow::Result<Self> {
        Err(Failure::environment("cannot receive through a relay of AMT: that needs Linux").into())
    }

    pub(super) fn fill(&mut self, _: &mut Batch, _: Option<Duration>) -> anyhow::Result<usize> {
        match self.none {}
    }

    pub(super) fn statistics(&self) -> Statistics {
        match self.none {}
    }

    pub(super) fn stop(&mut self) {
        match self.none {}
    }
}
