//! What to capture, and how.

use std::fmt;

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
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "interface {index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
