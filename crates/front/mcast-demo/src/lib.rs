//! Shows how multicast works on real packets, step by step, and checks every step.
//!
//! [`on_virtual_hosts`] builds four hosts, two groups, a switch and a second network from network namespaces, so that
//! nothing leaves this machine and nothing remains. [`on_loopback`] shows less, on every system. Both pass what they show
//! to a closure, which prints it, for instance:
//!
//! ```no_run
//! use mcast_demo::{Scene, on_virtual_hosts};
//!
//! on_virtual_hosts(&mut |scene| {
//!     if let Scene::Step { host, event, expected } = scene {
//!         let is_wrong = expected.is_some_and(|expected| expected != event);
//!         println!("{host} {} {event}{}", event.verb(), if is_wrong { " (unexpected!)" } else { "" });
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), mcast_demo::DemoError>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod hosts;
mod listener;
mod narrator;

use std::{error, io};

use mcast_sys::{ClassifiedError, FailureClass};

pub use crate::listener::{Arguments, run};
#[cfg(feature = "schema")]
pub use crate::narrator::schemas;
pub use crate::narrator::{Endpoint, Event, Scene, Show};
pub use listener::play as on_loopback;

/// The hosts of [`on_virtual_hosts`].
pub const VIRTUAL_HOSTS: &[&str] = &["eastny", "midwood", "flatbush", "bushwick"];

/// The sockets of [`on_loopback`], which stand for hosts.
pub const LOOPBACK_HOSTS: &[&str] = &["alice", "bob", "carol"];

/// Why a demonstration ended early. An unexpected event is not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Virtual hosts cannot be created here.
    #[error("cannot create virtual hosts here: {why}")]
    NoVirtualHosts {
        /// The step that was refused, or what is missing.
        why: String,
        /// What to change.
        remedy: String,
    },
    /// There is no loopback interface that is up.
    #[error("no loopback interface is up")]
    NoLoopback,
    /// A virtual host or a switch failed.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Lab(#[from] mcast_lab::LabError),
    /// A socket could not join, send or receive.
    #[error(transparent)]
    Multicast(#[from] mcast::Error),
    /// A capture failed.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Capture(#[from] mcast_capture::Error),
    /// A scene could not be shown, or a plain socket failed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A group could not be parsed.
    #[error(transparent)]
    Group(#[from] mcast::ParseError),
}

impl ClassifiedError for DemoError {
    fn class(&self) -> Option<FailureClass> {
        Some(FailureClass::Environment)
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NoVirtualHosts { remedy, .. } => Some(remedy.clone()),
            Self::NoLoopback => Some("bring it up, on Linux: `ip link set lo up`".into()),
            _ => None,
        }
    }

    fn transparent(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Lab(error) => Some(error),
            #[cfg(target_os = "linux")]
            Self::Capture(error) => Some(error),
            Self::Multicast(error) => Some(error),
            Self::System(error) => Some(error),
            Self::Group(error) => Some(error),
            Self::NoVirtualHosts { .. } | Self::NoLoopback => None,
        }
    }
}

/// Shows three acts on virtual hosts: a switch that floods, a switch with snooping, and a host with two interfaces.
///
/// # Errors
/// [`DemoError::NoVirtualHosts`] before the first scene where they cannot be created; otherwise an error of the system
/// or of `show`.
#[cfg(target_os = "linux")]
pub fn on_virtual_hosts(show: Show<'_>) -> Result<(), DemoError> {
    hosts::play(show)
}

/// Fails: this system has no network namespaces.
///
/// # Errors
/// [`DemoError::NoVirtualHosts`].
#[cfg(not(target_os = "linux"))]
pub fn on_virtual_hosts(_show: Show<'_>) -> Result<(), DemoError> {
    Err(DemoError::NoVirtualHosts {
        why: "they need Linux network namespaces".into(),
        remedy: "run it on Linux, in a virtual machine or in a privileged container".into(),
    })
}

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
