//! Why multicast does not arrive: causes, the evidence for each, and what helps.
//!
//! Multicast fails silently. Whatever ate the datagrams, the program only sees that none come. So the
//! doctor looks at three depths at once, on the wire, at the counters of the IP layer, and at the
//! socket, and names the layer at which they got lost and why.
//!
//! ```no_run
//! use mcast_doctor::{Options, examine_membership};
//! use std::ops::ControlFlow;
//!
//! let membership = "239.1.2.3%eth0:5000".parse()?;
//! let report = examine_membership(&membership, &Options::default(), &mut |_| ControlFlow::Continue(()))?;
//! for finding in &report.findings {
//!     println!("{}: {}: {}", finding.severity, finding.id, finding.cause);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each cause is a pure function from what was observed to findings (`src/causes`), and gathering is
//! apart from it (`src/gather`). A cause is told only when nothing else explains what was seen as well:
//! a false alarm does more harm than a miss. What cannot be known is in [`Report::unknown`].

mod causes;
mod error;
mod examine;
mod finding;
mod gather;
mod id;
mod observation;
mod options;
mod pages;
mod remedies;
mod report;
mod snapshot;
mod wire;

pub use error::Error;
pub use examine::{Target, examine_machine, examine_membership, examine_program, explain_capture};
pub use finding::{Evidence, Finding, Lasts, Remedy, Severity, Sort, Step, Subject, Tool};
pub use id::{Id, UnknownId};
pub use options::{Options, Progress, Watch};
pub use pages::{Block, Page, Tags};
pub use report::{Report, Seen, Unknown};

/// What an examination gives, or why it could not be made.
pub type Result<T> = std::result::Result<T, Error>;
