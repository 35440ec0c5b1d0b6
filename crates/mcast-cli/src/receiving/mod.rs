//! Receiving datagrams: what arrived and what was dropped, and where nothing can arrive.

mod flows;
mod start;
mod tally;
mod unreachable_interfaces;

pub(crate) use flows::flow_table;
pub(crate) use start::{print_buffer, print_memberships};
pub(crate) use tally::{FlowSummary, Tally, certainty, drops_text};
pub(crate) use unreachable_interfaces::UnreachableInterfaces;
