//! Plain values: what the calls of this crate take and return on every platform.

mod bridge;
mod classified;
mod clock;
mod direction;
mod error;
mod holding;
mod interface;
mod notice;
mod outgoing;
mod receive_buffer;
mod warning;

pub use bridge::{Bridge, BridgeQuerier};
pub use classified::{ClassifiedError, FailureClass};
pub use clock::KernelClock;
pub use direction::Direction;
pub use error::{ErrorKind, Operation};
pub use holding::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind, Version, Visibility};
pub use interface::{AddressState, HardwareAddress, Interface, InterfaceAddress};
pub use notice::Notice;
pub use outgoing::OutgoingDatagram;
pub use receive_buffer::ReceiveBuffer;
pub use warning::Warning;
