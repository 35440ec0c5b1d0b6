//! What a lab of network namespaces needs of Linux: creating and entering namespaces, programs that
//! are killed with the lab, frames on an interface, offload features, and multicast routing.
//!
//! Functions that take effect in a namespace take effect in that of the calling thread.

pub mod ethernet;
pub mod host_access;
pub mod multicast_routing;
pub mod namespace;
pub mod namespace_child;
pub mod offload;
pub mod process;
pub mod scoped;
pub mod watchdog;

use crate::socket_option::{self, check};
