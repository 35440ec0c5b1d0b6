//! Receivers of as many groups as the system allows.

use mcast::{ErrorKind, Receiver, ReceiverBuilder};

/// Builds a receiver. Where a limit is met, raises the process's own limit of descriptors and tries again: the
/// command has nothing that `select(2)` waits for.
pub(crate) fn build(builder: ReceiverBuilder) -> mcast::Result<Receiver> {
    match builder.clone().build() {
        Err(error) if error.kind() == ErrorKind::LimitReached && mcast::raise_descriptor_limit() => {
            builder.build()
        }
        result => result,
    }
}
