//! Plain values: what the calls of this crate take and return on every platform.

mod bridge;
mod classified;
mod direction;
mod error;
mod holding;
mod interface;
mod receive_buffer;
mod socket_change;
mod socket_options;
mod warning;

pub use bridge::{Bridge, BridgeQuerier};
pub use classified::{ClassifiedError, FailureClass};
pub use direction::Direction;
pub use error::{ErrorKind, Operation};
pub use holding::{Holder, Holding, JoinedSocket, Process, SocketHolder, SocketKind, Version, Visibility};
pub use interface::{AddressState, HardwareAddress, Interface, InterfaceAddress, Notice};
pub use receive_buffer::ReceiveBuffer;
pub use socket_change::{InvalidSocketChange, SendInterface, SocketChange, SocketMembership};
pub use socket_options::{Encapsulation, GroupOptions, SocketFilter, SocketOptions};
pub use warning::Warning;
