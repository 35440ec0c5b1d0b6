//! A stream's subscriber.

use std::time::{Duration, Instant};

use anyhow::Result;
use mcast::Membership;
use mcast_stream::Subscriber;
use mcast_stream::subscriber::Item;

use super::publish::{group, interface, keys, signed_by};
use super::tally::Tally;
use super::{Setup, Work};

/// How long a subscriber polls before it sleeps: longer than it waits.
const SPIN: Duration = Duration::from_secs(1);
/// How often to check the time.
const WAIT: Duration = Duration::from_millis(50);
/// How long to confirm to the publisher that everything was received.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Receives messages until the last one, or until the time is over.
pub(super) fn run(work: &Work, setup: Setup) -> Result<()> {
    let membership = Membership::new(group(work)?).on(interface(work));
    let builder = Subscriber::builder().join(membership).keys(keys(setup)).signed_by(signed_by(setup)?);
    let spin = if setup.spin { SPIN } else { Duration::ZERO };
    let mut subscriber = builder.spin(spin).build()?;
    eprintln!("ready");
    let mut tally = Tally::new(work);
    loop {
        let Some(item) = subscriber.next_timeout(WAIT)? else {
            if tally.is_over() {
                break;
            }
            continue;
        };
        // Ignore events: the message numbers show losses.
        let Item::Message(message) = item else { continue };
        if !tally.take(message.bytes) {
            break;
        }
    }
    println!("{}", tally.report());
    // The publisher waits for this confirmation.
    let deadline = Instant::now() + CLOSING_TIME;
    while !subscriber.is_over() && Instant::now() < deadline {
        subscriber.next_timeout(WAIT)?;
    }
    Ok(())
}
