//! `std::net::UdpSocket`.

use std::convert::Infallible;

use anyhow::Result;

use super::sampler::{self, Tally};
use super::sockets::{self, Options};
use super::work::Work;

pub(super) fn receive(work: &Work, options: Options) -> Result<Infallible> {
    let socket = sockets::receiving(work, options)?;
    let mut buffer = vec![0; 65_536];
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        tally.consume(&buffer[..length]);
        tally.publish();
    }
}

pub(super) fn send(work: &Work) -> Result<Infallible> {
    let socket = sockets::sending(work)?;
    let (payload, to) = (vec![0; work.size], work.first());
    let mut tally = Tally::default();
    sampler::start(work);
    loop {
        socket.send_to(&payload, to)?;
        tally.sent(1, work.size);
        tally.publish();
    }
}
