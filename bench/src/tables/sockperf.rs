//! Round-trip times of sockperf.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::contestants::{ONE_GROUP, PORT};
use crate::network::{Network, RECEIVER, SENDER};
use crate::run::{Cpu, Pinged, start, wait_until_joined};

/// Runs it once. It measures whole seconds only.
pub(super) fn ping(network: &Network, seconds: f64, spin: bool) -> Result<Pinged> {
    let seconds = seconds.ceil().max(1.0);
    let _server = start(&network.receiver, Cpu::Receiver, &program("server", RECEIVER, spin, &[]))?;
    wait_until_joined(&network.receiver, ONE_GROUP)?;
    let time = seconds.to_string();
    let options = ["--time", &time, "--msg-size", "64", "--full-rtt"];
    let client = start(&network.sender, Cpu::Sender, &program("ping-pong", SENDER, spin, &options))?;
    let text = client.text(Duration::from_secs_f64(seconds + 15.0))?;
    read(&text).with_context(|| format!("reading the output of sockperf:\n{text}"))
}

fn program(role: &str, address: &str, spin: bool, options: &[&str]) -> Vec<OsString> {
    let port = PORT.to_string();
    let mut words = vec!["sockperf", role, "--ip", ONE_GROUP.first, "--port", &port];
    words.extend(["--mc-rx-if", address, "--mc-tx-if", address, "--mc-ttl", "1"]);
    words.extend(options);
    if spin {
        words.push("--nonblocked");
    }
    words.into_iter().map(OsString::from).collect()
}

fn read(text: &str) -> Option<Pinged> {
    let percentile = |part: &str| {
        let line = text.lines().find(|line| line.contains(&format!("percentile {part} =")))?;
        line.rsplit('=').next()?.trim().parse::<f64>().ok()
    };
    let counted = |name: &str| {
        let (_, rest) = text.split_once(name)?;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().ok()
    };
    Some(Pinged {
        count: counted("ReceivedMessages=")?,
        lost: counted("dropped messages = ").unwrap_or(0),
        p50: percentile("50.000")?,
        p90: percentile("90.000")?,
        p99: percentile("99.000")?,
        p999: percentile("99.900")?,
        p9999: None,
        one_way: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_sockperf_is_read() {
        let text = "sockperf: [Valid Duration] RunTime=0.450 sec; SentMessages=33; ReceivedMessages=32\n\
                    sockperf: # dropped messages = 1; # duplicated messages = 0\n\
                    sockperf: ---> percentile 99.900 =  930.100\n\
                    sockperf: ---> percentile 99.000 =   33.250\n\
                    sockperf: ---> percentile 90.000 =    6.700\n\
                    sockperf: ---> percentile 50.000 =    6.300\n";
        let expected = Pinged {
            count: 32,
            lost: 1,
            p50: 6.3,
            p90: 6.7,
            p99: 33.25,
            p999: 930.1,
            p9999: None,
            one_way: None,
        };
        assert_eq!(read(text), Some(expected));
    }
}
