//! Ping-pong with one receiver.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{Family, Outgoing, Sender};
use mcast_measure::wire::UnixNanos;
use mcast_measure::{ClockTime, PingPong};

use super::BUFFER;
use crate::Result;

/// Receive attempts between two checks of the clock.
const ATTEMPTS: u32 = 16;
/// The longest wait before checking whether to continue.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// Plays a [`PingPong`] with the first receiver that answers (a [`Listener`](crate::Listener) that replies).
#[derive(Debug)]
pub struct PingPongPlayer<'a> {
    game: PingPong,
    sender: &'a Sender,
    target: Outgoing<'static>,
    family: Family,
    is_spinning: bool,
    start: Instant,
    buffer: Vec<u8>,
}

impl<'a> PingPongPlayer<'a> {
    /// Creates a player. Pings are sent to the target, whose payload is ignored and whose group is of this family. With
    /// `is_spinning`, the player polls for each pong instead of waiting: shorter delays, but a whole processor.
    #[must_use]
    pub fn new(
        game: PingPong,
        sender: &'a Sender,
        target: Outgoing<'static>,
        family: Family,
        is_spinning: bool,
    ) -> Self {
        let (start, buffer) = (Instant::now(), vec![0; BUFFER]);
        Self { game, sender, target, family, is_spinning, start, buffer }
    }

    /// Opens the session, and calls until a partner answers, there is none, or `keep_going` returns `false`. Returns the
    /// partner.
    ///
    /// # Errors
    /// If the system cannot send or receive.
    pub fn call(&mut self, keep_going: impl Fn() -> bool) -> Result<Option<IpAddr>> {
        self.play_while(|game| keep_going() && game.partner().is_none())?;
        Ok(self.game.partner())
    }

    /// Plays to the end, or until `keep_going` returns `false`, and closes the session.
    ///
    /// # Errors
    /// If the system cannot send or receive.
    pub fn play(mut self, keep_going: impl Fn() -> bool) -> Result<PingPong> {
        self.play_while(|_| keep_going())?;
        self.game.close(self.now());
        self.play_while(|_| true)?;
        Ok(self.game)
    }

    fn play_while(&mut self, keep_going: impl Fn(&PingPong) -> bool) -> Result<()> {
        while keep_going(&self.game) {
            let now = self.now();
            if let Some(message) = self.game.poll_transmit(now, UnixNanos::now()) {
                self.sender.send_one(&self.target.with_payload(message))?;
            }
            let Some(next) = self.game.poll_timeout() else { return Ok(()) };
            self.receive(next.since(now).into())?;
        }
        Ok(())
    }

    /// Waits for an answer, at most for this time.
    fn receive(&mut self, time: Duration) -> Result<()> {
        // A spinning player checks the clock only now and then.
        let (attempts, wait) =
            if self.is_spinning { (ATTEMPTS, Duration::ZERO) } else { (1, time.min(MAX_WAIT)) };
        for _ in 0..attempts {
            if let Some(answer) = self.sender.recv_answer(self.family, &mut self.buffer, wait)? {
                let now = ClockTime(0) + self.start.elapsed();
                self.game.handle_datagram(now, answer.payload, answer.source);
                return Ok(());
            }
        }
        Ok(())
    }

    fn now(&self) -> ClockTime {
        ClockTime(0) + self.start.elapsed()
    }
}
