//! quinn-udp: the socket layer of a QUIC implementation, with GSO and GRO.

use std::convert::Infallible;
use std::io::{self, IoSliceMut};

use anyhow::Result;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

use super::blocking::wait_readable;
use super::sampler::{self, Tally};
use super::sockets::{self, Options};
use super::work::Work;

/// Maximum payload over IPv4.
const MAX_BYTES: usize = 65_507;

pub(super) fn receive(work: &Work) -> Result<Infallible> {
    let socket = sockets::receiving(work, Options::AsWritten)?;
    let state = UdpSocketState::new((&socket).into())?;
    let mut memory = vec![0; BATCH_SIZE * 65_536];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        let mut slices: Vec<_> = memory.chunks_mut(65_536).map(IoSliceMut::new).collect();
        let count = match state.recv((&socket).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_readable(&socket)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            slice[..meta.len].chunks(meta.stride.max(1)).for_each(|datagram| tally.consume(datagram));
        }
        tally.publish();
    }
}

pub(super) fn send(work: &Work) -> Result<Infallible> {
    let socket = sockets::sending(work)?;
    let state = UdpSocketState::new((&socket).into())?;
    let segments = state.max_gso_segments().min(MAX_BYTES / work.size.max(1)).max(1);
    let contents = vec![0; segments * work.size];
    let transmit = Transmit {
        destination: work.first(),
        ecn: None,
        contents: &contents,
        segment_size: Some(work.size),
        src_ip: None,
    };
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        match state.try_send((&socket).into(), &transmit) {
            Ok(()) => tally.sent(segments, work.size),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        tally.publish();
    }
}
