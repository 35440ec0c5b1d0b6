//! The automatic rate on a bottleneck: alone, and beside TCP flows.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mcast_lab::{BadLink, Host, Impairment, ImpairmentScope, Lab, LinkDirection};
use mcast_stream::publisher::AutoRate;
use mcast_stream::subscriber::Item;
use mcast_stream::{Publisher, Subscriber};
use socket2::SockRef;

use super::plan::Plan;
use super::rounds::{RoundOptions, Turn, Values, take_turns};
use super::{Bench, fill};
use crate::report::Figures;

const GROUP: &str = "239.77.0.1%eth0:7700";
const SENDER: &str = "10.77.0.1";
const RECEIVER: &str = "10.77.0.2";
const PROBE_PORT: u16 = 7_701;
/// Bytes of a message.
const MESSAGE: usize = 1_400;
/// The time between two probes of the queue.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(20);
/// Seconds before the window, and windows of other tables: flows share a link over many round trips.
const WARM_UP: f64 = 5.0;
const WINDOWS: f64 = 40.0;

/// A bottleneck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bottleneck {
    /// Mbit/s.
    pub(super) rate: u64,
    /// The round-trip time without queues, in milliseconds.
    pub(super) round_trip: u64,
}

impl Bottleneck {
    pub(super) const ALL: [Self; 2] =
        [Self { rate: 20, round_trip: 20 }, Self { rate: 1_000, round_trip: 5 }];

    /// Returns the bytes that are on the way when it is full.
    const fn product(self) -> usize {
        (self.rate * 125 * self.round_trip) as usize
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measured {
    Stream,
    /// A TCP flow with CUBIC, to compare: how fair TCP is to itself in the same time.
    Cubic,
}

/// What is measured, and what shares the bottleneck with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scene {
    measured: Measured,
    /// The queue, in products of rate and round-trip time.
    queue: usize,
    congestion: &'static [&'static str],
}

impl Scene {
    fn name(self) -> String {
        let instead = match self.measured {
            Measured::Stream => "",
            Measured::Cubic => "cubic instead, ",
        };
        let beside = match self.congestion {
            [] => "alone".to_owned(),
            flows => format!("beside {}", flows.join(" and ")),
        };
        format!("{instead}{beside}, queue of {} BDP", self.queue)
    }
}

pub(super) fn measure(bench: &Bench, plan: &Plan, bottleneck: Bottleneck) -> Result<Figures> {
    let Bottleneck { rate, round_trip } = bottleneck;
    let (warm_up, seconds) = (WARM_UP, bench.options.window() * WINDOWS);
    let about = format!(
        "A stream with an automatic rate (`--rate auto`) to one subscriber, through a link of {rate} Mbit/s with a \
         round-trip time of {round_trip} ms and a tail-drop queue of one or four times the product of both (BDP), alone \
         or beside TCP flows with unlimited data, and a CUBIC flow in its place. Payload received in {seconds} s after \
         {warm_up} s, in Mbit/s; the stream's payload divided by the mean of the flows; and the queueing delay in \
         milliseconds, by datagrams that are sent through the same queue every 5 ms. Headers are 7 % of a frame of the \
         stream."
    );
    let alone = Scene { measured: Measured::Stream, queue: 1, congestion: &[] };
    let mut figures = bench.figures(plan, about, "stream", &alone.name());
    figures.seconds = seconds;
    const BESIDE: [(Measured, &[&str]); 6] = [
        (Measured::Stream, &[]),
        (Measured::Stream, &["cubic"]),
        (Measured::Cubic, &["cubic"]),
        (Measured::Stream, &["bbr"]),
        (Measured::Cubic, &["bbr"]),
        (Measured::Stream, &["cubic", "bbr"]),
    ];
    let scenes = [1, 4]
        .into_iter()
        .flat_map(|queue| BESIDE.map(|(measured, congestion)| Scene { measured, queue, congestion }));
    let turns: Vec<_> = scenes
        .map(|scene| Turn {
            name: scene.name(),
            run: Box::new(move || run_once(bottleneck, scene, warm_up, seconds)),
        })
        .collect();
    let options = RoundOptions { rounds: bench.options.rounds().min(3), steady_by: None, keep_all: true };
    let rounds = take_turns(&turns, options)?;
    fill(&mut figures, rounds, |_| String::new());
    Ok(figures)
}

/// Counts bytes on threads that end when it is dropped.
#[derive(Debug, Default)]
struct Work {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Work {
    /// Starts a thread that calls `step` with its counter until the work is over, or `step` fails.
    fn start(&mut self, mut step: impl FnMut(&AtomicU64) -> Result<()> + Send + 'static) -> Arc<AtomicU64> {
        let counter = Arc::new(AtomicU64::new(0));
        let (is_over, counted) = (Arc::clone(&self.is_over), Arc::clone(&counter));
        self.threads.push(thread::spawn(
            move || {
                while !is_over.load(Ordering::Relaxed) && step(&counted).is_ok() {}
            },
        ));
        counter
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that failed has ended.
            let _ = thread.join();
        }
    }
}

fn run_once(bottleneck: Bottleneck, scene: Scene, warm_up: f64, seconds: f64) -> Result<Values> {
    let lab = Lab::new().context("the lab to compare in")?;
    let (sender, receiver) = (lab.host("sender")?, lab.host("receiver")?);
    let _link = connect(&lab, &sender, &receiver, bottleneck, scene.queue)?;
    let mut work = Work::default();
    let delays = probe(&mut work, &sender, &receiver)?;
    let measured = match scene.measured {
        Measured::Stream => stream(&mut work, &sender, &receiver)?,
        Measured::Cubic => flow(&mut work, &sender, &receiver, "cubic")?,
    };
    let flows = scene
        .congestion
        .iter()
        .map(|congestion| flow(&mut work, &sender, &receiver, congestion))
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(Duration::from_secs_f64(warm_up));
    let read = || {
        let bytes = std::iter::once(&measured).chain(&flows).map(|count| count.load(Ordering::Relaxed));
        bytes.collect::<Vec<_>>()
    };
    if let Ok(mut delays) = delays.lock() {
        delays.clear();
    }
    let (before, begun) = (read(), Instant::now());
    thread::sleep(Duration::from_secs_f64(seconds));
    let (after, elapsed) = (read(), begun.elapsed().as_secs_f64());
    let mut delays = delays.lock().map_or_else(|_| Vec::new(), |delays| delays.clone());
    drop(work);
    ensure!(!delays.is_empty(), "no probe arrived");
    delays.sort_by(f64::total_cmp);
    let least = bottleneck.round_trip as f64 / 2.0;
    let queue = |share: f64| (delays[((delays.len() - 1) as f64 * share) as usize] - least).max(0.0);
    let rates: Vec<f64> =
        after.iter().zip(&before).map(|(after, before)| (after - before) as f64 * 8e-6 / elapsed).collect();
    let mut values = vec![("stream", rates[0]), ("queue", queue(0.5)), ("queue_p95", queue(0.95))];
    let others = &rates[1..];
    if let Some(mean) = (!others.is_empty()).then(|| others.iter().sum::<f64>() / others.len() as f64) {
        values.push(("flow", mean));
        values.push(("share", rates[0] / mean.max(0.001)));
    }
    Ok(values)
}

fn connect(
    lab: &Lab,
    sender: &Host,
    receiver: &Host,
    bottleneck: Bottleneck,
    queue: usize,
) -> Result<BadLink> {
    let delay = Duration::from_micros(bottleneck.round_trip * 500);
    let back = Impairment { delay, scope: ImpairmentScope::All, ..Impairment::default() };
    let (from, to) = ([&*format!("{SENDER}/24")], [&*format!("{RECEIVER}/24")]);
    let link = lab.bad_link(sender, "eth0", &from, receiver, "eth0", &to, back)?;
    let queue = queue * bottleneck.product();
    let forward = Impairment { rate: Some(bottleneck.rate * 1_000_000), queue, ..back };
    link.set_direction(LinkDirection::Forward, forward)?;
    sender.add_route("224.0.0.0/4", "eth0")?;
    Ok(link)
}

/// Starts the stream; returns the bytes that its subscriber receives.
fn stream(work: &mut Work, sender: &Host, receiver: &Host) -> Result<Arc<AtomicU64>> {
    let mut subscriber =
        receiver.run(|| Subscriber::join_one(GROUP.parse()?).map_err(anyhow::Error::from))??;
    let publisher = sender.run(|| {
        let builder = Publisher::builder().to(GROUP.parse()?).auto_rate(AutoRate::default());
        builder.build().map_err(anyhow::Error::from)
    })??;
    let received = work.start(move |bytes| {
        if let Some(Item::Message(message)) = subscriber.next_timeout(Duration::from_millis(50))? {
            bytes.fetch_add(message.bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    });
    ensure!(publisher.wait_for(1, TIMEOUT), "the subscriber did not join");
    work.start(move |_| {
        let progress = publisher.progress();
        match publisher.try_publish(&[7; MESSAGE]) {
            Ok(_) => {}
            Err(mcast_stream::StreamError::Refused(refusal)) if refusal.is_temporary() => {
                publisher.wait_for_room(progress, Duration::from_millis(50));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    });
    Ok(received)
}

/// Starts a TCP flow; returns the bytes that arrive.
fn flow(work: &mut Work, sender: &Host, receiver: &Host, congestion: &str) -> Result<Arc<AtomicU64>> {
    let listener = receiver.run(|| TcpListener::bind((RECEIVER, 0)))??;
    let port = listener.local_addr()?.port();
    let mut outgoing = sender.run(|| TcpStream::connect((RECEIVER, port)))??;
    SockRef::from(&outgoing)
        .set_tcp_congestion(congestion.as_bytes())
        .with_context(|| format!("this kernel does not have {congestion}"))?;
    outgoing.set_write_timeout(Some(Duration::from_millis(200)))?;
    let (mut incoming, _) = listener.accept()?;
    incoming.set_read_timeout(Some(Duration::from_millis(200)))?;
    let is_late = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    };
    work.start(move |_| match outgoing.write(&[7; 16_384]) {
        Err(error) if !is_late(&error) => Err(error.into()),
        _ => Ok(()),
    });
    let mut buffer = vec![0; 65_536];
    Ok(work.start(move |bytes| match incoming.read(&mut buffer) {
        Err(error) if !is_late(&error) => Err(error.into()),
        read => {
            bytes.fetch_add(read.unwrap_or_default() as u64, Ordering::Relaxed);
            Ok(())
        }
    }))
}

/// Sends datagrams through the queue at intervals; returns how long each took, in milliseconds.
fn probe(work: &mut Work, sender: &Host, receiver: &Host) -> Result<Arc<std::sync::Mutex<Vec<f64>>>> {
    let incoming = receiver.run(|| UdpSocket::bind((RECEIVER, PROBE_PORT)))??;
    let outgoing = sender.run(|| UdpSocket::bind((SENDER, 0)))??;
    incoming.set_read_timeout(Some(Duration::from_millis(200)))?;
    let delays = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (noted, epoch) = (Arc::clone(&delays), Instant::now());
    work.start(move |_| {
        let mut sent = [0; 8];
        if incoming.recv(&mut sent).is_ok() {
            let taken = epoch.elapsed().as_nanos() as f64 - u64::from_be_bytes(sent) as f64;
            if let Ok(mut noted) = noted.lock() {
                noted.push(taken / 1e6);
            }
        }
        Ok(())
    });
    work.start(move |_| {
        let now = u64::try_from(epoch.elapsed().as_nanos())?;
        outgoing.send_to(&now.to_be_bytes(), (RECEIVER, PROBE_PORT))?;
        thread::sleep(PROBE_INTERVAL);
        Ok(())
    });
    Ok(delays)
}
