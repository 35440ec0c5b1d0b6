//! What a machine that reads a history asks for, and when it gives up.

use core::time::Duration;

use super::super::config::LiveIdentity;
use super::super::search;
use super::delivery::UNKNOWN;
use super::*;
use crate::side_channel::QueueToken;
use crate::wire::MessageNumber;

const START: ClockTime = ClockTime(1_000_000_000);
const CONTENT: Incarnation = Incarnation(7);
const IDENTITY: LiveIdentity = LiveIdentity { content: CONTENT, own: CONTENT };

/// Returns how often a machine asks a server that sends it away for this time, again and again, and when the machine
/// gives up. That it waits is reported once.
fn sent_away(config: HistoryConfig, wait: Nanos) -> (u64, Nanos) {
    let heals = config.heal;
    let mut machine = HistoryMachine::new(config, START);
    let joined =
        SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message: MessageNumber(100) };
    machine.handle_live_event(START, IDENTITY, joined);
    if heals {
        let (first, end) = (MessageNumber(100), MessageNumber(200));
        let lost = SubscriberEvent::Lost { first, end, cause: Cause::NotInHistory };
        assert_eq!(machine.handle_live_event(START, IDENTITY, lost), None);
    }
    let (mut now, mut requests, mut queued) = (START, 0, 0);
    while now < START + 2 * LONGEST_AWAY && requests < 1_000_000 {
        let mut has_failed = false;
        while let Some(step) = machine.poll_step(now) {
            has_failed |= matches!(step.event(), Some(SubscriberEvent::HistoryFailed { .. }));
            queued += usize::from(matches!(step.event(), Some(SubscriberEvent::HistoryQueued { .. })));
        }
        if machine.is_live() {
            assert!(has_failed, "it is reported");
            assert_eq!(queued, 1);
            return (requests, now.since(START));
        }
        match machine.poll_query(now) {
            Some(query) => {
                requests += 1;
                machine.handle_frame(now, query.id, UNKNOWN, AnswerFrame::later(wait, QueueToken::new(1)));
            }
            None => now = machine.poll_timeout().unwrap_or(ClockTime::NEVER).max(now + Nanos(1)),
        }
    }
    panic!("it does not give up, at {now:?} after {requests} requests");
}

#[test]
fn a_start_is_sent_away_for_at_most_six_hours() {
    for wait in [Nanos::ZERO, SHORTEST_WAIT, Nanos::SECOND, LONGEST_WAIT, Nanos::from_secs(1 << 20)] {
        let config = HistoryConfig { start: Some(HistoryStart::Oldest), ..HistoryConfig::default() };
        let timeout = Nanos::from(config.timeout);
        let (requests, time) = sent_away(config, wait);
        let most = LONGEST_AWAY + START_TIMEOUT * timeout;
        assert!(time >= LONGEST_AWAY && time <= most, "{wait:?}: {time:?}");
        assert!(requests <= 1 + most.0 / SHORTEST_WAIT.0, "{wait:?}: {requests} requests");
    }
}

#[test]
fn healing_is_sent_away_for_at_most_a_minute() {
    for wait in [Nanos::ZERO, Nanos::SECOND, LONGEST_WAIT] {
        let config = HistoryConfig { heal: true, ..HistoryConfig::default() };
        let timeout = Nanos::from(config.timeout);
        let (requests, time) = sent_away(config, wait);
        let longest = HEALING_AWAY * timeout;
        assert!(time >= longest && time <= longest + timeout, "{wait:?}: {time:?}");
        assert!(requests <= 1 + (longest + timeout).0 / SHORTEST_WAIT.0, "{wait:?}: {requests} requests");
    }
}

#[test]
fn each_wait_in_the_queue_of_a_server_is_reported_once() {
    let config = HistoryConfig { start: Some(HistoryStart::Oldest), ..HistoryConfig::default() };
    let (mut machine, mut now) = (HistoryMachine::new(config, START), START);
    let later = || AnswerFrame::later(Nanos::from_secs(3), QueueToken::new(1));
    let more = || AnswerFrame::end(AnswerStatus::More, "");
    for (frame, is_reported) in
        [(later(), true), (later(), false), (more(), false), (more(), false), (later(), true)]
    {
        let query = loop {
            match machine.poll_query(now) {
                Some(query) => break query,
                None => now = machine.poll_timeout().unwrap_or(ClockTime::NEVER).max(now + Nanos(1)),
            }
        };
        assert!(machine.handle_frame(now, query.id, UNKNOWN, frame));
        let event = machine.poll_step(now).and_then(|step| step.event());
        let queued = SubscriberEvent::HistoryQueued { server: UNKNOWN, expected: Duration::from_secs(6) };
        assert_eq!(event, is_reported.then_some(queued));
    }
}

/// A server, as the publisher of a stream that begins with this message shows it.
#[derive(Clone, Copy)]
enum Shown {
    Nothing,
    Advertised,
    Announced,
}

/// Returns what a machine with this start reports, and after which time, if no server answers.
fn unanswered(start: HistoryStart, first: u64, shown: Shown) -> (Vec<SubscriberEvent>, Nanos) {
    let config = HistoryConfig { start: Some(start), searches: true, ..HistoryConfig::default() };
    let mut machine = HistoryMachine::new(config, START);
    // Nothing is given up before there is a publisher.
    let mut now = START + Nanos::from_secs(60);
    run(&mut machine, START, now, shown);
    let begun = now;
    let message = MessageNumber(first);
    machine.handle_live_event(
        now,
        IDENTITY,
        SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message },
    );
    if matches!(shown, Shown::Advertised) {
        machine.handle_advertisement(None);
    }
    let mut events = Vec::new();
    while !machine.is_live() {
        events.extend(run(&mut machine, now, now + Nanos::from_millis(1), shown));
        now = now + Nanos::from_millis(1);
    }
    (events, now.since(begun))
}

/// Runs a machine whose requests fail; returns the events.
fn run(machine: &mut HistoryMachine, from: ClockTime, to: ClockTime, shown: Shown) -> Vec<SubscriberEvent> {
    let (mut now, mut events) = (from, Vec::new());
    while now < to {
        if machine.poll_search(now) && matches!(shown, Shown::Announced) {
            machine.handle_server(now, UNKNOWN);
        }
        if let Some(query) = machine.poll_query(now) {
            machine.handle_failure(now, query.id);
        }
        while let Some(step) = machine.poll_step(now) {
            events.extend(step.event());
        }
        now = now + Nanos::from_millis(1);
    }
    events
}

const fn is_loss(event: &SubscriberEvent) -> bool {
    matches!(event, SubscriberEvent::Lost { .. } | SubscriberEvent::LostUnknown { .. })
}

const fn is_failure(event: &SubscriberEvent) -> bool {
    matches!(event, SubscriberEvent::HistoryFailed { .. })
}

#[test]
fn a_start_waits_for_three_times_the_patience_for_a_server() {
    let starts = [
        (HistoryStart::Number(MessageNumber(3)), Shown::Nothing),
        (HistoryStart::Time(1), Shown::Nothing),
        (HistoryStart::At(Position::new(CONTENT, MessageNumber(3))), Shown::Nothing),
        (HistoryStart::At(Position::new(CONTENT, MessageNumber(3))), Shown::Announced),
        (HistoryStart::Oldest, Shown::Advertised),
        (HistoryStart::Oldest, Shown::Announced),
    ];
    for (start, shown) in starts {
        let (events, time) = unanswered(start, 100, shown);
        assert!(events.iter().any(is_failure) && events.iter().any(is_loss), "{start:?}: {events:?}");
        let timeout = START_TIMEOUT * Nanos::from(HistoryConfig::default().timeout);
        assert!(time >= timeout && time < timeout + Nanos::SECOND, "{start:?}: {time:?}");
    }
}

#[test]
fn a_start_with_the_oldest_message_is_short_where_nothing_shows_a_server() {
    for (first, is_reported) in [(0, false), (100, true)] {
        let (events, time) = unanswered(HistoryStart::Oldest, first, Shown::Nothing);
        // Nothing is lost: the start promises what the publisher has.
        assert_eq!((events.iter().any(is_failure), events.iter().any(is_loss)), (is_reported, false));
        assert!(time >= search::SHORT && time < search::SHORT + Nanos::SECOND, "{time:?}");
    }
}

#[test]
fn the_time_in_which_the_process_does_not_run_does_not_count() {
    let start = HistoryStart::At(Position::new(CONTENT, MessageNumber(3)));
    let config = HistoryConfig { start: Some(start), searches: true, ..HistoryConfig::default() };
    let mut machine = HistoryMachine::new(config, START);
    let message = MessageNumber(100);
    machine.handle_live_event(
        START,
        IDENTITY,
        SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message },
    );
    let mut now = START;
    for _ in 0..10 {
        assert!(
            machine.poll_timeout().unwrap_or(ClockTime::NEVER) <= now + RunningClock::LONGEST_STEP,
            "longer pauses show that it is suspended"
        );
        let end = now + Nanos::SECOND;
        assert_eq!(run(&mut machine, now, end, Shown::Nothing), []);
        now = end + Nanos::from_secs(20);
    }
    assert!(!machine.is_live());
    // 10 s, and a step for each pause, have passed.
    let events = run(&mut machine, now, now + Nanos::from_secs(5), Shown::Nothing);
    assert!(events.iter().any(is_failure) && machine.is_live());
}

/// Returns when each of these losses of a message, noticed at these times in milliseconds, was reported.
fn reported(noticed: &[u64]) -> Vec<u64> {
    let config = HistoryConfig { heal: true, searches: true, ..HistoryConfig::default() };
    let mut machine = HistoryMachine::new(config, START);
    let joined =
        SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message: MessageNumber(0) };
    assert!(machine.handle_live_event(START, IDENTITY, joined).is_some());
    let (mut now, mut reported) = (START, Vec::new());
    for milliseconds in 0..60_000 {
        if let Some(index) = noticed.iter().position(|at| *at == milliseconds) {
            let first = MessageNumber(2 * index as u64);
            let lost = SubscriberEvent::Lost { first, end: first + 1, cause: Cause::Unrecoverable };
            assert_eq!(machine.handle_live_event(now, IDENTITY, lost), None, "it is healed");
            let (number, bytes) = (first + 1, &b"live"[..]);
            let incarnation = CONTENT;
            machine.handle_live_message(now, IDENTITY, &Message { incarnation, number, key: None, bytes });
        }
        let end = now + Nanos::from_millis(1);
        let events = run(&mut machine, now, end, Shown::Announced);
        reported.extend(events.iter().filter(|event| is_loss(event)).map(|_| milliseconds));
        now = end;
    }
    reported
}

#[test]
fn every_loss_has_its_own_patience_although_healing_has_failed_before() {
    let noticed = [0, 1_000, 4_000, 7_000, 7_200, 40_000];
    let timeout = Nanos::from(HistoryConfig::default().timeout).0 / 1_000_000;
    for (noticed, reported) in noticed.iter().zip(reported(&noticed)) {
        // Losses behind another one do not wait for longer, so that the live stream is not delayed further and further.
        assert!((noticed + timeout..noticed + timeout + 20).contains(&reported), "{noticed}: {reported}");
    }
}
