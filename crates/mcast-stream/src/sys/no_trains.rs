//! Where no call cuts a train apart.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};

/// Datagrams of a train.
pub(crate) const MOST: usize = 1;

/// Never called with more than [`MOST`].
pub(crate) fn send_train(socket: &UdpSocket, to: SocketAddr, train: &[IoSlice<'_>]) -> io::Result<()> {
    train.iter().try_for_each(|each| socket.send_to(each, to).map(drop))
}
