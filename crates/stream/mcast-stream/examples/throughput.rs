//! Measures the throughput of a stream between hosts of a lab: `throughput [--size N] [--seconds S] [--loss P]
//! [--receivers N] [--sealed] [--single] [--rate MESSAGES] [--frames]`.
//!
//! With `--rate`, each message carries its time, and delays are reported. `--loss` and `--frames` turn the links'
//! offloads off, so that each datagram is a frame. `--loss` drops P percent of the frames at both ends (it needs root
//! and `nft`). Without them, the link is a plain veth pair.
#![cfg_attr(not(target_os = "linux"), allow(unused))]
#![expect(clippy::unwrap_used, reason = "an example stops where it fails")]

#[cfg(target_os = "linux")]
mod linux {
    use std::time::{Duration, Instant};

    use mcast_lab::{Lab, Offload};
    use mcast_stream::subscriber::Item;
    use mcast_stream::{Publisher, Subscriber};

    struct Options {
        size: usize,
        seconds: f64,
        loss: f64,
        receivers: usize,
        sealed: bool,
        single: bool,
        rate: Option<f64>,
        frames: bool,
        history: usize,
    }

    impl Options {
        fn read() -> Self {
            let arguments: Vec<String> = std::env::args().collect();
            let has = |name: &str| arguments.iter().any(|argument| argument == name);
            let value = |name: &str| -> Option<f64> {
                let at = arguments.iter().position(|argument| argument == name)?;
                arguments.get(at + 1)?.parse().ok()
            };
            Self {
                size: value("--size").unwrap_or(1344.0) as usize,
                seconds: value("--seconds").unwrap_or(3.0),
                loss: value("--loss").unwrap_or(0.0) / 100.0,
                receivers: value("--receivers").unwrap_or(1.0) as usize,
                sealed: has("--sealed"),
                single: has("--single"),
                rate: value("--rate"),
                frames: has("--frames"),
                history: (value("--history").unwrap_or(8.0) * f64::from(1 << 20)) as usize,
            }
        }

        #[cfg(feature = "seal")]
        fn keys(&self) -> mcast_stream::seal::Keys {
            use mcast_stream::seal::{Algorithm, GroupSecret, Keys};
            if !self.sealed {
                return Keys::none();
            }
            Keys::one(mcast_stream::wire::KeyEpoch(1), GroupSecret::new(&[7; 32], Algorithm::Aes128Gcm))
        }

        #[cfg(not(feature = "seal"))]
        fn keys(&self) -> mcast_stream::seal::Keys {
            assert!(!self.sealed, "built without the feature `seal`");
            mcast_stream::seal::Keys::none()
        }
    }

    pub(crate) fn main() {
        let options = Options::read();
        let lab = Lab::new().unwrap();
        let sender = lab.host("sender").unwrap();
        let switch = lab.switch("lan").unwrap();
        let hosts: Vec<_> = (0..options.receivers)
            .map(|number| {
                let host = lab.host(&format!("receiver{number}")).unwrap();
                let address = format!("10.0.0.{}/24", number + 2);
                if options.receivers == 1 {
                    lab.link(&sender, "eth0", &["10.0.0.1/24"], &host, "eth0", &[&address]).unwrap();
                } else {
                    host.connect("eth0", &switch, &[&address]).unwrap();
                }
                host
            })
            .collect();
        if options.receivers > 1 {
            sender.connect("eth0", &switch, &["10.0.0.1/24"]).unwrap();
        }
        for host in hosts.iter().chain([&sender]).filter(|_| options.frames || options.loss > 0.0) {
            host.offload("eth0", Offload::none()).unwrap();
            lose(host, options.loss);
        }
        run(&options, &sender, &hosts);
    }

    /// Drops incoming UDP frames at random in the kernel, so that only the loss itself costs anything.
    fn lose(host: &mcast_lab::Host, share: f64) {
        let rule = format!(
            "add table netdev loss; add chain netdev loss in {{ type filter hook ingress device \"eth0\" priority 0; }}; \
             add rule netdev loss in ip protocol udp numgen random mod 100000 < {} drop",
            (share * 100_000.0) as u32
        );
        let status = host.command("nft").unwrap().arg(rule).status().unwrap();
        assert!(status.success(), "`--loss` needs nft");
    }

    fn run(options: &Options, sender: &mcast_lab::Host, hosts: &[mcast_lab::Host]) {
        let start = Instant::now();
        let publisher = sender
            .run(|| {
                let builder = Publisher::builder().to("239.1.2.3%eth0:7000".parse().unwrap());
                builder.keys(options.keys()).retransmission_buffer(options.history).build().unwrap()
            })
            .unwrap();
        let subscribers: Vec<Subscriber> = hosts
            .iter()
            .map(|host| {
                let build = || {
                    let builder = Subscriber::builder().join("239.1.2.3%eth0:7000".parse().unwrap());
                    builder.keys(options.keys()).build().unwrap()
                };
                host.run(build).unwrap()
            })
            .collect();
        std::thread::scope(|scope| {
            let receiving: Vec<_> = subscribers
                .into_iter()
                .map(|subscriber| {
                    let thread = std::thread::Builder::new().name("receive".to_owned());
                    thread.spawn_scoped(scope, move || receive(subscriber, start)).unwrap()
                })
                .collect();
            assert!(publisher.wait_for(hosts.len(), Duration::from_secs(10)));
            let began = Instant::now();
            publish(options, &publisher, start);
            let published = began.elapsed();
            let threads = costs(published);
            let closing = publisher.close(Duration::from_secs(20));
            let elapsed = began.elapsed().as_secs_f64();
            let statistics = closing.statistics;
            println!(
                "{:.3} M messages/s, {:.3} Gbit/s; {} datagrams, {} + {} repairs, {} NAKs, round trip {} us, complete {} of {}",
                statistics.messages as f64 / elapsed / 1e6,
                statistics.message_bytes as f64 * 8.0 / elapsed / 1e9,
                statistics.datagrams,
                statistics.group_repairs,
                statistics.single_repairs,
                statistics.naks,
                statistics.round_trip.as_micros(),
                closing.complete,
                hosts.len(),
            );
            println!("  {threads}");
            for one in receiving {
                println!("  {}", one.join().unwrap());
            }
        });
    }

    /// Returns the share of this time that each thread ran, and that it waited for a processor.
    fn costs(elapsed: Duration) -> String {
        let of_thread = |task: std::fs::DirEntry| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let mut times = times.split_whitespace().filter_map(|time| time.parse::<f64>().ok());
            let mut share = || times.next().map(|time| time / elapsed.as_nanos() as f64 * 100.0);
            let (ran, waited) = (share()?, share()?);
            (ran > 0.5).then(|| format!("{} ran {ran:.0} % waited {waited:.0} %", name.trim()))
        };
        let threads =
            std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| of_thread(task.unwrap()));
        threads.collect::<Vec<_>>().join(", ")
    }

    fn publish(options: &Options, publisher: &Publisher, start: Instant) {
        let mut message = vec![7; options.size.max(8)];
        let until = Instant::now() + Duration::from_secs_f64(options.seconds);
        if let Some(rate) = options.rate {
            let began = Instant::now();
            for number in 0.. {
                let due = began + Duration::from_secs_f64(f64::from(number) / rate);
                if due >= until {
                    return;
                }
                while Instant::now() < due {
                    let left = due.saturating_duration_since(Instant::now());
                    if left > Duration::from_micros(100) {
                        std::thread::sleep(left - Duration::from_micros(100));
                    } else {
                        std::thread::yield_now();
                    }
                }
                message[..8].copy_from_slice(&(start.elapsed().as_nanos() as u64).to_be_bytes());
                publisher.publish(&message).unwrap();
            }
        }
        message[..8].fill(0xff);
        while Instant::now() < until {
            if options.single {
                publisher.publish(&message).unwrap();
            } else {
                publisher.publish_all((0..1024).map(|_| &message[..])).unwrap();
            }
        }
    }

    fn receive(mut subscriber: Subscriber, start: Instant) -> String {
        let (mut messages, mut delays, mut other) = (0_u64, Vec::new(), Vec::new());
        while let Some(item) = subscriber.next_timeout(Duration::from_secs(20)).unwrap() {
            match item {
                Item::Message(message) => {
                    messages += 1;
                    let stamp =
                        message.bytes.first_chunk().map_or(u64::MAX, |stamp| u64::from_be_bytes(*stamp));
                    if stamp != u64::MAX {
                        delays.push((start.elapsed().as_nanos() as u64).saturating_sub(stamp));
                    }
                }
                Item::Event(event) => other.push(event),
            }
        }
        delays.sort_unstable();
        let percentile = |share: f64| {
            let index = (delays.len() as f64 * share) as usize;
            delays.get(index.min(delays.len().saturating_sub(1))).copied().unwrap_or(0) as f64 / 1e3
        };
        let statistics = subscriber.statistics();
        format!(
            "{messages} messages; delays p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us; missed {}, repaired {}, copies {}, beyond {}; {} events",
            percentile(0.5),
            percentile(0.99),
            percentile(0.999),
            statistics.missed,
            statistics.repaired,
            statistics.copies,
            statistics.beyond,
            other.len()
        )
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
    #[cfg(not(target_os = "linux"))]
    println!("labs are made of Linux network namespaces");
}
