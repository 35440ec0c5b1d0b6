//! Servers of engines that bridges have a client of their own for: NATS and RabbitMQ.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use url::Url;

use crate::engine::EngineError;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// Connects to the first of its addresses that accepts.
    pub(crate) fn connect(&self, timeout: Duration) -> std::io::Result<TcpStream> {
        let mut last = Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The parts of `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH][?stream=STREAM]`, decoded.
pub(crate) struct ServerUrl {
    pub(crate) address: ServerAddress,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    /// Empty if there is none.
    pub(crate) path: String,
    pub(crate) stream: Option<String>,
}

impl ServerUrl {
    /// Parses a URL of this scheme. `invalid` makes the error of a reason.
    pub(crate) fn parse(
        url: &str,
        scheme: &str,
        default_port: u16,
        invalid: fn(&str) -> EngineError,
    ) -> Result<Self, EngineError> {
        let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        if parsed.scheme() != scheme || parsed.fragment().is_some() {
            return Err(invalid("it has another form"));
        }
        let host =
            parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("it has no host"))?;
        let decoded = |text: &str| {
            let bytes = percent_encoding::percent_decode_str(text);
            bytes.decode_utf8().map(String::from).map_err(|_| invalid("it is not UTF-8"))
        };
        let path = parsed.path().trim_start_matches('/');
        if path.contains('/') {
            return Err(invalid("its path has slashes, which are written %2F"));
        }
        let mut stream = None;
        for (name, value) in parsed.query_pairs() {
            match &*name {
                "stream" => stream = Some(value.into_owned()),
                _ => return Err(invalid(&format!("it has the unknown parameter \"{name}\""))),
            }
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self {
            address: ServerAddress { host, port: parsed.port().unwrap_or(default_port) },
            user: decoded(parsed.username())?,
            password: parsed.password().map(decoded).transpose()?,
            path: decoded(path)?,
            stream,
        })
    }
}
