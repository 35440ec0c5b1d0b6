//! The doctor on many machines, and over time.
//!
//! Each machine listens and probes all others, and the paths that fail show where the fault is.
//!
//! One ssh session per machine runs a [`FleetMember`], which follows commands on its standard input and ends with it.
//! [`examine_fleet`] starts the sessions, lets one machine after the other probe, collects the reports, and judges
//! them with [`judge_fleet`], which is a pure function. A [`History`] keeps the results of repeated examinations, of
//! one machine or of many, in a file of bounded size.
#![forbid(unsafe_code)]

mod coordinator;
mod decision;
mod edges;
mod history;
mod hosts;
mod matrix;
mod member;
mod message;
mod report;
mod session;

pub use coordinator::{FleetPlan, examine_fleet};
pub use decision::{FleetFinding, judge_fleet};
pub use edges::FleetEdge;
pub use history::{
    History, HistoryEntry, HistoryError, HistoryPath, HistoryQuerier, HistoryStream, HistoryTimeline, Onset,
};
pub use hosts::{FleetHost, FleetHostError, FleetHostStatus, parse_fleet};
pub use matrix::{FleetCell, FleetMatrix, FleetPair, FleetTarget, PathOutcome, UnicastCell};
pub use member::{FleetMember, MemberTarget};
pub use message::SwitchPort;
pub use report::{FleetHostReport, FleetReport, FleetVerdict};
pub use session::SshOptions;
