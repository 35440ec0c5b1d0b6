//! Waiting with a precision of microseconds.

use std::thread;
use std::time::Duration;

/// How much longer than requested a sleep may last; this part of a wait is spent spinning.
const SLEEP_ERROR: Duration =
    if cfg!(windows) { Duration::from_millis(2) } else { Duration::from_micros(150) };

/// Waits for a part of `time`: sleeps for as long as a sleep is precise enough, or spins for a moment. A caller
/// that repeats this until a moment is reached waits with a precision of microseconds.
pub fn pause(time: Duration) {
    if time > SLEEP_ERROR {
        thread::sleep(time - SLEEP_ERROR);
    } else {
        std::hint::spin_loop();
    }
}
