//! Whether the publisher of the live stream is heard.

use core::time::Duration;

use super::super::reading::RunTime;
use crate::ClockTime;

/// A publisher is silent from this time without a heartbeat on: it sends one each second at least.
const SILENCE: Duration = Duration::from_secs(2);
/// A stream that has ended, and a history that lacks something, may have no publisher any more: after this silence, longer than a
/// minute, what is missing is given up.
const GONE: Duration = Duration::from_secs(90);

/// When heartbeats of the publisher arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    /// The last heartbeat, by the clock of the subscriber.
    heartbeat: Option<ClockTime>,
    /// When the last one arrived, and since when without a silence.
    heard_at: RunTime,
    since: RunTime,
}

impl Contact {
    pub(super) const fn new(run: RunTime) -> Self {
        Self { heartbeat: None, heard_at: run, since: run }
    }

    /// Whether this heartbeat is another one than the last.
    pub(super) fn is_news(&mut self, heartbeat: Option<ClockTime>) -> bool {
        heartbeat.is_some() && core::mem::replace(&mut self.heartbeat, heartbeat) != heartbeat
    }

    /// Notes that it is heard; returns whether it was silent before.
    pub(super) fn record_heard(&mut self, run: RunTime) -> bool {
        let was_silent = self.is_silent(run);
        if was_silent {
            self.since = run;
        }
        self.heard_at = run;
        was_silent
    }

    pub(super) fn is_silent(&self, run: RunTime) -> bool {
        run >= self.heard_at + SILENCE
    }

    pub(super) const fn heard_since(&self) -> RunTime {
        self.since
    }

    /// When it counts as gone if it stays silent.
    pub(super) fn gone_at(&self) -> RunTime {
        self.heard_at + GONE
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use alloc::vec::Vec;
    use core::net::SocketAddr;

    use super::super::super::record::{
        HistoryConfig, HistoryContent, HistoryRecord, HistoryStart, LiveIdentity,
    };
    use super::super::super::wire::{AnswerFrame, AnswerStatus, FrameWriter};
    use super::super::HistoryMachine;
    use super::*;
    use crate::subscriber::{Cause, SubscriberEvent};
    use crate::wire::{Incarnation, MessageNumber, Position};

    const START: ClockTime = ClockTime(1_000_000_000);
    const CONTENT: Incarnation = Incarnation(7);
    const SERVER: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 7);

    /// What the history server does.
    #[derive(Clone, Copy, PartialEq)]
    enum Server {
        Silent,
        /// It says that it has nothing more.
        Lacking,
        /// It has the messages before the one that the live stream begins with.
        Whole,
    }

    /// A machine whose live stream begins with message 100, beside a publisher that is heard or not, and a server.
    struct World {
        machine: HistoryMachine,
        now: ClockTime,
        is_heard: bool,
        server: Server,
        events: Vec<SubscriberEvent>,
        /// When requests were made.
        requests: Vec<ClockTime>,
    }

    impl World {
        fn new(start: HistoryStart) -> Self {
            let config = HistoryConfig { start: Some(start), ..HistoryConfig::default() };
            let mut machine = HistoryMachine::new(config, START);
            let live = LiveIdentity { content: CONTENT, own: CONTENT };
            let message = MessageNumber(100);
            let joined = SubscriberEvent::Joined { incarnation: CONTENT, publisher: SERVER, message };
            machine.handle_live_event(START, live, joined);
            let (events, requests) = (Vec::new(), Vec::new());
            Self { machine, now: START, is_heard: true, server: Server::Silent, events, requests }
        }

        fn run(&mut self, seconds: u64) {
            for _ in 0..seconds * 100 {
                self.now = self.now + Duration::from_millis(10);
                if self.is_heard {
                    self.machine.handle_heartbeat(self.now);
                }
                self.machine.handle_timeout(self.now);
                if let Some(query) = self.machine.poll_query(self.now) {
                    self.requests.push(self.now);
                    self.answer(query.id);
                }
                while let Some(step) = self.machine.poll_step(self.now) {
                    self.events.extend(step.event());
                }
            }
        }

        fn answer(&mut self, id: u64) {
            if self.server == Server::Whole {
                let mut writer = FrameWriter::default();
                for number in 0..100 {
                    let first = Position::new(CONTENT, MessageNumber(number));
                    let content = HistoryContent::Message { key: None, bytes: &b"stored"[..] };
                    assert!(writer.push(&HistoryRecord { first, content }));
                }
                assert!(self.machine.handle_frame(self.now, id, SERVER, writer.take().unwrap()));
            }
            if self.server != Server::Silent {
                let end = AnswerFrame::end(AnswerStatus::Edge, "");
                assert!(self.machine.handle_frame(self.now, id, SERVER, end));
            }
        }

        /// The server answers a first request with something, and is silent from then on.
        fn reached(start: HistoryStart) -> Self {
            let mut world = Self::new(start);
            world.server = Server::Lacking;
            world.run(1);
            world.server = Server::Silent;
            world
        }

        fn losses(&self) -> Vec<Cause> {
            let cause = |event: &SubscriberEvent| match event {
                SubscriberEvent::Lost { cause, .. } => Some(*cause),
                _ => None,
            };
            self.events.iter().filter_map(cause).collect()
        }

        fn count(&self, is: fn(&SubscriberEvent) -> bool) -> usize {
            self.events.iter().filter(|event| is(event)).count()
        }
    }

    fn number() -> HistoryStart {
        HistoryStart::Number(MessageNumber(3))
    }

    fn position() -> HistoryStart {
        HistoryStart::At(Position::new(CONTENT, MessageNumber(3)))
    }

    const fn is_wait(event: &SubscriberEvent) -> bool {
        matches!(event, SubscriberEvent::HistoryWaiting { .. })
    }

    #[test]
    fn a_loss_names_what_is_known_of_the_history() {
        for (server, cause) in
            [(Server::Silent, Cause::HistoryUnreachable), (Server::Lacking, Cause::NotInHistory)]
        {
            let mut world = World::new(number());
            world.server = server;
            world.run(16);
            assert_eq!(world.losses(), [cause]);
            assert!(world.machine.is_live());
        }
    }

    #[test]
    fn nothing_is_given_up_while_the_publisher_is_silent_nor_soon_after() {
        for server in [Server::Silent, Server::Lacking] {
            let mut world = World::new(number());
            world.server = server;
            world.run(1);
            world.is_heard = false;
            world.run(60);
            world.is_heard = true;
            world.run(4);
            assert_eq!(world.losses(), []);
            world.server = Server::Whole;
            world.run(3);
            assert_eq!(world.losses(), []);
            assert!(world.machine.is_live());
        }
    }

    #[test]
    fn a_start_waits_for_a_server_that_has_answered_and_says_so_once() {
        for start in [number(), position(), HistoryStart::Number(MessageNumber(0))] {
            let mut world = World::reached(start);
            world.run(3_600);
            assert_eq!((world.losses(), world.count(is_wait)), (Vec::new(), 1));
            world.server = Server::Whole;
            world.run(20);
            assert!(world.machine.is_live() && world.losses().is_empty());
        }
    }

    #[test]
    fn a_position_waits_for_a_server_that_has_not_answered_yet() {
        let mut world = World::new(position());
        world.run(3_600);
        assert_eq!((world.losses(), world.count(is_wait)), (Vec::new(), 1));
        world.server = Server::Lacking;
        world.run(20);
        assert_eq!(world.losses(), [Cause::NotInHistory]);
    }

    #[test]
    fn a_server_that_stops_answering_while_it_lacks_something_has_not_said_so_for_long_enough() {
        let mut world = World::new(number());
        world.server = Server::Lacking;
        world.run(4);
        world.server = Server::Silent;
        world.run(60);
        assert_eq!(world.losses(), []);
    }

    #[test]
    fn a_request_without_a_byte_is_made_again_less_and_less_often() {
        let mut world = World::new(position());
        world.run(60);
        let between: Vec<_> =
            world.requests.windows(2).map(|pair| pair[1].since(pair[0]).as_secs_f64()).collect();
        assert!((1.0..1.5).contains(&between[0]) && (2.0..2.5).contains(&between[1]), "{between:?}");
        assert!(between[3..].iter().all(|time| (3.0..4.5).contains(time)), "{between:?}");
    }

    #[test]
    fn bytes_that_arrive_keep_a_request_alive() {
        let mut world = World::new(position());
        world.run(1);
        for _ in 0..20 {
            let id = world.machine.request().unwrap();
            world.machine.handle_progress(world.now, id);
            let requests = world.requests.len();
            for _ in 0..9 {
                world.now = world.now + Duration::from_millis(100);
                world.machine.handle_timeout(world.now);
            }
            assert_eq!((world.machine.request(), world.requests.len()), (Some(id), requests));
        }
    }

    #[test]
    fn a_publisher_that_has_ended_and_does_not_come_back_is_gone() {
        let mut world = World::reached(number());
        let live = LiveIdentity { content: CONTENT, own: CONTENT };
        world.machine.handle_live_event(world.now, live, SubscriberEvent::Ended { messages: 100 });
        world.is_heard = false;
        world.run(85);
        assert_eq!(world.losses(), []);
        world.run(10);
        assert_eq!(world.losses(), [Cause::HistoryUnreachable]);
    }
}
