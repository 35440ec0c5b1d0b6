//! Receiving datagrams: what arrived and what was dropped, and where nothing can arrive.

mod flows;
mod locate_stream;
mod start;
mod stream_event;
mod tally;
mod unreachable_interfaces;

pub(crate) use flows::flow_table;
pub(crate) use locate_stream::{StreamPlace, locate_stream};
pub(crate) use start::{listen_at, print_buffer, print_hosts, print_memberships};
pub(crate) use stream_event::{EventRecord, Importance, describe};
pub(crate) use tally::{FlowSummary, Tally, drops_text};
pub(crate) use unreachable_interfaces::UnreachableInterfaces;
