//! Reports subscribers that join, leave or are evicted. The final state of subscribers is in the closing report.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mcast_stream::publisher::PublisherEvent;
use mcast_stream::wire::SubscriberId;

use crate::console::Console;
use crate::output::count_of;

/// The maximum number of remembered addresses: twice the number of subscribers that a stream can have at a time.
const MAX_ADDRESSES: usize = 8192;

/// The addresses of all subscribers, including former ones.
#[derive(Debug, Default)]
pub(super) struct Audience {
    addresses: BTreeMap<SubscriberId, SocketAddr>,
}

impl Audience {
    pub(super) fn note(&mut self, event: &PublisherEvent, console: &Console) {
        match *event {
            PublisherEvent::SubscriberJoined(receiver, address) => {
                self.add(receiver, address);
                console.note(format_args!("subscriber {} joined", address.ip()));
            }
            PublisherEvent::SubscriberLeft(receiver) => {
                console.note(format_args!("subscriber {} left", self.name(receiver)));
            }
            PublisherEvent::SubscriberSilent(receiver) => {
                console.warn(format_args!("subscriber {} has gone silent", self.name(receiver)));
            }
            PublisherEvent::SubscriberEvicted(receiver, missing) => {
                console.warn(format_args!(
                    "evicted subscriber {}: too slow, {} behind (--evict-after allows more time)",
                    self.name(receiver),
                    count_of(missing, "datagram")
                ));
            }
            PublisherEvent::SubscriberReturned(receiver) => {
                console.note(format_args!("subscriber {} has caught up", self.name(receiver)));
            }
            PublisherEvent::SubscriberRefused(receiver) => {
                console.warn(format_args!(
                    "subscriber {receiver} exceeds the limit: it is not waited for, and gets no repairs"
                ));
            }
            PublisherEvent::Slowed { loss, rate } => console.warn(format_args!(
                "slowed down to {:.1} Mbit/s: subscribers lose {:.1} % (--congestion off keeps the rate)",
                rate as f64 * 8.0 / 1e6,
                f64::from(loss) / 1e4
            )),
            PublisherEvent::Recovered => console.note("as fast as before again"),
            PublisherEvent::Unrecoverable(receiver, first, end) => console.warn(format_args!(
                "subscriber {} missed {} that have left the retransmission buffer (--history enlarges it)",
                self.name(receiver),
                count_of(end.saturating_sub(first), "datagram")
            )),
            PublisherEvent::SubscriberShort(receiver, given_up) => console.warn(format_args!(
                "subscriber {} has given up {}: it will not have everything",
                self.name(receiver),
                count_of(given_up, "datagram")
            )),
            PublisherEvent::Missed(events) => {
                console.detail(format_args!("{} were not reported", count_of(events, "event")));
            }
            _ => {}
        }
    }

    /// Remembers an address. The number is limited, because receivers can be forged.
    fn add(&mut self, receiver: SubscriberId, address: SocketAddr) {
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.pop_first();
        }
        self.addresses.insert(receiver, address);
    }

    fn name(&self, receiver: SubscriberId) -> String {
        match self.addresses.get(&receiver) {
            Some(address) => address.ip().to_string(),
            None => receiver.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let mut audience = Audience::default();
        for number in 0..3 * MAX_ADDRESSES as u64 {
            audience.add(SubscriberId(number), SocketAddr::from(([10, 0, 0, 1], 1)));
        }
        assert_eq!(audience.addresses.len(), MAX_ADDRESSES);
    }
}
