//! Networks made of Linux network namespaces, for testing multicast on real kernels.
//!
//! A [`Lab`] builds hosts, switches, routers and links inside one process, through netlink and without
//! external programs. It is ready within milliseconds, needs no root where user namespaces are
//! available, touches none of the machine's own interfaces (unless it borrows a [`Cable`]), and leaves
//! nothing behind, even when the process is killed: its namespaces have no names and exist only as long
//! as the threads and descriptors in them.
//!
//! ```no_run
//! use mcast_lab::Lab;
//! use std::net::{Ipv4Addr, UdpSocket};
//!
//! let lab = Lab::new()?;
//! let lan = lab.switch("lan")?;
//! let host = lab.host("a")?;
//! host.connect("eth0", &lan, &["10.0.0.1/24", "fd00::1/64"])?;
//! let socket = host.run(|| UdpSocket::bind("10.0.0.1:0"))??; // belongs to the host, usable anywhere
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Privileges
//!
//! As root (`CAP_SYS_ADMIN`), each host is a thread that moves to a network namespace of its own. As an
//! ordinary user, the process first starts a *warden*: a child that shares the memory and the
//! descriptors of the process, but not its thread group, and so may enter a user namespace although
//! other threads are running. The threads of the hosts belong to the warden. Closures notice one
//! difference only: inside them, [`std::process::id`] returns the id of the warden, and a
//! [`std::process::Child`] started inside a closure can only be waited for inside a closure.
//! [`Host::command`] has no such limit. A program that needs the process's own id inside closures calls
//! [`enter`] first in `main`.
//!
//! Where neither way is possible, [`Lab::new`] fails with [`LabErrorKind::Refused`], which reports the
//! reason and a remedy.
//!
//! # Platforms
//!
//! Linux 5.4 or newer. On other systems this crate is empty.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod address;
mod bad_link;
mod cable;
mod command;
pub mod drawing;
mod error;
mod host;
mod impairment;
mod interfaces;
mod ip_set;
mod lab;
mod lane;
mod namespace;
mod netlink;
mod router;
mod skip;
mod switch;
pub mod topology;

pub use crate::namespace::enter;
pub use address::{AddressError, CidrAddress};
pub use bad_link::BadLink;
pub use cable::Cable;
pub use command::{Child, Command};
pub use error::{LabError, LabErrorKind};
pub use host::{Host, HostInterface, accessible_hosts, enter_host};
pub use impairment::{Fate, Impairment, ImpairmentScope, LinkDirection};
pub use interfaces::Offload;
pub use lab::Lab;
pub use lane::LinkStatistics;
pub use router::{RouteGroup, Router};
pub use skip::{has_program, skip};
pub use switch::{SnoopedMember, Switch, SwitchOptions};
pub use topology::{LabNetwork, Program, Topology};

/// A result with [`LabError`] as its default error.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
