//! Where the datagrams come from: groups on interfaces, or a relay of AMT.

use std::sync::Arc;
use std::time::Duration;

use mcast::{Batch, MembershipStatus, Receiver, Statistics};
use mcast_terminal::Output;

use super::platform::AmtInput;

/// What `mcast recv` receives from.
pub(super) enum Input<'a> {
    Groups(Arc<Receiver>),
    Amt(Box<AmtInput<'a>>),
}

impl Input<'_> {
    /// Receives available datagrams, or waits for one for at most this time. Returns 0 after it, and with a relay of AMT
    /// also after an interrupt.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch,
        left: Option<Duration>,
        out: &mut Output,
    ) -> anyhow::Result<usize> {
        use std::io::Write;

        match self {
            Self::Amt(amt) => {
                let there = amt.fill(batch, Some(Duration::ZERO))?;
                if there > 0 || left == Some(Duration::ZERO) {
                    return Ok(there);
                }
                out.flush()?;
                amt.fill(batch, left)
            }
            Self::Groups(receiver) => {
                let there = receiver.try_recv_batch(batch)?;
                if there > 0 || left == Some(Duration::ZERO) {
                    return Ok(there);
                }
                out.flush()?;
                Ok(match left {
                    None => receiver.recv_batch(batch)?,
                    Some(left) => receiver.recv_batch_timeout(batch, left)?,
                })
            }
        }
    }

    /// Returns the memberships on interfaces.
    pub(super) fn memberships(&self) -> Vec<MembershipStatus> {
        match self {
            Self::Groups(receiver) => receiver.memberships(),
            Self::Amt(_) => Vec::new(),
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        match self {
            Self::Groups(receiver) => receiver.statistics(),
            Self::Amt(amt) => amt.statistics(),
        }
    }

    /// Returns the receiver, which can send answers.
    pub(super) fn receiver(&self) -> Option<Arc<Receiver>> {
        match self {
            Self::Groups(receiver) => Some(Arc::clone(receiver)),
            Self::Amt(_) => None,
        }
    }

    /// Stops to receive.
    pub(super) fn stop(&mut self) {
        if let Self::Amt(amt) = self {
            amt.stop();
        }
    }
}
