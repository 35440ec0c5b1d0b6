//! A feed like that of an exchange: MoldUDP64 to two groups, A and B, with a server for re-requests.
//!
//! `exchange_feed publish 239.1.2.3%eth0:7000 239.1.2.4%eth1:7000 10.0.0.1:7001` and on another host
//! `exchange_feed receive 239.1.2.3%eth0:7000 239.1.2.4%eth1:7000 10.0.0.1:7001`

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mcast::{Destination, Membership};
use mcast_moldudp64::{ClockTime, MoldConfig, MoldItem, MoldReceiver, MoldSender, SessionName};

type Failure = Box<dyn Error + Send + Sync>;

const SESSION: SessionName = *b"20261120A ";
const DATAGRAM: usize = 1_400;
const HISTORY: usize = 8 << 20;
/// How long the re-request server stays after the end of the session.
const LINGER: Duration = Duration::from_secs(3);

/// Publishes `orders` orders on both feeds and answers re-requests. After the end of the session, it continues to
/// answer for as long as `stays` returns `true`.
pub(crate) fn publish(
    feeds: [Destination; 2],
    server: SocketAddr,
    orders: u64,
    stays: impl Fn(Duration) -> bool,
) -> Result<(), Failure> {
    let feeds = [mcast::Sender::to(feeds[0].clone())?, mcast::Sender::to(feeds[1].clone())?];
    let server = nonblocking(server)?;
    let began = Instant::now();
    let mut sender = MoldSender::new(SESSION, DATAGRAM, HISTORY)?;
    let mut over = None;
    let mut published = 0;
    while over.is_none_or(|over: Instant| stays(over.elapsed())) {
        let now = ClockTime(0) + began.elapsed();
        if published < orders {
            published += 1;
            sender.publish(format!("order {published}").as_bytes())?;
            sender.flush();
        } else if over.is_none() {
            sender.end();
            over = Some(Instant::now());
        }
        while let Some(datagram) = sender.poll_transmit(now) {
            for feed in &feeds {
                feed.send(&datagram)?;
            }
        }
        let mut request = [0; 64];
        while let Some((length, from)) = try_receive(&server, &mut request)? {
            if let Some(reply) = sender.answer(now, &request[..length]) {
                server.send_to(&reply, from)?;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Receives until the session is over; returns the orders, and the number of lost ones.
pub(crate) fn receive(feeds: [Membership; 2], server: SocketAddr) -> Result<(Vec<String>, u64), Failure> {
    let groups = feeds.clone().map(|feed| feed.address);
    let receiver = mcast::Receiver::builder().join_all(feeds).build()?;
    let requests = nonblocking(SocketAddr::new(unspecified(server), 0))?;
    let began = Instant::now();
    let mut machine = MoldReceiver::new(MoldConfig { first: Some(1), ..MoldConfig::default() });
    let (mut orders, mut lost) = (Vec::new(), 0);
    let mut out = |item: MoldItem<'_>| match item {
        MoldItem::Message(_, message) => orders.push(String::from_utf8_lossy(message).into_owned()),
        MoldItem::Lost(first, end) => lost += end - first,
        MoldItem::Session(..) | MoldItem::Silent | MoldItem::Left(_) | MoldItem::Ended(_) => {}
    };
    let mut buffer = vec![0; 65_536];
    loop {
        let now = || ClockTime(0) + began.elapsed();
        // Replies to re-requests arrive on another socket, which is read every millisecond.
        if let Some(datagram) = receiver.recv_timeout(&mut buffer, Duration::from_millis(1))? {
            let path = u8::from(datagram.arrival().group() == Some(groups[1]));
            machine.handle_datagram(now(), path, datagram.payload(), &mut out);
        }
        while let Some((length, from)) = try_receive(&requests, &mut buffer)? {
            if from == server {
                machine.handle_datagram(now(), 2, &buffer[..length], &mut out);
            }
        }
        machine.handle_timeout(now(), &mut out);
        while let Some(request) = machine.poll_transmit(now()) {
            requests.send_to(&request, server)?;
        }
        if machine.has_ended() {
            return Ok((orders, lost));
        }
    }
}

fn nonblocking(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn unspecified(server: SocketAddr) -> std::net::IpAddr {
    match server.is_ipv4() {
        true => std::net::Ipv4Addr::UNSPECIFIED.into(),
        false => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn try_receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>, Failure> {
    match socket.recv_from(buffer) {
        Ok(received) => Ok(Some(received)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        // An ICMP error: a client has gone.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[allow(dead_code, reason = "a test includes this file")]
fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [what, a, b, server] if what == "publish" => {
            publish([a.parse()?, b.parse()?], server.parse()?, 100_000, |over| over < LINGER)
        }
        [what, a, b, server] if what == "receive" => {
            let (orders, lost) = receive([a.parse()?, b.parse()?], server.parse()?)?;
            println!("{} orders, {lost} lost", orders.len());
            Ok(())
        }
        _ => Err("usage: exchange_feed publish|receive GROUP_A GROUP_B SERVER".into()),
    }
}
