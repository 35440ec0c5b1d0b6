//! Datagrams to one receiver alone, in trains where there are several.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use mcast_sys::unicast::{MAX_SEGMENTS, is_refusal, send_segments};

/// Bytes of a train: what an IPv4 packet can carry, although it never becomes one.
const TRAIN_BYTES: usize = 65_507;

/// The socket for single receivers. What it cannot send is as if the network had lost it: it is asked for again.
#[derive(Debug)]
pub(super) struct Singles {
    socket: UdpSocket,
    /// Whether the system, or a device, has refused a train.
    refused: AtomicBool,
}

impl Singles {
    pub(super) const fn new(socket: UdpSocket) -> Self {
        Self { socket, refused: AtomicBool::new(false) }
    }

    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.socket.send_to(bytes, to);
    }

    /// Sends all of these, in order.
    pub(super) fn send_all<'b>(&self, to: SocketAddr, all: impl Iterator<Item = &'b [u8]>) {
        let mut train = [IoSlice::new(&[]); MAX_SEGMENTS];
        let mut count = 0;
        for bytes in all {
            if !has_room(&train[..count], bytes) {
                self.send_train(to, &train[..count]);
                count = 0;
            }
            train[count] = IoSlice::new(bytes);
            count += 1;
        }
        self.send_train(to, &train[..count]);
    }

    fn send_train(&self, to: SocketAddr, train: &[IoSlice<'_>]) {
        if train.len() > 1 && !self.refused.load(Ordering::Relaxed) {
            match send_segments(&self.socket, to, train) {
                Err(error) if is_refusal(&error) => self.refused.store(true, Ordering::Relaxed),
                _ => return,
            }
        }
        train.iter().for_each(|bytes| self.send(to, bytes));
    }
}

/// Whether a datagram may follow those of a train: all are of one length but the last, which may be shorter.
fn has_room(train: &[IoSlice<'_>], bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (train.first(), train.last()) else { return true };
    let is_even = last.len() == first.len() && (1..=first.len()).contains(&bytes.len());
    is_even && train.len() < MAX_SEGMENTS && (train.len() + 1) * first.len() <= TRAIN_BYTES
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use mcast_lab::Lab;

    use super::*;

    /// Sends datagrams of these lengths over a link with an MTU of 1,500; tells whether trains were refused.
    fn send_and_compare(lengths: &[usize]) -> bool {
        let lab = Lab::new().unwrap();
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        lab.link(&sender, "eth0", &["10.0.0.1/24"], &receiver, "eth0", &["10.0.0.2/24"]).unwrap();
        let bind = || UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        let hearing = receiver.run(bind).unwrap();
        hearing.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let singles = Singles::new(sender.run(bind).unwrap());
        let all: Vec<Vec<u8>> = (0..).zip(lengths).map(|(number, length)| vec![number; *length]).collect();
        let to = SocketAddr::from(([10, 0, 0, 2], hearing.local_addr().unwrap().port()));

        singles.send_all(to, all.iter().map(Vec::as_slice));

        let mut buffer = vec![0; 65_536];
        for sent in &all {
            let length = hearing.recv(&mut buffer).unwrap();
            assert!(buffer[..length] == sent[..], "{} bytes came instead of {}", length, sent.len());
        }
        singles.refused.into_inner()
    }

    #[test]
    fn each_of_a_train_comes_as_it_was_sent() {
        // Two trains, which the receiver has room for.
        let equal = [1_400; 60];
        assert!(!send_and_compare(&equal), "trains go here");
        assert!(!send_and_compare(&[100, 100, 40, 100, 200, 1, 0, 7, 7, 7]));
    }

    #[test]
    fn where_trains_are_refused_each_goes_alone() {
        assert!(send_and_compare(&[3_000; 5]), "no train is longer than the path takes whole");
    }
}
