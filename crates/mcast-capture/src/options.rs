//! What to capture, and how.

use std::fmt;
use std::time::Duration;

use mcast_group::{Group, InterfaceIndex};

use crate::Filter;

/// What to capture, and how: one interface or several, and by default every frame that they receive or
/// send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    pub(crate) interfaces: Vec<InterfaceName>,
    pub(crate) filter: Filter,
    pub(crate) outgoing: bool,
    pub(crate) promiscuous: bool,
    pub(crate) all_multicast: bool,
    pub(crate) groups: Vec<Group>,
    pub(crate) buffer_size: usize,
    pub(crate) in_blocks: bool,
}

/// How the caller named the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceName {
    Index(InterfaceIndex),
    Name(String),
}

impl CaptureOptions {
    /// The receive buffer that is asked for unless [`Self::buffer_size`] is called: 8 MiB.
    pub const DEFAULT_BUFFER_SIZE: usize = 8 << 20;

    /// How long a frame waits at most until it can be taken, where frames come [in blocks](Self::in_blocks): 100 ms. The
    /// kernel looks every 20 ms for blocks that have not changed hands since it last looked.
    pub const LONGEST_IN_BLOCK: Duration = Duration::from_millis(100);

    /// Capture on the interface with this index.
    #[must_use]
    pub fn on(interface: InterfaceIndex) -> Self {
        Self::on_interface(InterfaceName::Index(interface))
    }

    /// Capture on the interface of this name.
    #[must_use]
    pub fn on_name(interface: impl Into<String>) -> Self {
        Self::on_interface(InterfaceName::Name(interface.into()))
    }

    /// Capture on the interface with this index, too.
    #[must_use]
    pub fn and_on(mut self, interface: InterfaceIndex) -> Self {
        self.interfaces.push(InterfaceName::Index(interface));
        self
    }

    /// Capture on the interface of this name, too.
    #[must_use]
    pub fn and_on_name(mut self, interface: impl Into<String>) -> Self {
        self.interfaces.push(InterfaceName::Name(interface.into()));
        self
    }

    fn on_interface(interface: InterfaceName) -> Self {
        Self {
            interfaces: vec![interface],
            filter: Filter::All,
            outgoing: true,
            promiscuous: false,
            all_multicast: false,
            groups: Vec::new(),
            buffer_size: Self::DEFAULT_BUFFER_SIZE,
            in_blocks: false,
        }
    }

    /// Capture only what the filter admits. Where the system can, the kernel sorts out the rest
    /// before it costs anything.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Whether to capture what this machine sends, too. Default: yes.
    #[must_use]
    pub fn outgoing(self, outgoing: bool) -> Self {
        Self { outgoing, ..self }
    }

    /// Whether the interface should take in frames that are addressed to others. Default: no.
    #[must_use]
    pub fn promiscuous(self, promiscuous: bool) -> Self {
        Self { promiscuous, ..self }
    }

    /// Whether the interface should take in the frames of all groups, joined or not. Without it the
    /// hardware may discard what nobody on this machine has joined. Default: no.
    #[must_use]
    pub fn all_multicast(self, all_multicast: bool) -> Self {
        Self { all_multicast, ..self }
    }

    /// Has the interface take in the frames of this group, without joining it by IGMP or MLD. May be
    /// called for several groups.
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// The receive buffer in bytes to ask the system for; [`Capture::buffer_size`] says what it
    /// granted.
    ///
    /// [`Capture::buffer_size`]: crate::Capture::buffer_size
    #[must_use]
    pub fn buffer_size(self, buffer_size: usize) -> Self {
        Self { buffer_size, ..self }
    }

    /// Whether frames may come late and many together, for a fraction of the cost: for whoever writes them to a file.
    /// Default: no.
    ///
    /// Linux: the kernel fills blocks of 256 KiB in memory that it shares with the capture (`TPACKET_V3`), and leaves a
    /// block to it when it is full or some time has gone by: a frame may wait for [`Self::LONGEST_IN_BLOCK`], and where
    /// several interfaces are captured on, their frames may come out of order by as much. The buffer is then memory of
    /// the kernel's that is really taken, and at least 512 KiB; what the kernel cannot
    /// hand over counts as dropped. Where blocks cannot be had, as on other systems, frames
    /// come one by one, and [`Capture::refusal`] says why.
    ///
    /// [`Capture::refusal`]: crate::Capture::refusal
    #[must_use]
    pub fn in_blocks(self, in_blocks: bool) -> Self {
        Self { in_blocks, ..self }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "interface {index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
