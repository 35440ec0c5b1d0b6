//! The TCP connections of subscribers to the history server, and the answers on their way.

use std::collections::VecDeque;

use mcast_stream_proto::history::{AnswerFrame, AnswerStatus, HistoryQuery};

use crate::link::{RetransmissionTimeout, is_in};
use crate::plan::{FeedFault, MILLISECOND, SECOND, Traffic};
use crate::reader::Report;
use crate::world::{Event, World};

/// A frame that takes longer on the way arrives in parts.
const PART: u64 = 100 * MILLISECOND;

/// A connection of a client. Bytes arrive in order: those behind a segment that is sent again wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    /// When the last bytes to the server arrive, and those to the client.
    up_at: u64,
    down_at: u64,
}

/// The client of an answer: the subscriber, its life, and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientOf {
    pub(crate) index: usize,
    life: u64,
    connection: u64,
}

/// An answer that is being sent.
#[derive(Debug)]
pub(crate) struct Answering {
    to: ClientOf,
    id: u64,
    frames: VecDeque<Vec<u8>>,
    /// The life of the publisher's process.
    server: u32,
}

impl World<'_> {
    /// Sends a request, on a new connection if there is none.
    pub(crate) fn request(&mut self, index: usize, query: HistoryQuery) {
        let now = self.now;
        let reader = &mut self.readers[index];
        let life = reader.lives;
        let Some(process) = &mut reader.process else { return };
        let connection = match &mut process.connection {
            Some(open) => {
                let at = reader.link.send_by_tcp(now, 0, RetransmissionTimeout::Open).max(open.up_at);
                open.up_at = at;
                *open
            }
            None => {
                self.last_connection += 1;
                let opened = reader.link.send_by_tcp(now, 0, RetransmissionTimeout::Opening);
                // The request follows a round trip later.
                let up_at = opened + 2 * reader.plan.delay;
                let opened = Connection { number: self.last_connection, up_at, down_at: up_at };
                let to = ClientOf { index, life, connection: opened.number };
                self.queue.push(up_at, Event::Greet(to, query.id));
                *process.connection.insert(opened)
            }
        };
        let to = ClientOf { index, life, connection: connection.number };
        self.queue.push(connection.up_at, Event::Request(to, query));
    }

    /// Returns the connection of a client that has not closed it.
    pub(crate) fn connection(&mut self, of: ClientOf) -> Option<&mut Connection> {
        let reader = &mut self.readers[of.index];
        let process = reader.process.as_mut().filter(|_| reader.lives == of.life)?;
        process.connection.as_mut().filter(|connection| connection.number == of.connection)
    }

    /// When the publisher's process runs again, if it is stopped.
    pub(crate) fn server_resumes_at(&self) -> Option<u64> {
        let stall = |fault: &FeedFault| match fault {
            FeedFault::Stall(span) if is_in(*span, self.now) => Some(span.1),
            _ => None,
        };
        self.plan.feed.faults.iter().filter_map(stall).max()
    }

    /// The history server greets a client that has connected, if its process runs.
    pub(crate) fn greet(&mut self, to: ClientOf, id: u64) {
        let link = &self.readers[to.index].link;
        if self.feed.process.is_some()
            && self.server_resumes_at().is_none()
            && link.passes(self.now, Traffic::Tcp)
            && self.connection(to).is_some()
        {
            if let Err(again) = self.admit(to) {
                again.into_iter().for_each(|at| self.queue.push(at, Event::Greet(to, id)));
                return;
            }
            self.queue
                .push(self.now + self.readers[to.index].plan.delay, Event::Answer(to, Report::Part(id)));
        }
    }

    /// The history server answers a request.
    pub(crate) fn serve(&mut self, to: ClientOf, query: HistoryQuery) {
        if let Some(until) = self.server_resumes_at() {
            return self.queue.push(until + 1, Event::Request(to, query));
        }
        if self.feed.process.is_none() {
            // Nobody listens.
            return self.reset(to, query.id);
        }
        if self.connection(to).is_none() {
            return;
        }
        let client = match self.admit(to) {
            Ok(client) => client,
            Err(again) => {
                return again.into_iter().for_each(|at| self.queue.push(at, Event::Request(to, query)));
            }
        };
        if let Some(wait) = self.ask(client) {
            self.send_frame(to, query.id, AnswerFrame::later(wait));
            return self.close(to);
        }
        let frames = self.feed.answer(query.start, query.count).into();
        self.send_frames(Answering { to, id: query.id, frames, server: self.feed.lives() });
    }

    /// Sends the next frame of an answer, at the rate of the server.
    pub(crate) fn send_frames(&mut self, mut answering: Answering) {
        if let Some(until) = self.server_resumes_at() {
            return self.queue.push(until + 1, Event::Serve(answering));
        }
        let is_same = self.feed.process.is_some() && self.feed.lives() == answering.server;
        if !is_same || self.connection(answering.to).is_none() {
            return;
        }
        while !answering.frames.is_empty() {
            let Some(is_over) = self.continue_turn(answering.to) else { return };
            if is_over {
                answering.frames = [AnswerFrame::end(AnswerStatus::More, "")].into();
            }
            let Some(frame) = answering.frames.pop_front() else { return };
            if let Ok(AnswerFrame::End { status, .. }) = AnswerFrame::read(&frame) {
                self.end_answer(answering.to, status == AnswerStatus::Edge);
            }
            let length = frame.len();
            self.send_frame(answering.to, answering.id, frame);
            if let Some(rate) = self.plan.feed.serve_rate {
                let at = self.now + length as u64 * SECOND / rate;
                return self.queue.push(at, Event::Serve(answering));
            }
        }
    }

    fn send_frame(&mut self, to: ClientOf, id: u64, frame: Vec<u8>) {
        let now = self.now;
        let reader = &mut self.readers[to.index];
        let at = reader.link.send_by_tcp(now, frame.len(), RetransmissionTimeout::Open);
        let carried = reader.plan.narrow.map_or(0, |rate| frame.len() as u64 * SECOND / rate);
        let Some(connection) = self.connection(to) else { return };
        let at = at.max(connection.down_at);
        connection.down_at = at;
        let mut part = at.saturating_sub(carried).max(now) + PART;
        while part < at {
            self.queue.push(part, Event::Answer(to, Report::Part(id)));
            part += PART;
        }
        self.queue.push(at, Event::Answer(to, Report::Frame(id, frame)));
    }

    /// A host on whose port nobody listens answers once, and not again if that is lost.
    fn reset(&mut self, to: ClientOf, id: u64) {
        let link = &self.readers[to.index].link;
        if link.passes(self.now, Traffic::Tcp) {
            let at = self.now + self.readers[to.index].plan.delay;
            self.queue.push(at, Event::Answer(to, Report::Failed(id)));
        }
    }

    /// The publisher's process has ended. Its system closes the connections of its clients, unless it has ended as well.
    pub(crate) fn close_connections(&mut self, power: bool) {
        for index in 0..self.readers.len() {
            let reader = &mut self.readers[index];
            let life = reader.lives;
            let Some(process) = &mut reader.process else { continue };
            let Some(connection) = process.connection.as_mut().filter(|_| !power) else { continue };
            let at = reader.link.send_by_tcp(self.now, 0, RetransmissionTimeout::Open);
            connection.down_at = at.max(connection.down_at);
            let to = ClientOf { index, life, connection: connection.number };
            self.queue.push(connection.down_at, Event::Answer(to, Report::Closed));
        }
    }

    /// What was sent to a client arrives.
    pub(crate) fn arrive(&mut self, to: ClientOf, report: Report) {
        if self.connection(to).is_none() {
            return;
        }
        if let Some(process) = &mut self.readers[to.index].process {
            process.take_report(report);
            self.run_reader(to.index);
        }
    }
}
