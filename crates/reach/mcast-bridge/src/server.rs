//! The servers of engines: their URLs, what is given beside them, and connections to them.

use std::fmt;
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use url::Url;

use crate::error::{EngineError, EngineErrorKind, any};
use crate::password::EnginePassword;
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
use crate::tls;
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

/// Returns the error of a server at this address, with what to do if it cannot be reached.
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
pub(crate) fn unreachable(address: &str, cause: &Error, remedy: &str) -> EngineError {
    let error = match is_timeout(cause) {
        true => any::silent(address),
        false => any::unreachable(address, cause),
    };
    tls::engine_error(address, cause).unwrap_or_else(|| EngineError { remedy: Some(remedy.into()), ..error })
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
    /// Its name.
    pub(crate) engine: &'static str,
    /// Schemes, whether they mean TLS, and the port that servers listen on by default.
    pub(crate) schemes: &'static [(&'static str, bool, u16)],
    /// The name of the only parameter.
    pub(crate) parameter: &'static str,
    /// How to write one.
    pub(crate) form: &'static str,
    /// Whether options of TLS mean TLS, whatever the scheme is.
    pub(crate) is_tls_optional: bool,
    /// Checks that options of TLS can be used.
    pub(crate) check_tls: fn(&TlsOptions) -> Result<(), EngineError>,
}

/// What is given beside the URL of an engine.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EngineAccess {
    /// The password, so that it need not be in the URL.
    pub password: Option<EnginePassword>,
    /// Options of TLS.
    pub tls: Option<TlsOptions>,
}

impl EngineAccess {
    /// Sets the password.
    #[must_use]
    pub fn with_password(self, password: impl Into<EnginePassword>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Sets the options of TLS.
    #[must_use]
    pub fn with_tls(self, options: TlsOptions) -> Self {
        Self { tls: Some(options), ..self }
    }
}

/// The parts of `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/PATH][?PARAMETER=VALUE]`, decoded, and what was
/// given beside it.
#[derive(Clone)]
pub(crate) struct ServerUrl {
    pub(crate) scheme: &'static str,
    pub(crate) servers: Servers,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) user: String,
    pub(crate) password: Option<EnginePassword>,
    pub(crate) path: Vec<String>,
    pub(crate) parameter: Option<String>,
}

impl UrlForm {
    /// Parses a URL, and checks that what is given beside it can be used.
    pub(crate) fn parse(&self, url: &str, access: EngineAccess) -> Result<ServerUrl, EngineError> {
        let form = || self.invalid("it has another form");
        let (scheme, rest) = url.split_once("://").ok_or_else(form)?;
        let known = self.schemes.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let &(scheme, is_tls, default_port) = known.ok_or_else(form)?;
        let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, hosts) =
            authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
        let mut addresses = Vec::new();
        let mut first = None;
        for host in hosts.split(',') {
            // One that is not special for the parser of URLs, so that all have the same rules.
            let parsed = Url::parse(&format!("engine://{login}@{host}{behind}"));
            let parsed = parsed.map_err(|error| self.invalid(error))?;
            let name = parsed.host_str().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| self.invalid("it has no host"))?;
            let host = name.trim_start_matches('[').trim_end_matches(']').to_owned();
            addresses.push(ServerAddress { host, port: parsed.port().unwrap_or(default_port) });
            first.get_or_insert(parsed);
        }
        let parsed = first.ok_or_else(|| self.invalid("it has no host"))?;
        if parsed.fragment().is_some() {
            return Err(form());
        }
        let decoded = |text: &str| {
            let bytes = percent_encoding::percent_decode_str(text);
            bytes.decode_utf8().map(String::from).map_err(|_| self.invalid("it is not UTF-8"))
        };
        let mut parameter = None;
        for (name, value) in parsed.query_pairs() {
            if name != self.parameter {
                return Err(self.invalid(format_args!("it has the unknown parameter \"{name}\"")));
            }
            parameter = Some(value.into_owned());
        }
        // As it was written: the parser of URLs takes `..` for a step back.
        let path = behind.split(['?', '#']).next().unwrap_or_default();
        let path = path.trim_matches('/').split('/').filter(|part| !part.is_empty());
        let password = parsed.password().map(decoded).transpose()?.map(EnginePassword::Text);
        Ok(ServerUrl {
            scheme,
            servers: Servers { addresses: addresses.into(), current: Arc::default() },
            tls: self.tls(scheme, is_tls, access.tls)?,
            user: decoded(parsed.username())?,
            password: access.password.or(password),
            path: path.map(decoded).collect::<Result<_, _>>()?,
            parameter,
        })
    }

    fn tls(
        &self,
        scheme: &str,
        is_tls: bool,
        options: Option<TlsOptions>,
    ) -> Result<Option<TlsOptions>, EngineError> {
        match options {
            None => Ok(is_tls.then(TlsOptions::default)),
            Some(_) if !is_tls && !self.is_tls_optional => {
                let safe =
                    self.schemes.iter().find(|(_, is_tls, _)| *is_tls).map_or(scheme, |(name, ..)| name);
                Err(any::tls_without_tls(format_args!("{safe}://HOST")))
            }
            Some(options) => (self.check_tls)(&options).map(|()| Some(options)),
        }
    }

    pub(crate) fn invalid(&self, why: impl fmt::Display) -> EngineError {
        any::invalid_url(self.engine, why, self.form)
    }
}

impl ServerUrl {
    /// Returns that of a socket, which has a path instead of servers.
    #[cfg(all(unix, feature = "redis"))]
    pub(crate) fn without_servers(scheme: &'static str, password: Option<EnginePassword>) -> Self {
        let servers = Servers { addresses: Arc::new([]), current: Arc::default() };
        let (user, path) = (String::new(), Vec::new());
        Self { scheme, servers, tls: None, user, password, path, parameter: None }
    }

    /// Returns the password, as it is now; an empty one if there is none.
    pub(crate) fn read_password(&self) -> Result<String, EngineError> {
        self.password.as_ref().map_or_else(|| Ok(String::new()), EnginePassword::read)
    }

    /// Whether the next connection may have another password.
    pub(crate) fn renews_login(&self) -> bool {
        self.password.as_ref().is_some_and(EnginePassword::is_renewed)
    }
}

/// Without secrets: even a user may be a token.
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerUrl").field(&format_args!("{}", self.servers)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: UrlForm = UrlForm {
        engine: "Plain",
        schemes: &[("plain", false, 7), ("safe", true, 8)],
        parameter: "stream",
        form: "plain://HOST",
        is_tls_optional: false,
        check_tls: |_| Ok(()),
    };

    fn parse(url: &str) -> Result<ServerUrl, EngineError> {
        FORM.parse(url, EngineAccess::default())
    }

    #[test]
    fn a_url_names_several_servers() {
        let url = parse("safe://a%40b:c%2Fd@one:1,[::1],two/x%2Fy/z?stream=s%20t").unwrap();
        assert_eq!(url.servers.to_string(), "one:1,[::1]:8,two:8");
        assert_eq!((&*url.user, &*url.read_password().unwrap()), ("a@b", "c/d"));
        assert_eq!(
            (url.tls.is_some(), url.path, url.parameter.as_deref()),
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
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_of_tls_need_a_url_of_tls() {
        let access = EngineAccess { tls: Some(TlsOptions::default()), ..EngineAccess::default() };
        assert!(FORM.parse("safe://a", access.clone()).unwrap().tls.is_some());
        let error = FORM.parse("plain://a", access.clone()).err().unwrap();
        assert!(!error.is_transient() && error.remedy.unwrap().contains("safe://HOST"));
        let optional = UrlForm { is_tls_optional: true, ..FORM };
        assert!(optional.parse("plain://a", access).unwrap().tls.is_some());
    }

    #[test]
    fn a_password_beside_the_url_comes_first() {
        let access = EngineAccess { password: Some("beside".into()), ..EngineAccess::default() };
        let url = FORM.parse("plain://user:inside@a", access).unwrap();
        assert_eq!(url.read_password().unwrap(), "beside");
    }

    #[test]
    fn the_server_that_was_used_last_is_tried_first_and_the_others_after_it() {
        let servers = parse("plain://a,b,c").unwrap().servers;
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
