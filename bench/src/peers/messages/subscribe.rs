//! A stream's subscriber.

use std::time::{Duration, Instant};

use anyhow::Result;
use mcast::Membership;
use mcast_stream::Subscriber;
use mcast_stream::receiver::Item;

use super::Work;
use super::publish::{group, interface, keys};
use super::tally::Tally;

/// How long to wait until the next look at the time.
const WAIT: Duration = Duration::from_millis(50);
/// How long to tell the publisher so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Takes messages until the last one, or until the time is over.
pub(super) fn run(work: &Work, sealed: bool) -> Result<()> {
    let membership = Membership::new(group(work)?).on(interface(work));
    let mut subscriber = Subscriber::builder().path(membership).keys(keys(sealed)).build()?;
    eprintln!("ready");
    let mut tally = Tally::new(work);
    loop {
        let Some(item) = subscriber.next_timeout(WAIT)? else {
            if tally.is_over() {
                break;
            }
            continue;
        };
        // Of events nothing is told: what is lost shows in the numbers.
        let Item::Message(message) = item else { continue };
        if !tally.take(message.bytes) {
            break;
        }
    }
    println!("{}", tally.report());
    // The publisher waits to be told that this one has everything.
    let deadline = Instant::now() + FAREWELL;
    while !subscriber.is_over() && Instant::now() < deadline {
        subscriber.next_timeout(WAIT)?;
    }
    Ok(())
}
