//! The rate and the loss of a stream over time: each second of the last minute, and each ten seconds of the last hour.

use std::collections::VecDeque;
use std::fmt::Write;

/// Seconds that are kept one by one.
const SECONDS: usize = 60;
/// Seconds of a longer span, and how many of these are kept.
const SPAN: u32 = 10;
const SPANS: usize = 360;

/// One second, or a span.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moment {
    /// Payload bits per second.
    pub(super) bits: f32,
    /// Missing datagrams, in percent; 0 if loss is not known.
    pub(super) loss: f32,
}

/// What is kept of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Trends {
    seconds: VecDeque<Moment>,
    spans: VecDeque<Moment>,
    /// The sum of the span that has begun, and its seconds.
    begun: Moment,
    length: u32,
}

impl Trends {
    /// Adds a second.
    pub(super) fn push(&mut self, moment: Moment) {
        push(&mut self.seconds, moment, SECONDS);
        self.begun.bits += moment.bits;
        self.begun.loss += moment.loss;
        self.length += 1;
        if self.length == SPAN {
            let Moment { bits, loss } = std::mem::take(&mut self.begun);
            push(&mut self.spans, Moment { bits: bits / SPAN as f32, loss: loss / SPAN as f32 }, SPANS);
            self.length = 0;
        }
    }

    /// Writes the last minute as `[[bits…],[percent…]]`.
    pub(super) fn write_minute(&self, out: &mut String) {
        write_moments(&self.seconds, out);
    }

    /// Writes the last hour, likewise.
    pub(super) fn write_hour(&self, out: &mut String) {
        write_moments(&self.spans, out);
    }
}

fn push(moments: &mut VecDeque<Moment>, moment: Moment, most: usize) {
    if moments.len() == most {
        moments.pop_front();
    }
    moments.push_back(moment);
}

fn write_moments(moments: &VecDeque<Moment>, out: &mut String) {
    let list = |out: &mut String, value: &dyn Fn(&Moment) -> f32, digits: usize| {
        out.push('[');
        for (number, moment) in moments.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            // Writing to a string does not fail. Most losses are none.
            let _ = match value(moment) {
                0.0 => write!(out, "{comma}0"),
                value => write!(out, "{comma}{value:.digits$}"),
            };
        }
        out.push(']');
    };
    out.push('[');
    list(out, &|moment| moment.bits, 0);
    out.push(',');
    list(out, &|moment| moment.loss, 2);
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_and_an_hour_are_kept() {
        let mut trends = Trends::default();
        for second in 0..5_000_u16 {
            trends.push(Moment { bits: f32::from(second), loss: if second == 4_999 { 1.25 } else { 0.0 } });
        }
        let read = |write: fn(&Trends, &mut String)| -> [Vec<f32>; 2] {
            let mut text = String::new();
            write(&trends, &mut text);
            serde_json::from_str(&text).unwrap()
        };
        let [bits, loss] = read(Trends::write_minute);
        assert_eq!((bits.len(), bits[0], bits[59], loss[58], loss[59]), (60, 4_940.0, 4_999.0, 0.0, 1.25));
        let [bits, loss] = read(Trends::write_hour);
        assert_eq!((bits.len(), loss[358]), (360, 0.0));
        // The mean is halfway between two whole numbers, which is what is written.
        assert!((bits[359] - 4_994.5).abs() <= 0.5, "{}", bits[359]);
        assert!((loss[359] - 0.125).abs() < 0.01);
    }
}
