//! Waiting is not supported.

use std::io;
use std::time::Duration;

use super::socket::Socket;
use crate::ready::{Ready, WakeReason};

pub const WAITS_BESIDE: bool = false;

/// An uninhabited type, because creating a poller fails.
#[derive(Debug)]
pub enum Poller {}

impl Poller {
    pub fn new() -> io::Result<Self> {
        super::unsupported()
    }

    pub fn add(&self, _socket: &Socket, _token: usize) -> io::Result<()> {
        match *self {}
    }

    pub fn remove(&self, _socket: &Socket) -> io::Result<()> {
        match *self {}
    }

    pub fn add_watch<T>(&self, _watch: &T) -> io::Result<()> {
        match *self {}
    }

    pub fn wait(&self, _timeout: Option<Duration>) -> io::Result<bool> {
        match *self {}
    }

    pub fn wait_beside(&self, _socket: &Socket, _timeout: Option<Duration>) -> io::Result<WakeReason> {
        match *self {}
    }

    pub fn ready(&self, _limit: usize, _found: &mut Ready) -> io::Result<()> {
        match *self {}
    }

    pub fn wake(&self) -> io::Result<()> {
        match *self {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Poller {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match *self {}
    }
}

pub fn wait_writable(socket: &Socket, _timeout: Option<Duration>) -> io::Result<bool> {
    match *socket {}
}

pub fn wait_readable(socket: &Socket, _timeout: Option<Duration>) -> io::Result<bool> {
    match *socket {}
}
