//! A site of metrics, at `/metrics`, and of health, at `/live` and `/ready` where a program reports it.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use mcast_http::{HttpClock, HttpDriver, HttpLimits, HttpRequest, HttpSite, SiteReply, SiteServer};
use mcast_pace::ClockTime;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Exposition;

/// The address of a server of metrics: `ADDRESS:PORT`, or `:PORT` for every address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterAddress {
    text: String,
    addresses: Addresses,
}

/// The addresses that a listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Addresses {
    /// This port of every address of this machine, of both families.
    Every(u16),
    /// The first of these addresses that can be bound.
    FirstOf(Vec<SocketAddr>),
}

/// A server that is bound and has not started; clients that connect before are queued. A program binds it before it
/// drops capabilities, because ports below 1024 may require them.
#[derive(Debug)]
pub struct BoundExporter {
    listener: TcpListener,
    address: SocketAddr,
}

/// Serves metrics until the process ends.
#[derive(Debug)]
pub struct Exporter {
    address: SocketAddr,
}

/// Produces the metrics for each request, and the health, if a program reports it.
struct Pages {
    figures: Box<dyn FnMut() -> Exposition + Send>,
    health: Option<Box<dyn FnMut() -> Health + Send>>,
}

/// Bounds of the server: it has no streams, and scrapers are few.
const LIMITS: HttpLimits = HttpLimits {
    max_clients: 0,
    spare: 8,
    stall: Duration::from_secs(5),
    max_waiting: 16 << 20,
    realm: "mcast metrics",
    busy_advice: "try again later",
};

impl BoundExporter {
    /// Returns the address, with the port that the system chose for port 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the listener, for a program that serves something else at such an address.
    #[must_use]
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }
}

impl Exporter {
    /// Starts a thread that calls `figures` for each request.
    ///
    /// # Errors
    /// If the thread cannot be started, or the listener cannot be waited for.
    pub fn start(
        bound: BoundExporter,
        figures: impl Fn() -> Exposition + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(bound, Pages { figures: Box::new(figures), health: None })
    }

    /// As [`start`](Self::start), and `/live` and `/ready` are answered with what `health` returns.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_health(
        bound: BoundExporter,
        figures: impl Fn() -> Exposition + Send + Sync + 'static,
        health: impl Fn() -> Health + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(bound, Pages { figures: Box::new(figures), health: Some(Box::new(health)) })
    }

    fn start_with(bound: BoundExporter, pages: Pages) -> io::Result<Self> {
        let BoundExporter { listener, address } = bound;
        let mut sockets = HttpDriver::new(HttpClock::since(Instant::now()))?;
        sockets.add_listener(address, listener)?;
        let mut server = SiteServer::new(pages, None, LIMITS, 0);
        let serve = move || sockets.run(&mut server, || true);
        thread::Builder::new().name("metrics".into()).spawn(serve)?;
        Ok(Self { address })
    }

    /// Returns the address of the server, with the port that the system chose for port 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl HttpSite for Pages {
    fn respond(&mut self, _now: ClockTime, _request: &HttpRequest, path: &str, _last: &str) -> SiteReply {
        match (path, &mut self.health) {
            ("/metrics", _) => SiteReply::page(Exposition::CONTENT_TYPE, (self.figures)().to_text()),
            ("/live" | "/ready", Some(health)) => {
                let (is_well, text) = health().respond(path == "/ready");
                SiteReply::Page {
                    status: if is_well { "200 OK" } else { "503 Service Unavailable" },
                    content_type: "text/plain; charset=utf-8",
                    headers: Cow::Borrowed(""),
                    body: Cow::Owned(text),
                }
            }
            (_, Some(_)) => SiteReply::Nothing("only /metrics, /live and /ready are here"),
            (_, None) => SiteReply::Nothing("only /metrics is here"),
        }
    }
}

impl ExporterAddress {
    /// Starts to listen.
    ///
    /// # Errors
    /// The system's error, if no address can be bound.
    pub fn bind(&self) -> io::Result<BoundExporter> {
        let listener = match &self.addresses {
            Addresses::Every(port) => bind_everywhere(*port),
            Addresses::FirstOf(addresses) => TcpListener::bind(&addresses[..]),
        }?;
        Ok(BoundExporter { address: listener.local_addr()?, listener })
    }
}

/// A text that is not an address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write ADDRESS:PORT such as 127.0.0.1:9477, or :PORT for every address")]
#[non_exhaustive]
pub struct InvalidAddress;

impl FromStr for ExporterAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let everywhere = text.strip_prefix(':').and_then(|port| port.parse().ok());
        let addresses = match everywhere {
            Some(port) => Addresses::Every(port),
            None => Addresses::FirstOf(text.to_socket_addrs().map_err(|_| InvalidAddress)?.collect()),
        };
        Ok(Self { text: text.into(), addresses })
    }
}

impl fmt::Display for ExporterAddress {
    /// Writes the address as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Listens on every address of both families, or of IPv4 alone where there is no IPv6.
fn bind_everywhere(port: u16) -> io::Result<TcpListener> {
    let taken = [io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied];
    match bind_both_families(port) {
        Err(error) if !taken.contains(&error.kind()) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
        bound => bound,
    }
}

/// Binds one IPv6 socket for both families. Whether such a socket accepts IPv4 connections depends on the system: on
/// Windows and FreeBSD only with this option, on Linux by a setting (`net.ipv6.bindv6only`).
fn bind_both_families(port: u16) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 128;

    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As the standard library does. On Windows this option would let other programs take over the port.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What is responded to requests for `/live` and `/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does what it is for.
    Ready,
    /// It cannot do that at present, for this reason, and continues when it can: `/ready` responds with status 503.
    NotReady(String),
    /// It does nothing any more, for this reason, and should be started again: both respond with status 503.
    Stuck(String),
}

impl Health {
    /// Returns whether `/live` or `/ready` succeeds, and the text of the response.
    fn respond(&self, is_readiness: bool) -> (bool, String) {
        match self {
            Self::Ready if is_readiness => (true, "ready\n".to_owned()),
            Self::NotReady(reason) if is_readiness => (false, format!("not ready: {reason}\n")),
            Self::Ready | Self::NotReady(_) => (true, "live\n".to_owned()),
            Self::Stuck(reason) => (false, format!("stuck: {reason}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    use super::*;
    use crate::MetricKind;

    fn exporter() -> SocketAddr {
        let figures = || {
            let mut exposition = Exposition::default();
            exposition.family("answer", MetricKind::Gauge, "Of everything.").sample(&[], 42_u64);
            exposition
        };
        let listen: ExporterAddress = "127.0.0.1:0".parse().unwrap();
        Exporter::start(listen.bind().unwrap(), figures).unwrap().address()
    }

    fn fetch(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn only_metrics_are_served() {
        let address = exporter();
        let answer = fetch(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        let without_query = fetch(address, "GET /metrics?name[]=a HTTP/1.0\n\n");
        assert!(without_query.ends_with("answer 42\n"), "{without_query}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "# HELP answer Of everything.\n# TYPE answer gauge\nanswer 42\n");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let head_only = fetch(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(head_only.split_once("\r\n\r\n").unwrap(), (head, ""));
        assert!(fetch(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(fetch(address, "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(
            fetch(address, "GET /metrics/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n")
                .starts_with("HTTP/1.1 404 ")
        );
        for wrong in ["what?\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET /metrics\r\n\r\n", "\u{ff}\n\n"] {
            assert!(fetch(address, wrong).starts_with("HTTP/1.1 400 "), "{wrong:?}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "y".repeat(9_000));
        assert!(fetch(address, &long).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn health_is_served_where_a_program_reports_it() {
        let state = Arc::new(std::sync::Mutex::new(Health::NotReady("no engine".into())));
        let listen: ExporterAddress = "127.0.0.1:0".parse().unwrap();
        let health = Arc::clone(&state);
        let started = Exporter::start_with_health(listen.bind().unwrap(), Exposition::default, move || {
            health.lock().unwrap().clone()
        });
        let address = started.unwrap().address();
        let get = |path: &str| fetch(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(get("/live").starts_with("HTTP/1.1 200 "));
        let answer = get("/ready");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nnot ready: no engine\n"));
        *state.lock().unwrap() = Health::Ready;
        assert!(get("/ready").starts_with("HTTP/1.1 200 "));
        *state.lock().unwrap() = Health::Stuck("its loop stands still".into());
        assert!(get("/live").starts_with("HTTP/1.1 503 ") && get("/ready").starts_with("HTTP/1.1 503 "));
        let without = fetch(exporter(), "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(without.starts_with("HTTP/1.1 404 "), "{without}");
    }

    #[test]
    fn silent_clients_delay_others_only_for_a_limited_time() {
        let address = exporter();
        let silent: Vec<_> = (0..LIMITS.spare * 3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !try_fetch(address).starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < deadline, "no client is answered any more");
        }
        drop(silent);
    }

    fn try_fetch(address: SocketAddr) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    #[test]
    fn an_address_needs_its_port() {
        for text in ["127.0.0.1", "9477", "", ":x", "127.0.0.1:99999"] {
            text.parse::<ExporterAddress>().unwrap_err();
        }
        let addresses = |text: &str| text.parse::<ExporterAddress>().unwrap().addresses;
        assert_eq!(addresses(":9477"), Addresses::Every(9477));
        assert_eq!(addresses("[::1]:9477"), Addresses::FirstOf(vec!["[::1]:9477".parse().unwrap()]));
    }

    #[test]
    fn port_in_use_is_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen: ExporterAddress = taken.local_addr().unwrap().to_string().parse().unwrap();
        assert_eq!(listen.bind().unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
