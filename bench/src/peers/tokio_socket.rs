//! `tokio::net::UdpSocket`, on one thread.

use std::convert::Infallible;
use std::net::UdpSocket;

use anyhow::Result;

use super::blocking::block_on;
use super::sampler::{self, Tally};
use super::sockets::{self, Options};
use super::work::Work;

pub(super) fn receive(work: &Work) -> Result<Infallible> {
    let socket = sockets::receiving(work, Options::AsWritten)?;
    block_on(async {
        let socket = adopt(socket)?;
        let mut buffer = vec![0; 65_536];
        let mut tally = Tally::default();
        sampler::start(work);
        loop {
            let (length, _) = socket.recv_from(&mut buffer).await?;
            tally.consume(&buffer[..length]);
            tally.publish();
        }
    })
}

pub(super) fn send(work: &Work) -> Result<Infallible> {
    let socket = sockets::sending(work)?;
    block_on(async {
        let socket = adopt(socket)?;
        let (payload, to) = (vec![0; work.size], work.first());
        let mut tally = Tally::default();
        sampler::start(work);
        loop {
            socket.send_to(&payload, to).await?;
            tally.sent(1, work.size);
            tally.publish();
        }
    })
}

fn adopt(socket: UdpSocket) -> Result<tokio::net::UdpSocket> {
    socket.set_nonblocking(true)?;
    Ok(tokio::net::UdpSocket::from_std(socket)?)
}
