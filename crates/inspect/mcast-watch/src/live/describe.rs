//! Fetches the descriptions of devices.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::discovery::{DescriptionError, DescriptionRequest, Discovered, DiscoveredField};

/// How long a device may take to describe itself, from the connection to the last byte. Small devices need a second or two.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fetches the description of a device of UPnP or WS-Discovery: its name, manufacturer, model and so on. It is fetched by HTTP, without redirections, only
/// from the address that announced it, in at most 5 s and 128 KiB.
///
/// # Errors
/// [`DescribeError::Description`] if it may not be fetched or cannot be read; [`DescribeError::Connection`].
pub fn describe(entry: &Discovered) -> Result<Vec<DiscoveredField>, DescribeError> {
    let request = DescriptionRequest::new(entry)?;
    let deadline = Instant::now() + PATIENCE;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&request.address, PATIENCE)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(&request.payload)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    // One byte more than is read shows that it is too long.
    while answer.len() <= DescriptionRequest::MAX_LENGTH {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(request.read(&answer)?)
}

/// Adds the descriptions of devices to their fields, which are fetched from all at the same time ([`describe`]). Returns why others are not known.
pub fn add_descriptions(entries: &mut [Discovered]) -> Vec<DescribeError> {
    /// As many devices are asked; any host can announce more.
    const MAX: usize = 64;
    let mut devices: Vec<_> =
        entries.iter_mut().filter(|entry| DescriptionRequest::is_offered(entry)).collect();
    let unasked = devices.split_off(devices.len().min(MAX)).into_iter().map(|_| Err(DescribeError::TooMany));
    let asked = thread::scope(|scope| {
        let asking = devices
            .into_iter()
            .map(|entry| scope.spawn(|| describe(entry).map(|described| entry.fields.extend(described))));
        let asking: Vec<_> = asking.collect();
        asking.into_iter().filter_map(|asked| asked.join().ok()).collect::<Vec<_>>()
    });
    asked.into_iter().chain(unasked).filter_map(Result::err).collect()
}

/// Why a description was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// It may not be fetched, or cannot be read.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// Other devices were asked.
    #[error("there are more devices than are asked")]
    TooMany,
    /// The device could not be reached in time.
    #[error("cannot fetch the description: {0}")]
    Connection(#[from] io::Error),
}
