//! Who hands out figures: `GET /metrics` and nothing else.
//!
//! Bounded in everything: connections at a time, time for each, bytes of a request.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Exposition;
use super::request::Request;
use crate::exit::Failure;

/// Where figures are handed out: `ADDRESS:PORT`, or `:PORT` for every address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    text: String,
    addresses: Vec<SocketAddr>,
}

/// Where figures will be handed out: whoever asks by then waits. Opened as long as there are rights, which some
/// ports take.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Hands out figures for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Exporter {
    address: SocketAddr,
}

/// Makes the figures when somebody asks.
type Figures = Arc<dyn Fn() -> Exposition + Send + Sync>;

/// Answered at a time; whoever comes on top is turned away.
const CONNECTIONS: usize = 8;
/// For a request to come, and for an answer to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where no connection can be taken (no descriptors left, say), it is tried again after so long.
const RECOVERY: Duration = Duration::from_millis(100);

impl Exporter {
    /// Asks `figures` at each request. Starts a thread.
    pub(crate) fn start(
        bound: Bound,
        figures: impl Fn() -> Exposition + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let Bound { listener, address } = bound;
        let figures: Figures = Arc::new(figures);
        thread::Builder::new()
            .name("metrics".into())
            .spawn(move || serve(&listener, &figures))
            .context("cannot start the thread that hands out metrics")?;
        Ok(Self { address })
    }

    /// Where it listens, with the port that the system chose if 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(listener: &TcpListener, figures: &Figures) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            thread::sleep(RECOVERY);
            continue;
        };
        let place = Place::take(&busy);
        if place.others >= CONNECTIONS {
            continue;
        }
        let figures = Arc::clone(figures);
        let answer = move || {
            // Whoever breaks off gets nothing, and nobody else is the worse for it.
            let _ = answer(stream, &figures);
            drop(place);
        };
        // Where no thread can be had the connection is closed.
        drop(thread::Builder::new().name("metrics".into()).spawn(answer));
    }
}

/// One of the connections that are being answered.
struct Place {
    busy: Arc<AtomicUsize>,
    /// How many there were before it.
    others: usize,
}

impl Place {
    fn take(busy: &Arc<AtomicUsize>) -> Self {
        Self { others: busy.fetch_add(1, Ordering::AcqRel), busy: Arc::clone(busy) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

fn answer(stream: TcpStream, figures: &Figures) -> io::Result<()> {
    let mut stream = Patient { stream, until: Instant::now() + PATIENCE };
    let request = Request::read(&mut stream)?;
    let (status, body) = match request {
        Request::Metrics | Request::MetricsHead => ("200 OK", figures().into_text()),
        Request::Elsewhere => ("404 Not Found", "Only /metrics is here.\n".into()),
        Request::OtherMethod => {
            ("405 Method Not Allowed\r\nAllow: GET, HEAD", "Only GET /metrics works.\n".into())
        }
        Request::Nonsense => ("400 Bad Request", "That is no request.\n".into()),
    };
    let kind = if status.starts_with("200") { Exposition::CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.until = Instant::now() + PATIENCE;
    stream.write_all(head.as_bytes())?;
    if request != Request::MetricsHead {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

/// A connection that is given up at a moment, however slowly its bytes trickle.
struct Patient {
    stream: TcpStream,
    until: Instant,
}

impl Patient {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Listen {
    /// Begins to listen.
    pub(crate) fn bind(&self) -> anyhow::Result<Bound> {
        let bound = TcpListener::bind(&self.addresses[..])
            .and_then(|listener| Ok(Bound { address: listener.local_addr()?, listener }));
        Ok(bound.map_err(|error| {
            Failure::environment(format!("cannot hand out metrics at {}: {error}", self.text))
                .remedy("name a free port and an address of this machine, such as 127.0.0.1:9477")
        })?)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let everywhere = text.strip_prefix(':').and_then(|port| port.parse().ok());
        let addresses = match everywhere {
            Some(port) => vec![(Ipv6Addr::UNSPECIFIED, port).into(), ([0, 0, 0, 0], port).into()],
            None => text
                .to_socket_addrs()
                .map_err(|_| "write ADDRESS:PORT such as 127.0.0.1:9477, or :PORT for every address")?
                .collect(),
        };
        Ok(Self { text: text.into(), addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Kind;

    fn exporter() -> SocketAddr {
        let figures = || {
            let mut exposition = Exposition::default();
            exposition.family("answer", Kind::Gauge, "Of everything.").sample(&[], 42);
            exposition
        };
        let listen: Listen = "127.0.0.1:0".parse().unwrap();
        Exporter::start(listen.bind().unwrap(), figures).unwrap().address()
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_are_handed_out_and_nothing_else() {
        let address = exporter();
        let answer = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "# HELP answer Of everything.\n# TYPE answer gauge\nanswer 42\n");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let head_only = ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
        assert_eq!(head_only.split_once("\r\n\r\n").unwrap(), (head, ""));
        assert!(ask(address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(address, "DELETE /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask(address, "what?\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn the_silent_and_the_many_keep_nobody_else_from_an_answer_for_long() {
        let address = exporter();
        let silent: Vec<_> = (0..CONNECTIONS * 3).map(|_| TcpStream::connect(address).unwrap()).collect();
        drop(silent);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !try_ask(address).starts_with("HTTP/1.1 200") {
            assert!(Instant::now() < deadline, "nobody is answered any more");
        }
    }

    fn try_ask(address: SocketAddr) -> String {
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
            text.parse::<Listen>().unwrap_err();
        }
        let everywhere: Listen = ":9477".parse().unwrap();
        assert_eq!(everywhere.addresses.len(), 2);
        assert_eq!("[::1]:9477".parse::<Listen>().unwrap().addresses, ["[::1]:9477".parse().unwrap()]);
    }

    #[test]
    fn a_port_that_is_taken_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen: Listen = taken.local_addr().unwrap().to_string().parse().unwrap();
        let refused = listen.bind().unwrap_err();
        assert!(refused.to_string().starts_with("cannot hand out metrics at 127.0.0.1:"), "{refused}");
    }
}
