//! Where a stream is kept in Redis.

#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, ServerErrorKind, Value, cmd};
#[cfg(unix)]
use url::Url;

use super::connection;
use super::connection::{RedisConnection, StreamKeys};
use crate::error::redis::{moved, replica, unknown_primary};
use crate::error::{EngineError, any};
use crate::password::EnginePassword;
#[cfg(unix)]
use crate::server::TIMEOUT;
use crate::server::{EngineAccess, ServerAddress, ServerUrl, UrlForm};
use crate::tls::TlsOptions;

/// The ports that servers and sentinels listen on by default.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const SERVERS: UrlForm = UrlForm {
    engine: "Redis",
    schemes: &[("redis", false, PORT), ("rediss", true, PORT)],
    parameter: "key",
    form: "redis://HOST[:PORT][,HOST[:PORT]][/DB][?key=KEY], rediss:// for TLS, \
           redis+sentinel://HOST[:PORT][,HOST[:PORT]]/PRIMARY[/DB][?key=KEY], or \
           redis+cluster://HOST[:PORT][,HOST[:PORT]][?key=KEY]",
    is_tls_optional: false,
    check_tls: TlsOptions::check,
};
const SENTINELS: UrlForm = UrlForm {
    schemes: &[("redis+sentinel", false, SENTINEL_PORT), ("rediss+sentinel", true, SENTINEL_PORT)],
    ..SERVERS
};
const CLUSTER: UrlForm =
    UrlForm { schemes: &[("redis+cluster", false, PORT), ("rediss+cluster", true, PORT)], ..SERVERS };
const SOCKET: &str = "redis+unix";

/// How often a server of a cluster may refer to another one until the slots have moved too often.
const MOST_MOVES: usize = 5;

/// A stream in Redis.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    pub(super) url: ServerUrl,
    location: Location,
    database: i64,
    pub(super) key: String,
}

/// What the servers are.
#[derive(Clone, Debug)]
enum Location {
    #[cfg(unix)]
    Socket(PathBuf),
    Servers,
    /// Sentinels, which know the address of the primary of this name.
    Sentinels(String),
    /// Servers of a cluster, any of which knows the primary of a slot.
    Cluster,
}

fn parse_database(text: Option<&String>) -> Result<i64, EngineError> {
    text.map_or(Ok(0), |text| text.parse().map_err(|_| SERVERS.invalid("the database is not a number")))
}

impl RedisTarget {
    /// Parses `redis://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/DB][?key=KEY]`,
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/PRIMARY[/DB][?key=KEY]`,
    /// `redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][?key=KEY]`, each with `rediss` for TLS, or
    /// `redis+unix:///PATH[?db=DB&key=KEY]`. Without a key, it is `mcast:NAME`.
    ///
    /// Of several servers, the primary is used. Sentinels are asked for its address; user and password are those of the
    /// primary, and of sentinels that demand one. A server of a cluster refers to the primary of the key.
    ///
    /// # Errors
    /// If it is not such a URL, has neither key nor name, or the options of TLS cannot be used.
    pub fn parse(url: &str, access: EngineAccess, name: Option<&str>) -> Result<Self, EngineError> {
        let (url, location, database) = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some(SOCKET) => Self::parse_socket(url, access)?,
            Some("redis+sentinel" | "rediss+sentinel") => {
                let url = SENTINELS.parse(url, access)?;
                let (name, database) = match &url.path[..] {
                    [name] => (name.clone(), None),
                    [name, database] => (name.clone(), Some(database)),
                    _ => return Err(SERVERS.invalid("it does not name the primary")),
                };
                let database = parse_database(database)?;
                (url, Location::Sentinels(name), database)
            }
            Some("redis+cluster" | "rediss+cluster") => match CLUSTER.parse(url, access)? {
                url if url.path.is_empty() => (url, Location::Cluster, 0),
                _ => return Err(SERVERS.invalid("a cluster has no databases")),
            },
            _ => {
                let url = SERVERS.parse(url, access)?;
                if url.path.len() > 1 {
                    return Err(SERVERS.invalid("its path has several parts"));
                }
                let database = parse_database(url.path.first())?;
                (url, Location::Servers, database)
            }
        };
        match url.parameter.clone().or_else(|| name.map(|name| format!("mcast:{name}"))) {
            None => Err(any::unnamed("key", "?key=KEY")),
            Some(key) if key.is_empty() => Err(SERVERS.invalid("the key is empty")),
            Some(key) => Ok(Self { url, location, database, key }),
        }
    }

    #[cfg(unix)]
    fn parse_socket(url: &str, access: EngineAccess) -> Result<(ServerUrl, Location, i64), EngineError> {
        let parsed = Url::parse(url).map_err(|error| SERVERS.invalid(error))?;
        let path = percent_encoding::percent_decode_str(parsed.path()).decode_utf8();
        let path = path.map_err(|_| SERVERS.invalid("it is not UTF-8"))?.into_owned();
        if access.tls.is_some() {
            return Err(any::tls_without_tls("rediss://HOST"));
        }
        let mut url = ServerUrl::without_servers(SOCKET, access.password);
        let mut database = 0;
        for (name, value) in parsed.query_pairs() {
            let value = value.into_owned();
            match &*name {
                "db" => database = parse_database(Some(&value))?,
                "key" => url.parameter = Some(value),
                "user" => url.user = value,
                "pass" => url.password = url.password.or_else(|| Some(value.into())),
                _ => return Err(SERVERS.invalid(format_args!("it has the unknown parameter \"{name}\""))),
            }
        }
        Ok((url, Location::Socket(path.into()), database))
    }

    #[cfg(not(unix))]
    fn parse_socket(_: &str, _: EngineAccess) -> Result<(ServerUrl, Location, i64), EngineError> {
        Err(SERVERS.invalid("this system has no sockets of Unix"))
    }

    /// Returns the addresses of the servers.
    pub(super) fn servers(&self) -> String {
        let servers = &self.url.servers;
        match &self.location {
            #[cfg(unix)]
            Location::Socket(path) => path.display().to_string(),
            Location::Servers | Location::Cluster => servers.to_string(),
            Location::Sentinels(name) => format!("{name} of {servers}"),
        }
    }

    /// Connects to the server, or to the primary of several.
    pub(super) fn connect_client(&self) -> Result<(RedisConnection, StreamKeys), EngineError> {
        let servers = &self.url.servers;
        let keys = match &self.location {
            Location::Cluster => StreamKeys::in_cluster(&self.key)?,
            _ => StreamKeys::alone(&self.key),
        };
        let connection = match &self.location {
            #[cfg(unix)]
            Location::Socket(path) => self.connect_to_socket(path),
            Location::Servers => servers.first(|address, timeout| match servers.are_several() {
                true => self.connect_to_primary(address, timeout),
                false => self.connect_to(address, timeout),
            }),
            Location::Cluster => servers.first(|address, timeout| self.connect_in_cluster(address, timeout)),
            Location::Sentinels(name) => servers.first(|sentinel, timeout| {
                let primary = self.primary(sentinel, name, timeout)?;
                self.connect_to_primary(&primary, timeout)
            }),
        };
        Ok((connection?, keys))
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
        let password = self.url.password.as_ref().map(EnginePassword::read).transpose()?;
        connection.log_in(&self.url.user, password.as_deref(), database)
    }

    fn open(&self, address: &ServerAddress, timeout: Duration) -> Result<RedisConnection, EngineError> {
        let text = address.to_string();
        let stream = address.connect(self.url.tls.as_ref(), timeout);
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
            _ => Err(replica(connection.address())),
        }
    }

    /// Connects to the primary of this key, to which a server of the cluster refers.
    fn connect_in_cluster(
        &self,
        address: &ServerAddress,
        timeout: Duration,
    ) -> Result<RedisConnection, EngineError> {
        let mut address = address.clone();
        for _ in 0..MOST_MOVES {
            let mut connection = self.connect_to(&address, timeout)?;
            connection.send(cmd("EXISTS").arg(&self.key))?;
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
        Err(moved(address))
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
            Err(error) if !error.is_transient() && self.url.password.is_some() => {
                self.log_in(&mut connection, 0)?;
                connection.query(&ask)?
            }
            reply => reply?,
        };
        let (host, port) = reply.ok_or_else(|| unknown_primary(connection.address(), name))?;
        Ok(ServerAddress { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisTarget, EngineError> {
        RedisTarget::parse(url, EngineAccess::default(), Some("prices"))
    }

    #[test]
    fn urls_are_parsed_and_others_refused() {
        let target = parse("redis://example.org:7000,[::1]/2?key=prices%20now").unwrap();
        assert_eq!((&*target.key, &*target.servers()), ("prices now", "example.org:7000,[::1]:6379"));
        assert_eq!((target.database, target.url.tls.is_some()), (2, false));
        let target = parse("rediss://feeds:secret@[::1]").unwrap();
        assert_eq!((&*target.key, target.url.tls.is_some()), ("mcast:prices", true));
        assert!(!format!("{target:?}").contains("secret"));
        let target = parse("rediss+sentinel://one,two:7/prices/3").unwrap();
        assert_eq!((target.database, &*target.servers()), (3, "prices of one:26379,two:7"));
        let target = parse("rediss+cluster://one,two:7?key=x").unwrap();
        assert_eq!((&*target.servers(), target.url.tls.is_some()), ("one:6379,two:7", true));
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
            assert!(parse(text).is_err(), "{text}");
        }
        let unnamed = RedisTarget::parse("redis://a", EngineAccess::default(), None).unwrap_err();
        assert!(unnamed.remedy.unwrap().contains("?key=KEY"));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_a_database_and_a_key() {
        let target = parse("redis+unix:///run/a%20b.sock?db=3&key=now").unwrap();
        assert_eq!((&*target.servers(), target.database, &*target.key), ("/run/a b.sock", 3, "now"));
    }
}
