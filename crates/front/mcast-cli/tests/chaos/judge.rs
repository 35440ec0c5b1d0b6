//! The rules that a round must satisfy.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ledger::Account;
use crate::publisher::{EVICT_AFTER, EndedPublisher, PublisherEnd};
use crate::round::Intervals;
use crate::subscriber::Finished;

/// The pause that the witness may have in addition to evictions, on a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);

/// Returns the violations in a round.
pub(crate) fn judge(
    publishers: &[EndedPublisher],
    finished: &[Finished],
    intervals: &Intervals,
    begun: Instant,
) -> Vec<String> {
    let mut faults = Vec::new();
    for each in finished {
        let name = format!("subscriber on {}", each.host);
        faults.extend(each.ledger.faults.iter().take(5).map(|fault| format!("{name}: {fault}")));
        faults
            .extend(accounts(each, publishers, finished).into_iter().map(|fault| format!("{name}: {fault}")));
        faults.extend(status(each).map(|fault| format!("{name}: {fault}")));
    }
    for (number, publisher) in publishers.iter().enumerate() {
        let reported = reports(number, publisher, finished);
        faults.extend(reported.into_iter().map(|fault| format!("publisher {number}: {fault}")));
    }
    // Post 0 is the witness.
    for pause in finished.iter().filter(|each| each.host == 0).flat_map(|each| &each.ledger.pauses) {
        let overlaps = |interval: &&(Instant, Instant)| interval.0 < pause.1 && pause.0 < interval.1;
        let blocked = intervals.blocked.iter().filter(overlaps).count() as u32;
        let is_excused = intervals.disturbed.iter().any(|interval| overlaps(&interval));
        let (from, length) = (pause.0 - begun, pause.1 - pause.0);
        if length > blocked * EVICT_AFTER + SLACK && !is_excused {
            faults.push(format!("the others were delayed by {length:?} from {from:?} on"));
        }
    }
    faults
}

/// Returns the number of messages of an incarnation that certainly exist.
fn published(publisher: usize, publishers: &[EndedPublisher], finished: &[Finished]) -> u64 {
    match &publishers[publisher].end {
        PublisherEnd::Closed { .. } => publishers[publisher].given,
        PublisherEnd::Killed => {
            let of_publisher = finished.iter().flat_map(|each| &each.ledger.accounts);
            let of_publisher =
                of_publisher.filter(|account| account.publisher == Some(publisher) && account.delivered > 0);
            of_publisher.map(|account| account.next).max().unwrap_or(0)
        }
    }
}

/// Every subscriber that was not killed has each message of each incarnation delivered or reported.
fn accounts(subscriber: &Finished, publishers: &[EndedPublisher], finished: &[Finished]) -> Vec<String> {
    let mut faults = Vec::new();
    let accounts = &subscriber.ledger.accounts;
    for (index, account) in accounts.iter().enumerate() {
        let is_last = index + 1 == accounts.len();
        let Some(publisher) = account.publisher.or_else(|| publisher_of(account, finished)) else { continue };
        if is_last && (subscriber.status.is_none() || account.silent && account.ended.is_none()) {
            continue;
        }
        let published = published(publisher, publishers, finished);
        if account.next < published && !account.lost_unknown {
            faults.push(format!(
                "publisher {publisher}: {} messages from {} on are missing in silence, of {published}",
                published - account.next,
                account.next
            ));
        }
        if let PublisherEnd::Closed { .. } = publishers[publisher].end
            && account.next > published
        {
            faults.push(format!("publisher {publisher}: it has {} messages of {published}", account.next));
        }
        let next =
            accounts.get(index + 1).and_then(|next| next.publisher.or_else(|| publisher_of(next, finished)));
        for skipped in publisher + 1..next.unwrap_or(0) {
            let missed = self::published(skipped, publishers, finished);
            if missed > 0 && !account.lost_unknown {
                faults.push(format!("publisher {skipped}: all {missed} messages are missing in silence"));
            }
        }
    }
    faults
}

/// Returns the publisher of an incarnation, as other subscribers learned from its messages.
fn publisher_of(account: &Account, finished: &[Finished]) -> Option<usize> {
    let all = finished.iter().flat_map(|each| &each.ledger.accounts);
    all.filter(|other| other.incarnation == account.incarnation).find_map(|other| other.publisher)
}

/// A subscriber's exit status shows whether anything is missing.
fn status(subscriber: &Finished) -> Option<String> {
    if subscriber.is_late {
        return Some("did not end".to_owned());
    }
    let is_incomplete = subscriber.ledger.is_incomplete();
    match subscriber.status {
        Some(0) if is_incomplete => Some("exit status 0 although messages are missing".to_owned()),
        Some(1)
            if !is_incomplete && subscriber.ledger.accounts.iter().all(|account| account.ended.is_some()) =>
        {
            Some("exit status 1 although nothing is missing".to_owned())
        }
        None | Some(0 | 1) => None,
        Some(other) => Some(format!("exit status {other}")),
    }
}

/// What a publisher reports as complete was delivered; exit status 0 means that of every subscriber.
fn reports(number: usize, publisher: &EndedPublisher, finished: &[Finished]) -> Vec<String> {
    let PublisherEnd::Closed { status, report } = &publisher.end else { return Vec::new() };
    let Some(report) = report else { return vec!["printed no report".to_owned()] };
    let mut faults = Vec::new();
    if report["messages"].as_u64() != Some(publisher.given) {
        faults.push(format!("published {} of {} messages", report["messages"], publisher.given));
    }
    // An incarnation without messages cannot be identified.
    if publisher.given == 0 {
        return faults;
    }
    let hosts = finished.iter().map(|each| each.host).max().unwrap_or(0);
    for host in 0..=hosts {
        let of_host = |receiver: &&Value| {
            let address = receiver["address"].as_str().unwrap_or_default();
            address.split(':').next() == Some(&format!("10.0.0.{}", host + 10))
        };
        let receivers: Vec<&Value> =
            report["subscribers"].as_array().into_iter().flatten().filter(of_host).collect();
        let complete = receivers.iter().filter(|receiver| receiver["state"] == "complete").count();
        let received = |each: &&Finished| {
            each.host == host && each.ledger.accounts.iter().any(|account| account.publisher == Some(number))
        };
        let received: Vec<&Finished> = finished.iter().filter(received).collect();
        // A killed subscriber may have had everything.
        let served =
            received.iter().filter(|each| each.status.is_none() || has_all(each, number, publisher.given));
        let served = served.count();
        if complete > served {
            faults.push(format!("reports {complete} complete on {host}, where {served} have everything"));
        }
        if *status == Some(0) && receivers.len() >= received.len() && served < received.len() {
            faults.push(format!("exit status 0, and {} on {host} lack messages", received.len() - served));
        }
    }
    match status {
        Some(0 | 1) => {}
        other => faults.push(format!("exit status {other:?}")),
    }
    faults
}

fn has_all(subscriber: &Finished, publisher: usize, published: u64) -> bool {
    let of_publisher =
        subscriber.ledger.accounts.iter().filter(|account| account.publisher == Some(publisher));
    of_publisher.clone().next().is_some()
        && of_publisher.fold(true, |all, account| {
            all && account.next == published && account.lost == 0 && !account.lost_unknown
        })
}
