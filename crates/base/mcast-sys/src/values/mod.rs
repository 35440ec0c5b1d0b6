//! Plain values: what the calls of this crate take and return on every platform.

mod error;
mod holding;
mod interface;
mod socket_change;

pub use error::{ClassifiedError, ErrorKind, FailureClass, Operation, Warning};
pub use holding::{
    Encapsulation, GroupOptions, Holder, Holding, JoinedSocket, Process, SocketFilter, SocketHolder,
    SocketKind, SocketOptions, Version, Visibility,
};
pub use interface::{
    AddressState, Bridge, BridgeQuerier, Direction, HardwareAddress, Interface, InterfaceAddress, Notice,
};
pub use socket_change::{InvalidSocketChange, SendInterface, SocketChange, SocketMembership};
