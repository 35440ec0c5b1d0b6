//! Packets and the table as JSON.

mod packet;
mod table;

pub use packet::{PacketRecord, PacketSummaryRecord};
