//! Plain values: what the calls of this crate take and return on every platform.

mod error;
mod holding;
mod interface;
pub(crate) mod wire;

pub use error::{ClassifiedError, ErrorKind, FailureClass, Operation, Warning};
pub use holding::{
    Encapsulation, GroupOptions, Holder, Holding, InvalidSocketChange, JoinedSocket, NetworkId, Process,
    RawSocket, SendAnswer, SendInterface, SocketChange, SocketFilter, SocketHolder, SocketKind,
    SocketMembership, SocketOptions, Version, Visibility,
};
pub use interface::{
    AddressState, Bridge, BridgeQuerier, Direction, HardwareAddress, Interface, InterfaceAddress, Notice,
};
