//! What a machine that reads a history asks for, and when it gives up.

use super::*;
use crate::side_channel::Ticket;

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
    machine.live_event(START, IDENTITY, joined);
    if heals {
        let (first, end) = (MessageNumber(100), MessageNumber(200));
        let lost = SubscriberEvent::Lost { first, end, cause: Cause::NotInHistory };
        assert_eq!(machine.live_event(START, IDENTITY, lost), None);
    }
    let (mut now, mut requests, mut queued) = (START, 0, 0);
    while now < START + 2 * LONGEST_AWAY && requests < 1_000_000 {
        let mut has_failed = false;
        while let Some(step) = machine.next(now) {
            has_failed |= matches!(step.event(), Some(SubscriberEvent::HistoryFailed { .. }));
            queued += usize::from(matches!(step.event(), Some(SubscriberEvent::HistoryQueued { .. })));
        }
        if machine.is_live() {
            assert!(has_failed, "it is reported");
            assert_eq!(queued, 1);
            return (requests, now.since(START));
        }
        match machine.poll(now) {
            Some(query) => {
                requests += 1;
                machine.frame(now, query.id, UNKNOWN, AnswerFrame::later(wait, Ticket::new(1)));
            }
            None => now = machine.deadline().max(now + Nanos(1)),
        }
    }
    panic!("it does not give up, at {now:?} after {requests} requests");
}

#[test]
fn a_start_is_sent_away_for_at_most_six_hours() {
    for wait in [Nanos::ZERO, SHORTEST_WAIT, Nanos::SECOND, LONGEST_WAIT, Nanos::from_secs(1 << 20)] {
        let config = HistoryConfig { start: Some(HistoryStart::Oldest), ..HistoryConfig::default() };
        let patience = config.patience;
        let (requests, time) = sent_away(config, wait);
        let most = LONGEST_AWAY + START_PATIENCE * patience;
        assert!(time >= LONGEST_AWAY && time <= most, "{wait:?}: {time:?}");
        assert!(requests <= 1 + most.0 / SHORTEST_WAIT.0, "{wait:?}: {requests} requests");
    }
}

#[test]
fn healing_is_sent_away_for_at_most_the_patience() {
    for wait in [Nanos::ZERO, Nanos::SECOND, LONGEST_WAIT] {
        let config = HistoryConfig { heal: true, ..HistoryConfig::default() };
        let patience = config.patience;
        let (requests, time) = sent_away(config, wait);
        assert!(time >= patience && time <= 2 * patience, "{wait:?}: {time:?}");
        assert!(requests <= 1 + 2 * patience.0 / SHORTEST_WAIT.0, "{wait:?}: {requests} requests");
    }
}

#[test]
fn each_wait_in_the_queue_of_a_server_is_reported_once() {
    let config = HistoryConfig { start: Some(HistoryStart::Oldest), ..HistoryConfig::default() };
    let (mut machine, mut now) = (HistoryMachine::new(config, START), START);
    let later = || AnswerFrame::later(Nanos::from_secs(3), Ticket::new(1));
    let more = || AnswerFrame::end(AnswerStatus::More, "");
    for (frame, is_reported) in
        [(later(), true), (later(), false), (more(), false), (more(), false), (later(), true)]
    {
        let query = loop {
            match machine.poll(now) {
                Some(query) => break query,
                None => now = machine.deadline().max(now + Nanos(1)),
            }
        };
        assert!(machine.frame(now, query.id, UNKNOWN, frame));
        let event = machine.next(now).and_then(|step| step.event());
        let queued = SubscriberEvent::HistoryQueued { server: UNKNOWN, expected: Nanos::from_secs(6) };
        assert_eq!(event, is_reported.then_some(queued));
    }
}

/// Returns what a machine with this start reports, and after which time, if no server is found.
fn unanswered(start: HistoryStart, first: u64) -> (Vec<SubscriberEvent>, Nanos) {
    let config = HistoryConfig { start: Some(start), ..HistoryConfig::default() };
    let (mut machine, mut now) = (HistoryMachine::new(config, START), START);
    let message = MessageNumber(first);
    machine.live_event(
        START,
        IDENTITY,
        SubscriberEvent::Joined { incarnation: CONTENT, publisher: UNKNOWN, message },
    );
    let mut events = Vec::new();
    loop {
        while let Some(step) = machine.next(now) {
            events.extend(step.event());
        }
        if machine.is_live() {
            return (events, now.since(START));
        }
        match machine.poll(now) {
            Some(query) => {
                now = now + Nanos::from_millis(1_500);
                machine.failed(now, query.id, HistoryFailure::NotFound);
            }
            None => now = machine.deadline().max(now + Nanos(1)),
        }
    }
}

#[test]
#[ignore = "fails: the first search ends it"]
fn a_start_waits_for_three_times_the_patience_for_a_server() {
    for start in [
        HistoryStart::Number(MessageNumber(3)),
        HistoryStart::Time(1),
        HistoryStart::At(Position::new(CONTENT, MessageNumber(3))),
    ] {
        let (events, time) = unanswered(start, 100);
        assert!(events.iter().any(|event| matches!(event, SubscriberEvent::HistoryFailed { .. })));
        let is_loss = |event: &SubscriberEvent| {
            matches!(event, SubscriberEvent::Lost { .. } | SubscriberEvent::LostUnknown { .. })
        };
        assert!(events.iter().any(is_loss), "{events:?}");
        assert!(time >= START_PATIENCE * HistoryConfig::default().patience, "{start:?}: {time:?}");
    }
}
