//! Measures how fast messages are appended and read: `append_rate DIRECTORY [MESSAGES] [SIZE] [BATCH]`.

use std::error::Error;
use std::time::{Duration, Instant};

use mcast_log::{LogItem, LogOptions, LogReader, LogTime, SyncPolicy, Writer};
use mcast_stream_proto::history::HistoryContent;
use mcast_stream_proto::seal::Keys;
use mcast_stream_proto::wire::{Incarnation, StreamId};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: append_rate DIRECTORY [MESSAGES] [SIZE] [BATCH]")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (messages, size, batch) = (number(1_000_000)?, number(1_024)?, number(1_024)?.max(1));
    let payload = vec![0x5a; size];
    let batch = vec![HistoryContent::Message { key: None, bytes: &payload[..] }; batch];
    let policies = [
        ("none", SyncPolicy::None),
        ("interval of 10 ms", SyncPolicy::Interval(Duration::from_millis(10))),
        ("each batch", SyncPolicy::Each),
    ];
    for (name, sync) in policies {
        let path = std::path::Path::new(&directory).join(name.replace(' ', "-"));
        let options = LogOptions { sync, ..LogOptions::default() };
        let (mut writer, _) = Writer::open(&path, StreamId(1), "rate", Incarnation(1), options)?;
        let started = Instant::now();
        for _ in 0..messages.div_ceil(batch.len()) {
            writer.append(LogTime::now(), &batch)?;
        }
        let appended = started.elapsed();
        writer.sync()?;
        let synced = started.elapsed();
        drop(writer);
        let started = Instant::now();
        let mut reader = LogReader::open(&path, Keys::none())?;
        let mut bytes = 0;
        while let Some(item) = reader.next()? {
            if let LogItem::Record(record) = item
                && let HistoryContent::Message { bytes: message, .. } = record.record.content
            {
                bytes += message.len();
            }
        }
        let rate = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
        println!(
            "sync {name}: appended at {:.0} MB/s, durable at {:.0} MB/s, read at {:.0} MB/s",
            rate(appended),
            rate(synced),
            rate(started.elapsed())
        );
        std::fs::remove_dir_all(&path)?;
    }
    Ok(())
}
