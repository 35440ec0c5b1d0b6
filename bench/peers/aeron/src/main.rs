//! Messages by Aeron: its C media driver, embedded, and its C client. See ../README.md.

use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rusteron_client::{Aeron, AeronContext, Handlers};
use rusteron_media_driver::testing::EmbeddedDriver;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const STREAM: i32 = 1001;
const TIMEOUT: Duration = Duration::from_secs(20);
const FRAGMENTS: usize = 64;
/// Marks the number of the last message.
const LAST: u64 = 1 << 63;
/// Messages between two looks at the clock.
const UNTIMED: u64 = 64;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let role = words.next().ok_or("publish or subscribe?")?;
    if role == "version" {
        println!("Aeron {}, by rusteron 0.2.16", Aeron::version_text());
        return Ok(());
    }
    let options = Options::read(words)?;
    // The driver reads AERON_* from the environment, such as its threading mode.
    let driver = EmbeddedDriver::launch()?;
    let context = AeronContext::new()?;
    context.set_dir(&std::ffi::CString::new(driver.dir())?)?;
    let aeron = Aeron::new(&context)?;
    aeron.start()?;
    match role.as_str() {
        "publish" => publish(&aeron, &options),
        "subscribe" => subscribe(&aeron, &options),
        other => Err(format!("publish or subscribe, not {other}").into()),
    }
}

struct Options(HashMap<String, String>);

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = HashMap::new();
        while let Some(name) = words.next() {
            options.insert(name.clone(), words.next().ok_or_else(|| format!("{name} what?"))?);
        }
        Ok(Self(options))
    }

    fn text(&self, name: &str) -> Result<&str> {
        Ok(self.0.get(name).ok_or_else(|| format!("{name} is missing"))?)
    }

    fn number(&self, name: &str) -> Result<u64> {
        Ok(self.text(name)?.parse()?)
    }

    fn number_or(&self, name: &str, otherwise: u64) -> Result<u64> {
        self.0.get(name).map_or(Ok(otherwise), |text| Ok(text.parse()?))
    }

    fn seconds(&self, name: &str) -> Result<Duration> {
        Ok(Duration::try_from_secs_f64(self.text(name)?.parse()?)?)
    }

    fn seconds_or(&self, name: &str, otherwise: f64) -> Result<Duration> {
        if self.0.contains_key(name) { self.seconds(name) } else { Ok(Duration::from_secs_f64(otherwise)) }
    }

    /// A multicast channel with flow control by the slowest receiver, for reliable delivery, and windows large enough
    /// for the link.
    fn channel(&self, more: &str) -> Result<std::ffi::CString> {
        let (group, interface) = (self.text("--group")?, self.text("--interface")?);
        Ok(std::ffi::CString::new(format!(
            "aeron:udp?endpoint={group}|interface={interface}|so-rcvbuf=4m|so-sndbuf=4m{more}"
        ))?)
    }
}

fn publish(aeron: &Aeron, options: &Options) -> Result<()> {
    let size = options.number("--size")? as usize;
    let (rate, receivers) = (options.number_or("--rate", 0)?, options.number_or("--receivers", 1)?);
    let length = options.seconds("--seconds")?;
    let channel = options.channel(&format!("|fc=min,g:/{receivers}"))?;
    let publication = aeron.async_add_exclusive_publication(&channel, STREAM)?.poll_blocking(TIMEOUT)?;
    let deadline = Instant::now() + TIMEOUT;
    while !publication.is_connected() {
        if Instant::now() > deadline {
            return Err("no receiver came".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut message = vec![0x5a; size.max(16)];
    let begun = Instant::now();
    let (mut sent, mut ended) = (0, false);
    while !ended {
        let mut time = 0;
        if rate > 0 {
            let due = Duration::from_nanos(sent * 1_000_000_000 / rate);
            while begun.elapsed() < due {
                // The driver's threads may have no other processor.
                std::thread::yield_now();
            }
            ended = due >= length;
            time = Aeron::nano_clock();
        } else if sent % UNTIMED == 0 {
            ended = begun.elapsed() >= length;
        }
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let number = if ended { sent | LAST } else { sent };
            message[..8].copy_from_slice(&number.to_le_bytes());
            message[8..16].copy_from_slice(&time.to_le_bytes());
            match publication.offer(&message) {
                Ok(_) => break,
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    std::thread::yield_now();
                    // Also check the clock while waiting.
                    ended |= rate == 0 && begun.elapsed() >= length;
                }
                Err(error) => return Err(error.into()),
            }
        }
        sent += 1;
    }
    println!("{{\"sent\":{sent},\"seconds\":{:.6}}}", begun.elapsed().as_secs_f64());
    linger(options)
}

/// Waits until standard input is closed, for at most `--linger` seconds, because the driver, which does the repairs,
/// ends with this process.
fn linger(options: &Options) -> Result<()> {
    let (ended, over) = channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(ended);
    });
    let end = Instant::now() + options.seconds_or("--linger", 10.0)?;
    while Instant::now() < end && over.try_recv() == Err(TryRecvError::Empty) {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn subscribe(aeron: &Aeron, options: &Options) -> Result<()> {
    let timeout = options.seconds_or("--timeout", 30.0)?;
    let channel = options.channel("|rcv-wnd=2m")?;
    let subscription =
        aeron.async_add_subscription(&channel, STREAM, Handlers::NONE, Handlers::NONE)?.poll_blocking(TIMEOUT)?;
    eprintln!("ready");
    let (opened, mut first) = (Instant::now(), None::<Instant>);
    let (mut received, mut in_order, mut complete) = (0_u64, true, false);
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    let is_over = |first: Option<Instant>| match first {
        Some(first) => first.elapsed() >= timeout,
        None => opened.elapsed() >= TIMEOUT,
    };
    while !complete && !is_over(first) {
        let fragments = subscription.poll_fn(
            |message, _| {
                let (number, time) = (number(message, 0), number(message, 8));
                in_order &= number & !LAST == received;
                complete |= number & LAST != 0;
                if time != 0 {
                    latency.saturating_record((Aeron::nano_clock() as u64).saturating_sub(time));
                }
                received += 1;
            },
            FRAGMENTS,
        )?;
        if fragments > 0 {
            first.get_or_insert_with(Instant::now);
        } else {
            std::thread::yield_now();
        }
    }
    let seconds = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
    let microseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{{\"received\":{received},\"in_order\":{in_order},\"complete\":{complete},\"seconds\":{seconds:.6},\
         \"latency_us\":{{\"p50\":{:.1},\"p99\":{:.1},\"p999\":{:.1},\"max\":{:.1}}}}}",
        microseconds(0.5),
        microseconds(0.99),
        microseconds(0.999),
        latency.max() as f64 / 1000.0,
    );
    Ok(())
}

fn number(message: &[u8], position: usize) -> u64 {
    message.get(position..position + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}
