//! Networks made of Linux network namespaces, to try multicast on real kernels.
//!
//! A [`Lab`] builds hosts, switches, routers and links inside one process, through netlink and without
//! external programs. It stands in milliseconds, needs no root where user namespaces exist, touches
//! none of the machine's own interfaces, and leaves nothing behind, even when the process is killed:
//! its namespaces have no names and live only as long as the threads and descriptors in them.
//!
//! ```no_run
//! use mcast_lab::Lab;
//! use std::net::{Ipv4Addr, UdpSocket};
//!
//! let lab = Lab::new()?;
//! let lan = lab.switch("lan")?;
//! let host = lab.host("a")?;
//! host.connect("eth0", &lan, &["10.0.0.1/24", "fd00::1/64"])?;
//! let socket = host.run(|| UdpSocket::bind("10.0.0.1:0"))??; // lives in the host, usable anywhere
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who may
//!
//! As root (`CAP_SYS_ADMIN`), each host is a thread that leaves for a network namespace of its own. As
//! an ordinary user, the process first starts a *warden*: a child that shares the memory and the
//! descriptors of the process, but not its thread group, and so may enter a user namespace although
//! other threads run. The hosts' threads live in the warden. Closures notice one difference only:
//! [`std::process::id`] is the warden's inside them, and a [`std::process::Child`] started inside a
//! closure can only be waited for inside a closure. [`Host::command`] has no such limit. A program that
//! wants neither calls [`enter`] first in `main`.
//!
//! Where neither is possible [`Lab::new`] fails with [`LabErrorKind::Refused`], which says why and what
//! would help.
//!
//! # Platforms
//!
//! Linux 5.4 or newer. On other systems this crate is empty.

#![cfg(target_os = "linux")]

mod address;
mod bad_link;
mod birthplace;
mod command;
mod error;
mod frame;
mod guardian;
mod host;
mod impairment;
mod interfaces;
mod lab;
mod lane;
mod leftovers;
mod link_statistics;
mod name;
mod namespace;
mod netlink;
mod offload;
mod passage;
mod port;
mod pump;
mod router;
mod routing_table;
mod switch;
mod switch_options;
#[allow(unsafe_code)]
mod sys;
pub mod topology;
mod worker;

pub use address::{AddressError, InterfaceAddress};
pub use bad_link::BadLink;
pub use birthplace::enter;
pub use command::{Child, Command};
pub use error::{LabError, LabErrorKind};
pub use host::Host;
pub use impairment::{Direction, Fate, Impairment, Scope};
pub use lab::Lab;
pub use link_statistics::LinkStatistics;
pub use offload::Offload;
pub use passage::enter_host;
pub use port::Port;
pub use router::{RouteGroup, Router};
pub use switch::{Member, Switch};
pub use switch_options::SwitchOptions;
pub use topology::{Network, Program, Topology};

/// The result of everything that can fail in a lab.
pub type Result<T, E = LabError> = std::result::Result<T, E>;
