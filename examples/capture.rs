//! `cargo run --example capture -- --help`

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use mcast_capture::{Capture, CaptureOptions, CaptureWriter, WriteFormat};

/// Captures multicast on an interface into a file that Wireshark reads. It needs the right to capture: `CAP_NET_RAW`.
#[derive(Parser)]
struct Arguments {
    /// The name of the interface.
    interface: String,
    /// The file: pcapng.
    file: PathBuf,
    /// The number of packets.
    #[arg(long, default_value_t = 10)]
    count: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { interface, file, count } = Arguments::parse();
    let mut capture = Capture::open(CaptureOptions::on_name(interface))?;
    let mut writer = CaptureWriter::create(&file, WriteFormat::PcapNg)?;
    let mut written = 0;
    while written < count {
        let Some(frame) = capture.next(Some(Duration::from_secs(10)))? else { break };
        let packet = frame.packet();
        if packet.ip_layer().is_some_and(|ip| ip.destination.is_multicast()) {
            println!("{packet}");
            writer.write(&frame)?;
            written += 1;
        }
    }
    writer.flush()?;
    println!("{written} packets in {}", file.display());
    Ok(())
}
