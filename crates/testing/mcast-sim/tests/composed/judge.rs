//! Whether the promises were kept.

use mcast_stream_proto::publisher::SubscriberProgress;
use mcast_stream_proto::subscriber::Cause;

use crate::admission::service_bound;
use crate::audit::Audit;
use crate::link::is_in;
use crate::plan::{Begin, FeedFault, Gaps, ReaderFault, ReaderPlan, SECOND, Traffic};
use crate::reader::Reader;
use crate::world::World;

/// A new message is sent this long after a restart at the latest.
const RESTART_BOUND: u64 = 2 * SECOND;
/// How long a message waits while strangers send what they like.
const FLOOD_BOUND: u64 = 100_000_000;
/// What a subscriber sends, besides a datagram for each that it receives.
const FEEDBACK_PER_SECOND: u64 = 100;
/// An outage of the history server alone, while the publisher is heard, that is longer than this may outlast the patience of a subscriber
/// that heals a loss: 5 s.
const HEAL_TIMEOUT: u64 = 4 * SECOND;
/// The same for a start before any server has answered: 15 s. Up to 4.5 s pass between two requests, so a server that is back in the
/// last of these may not be asked again.
const START_TIMEOUT: u64 = 10 * SECOND;

/// Returns what did not hold.
pub(crate) fn judge(world: &World<'_>, is_interrupted: &[bool]) -> Vec<String> {
    let mut violations = [&world.feed.violations[..], &world.violations].concat();
    for (index, reader) in world.readers.iter().enumerate() {
        let mut blame = |what: String| violations.push(format!("subscriber {index}: {what}"));
        reader.audit.violations.iter().cloned().for_each(&mut blame);
        let audit = &reader.audit;
        let ends_regularly = world.feed.exit.as_ref().is_some_and(|exit| exit.has_ended_stream);
        if let Some(exit) = reader.exit {
            if exit.is_success && !audit.is_whole() && reader.lives == 1 {
                blame(format!("status 0, and lost {:?}", audit.lost));
            }
            if audit.ended == Some(world.plan.feed.messages)
                && audit.cursor.is_some_and(|cursor| cursor != world.plan.feed.messages)
            {
                blame(format!("it ended at {:?}", audit.cursor));
            }
        } else if is_interrupted[index] && ends_regularly && is_lossless(world, index) {
            blame(format!("it did not end; it is at {:?}", audit.cursor));
        }
        if is_lossless(world, index) && !audit.is_whole() {
            blame(format!(
                "it lost {:?}, {} unknown, the history failed at {:?}, although the log has all",
                audit.lost, audit.unknown, audit.history_failed
            ));
        }
        if is_lossless(world, index)
            && let Begin::Time(time) = reader.plan.begin
            && reader.lives == 1
            && is_clock_steady(world)
        {
            let first = world.feed.accepted_at.iter().position(|at| *at / 1_000_000 >= time / 1_000_000);
            let first = first.map(|first| first as u64);
            // What is older, and was not sent before it joined, comes as well.
            let is_held_back = audit.first < first;
            if first != audit.first && audit.first.is_some() && !is_held_back {
                blame(format!("it starts with {:?}, the first of that time is {first:?}", audit.first));
            }
        }
    }
    for (index, reader) in world.readers.iter().enumerate() {
        judge_delay(world, index, &mut violations);
        judge_paths(world, index, &mut violations);
        judge_narrow(world, index, &mut violations);
        judge_start(world, index, &mut violations);
        judge_service(world, index, &mut violations);
        let seconds = (world.now.saturating_sub(reader.plan.joins)) / SECOND + 1;
        // What is lost in the queue of a narrow link is requested again, and what is processed is acknowledged.
        let has_more = is_narrow(&reader.plan) || world.plan.feed.acks.is_some();
        let extra = if has_more { FEEDBACK_PER_SECOND } else { 0 };
        let most = reader.received + (FEEDBACK_PER_SECOND + extra) * seconds;
        if reader.feedback > most {
            violations.push(format!(
                "subscriber {index} sends {} datagrams, at most {most} are due",
                reader.feedback
            ));
        }
    }
    judge_feed(world, &mut violations);
    violations
}

/// What strangers send to a subscriber does not delay what it delivers.
fn judge_delay(world: &World<'_>, index: usize, violations: &mut Vec<String>) {
    let (plan, reader) = (&world.plan.readers[index], &world.readers[index]);
    let floods = |fault: &ReaderFault| matches!(fault, ReaderFault::Probes(..));
    let is_only_flooded = !plan.faults.is_empty() && plan.faults.iter().all(floods);
    // The publisher may slow down to find out whether its rate is the cause of the losses of any subscriber.
    let has_losses = world.plan.readers.iter().any(|reader| reader.loss > 0.0 || is_narrow(reader));
    let is_slow =
        has_losses || plan.uses_history() || world.plan.feed.rate.is_some() || world.plan.feed.waits;
    if !is_only_flooded || is_slow || !world.plan.feed.faults.is_empty() || world.plan.feed.acks.is_some() {
        return;
    }
    let delay = |(number, at): &(u64, u64)| {
        (at.saturating_sub(world.feed.accepted_at.get(*number as usize).copied().unwrap_or(*at)), *number)
    };
    if let Some((slowest, number)) = reader.audit.delivered_at.iter().map(delay).max()
        && slowest > FLOOD_BOUND
    {
        violations.push(format!(
            "subscriber {index} delivers message {number} {} ms late because of strangers",
            slowest / 1_000_000
        ));
    }
}

/// While one of several paths works, nothing is lost, whatever is done about gaps, and the other one is reported.
fn judge_paths(world: &World<'_>, index: usize, violations: &mut Vec<String>) {
    let (plan, reader) = (&world.plan.readers[index], &world.readers[index]);
    let is_path = |fault: &ReaderFault| matches!(fault, ReaderFault::PathDown(..));
    // What overtakes the first heartbeat is repaired, unless what was held back until it is acknowledged is sent at once, and
    // is more than the publisher retains.
    let is_burst = world.plan.feed.acks.is_some_and(|acks| acks.blocks) && world.plan.feed.buffer < 1 << 20;
    let is_repaired = plan.gaps == Gaps::Reliable && !world.plan.feed.one_way && !is_burst;
    let is_good = plan.loss == 0.0 && plan.narrow.is_none() && (plan.jitter == 0 || is_repaired);
    if world.plan.feed.paths < 2
        || !is_good
        || !plan.faults.iter().all(is_path)
        || !world.plan.feed.faults.is_empty()
        || plan.begin != Begin::Live
    {
        return;
    }
    if !reader.audit.lost.is_empty() || reader.audit.unknown > 0 {
        violations.push(format!("subscriber {index} lost {:?} although one path works", reader.audit.lost));
    }
    for fault in &plan.faults {
        if let ReaderFault::PathDown(path, (from, to)) = *fault
            && from > plan.joins + SECOND
            && to - from > 2 * SECOND
            && reader.exit.is_some_and(|exit| exit.at > to)
            && !reader.audit.silent_paths.contains(&path)
        {
            violations.push(format!("subscriber {index} does not report that path {path} is silent"));
        }
    }
}

/// Repairs do not flood a narrow link.
fn judge_narrow(world: &World<'_>, index: usize, violations: &mut Vec<String>) {
    let (plan, feed) = (&world.plan.readers[index], &world.plan.feed);
    let is_only_narrow = plan.loss + plan.loss_up == 0.0 && plan.faults.is_empty() && feed.faults.is_empty();
    if plan.narrow.is_none() || !is_only_narrow || world.readers.len() > 1 {
        return;
    }
    // Without flow control, repairs may take twice the bytes of the stream, and 512 KiB before the first reports. Messages that
    // are sent one by one have a manifest each.
    let manifest = if feed.signed { 200 } else { 0 };
    let message = feed.length as u64 + 80 + manifest;
    let most = 3 * u64::from(feed.paths) * feed.messages * message + (512 << 10);
    let offered = world.readers[index].link.offered;
    if offered > most {
        violations.push(format!("{offered} bytes were sent to subscriber {index}, at most {most} are due"));
    }
    // The publisher slows down to a subscriber that it waits for.
    let audit = &world.readers[index].audit;
    let is_waited_for = feed.waits && plan.gaps == Gaps::Reliable && feed.buffer >= 1 << 20;
    if is_waited_for && plan.begin == Begin::Live && (!audit.lost.is_empty() || audit.ended.is_none()) {
        violations.push(format!("behind a narrow link, subscriber {index} loses: {}", state(audit)));
    }
}

/// A start is found soon: a number that the publisher retains needs no server, and searches are repeated until one answers.
fn judge_start(world: &World<'_>, index: usize, violations: &mut Vec<String>) {
    let (plan, reader, feed) = (&world.plan.readers[index], &world.readers[index], &world.plan.feed);
    let is_undisturbed = feed.faults.is_empty()
        && world.heard[index]
        && feed.acks.is_none()
        && feed.rate.is_none()
        && world.readers.len() == 1
        && plan.narrow.is_none()
        && plan.loss + plan.loss_up + plan.loss_of_announcements == 0.0;
    let is_retained = feed.buffer >= 1 << 20 && feed.messages * (feed.length as u64 + 80) < 700_000;
    let number = match plan.begin {
        Begin::Number(number) | Begin::Resume(number) => Some(number),
        _ => None,
    };
    let mut ready = plan.joins;
    for fault in &plan.faults {
        match *fault {
            ReaderFault::Without(Traffic::Announcements, (_, to)) => ready = ready.max(to),
            ReaderFault::Without(Traffic::Tcp, _) if is_retained && number.is_some() => {}
            _ => return,
        }
    }
    if is_retained && number.is_some() {
        ready = plan.joins;
    }
    let is_published = match (number, plan.begin) {
        (Some(number), _) => world.feed.accepted_at.get(number as usize).is_some_and(|at| *at < plan.joins),
        (None, Begin::Oldest) => true,
        _ => return,
    };
    let Some((_, first)) = reader.audit.delivered_at.first().filter(|_| is_undisturbed && is_published)
    else {
        return;
    };
    if *first > ready + START_BOUND {
        let late = (first - ready) / 1_000_000;
        violations.push(format!("subscriber {index} starts {:?} {late} ms late", plan.begin));
    }
}

/// However many strangers ask the history server, and whatever places one network takes, a subscriber is answered in time.
fn judge_service(world: &World<'_>, index: usize, violations: &mut Vec<String>) {
    let (plan, reader, feed) = (&world.plan.readers[index], &world.readers[index], &world.plan.feed);
    let is_undisturbed = feed.faults.is_empty()
        && plan.faults.is_empty()
        && plan.narrow.is_none()
        && plan.loss + plan.loss_up + plan.loss_of_announcements == 0.0;
    let Some(crowd) = feed.crowd.filter(|_| is_undisturbed && plan.begin == Begin::Oldest) else { return };
    if let Some(at) = reader.answered_at
        && at > plan.joins + service_bound(crowd)
    {
        let late = (at - plan.joins) / 1_000_000;
        violations.push(format!(
            "subscriber {index} is answered after {late} ms beside {} strangers",
            crowd.strangers
        ));
    }
}

/// Within this time, a search is repeated several times.
const START_BOUND: u64 = 600_000_000;

fn is_narrow(plan: &ReaderPlan) -> bool {
    plan.narrow.is_some()
}

fn is_clock_steady(world: &World<'_>) -> bool {
    !world.plan.feed.faults.iter().any(|fault| matches!(fault, FeedFault::ClockJump { .. }))
}

fn length((from, to): (u64, u64)) -> u64 {
    to - from
}

/// Whether the history server was away, while heartbeats of the publisher arrived, for longer than a subscriber waits for one that has not
/// answered. One that has answered is waited for, and so is any by a subscriber that continues where it was.
fn is_server_given_up(world: &World<'_>, index: usize) -> bool {
    let (plan, reader) = (&world.plan.readers[index], &world.readers[index]);
    // The heartbeats of a sealed stream do not show where its history is.
    let hides_server = |traffic| match traffic {
        Traffic::Tcp => true,
        Traffic::Announcements => world.plan.feed.sealed,
        _ => false,
    };
    let outage = |fault: &ReaderFault| match *fault {
        ReaderFault::Without(traffic, span)
            if hides_server(traffic) && reader.answered_at.is_none_or(|at| span.0 <= at) =>
        {
            length(span)
        }
        _ => 0,
    };
    let outages: u64 = plan.faults.iter().map(outage).sum();
    match plan.begin {
        Begin::Resume(_) => false,
        Begin::Live | Begin::Snapshot => outages >= HEAL_TIMEOUT,
        Begin::Oldest | Begin::Number(_) | Begin::Time(_) => outages >= START_TIMEOUT,
    }
}

/// Whether a subscriber must get everything that it was promised, however long it was cut off, or the publisher or itself was
/// stopped: it uses the history.
fn is_lossless(world: &World<'_>, index: usize) -> bool {
    let plan = &world.plan.readers[index];
    // Another process does not continue where a live one was.
    let kills = |fault: &ReaderFault| matches!(fault, ReaderFault::Kill { .. });
    let drops_keys = |fault: &FeedFault| matches!(fault, FeedFault::Rotate { dropped_after: Some(_), .. });
    // What was published before it joined, and no log has, is not promised to a subscriber of the live stream.
    // A publisher does not wait for a subscriber that has been silent for too long, and for none for longer than `--linger`.
    let is_left_behind = world.feed.exit.as_ref().is_some_and(|exit| {
        // Nobody waits for one that joined when it was too late to be heard.
        let is_given_up =
            exit.at >= exit.deadline || !is_reachable(world, index, exit.at) || !world.heard[index];
        is_given_up && world.readers[index].exit.is_none_or(|own| own.at > exit.at)
    });
    plan.uses_history()
        && !world.plan.feed.is_pruned()
        // Repairs may fill a narrow link for longer than its timeout.
        && (!is_narrow(plan) || world.plan.feed.waits)
        && !is_left_behind
        && !plan.faults.iter().any(kills)
        && !is_server_given_up(world, index)
        && !world.plan.feed.faults.iter().any(drops_keys)
        && (plan.loss_of_announcements < 0.5 || !world.plan.feed.sealed)
        && is_clock_steady(world)
}

fn judge_feed(world: &World<'_>, violations: &mut Vec<String>) {
    let feed = &world.feed;
    let plan = &world.plan.feed;
    let blocks = plan.acks.is_some_and(|acks| acks.blocks);
    let is_free = !plan.waits && !blocks;
    let has = |is: fn(&FeedFault) -> bool| plan.faults.iter().any(is);
    let is_slowed = has(|fault| matches!(fault, FeedFault::Stall(_) | FeedFault::DiskFull(_)));
    let floods = has(|fault| matches!(fault, FeedFault::Probes(..)));
    let restarts = has(|fault| {
        matches!(fault, FeedFault::Kill { .. } | FeedFault::Rotate { dropped_after: Some(_), .. })
    });
    // A rate below that of the input delays messages more and more.
    let is_fast = !world.plan.readers.iter().any(is_narrow)
        && plan.rate.is_none_or(|rate| rate > 2 * (plan.length as u64 + 30) * SECOND / plan.interval);
    let (slowest, number) = feed.slowest;
    let (first_new, number_of_first) = feed.slowest_first;
    if is_free && is_fast && restarts && !is_slowed && first_new > RESTART_BOUND {
        violations.push(format!(
            "message {number_of_first} is sent {} ms late after a restart",
            first_new / 1_000_000
        ));
    }
    let is_good =
        world.plan.readers.iter().all(|reader| {
            reader.faults.is_empty() && reader.loss + reader.loss_up == 0.0 && !is_narrow(reader)
        });
    // Forged copies that come before the originals look like losses, for which it may slow down.
    let is_forged = has(|fault| matches!(fault, FeedFault::Forge(_)));
    let is_only_flooded = is_good && floods && !is_forged && !restarts && !is_slowed && plan.rate.is_none();
    if is_free && is_only_flooded && slowest > FLOOD_BOUND {
        violations.push(format!("message {number} is delayed by {} ms by strangers", slowest / 1_000_000));
    }
    if feed.waits_for_acknowledgements() {
        return;
    }
    let Some(exit) = &feed.exit else {
        violations.push(format!("the publisher does not end; it has accepted {}", feed.accepted));
        return;
    };
    for (index, reader) in world.readers.iter().enumerate() {
        let audit = &reader.audit;
        let Some(id) = reader.former.last() else { continue };
        let standing =
            exit.subscriber_progress.iter().find(|(known, ..)| known == id).map(|(.., standing)| *standing);
        let mut blame =
            |what: String| violations.push(format!("the publisher, of subscriber {index}: {what}"));
        // The oldest message, or the first one since a time, may be one past the last: all were sent, and removed, before its
        // start was answered.
        let begins_in_log = matches!(world.plan.readers[index].begin, Begin::Oldest | Begin::Time(_));
        let is_empty = plan.is_pruned() && begins_in_log && audit.cursor.is_none();
        let has_reached_end = audit.cursor == Some(plan.messages) || is_empty;
        let is_whole = audit.is_whole() && has_reached_end && audit.ended.is_some();
        // Statuses account for what was lost of the present publisher's own incarnation.
        let is_comparable = reader.lives == 1 && !restarts;
        let ended_at = reader.exit.map_or(u64::MAX, |exit| exit.at);
        let is_known =
            is_heard_at_its_end(reader) && (ended_at <= exit.at || is_reachable(world, index, exit.at));
        match standing {
            Some(SubscriberProgress::Complete) if exit.has_ended_stream && !is_whole && is_comparable => {
                blame(format!("complete, but {}", state(audit)));
            }
            // Of one that it no longer reaches, it knows what that had lost until then.
            Some(SubscriberProgress::Incomplete { messages, .. })
                if is_comparable
                    && (messages > audit.lost_messages() || is_known && messages < audit.lost_messages()) =>
            {
                blame(format!("it lost {messages} messages; by its own account {}", audit.lost_messages()));
            }
            _ => {}
        }
        // A publisher does not wait for best-effort subscribers, and not for those that it cannot know.
        let is_waited_for = reader.plan.gaps != Gaps::BestEffort && !plan.one_way;
        let is_reading = is_waited_for && ended_at > exit.at && reader.plan.joins + SECOND / 2 < exit.at;
        // Of one that reads a history, nothing else is known.
        if is_known
            && ended_at > exit.at
            && is_reachable(world, index, exit.at)
            && world.reading_at_exit.get(index) == Some(&true)
            && reader.plan.joins + SECOND < exit.at
            && !restarts
            && standing.is_some_and(|standing| standing != SubscriberProgress::Unread)
        {
            blame(format!("it reads a history at the end, and is taken for {standing:?}"));
        }
        let deadline = exit.deadline.max(due_at(world));
        // One that has taken the publisher for gone, which was stopped for long, has reported the rest as lost, to the publisher, too.
        let has_given_up = audit.lost.iter().any(|loss| matches!(loss, (_, _, Cause::PublisherGone, _)));
        if is_reading
            && exit.at + SECOND / 2 < deadline
            && is_reachable(world, index, exit.at)
            && !is_whole_by_then(world, index)
            && !has_given_up
        {
            blame(format!("it is abandoned {} s before --linger is over", (deadline - exit.at) / SECOND));
        }
        if exit.is_success
            && exit.acknowledged.is_none()
            && standing.is_some_and(|standing| !matches!(standing, SubscriberProgress::Left))
            && !is_whole
            && is_comparable
            && reader.exit.is_some()
        {
            blame(format!("status 0, but {}", state(audit)));
        }
    }
    if plan.one_way && (exit.is_success && !exit.subscriber_progress.is_empty()) {
        violations
            .push(format!("nothing comes back, and the publisher knows {:?}", exit.subscriber_progress));
    }
    judge_acknowledgements(world, violations);
}

/// When a publisher that waits for somebody ends: its stalls do not count.
fn due_at(world: &World<'_>) -> u64 {
    let plan = &world.plan.feed;
    let last = world.feed.accepted_at.last().copied().unwrap_or(0);
    let stall = |fault: &FeedFault| match *fault {
        FeedFault::Stall((from, to)) if to > last => to - from.max(last),
        _ => 0,
    };
    last + plan.linger + plan.faults.iter().map(stall).max().unwrap_or(0)
}

fn state(audit: &Audit) -> String {
    let Audit { cursor, lost, unknown, history_failed, ended, .. } = audit;
    format!(
        "it is at {cursor:?} of {ended:?}, lost {lost:?}, {unknown} unknown, history failed at {history_failed:?}"
    )
}

/// Whether a subscriber accounts for everything in the end, although the publisher ended before it did.
fn is_whole_by_then(world: &World<'_>, index: usize) -> bool {
    let audit = &world.readers[index].audit;
    audit.ended.is_some()
}

/// Whether the publisher and a subscriber reach each other before a time, and the subscriber runs.
fn is_reachable(world: &World<'_>, index: usize, at: u64) -> bool {
    let reader = &world.plan.readers[index];
    let is_near = |(from, to): (u64, u64)| from < at && at < to + 2 * SECOND;
    // One that is cut off while it joins is unknown until one of its probes is answered, which follow more and more slowly.
    let is_joining = |(from, to): (u64, u64)| {
        from < reader.joins + SECOND && at < to + 4 * to.saturating_sub(reader.joins).min(10 * SECOND)
    };
    let is_lasting = |fault: &ReaderFault| match *fault {
        // Its statuses pass.
        ReaderFault::Without(Traffic::Tcp | Traffic::Announcements, _) => false,
        ReaderFault::Cut(span) | ReaderFault::Stall(span) | ReaderFault::Without(_, span) => {
            is_near(span) || length(span) > 4 * SECOND || is_joining(span)
        }
        ReaderFault::Kill { .. } | ReaderFault::Probes(..) => true,
        ReaderFault::PathDown(..) => false,
    };
    // Its echo may be lost while a narrow link is full of data.
    let is_narrow = is_narrow(reader) && reader.joins < world.plan.feed.ends();
    // While strangers probe, one that joins waits longer for its echo; what they sent during a stall is handled after it.
    let stalls = |fault: &FeedFault| matches!(fault, FeedFault::Stall(_));
    let stall = if world.plan.feed.faults.iter().any(stalls) { 60 * SECOND } else { 0 };
    let is_crowded = |fault: &FeedFault| matches!(fault, FeedFault::Probes((from, to), _) if *from < at && at < to + 11 * SECOND + stall);
    // Subscribers take a protected stream whose time of day is wrong for a replay.
    let is_protected = world.plan.feed.sealed || world.plan.feed.signed;
    let is_stale = is_protected && !is_clock_steady(world);
    !reader.faults.iter().any(is_lasting)
        && !world.plan.feed.faults.iter().any(is_crowded)
        && !is_stale
        && !is_narrow
        && reader.loss_up < 0.2
}

/// Whether its last confirmations of the end, which it repeats for about a second, can reach the publisher.
fn is_heard_at_its_end(reader: &Reader) -> bool {
    let blocks = |fault: &ReaderFault| match *fault {
        ReaderFault::Cut(span) | ReaderFault::Without(Traffic::Statuses, span) => {
            reader.exit.is_some_and(|exit| is_in(span, exit.at))
        }
        _ => false,
    };
    !reader.plan.faults.iter().any(blocks)
}

fn judge_acknowledgements(world: &World<'_>, violations: &mut Vec<String>) {
    let (Some(exit), Some(acks)) = (&world.feed.exit, world.plan.feed.acks) else { return };
    let Some(progress) = exit.acknowledged else { return };
    let readers = &world.readers[..acks.named.min(world.readers.len())];
    for (index, reader) in readers.iter().enumerate() {
        let known = if acks.processed { reader.processed } else { reader.audit.cursor.unwrap_or(0) };
        // What was known of acknowledgements is not synced, and what was reported as not acknowledged stays so.
        let is_known = |fault: &FeedFault| match fault {
            FeedFault::Kill { power, .. } => acks.blocks && !power,
            FeedFault::Rotate { dropped_after, .. } => acks.blocks || dropped_after.is_none(),
            _ => true,
        };
        let is_known = world.plan.feed.faults.iter().all(is_known);
        if exit.is_success && is_known && known < world.plan.feed.messages && reader.lives == 1 {
            violations.push(format!("all is acknowledged, but subscriber {index} has only {known}"));
        }
    }
    // Without `block`, what is published before a subscriber is known is reported as not acknowledged, and stays so.
    let starts_at_once = |index: usize| {
        let plan = &world.plan.readers[index];
        plan.joins == crate::plan::BEGIN && matches!(plan.begin, Begin::Oldest | Begin::Live)
    };
    let have_all = readers.iter().enumerate().all(|(index, reader)| {
        is_lossless(world, index)
            && starts_at_once(index)
            && is_heard_at_its_end(reader)
            && reader.audit.is_whole()
            && reader.audit.first == Some(0)
            && reader.exit.is_some_and(|ended| ended.at <= exit.deadline)
    });
    if acks.blocks && have_all && !progress.is_complete() && world.plan.feed.faults.is_empty() {
        violations
            .push(format!("the named subscribers have processed all, but acknowledged is only {progress:?}"));
    }
}
