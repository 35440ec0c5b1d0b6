//! Forwarding between two sites through a tunnel: how much, at what cost, and how long it takes.
//!
//! On veth pairs, a processor that sends also runs the receiving stack of the other end. The sender and the relay beside it
//! share the first processor, the other relay has the second one.

use std::ffi::OsString;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::plan::Plan;
use super::relay::{Forwarding, compare, interface_received};
use super::rounds::Values;
use crate::network::{DOWNSTREAM, INTERFACE, Link, TunnelNetwork};
use crate::peers::set_buffer;
use crate::report::Figures;
use crate::run::{Cpu, start, start_with_input};
use crate::tools::Need;

const SIZE: usize = 1_200;
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 42;
const GROUP: &str = "239.77.0.1:7700";
/// Datagrams per second whose delay is measured.
const RATE: f64 = 60_000.0;
/// Datagrams that are sent together at that rate: a burst every 0.27 ms, as a sender that sleeps between bursts has.
const BURST: usize = 16;
const WARM_UP: Duration = Duration::from_millis(200);
/// The receiver's buffer.
const RECEIVE_BUFFER: usize = 16 << 20;
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The time without arrivals after which nothing is under way.
const READ_TIMEOUT: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Tunnel,
    Socat,
}

impl Carrier {
    const ALL: [Self; 2] = [Self::Tunnel, Self::Socat];

    const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "mcast relay",
            Self::Socat => "socat",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Tunnel => "two relays, a tunnel between them (QUIC)",
            Self::Socat => "two processes, DTLS between them",
        }
    }

    const fn need(self) -> Need {
        match self {
            Self::Tunnel => Need::Mcast,
            Self::Socat => Need::Socat,
        }
    }

    /// Returns the programs of the two sites.
    fn programs(self, bench: &Bench) -> Result<[Vec<OsString>; 2]> {
        let words = |program: &[&str]| program.iter().map(OsString::from).collect::<Vec<_>>();
        let made = bench.tools.made();
        Ok(match self {
            Self::Tunnel => {
                let mcast = bench.tools.mcast();
                let [near, far] = keys(&mcast, made)?;
                let relay = |rule: &str, tunnel: &[&str], key: &Path| {
                    let mut program: Vec<OsString> = vec![mcast.clone().into()];
                    program.extend(words(&["relay", rule]));
                    program.extend(words(tunnel));
                    program.extend([OsString::from("--tunnel-key"), key.into()]);
                    program
                };
                let into = format!("{GROUP} from {INTERFACE} to tunnel:paris always");
                let out = format!("{GROUP} from tunnel:paris to {DOWNSTREAM} always");
                [
                    relay(&into, &["--tunnel", "paris=10.77.2.2:5700"], &near),
                    relay(&out, &["--listen-tunnel", "10.77.2.2:5700"], &far),
                ]
            }
            Self::Socat => {
                let certificate = certificate(made)?;
                let (group, port) = GROUP.split_once(':').context("a group and a port")?;
                let from = format!("UDP4-RECV:{port},bind={group},ip-add-membership={group}:{INTERFACE}");
                let to = format!(
                    "UDP4-DATAGRAM:{GROUP},ip-multicast-if=10.77.1.1,ip-multicast-ttl=8,ip-multicast-loop=0"
                );
                let certificate = certificate.display();
                let client = "OPENSSL-DTLS-CLIENT:10.77.2.2:5700,verify=0";
                let server = format!("OPENSSL-DTLS-SERVER:5700,cert={certificate},verify=0");
                [
                    words(&["socat", "-u", "-b", "65536", &from, client]),
                    words(&["socat", "-u", "-b", "65536", &server, &to]),
                ]
            }
        })
    }
}

pub(super) fn measure(bench: &Bench, plan: &Plan, link: Link) -> Result<Figures> {
    let about = "As many datagrams of 1,200 bytes as possible to one group, from one site to another, sealed between them. The \
                 sender and the near end of the tunnel have the first processor, the far end has the second one. What has \
                 arrived is counted by the receiver's interface; `near_ns` and `far_ns` are the processor time for each, at the \
                 two ends. Then 60,000 per second, in bursts of 16, and how long they take from the sender to the receiver, in \
                 microseconds.";
    let network = &TunnelNetwork::new(link)?;
    let mut figures = bench.figures(plan, about.to_owned(), "rate", Carrier::Tunnel.name());
    let ways = Carrier::ALL.into_iter().map(|carrier| Forwarding {
        name: carrier.name(),
        what: carrier.what(),
        need: carrier.need(),
        run: Box::new(move || run_once(network, bench, carrier, link)),
    });
    compare(bench, &mut figures, ways)?;
    Ok(figures)
}

fn run_once(network: &TunnelNetwork, bench: &Bench, carrier: Carrier, link: Link) -> Result<Values> {
    let [near, far] = carrier.programs(bench)?;
    let far = start_with_input(&network.far, Cpu::Receiver, &far)?;
    let near = start_with_input(&network.near, Cpu::Sender, &near)?;
    let sender = network.sender.run(|| UdpSocket::bind("10.77.0.1:0"))??;
    sender.set_multicast_ttl_v4(8)?;
    let receiver = network.receiver.run(|| UdpSocket::bind(GROUP))??;
    receiver.join_multicast_v4(&[239, 77, 0, 1].into(), &[10, 77, 1, 2].into())?;
    // Datagrams that were delayed arrive in a burst. Only those that are lost on the way may count as lost.
    set_buffer(&receiver, RECEIVE_BUFFER)?;
    wait_until_forwarding(&sender, &receiver)?;
    let mut values = delays(&sender, receiver, bench.options.window())?;

    let sending = start(&network.sender, Cpu::Sender, &flood(bench, link))?;
    thread::sleep(WARM_UP);
    let counted = || -> Result<_> {
        Ok((interface_received(&network.receiver)?, near.cpu_seconds()?, far.cpu_seconds()?))
    };
    let (before, began) = (counted()?, Instant::now());
    thread::sleep(Duration::from_secs_f64(bench.options.window()));
    let (after, window) = (counted()?, began.elapsed().as_secs_f64());
    drop(sending);
    // A segmented buffer has one header.
    let bytes_each = if link == Link::Frames { SIZE + HEADERS } else { SIZE };
    let arrived = (after.0 - before.0) as f64 / bytes_each as f64;
    ensure!(arrived > 0.0, "nothing arrived");
    let each = |before: f64, after: f64| (after - before) * 1e9 / arrived;
    values.extend([
        ("rate", arrived / window),
        ("near_ns", each(before.1, after.1)),
        ("far_ns", each(before.2, after.2)),
    ]);
    Ok(values)
}

/// Sends at a rate; returns how long datagrams take, and how many are lost.
fn delays(sender: &UdpSocket, receiver: UdpSocket, seconds: f64) -> Result<Values> {
    let start = Instant::now();
    let receiving = thread::spawn(move || receive(&receiver, start));
    let bursts = (seconds * RATE / BURST as f64) as u32;
    let mut payload = [0; SIZE];
    for number in 0..bursts {
        let due = start + Duration::from_secs_f64(BURST as f64 / RATE) * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for _ in 0..BURST {
            payload[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
            sender.send_to(&payload, GROUP)?;
        }
    }
    let Ok(mut times) = receiving.join() else { anyhow::bail!("the receiver ended") };
    ensure!(!times.is_empty(), "nothing arrived at {RATE} per second");
    times.sort_by(f64::total_cmp);
    let percentile = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let lost = f64::from(bursts) * BURST as f64 - times.len() as f64;
    Ok(vec![("p50", percentile(0.5)), ("p90", percentile(0.9)), ("p99", percentile(0.99)), ("lost", lost)])
}

/// Receives until nothing has come for a while; returns how long each has taken, in microseconds.
fn receive(socket: &UdpSocket, start: Instant) -> Vec<f64> {
    let (mut times, mut buffer) = (Vec::new(), [0; 2_048]);
    while socket.recv(&mut buffer).is_ok() {
        let now = start.elapsed().as_nanos() as f64;
        let sent = buffer.first_chunk().copied().map_or(0, u64::from_be_bytes);
        times.push((now - sent as f64) / 1e3);
    }
    times
}

/// Returns the command line of the sender of as many as possible.
fn flood(bench: &Bench, link: Link) -> Vec<OsString> {
    let size = SIZE.to_string();
    let mut program: Vec<OsString> = vec![bench.tools.mcast().into()];
    let words = ["perf", "send", GROUP, "-i", INTERFACE, "--ttl", "8", "--size", &size, "--no-loopback"];
    program.extend(words.map(OsString::from));
    program.extend(["--expect", "0", "-q"].map(OsString::from));
    program.extend((link == Link::Frames).then(|| OsString::from("--no-gso")));
    program
}

/// Makes the key files of two relays that name each other.
fn keys(mcast: &Path, made: &Path) -> Result<[PathBuf; 2]> {
    let files = ["near.tunnel", "far.tunnel"].map(|name| made.join(name));
    let public = files.each_ref().map(|file| -> Result<String> {
        let _ = fs::remove_file(file);
        let output = Command::new(mcast).args(["keys", "make", "--tunnel"]).arg(file).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let key = text.split_whitespace().find(|word| word.starts_with("tunnel:"));
        key.map(str::to_owned).context("the public key of a tunnel")
    });
    let [near, far] = public;
    for (file, peer) in files.iter().zip([far?, near?]) {
        let own = fs::read_to_string(file)?;
        fs::write(file, format!("{own}peer paris {peer}\n"))?;
    }
    Ok(files)
}

/// Makes a certificate for socat.
fn certificate(made: &Path) -> Result<PathBuf> {
    let file = made.join("socat.pem");
    if !file.exists() {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=far"])
            .arg("-keyout")
            .arg(&file)
            .arg("-out")
            .arg(file.with_extension("crt"))
            .output()
            .context("openssl, for the certificate of socat")?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
        let both = [fs::read(&file)?, fs::read(file.with_extension("crt"))?].concat();
        fs::write(&file, both)?;
    }
    Ok(file)
}

/// Sends until the receiver has something, and nothing is under way.
fn wait_until_forwarding(sender: &UdpSocket, receiver: &UdpSocket) -> Result<()> {
    let (deadline, mut buffer) = (Instant::now() + START_TIMEOUT, [0; 2_048]);
    receiver.set_read_timeout(Some(READ_TIMEOUT))?;
    loop {
        sender.send_to(&[0; SIZE], GROUP)?;
        if receiver.recv(&mut buffer).is_ok() {
            while receiver.recv(&mut buffer).is_ok() {}
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nothing is forwarded");
    }
}
