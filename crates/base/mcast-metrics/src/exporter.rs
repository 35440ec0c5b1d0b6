//! A minimal HTTP server that answers `GET /metrics`, and `/live` and `/ready` where a program has them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

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
#[derive(Clone)]
struct Pages {
    figures: Arc<dyn Fn() -> Exposition + Send + Sync>,
    health: Option<Arc<dyn Fn() -> Health + Send + Sync>>,
}

/// The maximum number of concurrent connections; further ones are closed.
const CONNECTIONS: usize = 8;
/// The time limit for a request and its response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The time to wait after a failed accept, for example without free descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

impl Exporter {
    /// Starts a thread that calls `figures` for each request.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        bound: BoundExporter,
        figures: impl Fn() -> Exposition + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_with(bound, Pages { figures: Arc::new(figures), health: None })
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
        Self::start_with(bound, Pages { figures: Arc::new(figures), health: Some(Arc::new(health)) })
    }

    fn start_with(bound: BoundExporter, pages: Pages) -> io::Result<Self> {
        let BoundExporter { listener, address } = bound;
        thread::Builder::new().name("metrics".into()).spawn(move || serve(&listener, &pages))?;
        Ok(Self { address })
    }

    /// Returns the address of the server, with the port that the system chose for port 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(listener: &TcpListener, pages: &Pages) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(RECOVERY);
            continue;
        };
        let slot = ConnectionSlot::take(&busy);
        if slot.others >= CONNECTIONS {
            continue;
        }
        let pages = pages.clone();
        let answer = move || {
            // A client that disconnects gets nothing, and others are not affected.
            let _ = answer(stream, &pages);
            drop(slot);
        };
        // If no thread can be started, the connection is closed.
        drop(thread::Builder::new().name("metrics".into()).spawn(answer));
    }
}

/// One of the connections that are being served.
struct ConnectionSlot {
    busy: Arc<AtomicUsize>,
    /// The number of connections before it.
    others: usize,
}

impl ConnectionSlot {
    fn take(busy: &Arc<AtomicUsize>) -> Self {
        Self { others: busy.fetch_add(1, Ordering::AcqRel), busy: Arc::clone(busy) }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

fn answer(stream: TcpStream, pages: &Pages) -> io::Result<()> {
    let mut stream = TimedConnection { stream, deadline: Instant::now() + TIMEOUT };
    let request = Request::read(&mut stream)?;
    let mut kind = "text/plain; charset=utf-8";
    let (status, body) = match (request, &pages.health) {
        (Request::Get(Page::Metrics) | Request::Head(Page::Metrics), _) => {
            kind = Exposition::CONTENT_TYPE;
            ("200 OK", (pages.figures)().to_text())
        }
        (Request::Get(page) | Request::Head(page), Some(health)) => {
            match health().respond(page == Page::Readiness) {
                (true, text) => ("200 OK", text),
                (false, text) => ("503 Service Unavailable", text),
            }
        }
        (Request::Elsewhere | Request::Get(_) | Request::Head(_), None) => {
            ("404 Not Found", "Only /metrics is here.\n".into())
        }
        (Request::Elsewhere, Some(_)) => {
            ("404 Not Found", "Only /metrics, /live and /ready are here.\n".into())
        }
        (Request::OtherMethod, _) => {
            ("405 Method Not Allowed\r\nAllow: GET, HEAD", "Only GET works.\n".into())
        }
        (Request::Malformed, _) => ("400 Bad Request", "This is not a valid HTTP request.\n".into()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.deadline = Instant::now() + TIMEOUT;
    stream.write_all(head.as_bytes())?;
    if !matches!(request, Request::Head(_)) {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

/// A connection with a deadline for all reads and writes together, however slowly bytes arrive.
struct TimedConnection {
    stream: TcpStream,
    deadline: Instant,
}

impl TimedConnection {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for TimedConnection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for TimedConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
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

/// An HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// `GET` of a page.
    Get(Page),
    /// `HEAD` of a page.
    Head(Page),
    /// Another path.
    Elsewhere,
    /// Another method.
    OtherMethod,
    /// Not HTTP, or too long.
    Malformed,
}

/// What can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// `/metrics`
    Metrics,
    /// `/live`
    Liveness,
    /// `/ready`
    Readiness,
}

impl Page {
    fn of_path(path: &str) -> Option<Self> {
        match path {
            "/metrics" => Some(Self::Metrics),
            "/live" => Some(Self::Liveness),
            "/ready" => Some(Self::Readiness),
            _ => None,
        }
    }
}

impl Request {
    /// The maximum length of the head; no real client sends more.
    const LONGEST: u64 = 8 << 10;

    /// Reads up to the empty line after the head.
    pub(super) fn read(stream: impl Read) -> io::Result<Self> {
        let mut stream = stream.take(Self::LONGEST);
        let mut head = Vec::new();
        let mut chunk = [0; 1024];
        loop {
            match stream.read(&mut chunk)? {
                0 => return Ok(Self::Malformed),
                count => head.extend_from_slice(&chunk[..count]),
            }
            if has_end(&head) {
                return Ok(Self::of_head(&head));
            }
        }
    }

    fn of_head(head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let Ok(line) = std::str::from_utf8(line) else { return Self::Malformed };
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let [method, target, version] = words[..] else { return Self::Malformed };
        if target.is_empty() || !version.starts_with("HTTP/1.") {
            return Self::Malformed;
        }
        let path = target.split('?').next().unwrap_or_default();
        match (method, Page::of_path(path)) {
            ("GET", Some(page)) => Self::Get(page),
            ("HEAD", Some(page)) => Self::Head(page),
            ("GET" | "HEAD", None) => Self::Elsewhere,
            _ => Self::OtherMethod,
        }
    }
}

/// Lines end in `\r\n`; a bare `\n` is accepted, too (RFC 9112 section 2.2).
fn has_end(head: &[u8]) -> bool {
    head.windows(2).any(|pair| pair == b"\n\n") || head.windows(4).any(|four| four == b"\r\n\r\n")
}

#[cfg(test)]
mod tests {
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
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "# HELP answer Of everything.\n# TYPE answer gauge\nanswer 42\n");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let head_only = fetch(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
        assert_eq!(head_only.split_once("\r\n\r\n").unwrap(), (head, ""));
        assert!(fetch(address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(fetch(address, "DELETE /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(fetch(address, "what?\r\n\r\n").starts_with("HTTP/1.1 400 "));
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
        let get = |path: &str| fetch(address, &format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(get("/live").starts_with("HTTP/1.1 200 "));
        let answer = get("/ready");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nnot ready: no engine\n"));
        *state.lock().unwrap() = Health::Ready;
        assert!(get("/ready").starts_with("HTTP/1.1 200 "));
        *state.lock().unwrap() = Health::Stuck("its loop stands still".into());
        assert!(get("/live").starts_with("HTTP/1.1 503 ") && get("/ready").starts_with("HTTP/1.1 503 "));
        let without = fetch(exporter(), "GET /ready HTTP/1.1\r\n\r\n");
        assert!(without.starts_with("HTTP/1.1 404 "), "{without}");
    }

    #[test]
    fn silent_clients_delay_others_only_for_a_limited_time() {
        let address = exporter();
        let silent: Vec<_> = (0..CONNECTIONS * 3).map(|_| TcpStream::connect(address).unwrap()).collect();
        drop(silent);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !try_fetch(address).starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < deadline, "no client is answered any more");
        }
    }

    fn try_fetch(address: SocketAddr) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
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

    fn read(text: &str) -> Request {
        Request::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn three_paths_exist() {
        assert_eq!(read("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Request::Get(Page::Metrics));
        assert_eq!(read("GET /metrics?name[]=a HTTP/1.0\n\n"), Request::Get(Page::Metrics));
        assert_eq!(read("HEAD /metrics HTTP/1.1\r\n\r\n"), Request::Head(Page::Metrics));
        assert_eq!(read("GET /live HTTP/1.1\r\n\r\n"), Request::Get(Page::Liveness));
        assert_eq!(read("GET /ready HTTP/1.1\r\n\r\n"), Request::Get(Page::Readiness));
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Request::Elsewhere);
        assert_eq!(read("GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n"), Request::Elsewhere);
        assert_eq!(read("POST /metrics HTTP/1.1\r\n\r\n"), Request::OtherMethod);
    }

    #[test]
    fn an_invalid_request_is_nonsense() {
        for text in [
            "",
            "GET /metrics HTTP/1.1\r\n",
            "hello\r\n\r\n",
            "GET  HTTP/1.1\r\n\r\n",
            "GET /metrics\r\n\r\n",
        ] {
            assert_eq!(read(text), Request::Malformed, "{text:?}");
        }
        assert_eq!(Request::read(&[0xff, b'\n', b'\n'][..]).unwrap(), Request::Malformed);
        let endless = format!("GET /metrics HTTP/1.1\r\n{}", "X: y\r\n".repeat(10_000));
        assert_eq!(read(&endless), Request::Malformed);
    }
}
