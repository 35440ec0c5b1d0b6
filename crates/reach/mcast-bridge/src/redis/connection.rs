//! A connection to a Redis server: commands of the client library, on a stream of our own.

use std::io::{self, ErrorKind, Read, Write};

use redis::{Cmd, FromRedisValue, Parser, RedisError, Value, cmd};

use super::error;
use crate::engine::EngineError;
use crate::server::ServerStream;

/// A connection. Commands are executed in the order in which they are sent.
pub(super) struct RedisConnection {
    stream: ServerStream,
    /// Keeps what was received behind the last response.
    parser: Parser,
    address: String,
    has_received: bool,
}

impl RedisConnection {
    pub(super) fn new(stream: ServerStream, address: String) -> Self {
        Self { stream, parser: Parser::new(), address, has_received: false }
    }

    /// Logs in, and selects a database.
    pub(super) fn log_in(
        &mut self,
        user: &str,
        password: Option<&str>,
        database: i64,
    ) -> Result<(), EngineError> {
        if let Some(password) = password {
            let mut login = cmd("AUTH");
            if !user.is_empty() {
                login.arg(user);
            }
            self.query::<Value>(login.arg(password))?;
        }
        if database != 0 {
            self.query::<Value>(cmd("SELECT").arg(database))?;
        }
        Ok(())
    }

    /// Returns the address of the server.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a command and waits for its response.
    pub(super) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, EngineError> {
        self.send(command)?;
        let value = self.receive()?;
        redis::from_redis_value(value).map_err(|error| error::engine_error(&self.address, &error.into()))
    }

    pub(super) fn send(&mut self, command: &Cmd) -> Result<(), EngineError> {
        let bytes = command.get_packed_command();
        let sent = self.stream.write_all(&bytes).and_then(|()| self.stream.flush());
        sent.map_err(|error| error::unreachable(&self.address, &error))
    }

    /// Waits for the response to the oldest command without one.
    pub(super) fn receive(&mut self) -> Result<Value, EngineError> {
        let reply = self.receive_reply()?;
        reply.map_err(|error| error::engine_error(&self.address, &error))
    }

    /// As [`receive`](Self::receive), and an error that the server replies is returned as it is.
    pub(super) fn receive_reply(&mut self) -> Result<Result<Value, RedisError>, EngineError> {
        let mut input = Input { stream: &mut self.stream, failure: None };
        let parsed = self.parser.parse_value(&mut input);
        if let Some(failure) = input.failure {
            // What a server that expects TLS does with a command.
            let is_refused = matches!(failure.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof);
            let may_need_tls = !self.has_received && matches!(self.stream, ServerStream::Tcp(_));
            return Err(match is_refused && may_need_tls {
                true => error::may_need_tls(&self.address, &failure),
                false => error::unreachable(&self.address, &failure),
            });
        }
        self.has_received = true;
        Ok(parsed.and_then(Value::extract_error))
    }
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConnection").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// What is parsed. The parser does not return errors of it as they are.
struct Input<'a> {
    stream: &'a mut ServerStream,
    failure: Option<io::Error>,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) if !buffer.is_empty() => {
                    break Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
                }
                read => break read,
            }
        };
        match read {
            Ok(count) => Ok(count),
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}
