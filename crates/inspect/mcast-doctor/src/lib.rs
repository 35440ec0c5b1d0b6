//! Finds out why multicast does not arrive: the cause, the evidence for it, and the remedy.
//!
//! Multicast fails silently: whatever drops the datagrams, the program only notices that none arrive. The
//! doctor therefore observes three layers at once (the wire, the counters of the IP layer, and a socket), and
//! reports the layer at which datagrams were lost and why.
//!
//! ```no_run
//! use mcast_doctor::{Options, examine_membership};
//! use std::ops::ControlFlow;
//!
//! let membership = "239.255.2.3%eth0:5000".parse()?;
//! let report = examine_membership(&membership, &Options::default(), &mut |_| ControlFlow::Continue(()))?;
//! for finding in &report.findings {
//!     println!("{}: {}: {}", finding.severity, finding.id, finding.cause);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each cause is a pure function from observations to findings (`src/causes`). Input and output are separate
//! from it (`src/gather`). A cause is reported only if nothing else explains the observations equally well,
//! because a false alarm does more harm than a missed cause. Open questions are in [`Report::open_questions`].
//!
//! `mcast-path` judges the path between two machines, and `mcast-fleet` examines many machines; both report findings
//! of the types of this crate.
#![forbid(unsafe_code)]

mod action;
mod applying;
mod carrying_out;
mod causes;
mod change;
mod error;
mod examine;
mod fate;
mod finding;
mod gather;
mod journal;
mod kernel_drops;
mod observation;
mod options;
mod outcome;
mod protocol;
mod querier_log;
mod remedies;
mod remedy;
mod report;
mod representatives;
mod service;
mod singular;
mod socket_change;
mod speakers;
mod started_program;
mod wire;

/// The packet filter, under the names that this crate uses.
mod netfilter {
    pub(crate) use mcast_host::netfilter::FilterLayer as Layer;
    pub(crate) use mcast_host::netfilter::*;
}

/// The facts of the machine, under the names that this crate uses.
mod snapshot {
    pub(crate) use mcast_host::snapshot::*;
    pub(crate) use mcast_host::snapshot::{
        AddressPrefix as Prefix, BridgeSettings as Bridge, GroupRoute as Route, HostSnapshot as Snapshot,
    };
}

use causes::refused_sends::RefusedOperation;
use mcast_host::classic_filter;

pub use action::{Action, SocketAction, command_line, posix_line};
pub use applying::{AppliedRemedies, RemedyEffect};
pub use causes::{Id, UnknownId};
pub use change::ChangeOutcome;
pub use error::Error;
pub use examine::{
    examine_machine, examine_membership, examine_program, examine_programs, examine_protocol,
    examine_service, explain_capture, explain_capture_of,
};
pub use fate::depth::{ArrivalStatus, Depth, FlowStatus};
pub use finding::{Endpoint, Evidence, EvidenceKind, ExplainedFlow, Finding, Severity, Subject};
pub use journal::{Journal, JournalEntry, OldJournalEntry, UndoneEntry};
pub use mcast_host::{Error as HostError, ExaminedPart, host_drops};
pub use mcast_sys::{InvalidSocketChange, SocketChange};
pub use options::{Options, ProgramSelector, Progress, ProgressCallback};
pub use protocol::{IpProtocol, ProtocolTarget, UnknownProtocol};
pub use querier_log::{QuerierLog, QuerierSighting};
#[doc(hidden)]
pub use remedies::mcast::suggestions;
pub use remedy::{Effective, Instructions, Persistence, Remedy, RemedyScope, Tool};
pub use report::{Effect, LayerObservation, OpenQuestion, Report, Verdict};
pub use service::ServiceTarget;
pub use started_program::StartedProgram;

/// Returns why this machine refuses to send to a group, or to join it, from its interfaces, routes, rules for routing and packet filter;
/// `None` if those do not explain the error, or may not be read: rules need `CAP_NET_ADMIN`. They are those of the network namespace of the calling thread, and of the present.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// if let Err(error) = mcast::Sender::to("239.255.2.3:7000".parse()?)?.send(b"hello") {
///     eprintln!("{error}");
///     mcast_doctor::explain_error(&error).into_iter().for_each(|finding| eprintln!("{}", finding.cause));
/// }
/// # Ok(()) }
/// ```
#[must_use]
pub fn explain_error(error: &mcast::Error) -> Option<Finding> {
    let refused = RefusedOperation::of(error)?;
    // What cannot be read leaves the cause unknown.
    match () {
        () if refused.is_about_rules() => {
            causes::refused_sends::judge_rules(gather::snapshot().ok()?, &refused)
        }
        () if refused.is_about_routing() => {
            causes::refused_sends::judge(gather::sending_snapshot().ok()?, &refused)
        }
        () => None,
    }
}

/// Moves the calling thread, and the threads that it starts from now on, to the network namespace of a process. See
/// [`Report::with_remedies_in_network_of`].
///
/// # Errors
/// [`Error::System`] if the system refuses it: it needs `CAP_SYS_ADMIN`, and exists on Linux only.
pub fn enter_network_of(pid: u32) -> Result<()> {
    let what = || format!("the network namespace of process {pid}");
    mcast_sys::process::enter_network_of(pid).map_err(|source| Error::System { what: what(), source })
}

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The example of the product's README, compiled as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProductReadme;
