//! Connections from the hosts of a lab to a server of the user, which is outside of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mcast_lab::Host;

/// Programs on hosts of a lab reach a server at its own address through it.
#[derive(Clone)]
pub(crate) struct Tunnel {
    server: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether connections are refused.
    is_cut: AtomicBool,
    /// Whether nothing passes.
    is_paused: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Tunnel {
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self { server, state: Arc::default() }
    }

    /// Accepts connections on this host, at the address of the server.
    pub(crate) fn open_on(&self, host: &Host) {
        if !self.server.ip().is_loopback() {
            let length = if self.server.is_ipv4() { 32 } else { 128 };
            let address = format!("{}/{length}", self.server.ip());
            let mut command = host.command("ip").unwrap();
            assert!(command.args(["address", "add", &address, "dev", "lo"]).status().unwrap().success());
        }
        let listener = host.run(|| TcpListener::bind(self.server)).unwrap().unwrap();
        let tunnel = self.clone();
        // This thread and those that it starts are outside of the lab.
        thread::spawn(move || {
            for connection in listener.incoming() {
                tunnel.state.wait_while_paused();
                if !tunnel.state.is_cut.load(Ordering::Acquire)
                    && let Ok(inside) = connection
                    && let Ok(outside) = TcpStream::connect(tunnel.server)
                {
                    tunnel.pass(inside, outside);
                }
            }
        });
    }

    /// Passes bytes in both directions.
    fn pass(&self, inside: TcpStream, outside: TcpStream) {
        self.state.connections.lock().unwrap().push(inside.try_clone().unwrap());
        let directions = [(inside.try_clone().unwrap(), outside.try_clone().unwrap()), (outside, inside)];
        for (mut from, mut to) in directions {
            let state = Arc::clone(&self.state);
            thread::spawn(move || {
                let mut bytes = vec![0; 65_536];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    state.wait_while_paused();
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    /// Ends all connections, and refuses further ones.
    pub(crate) fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Release);
        for connection in self.state.connections.lock().unwrap().drain(..) {
            // It fails if it has ended.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again.
    #[allow(dead_code)]
    pub(crate) fn restore(&self) {
        self.state.is_cut.store(false, Ordering::Release);
    }

    /// Sets whether nothing passes, as with a server that stands still.
    #[allow(dead_code)]
    pub(crate) fn pause(&self, is_paused: bool) {
        self.state.is_paused.store(is_paused, Ordering::Release);
    }
}

impl State {
    fn wait_while_paused(&self) {
        while self.is_paused.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}
