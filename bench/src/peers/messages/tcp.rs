//! TCP: a connection to each subscriber; everything is written to each.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::publish::linger;
use super::source::Source;
use super::tally::Tally;
use super::{TIMEOUT, Work};

const BUFFER: usize = 256 << 10;
const PAUSE: Duration = Duration::from_millis(2);
/// How often to check the time.
const WAIT: Duration = Duration::from_millis(50);

/// Accepts the connections, and writes everything to each in turn: the slowest determines the pace. If messages are
/// acknowledged, it reads a byte from each before the next message.
pub(super) fn publish(work: &Work, acknowledged: bool) -> Result<()> {
    let listener = TcpListener::bind((work.interface, work.group.port()))?;
    let mut connections = accept(&listener, work.receivers)?;
    let mut source = Source::begin(work);
    loop {
        let messages = if acknowledged { source.next() } else { source.next_many() };
        let Some(messages) = messages else { break };
        for connection in &mut connections {
            connection.write_all(messages)?;
        }
        if acknowledged {
            for connection in &mut connections {
                connection.read_exact(&mut [0])?;
            }
            source.note_acknowledged();
        }
    }
    println!("{}", source.report());
    linger(work);
    Ok(())
}

fn accept(listener: &TcpListener, count: usize) -> Result<Vec<TcpStream>> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut connections = Vec::new();
    while connections.len() < count {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                connection.set_nodelay(true)?;
                connections.push(connection);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ensure!(Instant::now() < deadline, "fewer than {count} subscribers connected");
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(connections)
}

/// Connects when the publisher has started, and reads until the last message, or until the time is over.
pub(super) fn subscribe(work: &Work, acknowledges: bool) -> Result<()> {
    let publisher = work.publisher.context("--publisher is required")?;
    eprintln!("ready");
    let mut connection = connect(SocketAddr::new(publisher, work.group.port()))?;
    connection.set_read_timeout(Some(WAIT))?;
    connection.set_nodelay(true)?;
    let mut tally = Tally::new(work);
    let (mut buffer, mut filled) = (vec![0; BUFFER.max(work.size)], 0);
    'reading: while !tally.is_over() {
        match connection.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut messages = buffer[..filled].chunks_exact(work.size);
        for message in messages.by_ref() {
            let continues = tally.take(message);
            if acknowledges {
                connection.write_all(&[0])?;
            }
            if !continues {
                break 'reading;
            }
        }
        let rest = messages.remainder().len();
        buffer.copy_within(filled - rest..filled, 0);
        filled = rest;
    }
    println!("{}", tally.report());
    Ok(())
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match TcpStream::connect_timeout(&to, TIMEOUT) {
            Ok(connection) => return Ok(connection),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error).with_context(|| format!("connecting to {to}")),
        }
    }
}
