//! Servers of engines that bridges have a connection of their own to: NATS, RabbitMQ and Redis.

use std::fmt;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use url::Url;

use crate::engine::{EngineError, EngineErrorKind};
use crate::tls::{TlsOptions, TlsStream};

/// How long to wait for a connection or a response. A server that stands still for longer is connected to again.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a connection while there is another server.
const TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(3);

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl ServerAddress {
    /// Connects to the first of its addresses that accepts. Writing and reading wait for at most [`TIMEOUT`].
    pub(crate) fn connect(&self, tls: Option<&TlsOptions>, timeout: Duration) -> io::Result<ServerStream> {
        let socket = self.connect_socket(timeout)?;
        socket.set_nodelay(true)?;
        let stream = match tls {
            Some(options) => ServerStream::Tls(Box::new(options.connect(socket, &self.host, timeout)?)),
            None => ServerStream::Tcp(socket),
        };
        stream.set_read_timeout(TIMEOUT)?;
        stream.set_write_timeout(TIMEOUT)?;
        Ok(stream)
    }

    fn connect_socket(&self, timeout: Duration) -> io::Result<TcpStream> {
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

/// A connection to a server.
#[derive(Debug)]
pub(crate) enum ServerStream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    #[cfg(all(unix, feature = "redis"))]
    Unix(std::os::unix::net::UnixStream),
}

impl ServerStream {
    /// Speaks TLS from now on, which a server of NATS asks for when it is connected to.
    #[cfg(feature = "nats")]
    pub(crate) fn start_tls(&mut self, options: &TlsOptions, host: &str) -> io::Result<()> {
        if let Self::Tcp(socket) = self {
            let stream = options.connect(socket.try_clone()?, host, TIMEOUT)?;
            *self = Self::Tls(Box::new(stream));
            self.set_write_timeout(TIMEOUT)?;
        }
        Ok(())
    }

    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(Some(timeout)),
            Self::Tls(stream) => stream.socket().set_read_timeout(Some(timeout)),
            #[cfg(all(unix, feature = "redis"))]
            Self::Unix(socket) => socket.set_read_timeout(Some(timeout)),
        }
    }

    pub(crate) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_write_timeout(Some(timeout)),
            Self::Tls(stream) => stream.socket().set_write_timeout(Some(timeout)),
            #[cfg(all(unix, feature = "redis"))]
            Self::Unix(socket) => socket.set_write_timeout(Some(timeout)),
        }
    }
}

impl Read for ServerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            #[cfg(all(unix, feature = "redis"))]
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for ServerStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            #[cfg(all(unix, feature = "redis"))]
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
            #[cfg(all(unix, feature = "redis"))]
            Self::Unix(socket) => socket.flush(),
        }
    }
}

/// Returns whether a socket had no room, or nothing to read, for as long as it waits.
pub(crate) fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Servers of one engine, of which a bridge uses one, and another if that fails.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    addresses: Arc<[ServerAddress]>,
    /// The one that was used last.
    current: Arc<AtomicUsize>,
}

impl Servers {
    /// Returns what this makes of the first server for which it succeeds, starting with the one that was used last. It is
    /// given the time to wait for a connection.
    pub(crate) fn first<T>(
        &self,
        mut attempt: impl FnMut(&ServerAddress, Duration) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let (count, current) = (self.addresses.len(), self.current.load(Ordering::Relaxed));
        let timeout = if count > 1 { TIMEOUT_OF_SEVERAL } else { TIMEOUT };
        let mut errors = Vec::new();
        for index in (current..count).chain(0..current) {
            match attempt(&self.addresses[index], timeout) {
                Ok(made) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(made);
                }
                Err(error) => errors.push(error),
            }
        }
        Err(all(errors))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn are_several(&self) -> bool {
        self.addresses.len() > 1
    }
}

/// Returns the error of all servers. It may pass if one of them may.
fn all(errors: Vec<EngineError>) -> EngineError {
    let whats: Vec<&str> = errors.iter().map(|error| error.what.as_str()).collect();
    EngineError {
        what: whats.join("; "),
        kind: [EngineErrorKind::Transient, EngineErrorKind::LoginRefused]
            .into_iter()
            .find(|kind| errors.iter().any(|error| error.kind == *kind))
            .unwrap_or(EngineErrorKind::Permanent),
        remedy: errors.iter().find_map(|error| error.remedy.clone()),
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.addresses.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            write!(f, "{separator}{address}")?;
        }
        Ok(())
    }
}

/// What URLs of an engine are like.
pub(crate) struct UrlForm {
    /// Schemes, whether they mean TLS, and the port that servers listen on by default.
    pub(crate) schemes: &'static [(&'static str, bool, u16)],
    /// The name of the parameter that names the stream.
    pub(crate) parameter: &'static str,
    /// Makes the error of a reason.
    pub(crate) invalid: fn(&str) -> EngineError,
}

/// The parts of `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PATH][?PARAMETER=STREAM]`, decoded.
pub(crate) struct ServerUrl {
    pub(crate) servers: Servers,
    pub(crate) is_tls: bool,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) path: Vec<String>,
    pub(crate) stream: Option<String>,
}

impl UrlForm {
    /// Parses a URL.
    pub(crate) fn parse(&self, url: &str) -> Result<ServerUrl, EngineError> {
        let invalid = self.invalid;
        let form = || invalid("it has another form");
        let (scheme, rest) = url.split_once("://").ok_or_else(form)?;
        let known = self.schemes.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let &(_, is_tls, default_port) = known.ok_or_else(form)?;
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, hosts) =
            authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let mut addresses = Vec::new();
        let mut first = None;
        for host in hosts.split(',') {
            // One that is not special for the parser of URLs, so that all have the same rules.
            let parsed = Url::parse(&format!("engine://{login}@{host}{behind}"));
            let parsed = parsed.map_err(|error| invalid(&error.to_string()))?;
            let name = parsed.host_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| invalid("it has no host"))?;
            let host = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            addresses.push(ServerAddress { host, port: parsed.port().unwrap_or(default_port) });
            first.get_or_insert(parsed);
        }
        let parsed = first.ok_or_else(|| invalid("it has no host"))?;
        if parsed.fragment().is_some() {
            return Err(form());
        }
        let decoded = |text: &str| {
            let bytes = percent_encoding::percent_decode_str(text);
            bytes.decode_utf8().map(String::from).map_err(|_| invalid("it is not UTF-8"))
        };
        let mut stream = None;
        for (name, value) in parsed.query_pairs() {
            match &*name {
                name if name == self.parameter => stream = Some(value.into_owned()),
                _ => return Err(invalid(&format!("it has the unknown parameter \"{name}\""))),
            }
        }
        let path = parsed.path().trim_matches('/').split('/').filter(|part| !part.is_empty());
        Ok(ServerUrl {
            servers: Servers { addresses: addresses.into(), current: Arc::default() },
            is_tls,
            user: decoded(parsed.username())?,
            password: parsed.password().map(decoded).transpose()?,
            path: path.map(decoded).collect::<Result<_, _>>()?,
            stream,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: UrlForm = UrlForm {
        schemes: &[("plain", false, 7), ("safe", true, 8)],
        parameter: "stream",
        invalid: |why| EngineError::permanent(why.to_owned(), ""),
    };

    #[test]
    fn a_url_names_several_servers() {
        let url = FORM.parse("safe://a%40b:c%2Fd@one:1,[::1],two/x%2Fy/z?stream=s%20t").unwrap();
        assert_eq!(url.servers.to_string(), "one:1,[::1]:8,two:8");
        assert_eq!((&*url.user, url.password.as_deref()), ("a@b", Some("c/d")));
        assert_eq!(
            (url.is_tls, url.path, url.stream.as_deref()),
            (true, vec!["x/y".into(), "z".into()], Some("s t"))
        );
        for text in [
            "",
            "plain",
            "plain://",
            "plain://,a",
            "plain://a,",
            "plain://a:b",
            "other://a",
            "plain://a#b",
            "plain://a?b=c",
        ] {
            assert!(FORM.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_server_that_was_used_last_is_tried_first_and_the_others_after_it() {
        let servers = FORM.parse("plain://a,b,c").unwrap().servers;
        let down = |address: &ServerAddress| EngineError {
            what: format!("{address} is down"),
            remedy: (address.host == "b").then(|| "start b".into()),
            kind: match address.host.as_str() {
                "b" => EngineErrorKind::Transient,
                _ => EngineErrorKind::Permanent,
            },
        };
        let used = servers
            .first(|address, _| if address.host == "b" { Ok(address.port) } else { Err(down(address)) });
        assert_eq!(used.unwrap(), 7);
        let mut tried = Vec::new();
        let error = servers.first(|address, _| {
            tried.push(address.host.clone());
            Err::<(), _>(down(address))
        });
        let error = error.unwrap_err();
        assert_eq!(tried, ["b", "c", "a"]);
        assert_eq!(error.what, "b:7 is down; c:7 is down; a:7 is down");
        assert!(error.is_transient() && error.remedy.as_deref() == Some("start b"));
    }
}
