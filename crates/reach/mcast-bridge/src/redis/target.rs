//! Where a stream is kept in Redis.

#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, ServerErrorKind, Value, cmd};
#[cfg(unix)]
use url::Url;

use super::connection::{RedisConnection, StreamKeys};
use super::{connection, entry};
use crate::engine::EngineError;
use crate::password::EnginePassword;
use crate::record::Position;
#[cfg(unix)]
use crate::server::TIMEOUT;
use crate::server::{ServerAddress, ServerUrl, Servers, UrlForm};
use crate::tls::TlsOptions;

/// The ports that servers and sentinels listen on by default.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const SERVERS: UrlForm =
    UrlForm { schemes: &[("redis", false, PORT), ("rediss", true, PORT)], parameter: "key", invalid };
const SENTINELS: UrlForm = UrlForm {
    schemes: &[("redis+sentinel", false, SENTINEL_PORT), ("rediss+sentinel", true, SENTINEL_PORT)],
    parameter: "key",
    invalid,
};

const CLUSTER: UrlForm = UrlForm {
    schemes: &[("redis+cluster", false, PORT), ("rediss+cluster", true, PORT)],
    parameter: "key",
    invalid,
};

/// How often a server of a cluster may refer to another one until the slots have moved too often.
const MOST_MOVES: usize = 5;

/// A stream in Redis.
#[derive(Clone)]
pub struct RedisTarget {
    location: Location,
    user: String,
    password: Option<EnginePassword>,
    database: i64,
    tls: Option<TlsOptions>,
    key: Option<String>,
}

/// Where the server is.
#[derive(Clone, Debug)]
enum Location {
    #[cfg(unix)]
    Socket(PathBuf),
    Servers(Servers),
    /// Sentinels, which know the address of the primary of this name.
    Sentinels(Servers, String),
    /// Servers of a cluster, any of which knows the primary of a slot.
    Cluster(Servers),
}

fn invalid(why: &str) -> EngineError {
    EngineError::permanent(
        format!("not a URL of Redis: {why}"),
        "write redis://HOST[:PORT][,HOST[:PORT]][/DB][?key=KEY], rediss:// for TLS, \
             redis+sentinel://HOST[:PORT][,HOST[:PORT]]/PRIMARY[/DB][?key=KEY], or \
             redis+cluster://HOST[:PORT][,HOST[:PORT]][?key=KEY]",
    )
}

fn parse_database(text: Option<&str>) -> Result<i64, EngineError> {
    text.map_or(Ok(0), |text| text.parse().map_err(|_| invalid("the database is not a number")))
}

impl RedisTarget {
    /// Parses `redis://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DB][?key=KEY]`,
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/PRIMARY[/DB][?key=KEY]`,
    /// `redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][?key=KEY]`, each with `rediss` for TLS, or
    /// `redis+unix:///PATH[?db=DB&key=KEY]`.
    ///
    /// Of several servers, the primary is used. Sentinels are asked for its address; user and password are those of the
    /// primary, and of sentinels that demand one. A server of a cluster refers to the primary of the key.
    ///
    /// # Errors
    /// If it is not such a URL.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let target = match url.split_once("://") {
            Some(("redis+unix", _)) => Self::parse_socket(url)?,
            Some(("redis+sentinel" | "rediss+sentinel", _)) => {
                let url = SENTINELS.parse(url)?;
                let (name, database) = match &url.path[..] {
                    [name] => (name.clone(), None),
                    [name, database] => (name.clone(), Some(database.as_str())),
                    _ => return Err(invalid("it does not name the primary")),
                };
                let database = parse_database(database)?;
                Self::of(Location::Sentinels(url.servers.clone(), name), url, database)
            }
            Some(("redis+cluster" | "rediss+cluster", _)) => {
                let url = CLUSTER.parse(url)?;
                if !url.path.is_empty() {
                    return Err(invalid("a cluster has no databases"));
                }
                Self::of(Location::Cluster(url.servers.clone()), url, 0)
            }
            _ => {
                let url = SERVERS.parse(url)?;
                let database = match &url.path[..] {
                    [] => 0,
                    [database] => parse_database(Some(database))?,
                    _ => return Err(invalid("its path has several parts")),
                };
                Self::of(Location::Servers(url.servers.clone()), url, database)
            }
        };
        match &target.key {
            Some(key) if key.is_empty() => Err(invalid("the key is empty")),
            _ => Ok(target),
        }
    }

    fn of(location: Location, url: ServerUrl, database: i64) -> Self {
        let ServerUrl { is_tls, user, password, stream: key, .. } = url;
        let password = password.map(EnginePassword::Text);
        Self { location, user, password, database, tls: is_tls.then(TlsOptions::default), key }
    }

    #[cfg(unix)]
    fn parse_socket(url: &str) -> Result<Self, EngineError> {
        let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
        let path = percent_encoding::percent_decode_str(parsed.path()).decode_utf8();
        let location =
            Location::Socket(PathBuf::from(path.map_err(|_| invalid("it is not UTF-8"))?.as_ref()));
        let mut target =
            Self { location, user: String::new(), password: None, database: 0, tls: None, key: None };
        for (name, value) in parsed.query_pairs() {
            match &*name {
                "db" => target.database = parse_database(Some(&value))?,
                "key" => target.key = Some(value.into_owned()),
                "user" => target.user = value.into_owned(),
                "pass" => target.password = Some(value.into_owned().into()),
                _ => return Err(invalid(&format!("it has the unknown parameter \"{name}\""))),
            }
        }
        Ok(target)
    }

    #[cfg(not(unix))]
    fn parse_socket(_: &str) -> Result<Self, EngineError> {
        Err(invalid("this system has no sockets of Unix"))
    }

    /// Sets the password, so that it need not be in the URL.
    #[must_use]
    pub fn password(self, password: impl Into<EnginePassword>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Whether the next connection may have another password.
    pub(super) fn renews_login(&self) -> bool {
        self.password.as_ref().is_some_and(EnginePassword::is_renewed)
    }

    /// Sets the options of TLS.
    ///
    /// # Errors
    /// If the URL is not one for TLS, or the files cannot be used.
    pub fn tls(self, options: TlsOptions) -> Result<Self, EngineError> {
        if self.tls.is_none() {
            return Err(EngineError::permanent(
                "there are options of TLS, but the URL is one without TLS",
                "write rediss://HOST, rediss+sentinel://HOST/PRIMARY or rediss+cluster://HOST",
            ));
        }
        options.check()?;
        Ok(Self { tls: Some(options), ..self })
    }

    /// Returns the key of the stream, if the URL has one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Sets the key of the stream.
    #[must_use]
    pub fn with_key(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Returns the position of the record with this id, as Redis shows it: `INCARNATION-NUMBER`, where numbers start with
    /// 1.
    #[must_use]
    pub fn position(id: &str) -> Option<Position> {
        entry::position(id)
    }

    /// Returns the addresses of the servers, without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.location {
            #[cfg(unix)]
            Location::Socket(path) => path.display().to_string(),
            Location::Servers(servers) | Location::Cluster(servers) => servers.to_string(),
            Location::Sentinels(sentinels, name) => format!("{name} of {sentinels}"),
        }
    }

    /// Connects to the server, or to the primary of several.
    pub(super) fn connect_client(&self) -> Result<(RedisConnection, StreamKeys), EngineError> {
        let key = self.key.as_deref().ok_or_else(|| EngineError::transient("no key was given", ""))?;
        let connection = match &self.location {
            #[cfg(unix)]
            Location::Socket(path) => self.connect_to_socket(path)?,
            Location::Servers(servers) if servers.are_several() => {
                servers.first(|address, timeout| self.connect_to_primary(address, timeout))?
            }
            Location::Servers(servers) => {
                servers.first(|address, timeout| self.connect_to(address, timeout))?
            }
            Location::Cluster(servers) => {
                let keys = StreamKeys::in_cluster(key)?;
                let connection =
                    servers.first(|address, timeout| self.connect_in_cluster(address, key, timeout))?;
                return Ok((connection, keys));
            }
            Location::Sentinels(sentinels, name) => sentinels.first(|sentinel, timeout| {
                let primary = self.primary(sentinel, name, timeout)?;
                self.connect_to_primary(&primary, timeout)
            })?,
        };
        Ok((connection, StreamKeys::alone(key)))
    }

    #[cfg(unix)]
    fn connect_to_socket(&self, path: &std::path::Path) -> Result<RedisConnection, EngineError> {
        let address = path.display().to_string();
        let connect = || {
            let socket = std::os::unix::net::UnixStream::connect(path)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            Ok(crate::server::ServerStream::Unix(socket))
        };
        let stream = connect().map_err(|cause| connection::unreachable(&address, &cause))?;
        let mut connection = RedisConnection::new(stream, address);
        self.log_in(&mut connection, self.database)?;
        Ok(connection)
    }

    fn log_in(&self, connection: &mut RedisConnection, database: i64) -> Result<(), EngineError> {
        let password = self.password.as_ref().map(EnginePassword::read).transpose()?;
        connection.log_in(&self.user, password.as_deref(), database)
    }

    fn open(&self, address: &ServerAddress, timeout: Duration) -> Result<RedisConnection, EngineError> {
        let text = address.to_string();
        let stream = address.connect(self.tls.as_ref(), timeout);
        let stream = stream.map_err(|cause| connection::unreachable(&text, &cause))?;
        Ok(RedisConnection::new(stream, text))
    }

    fn connect_to(&self, address: &ServerAddress, timeout: Duration) -> Result<RedisConnection, EngineError> {
        let mut connection = self.open(address, timeout)?;
        self.log_in(&mut connection, self.database)?;
        Ok(connection)
    }

    /// Connects to a server that must be a primary. One that was replaced while it was cut off may not know that yet.
    fn connect_to_primary(
        &self,
        address: &ServerAddress,
        timeout: Duration,
    ) -> Result<RedisConnection, EngineError> {
        let mut connection = self.connect_to(address, timeout)?;
        let role: Vec<Value> = connection.query(&cmd("ROLE"))?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err(connection::replica(connection.address())),
        }
    }

    /// Connects to the primary of this key, to which a server of the cluster refers.
    fn connect_in_cluster(
        &self,
        address: &ServerAddress,
        key: &str,
        timeout: Duration,
    ) -> Result<RedisConnection, EngineError> {
        let mut address = address.clone();
        for _ in 0..MOST_MOVES {
            let mut connection = self.connect_to(&address, timeout)?;
            connection.send(cmd("EXISTS").arg(key))?;
            let Err(refused) = connection.receive_reply()? else { return Ok(connection) };
            let is_move = refused.kind() == ErrorKind::Server(ServerErrorKind::Moved);
            let Some((text, _)) = refused.redirect_node().filter(|_| is_move) else {
                return Err(connection::engine_error(connection.address(), &refused));
            };
            // A server that does not know its own name in the cluster leaves the host out.
            let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let port = port.parse().map_err(|_| connection::engine_error(connection.address(), &refused))?;
            let host = if host.is_empty() { address.host } else { host.trim_matches(['[', ']']).to_owned() };
            address = ServerAddress { host, port };
        }
        let what = format!("the servers of the cluster refer to each other, the last one to {address}");
        Err(EngineError::transient(what, ""))
    }

    /// Returns the address of the primary, as a sentinel knows it.
    fn primary(
        &self,
        sentinel: &ServerAddress,
        name: &str,
        timeout: Duration,
    ) -> Result<ServerAddress, EngineError> {
        let mut connection = self.open(sentinel, timeout)?;
        let mut ask = cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(name);
        let reply: Option<(String, u16)> = match connection.query(&ask) {
            // Sentinels may have a password of their own.
            Err(error) if !error.is_transient() && self.password.is_some() => {
                self.log_in(&mut connection, 0)?;
                connection.query(&ask)?
            }
            reply => reply?,
        };
        let (host, port) = reply.ok_or_else(|| connection::unknown_primary(connection.address(), name))?;
        Ok(ServerAddress { host, port })
    }
}

/// Without secrets.
impl std::fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTarget")
            .field("address", &self.address())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = RedisTarget::parse("redis://example.org:7000,[::1]/2?key=prices%20now").unwrap();
        assert_eq!((target.key(), &*target.address()), (Some("prices now"), "example.org:7000,[::1]:6379"));
        assert_eq!((target.database, target.tls.is_some()), (2, false));
        let target = RedisTarget::parse("rediss://feeds:secret@[::1]").unwrap();
        assert_eq!((target.key(), target.tls.is_some()), (None, true));
        assert!(!format!("{target:?}").contains("secret"));
        let target = RedisTarget::parse("rediss+sentinel://one,two:7/prices/3").unwrap();
        assert_eq!((target.database, &*target.address()), (3, "prices of one:26379,two:7"));
        let target = RedisTarget::parse("rediss+cluster://one,two:7?key=x").unwrap();
        assert_eq!((&*target.address(), target.tls.is_some()), ("one:6379,two:7", true));
        for text in [
            "",
            "redis",
            "http://a",
            "redis://",
            "redis://a?key=",
            "redis://a/x",
            "redis://a?cey=x",
            "redis+sentinel://a",
            "redis+sentinel://a/b/c/d",
            "redis+cluster://a/1",
        ] {
            assert!(RedisTarget::parse(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_a_database_and_a_key() {
        let target = RedisTarget::parse("redis+unix:///run/a%20b.sock?db=3&key=prices").unwrap();
        assert_eq!((&*target.address(), target.database, target.key()), ("/run/a b.sock", 3, Some("prices")));
    }

    #[test]
    fn options_of_tls_need_a_url_of_tls() {
        let error = RedisTarget::parse("redis://a").unwrap().tls(TlsOptions::default()).unwrap_err();
        assert!(!error.is_transient() && error.remedy.unwrap().contains("rediss://"));
    }
}
