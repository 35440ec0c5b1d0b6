//! The automatic rate: as much as the path to the slowest subscriber carries, with little queueing, and about as much as
//! one TCP flow beside others.
//!
//! A [`PathModel`] per subscriber derives a rate from its statuses. The least rate of all subscribers that the publisher
//! waits for is the rate of the stream (as in PGMCC and TFMCC, RFC 4654). The reasons are in
//! `docs/design/023-automatic-rate.md`.

mod cubic;
mod filter;
mod flow;
mod machine;
mod model;
mod solitude;

pub(super) use machine::AutoControl;
pub(crate) use model::PathModel;
