//! Packets and the table as JSON.

mod dns;
mod packet;
mod table;

pub use packet::{PacketRecord, PacketSummaryRecord};
