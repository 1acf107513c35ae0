//! The bytes of an answer, right or wrong.

use std::io;
use std::time::Duration;

use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};
use jiff::{SignedDuration, Timestamp};

use crate::proxy::End;
use crate::proxy::fault::{Answer, Effect};
use crate::proxy::message::{Framing, Head, frame};

/// What the client gets.
#[derive(Debug)]
pub struct Wire {
    pub bytes: Vec<u8>,
    /// The status, if enough of the answer is there to tell it.
    pub status: Option<u16>,
    /// Between two bytes.
    pub pause: Option<Duration>,
    pub end: End,
}

/// An answer that the server never gave.
pub fn invented(answer: &Answer, method: &str) -> Wire {
    let mut head = Head::of_answer(answer.status, &answer.headers);
    if answer.status != 204 {
        head.set("Content-Length", answer.body.len().to_string());
    }
    let mut bytes = head.to_bytes();
    if method != "HEAD" {
        bytes.extend_from_slice(&answer.body);
    }
    Wire {
        bytes,
        status: Some(answer.status),
        pause: None,
        end: End::Keep,
    }
}

/// The server's answer.
#[derive(Debug)]
pub struct Relayed {
    pub head: Head,
    pub framing: Framing,
    pub body: Vec<u8>,
}

impl Relayed {
    /// Puts another address wherever the server names its own.
    pub fn rewrite(&mut self, from: &str, to: &str) {
        for value in self.head.values_mut() {
            *value = value.replace(from, to);
        }
        // Objects are binary, messages are text.
        if let Ok(text) = std::str::from_utf8(&self.body)
            && text.contains(from)
        {
            self.body = text.replace(from, to).into_bytes();
            self.promise(self.body.len());
        }
    }

    /// What is left of it after the effect.
    pub fn spoiled(mut self, effect: Option<&Effect>) -> io::Result<Wire> {
        let length = self.body.len();
        match effect {
            Some(Effect::CutHead(most)) => return self.in_head(*most, End::Cut),
            Some(Effect::CutBody(most)) => return self.in_body(*most, End::Cut),
            Some(Effect::StallBody(most)) => return self.in_body(*most, End::Hold),
            Some(Effect::ShiftDate(seconds)) => shift_date(&mut self.head, *seconds),
            Some(Effect::Drip(pause)) => {
                let pause = Some(*pause);
                return Ok(Wire {
                    pause,
                    ..self.whole()?
                });
            }
            // The rest is about bodies.
            _ if length == 0 => {}
            Some(Effect::PromiseMore(more)) => {
                self.promise(length + more);
                return self.wire(false, End::Cut);
            }
            Some(Effect::PromiseLess(less)) => {
                self.promise(length.saturating_sub(*less));
                return self.wire(true, End::Close);
            }
            Some(Effect::Shorten(less)) => {
                self.body.truncate(length.saturating_sub(*less));
                self.promise(self.body.len());
            }
            Some(Effect::Lengthen(more)) => {
                self.body.resize(length + more, b'+');
                self.promise(self.body.len());
            }
            Some(Effect::FlipByte(at)) => self.body[at % length] ^= 0xff,
            _ => {}
        }
        self.whole()
    }

    fn whole(self) -> io::Result<Wire> {
        let is_last = self.framing == Framing::UntilClose || self.head.is_last();
        self.wire(true, if is_last { End::Close } else { End::Keep })
    }

    fn wire(self, is_finished: bool, end: End) -> io::Result<Wire> {
        let status = Some(self.head.status()?);
        let body = frame(self.body, self.framing, is_finished);
        Ok(Wire {
            bytes: [self.head.to_bytes(), body].concat(),
            status,
            pause: None,
            end,
        })
    }

    /// Breaks off in the headers.
    fn in_head(self, most: usize, end: End) -> io::Result<Wire> {
        let mut bytes = self.head.to_bytes();
        bytes.truncate(most.min(bytes.len() - 1));
        // The status line ends with the first line feed.
        let status = bytes
            .contains(&b'\n')
            .then(|| self.head.status())
            .transpose()?;
        Ok(Wire {
            bytes,
            status,
            pause: None,
            end,
        })
    }

    /// Breaks off in the body, or at the end of the headers where there is none.
    fn in_body(mut self, most: usize, end: End) -> io::Result<Wire> {
        if self.body.is_empty() {
            return self.in_head(usize::MAX, end);
        }
        self.body.truncate(most.min(self.body.len() - 1));
        self.wire(false, end)
    }

    /// Chunks need no promise.
    fn promise(&mut self, length: usize) {
        if matches!(self.framing, Framing::Length(_)) {
            self.head.set("Content-Length", length.to_string());
        }
    }
}

/// An answer without a date gets one.
fn shift_date(head: &mut Head, seconds: i64) {
    let said = head
        .header("date")
        .and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
    let time = said.unwrap_or_else(Timestamp::now) + SignedDuration::from_secs(seconds);
    let text = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .unwrap();
    head.set("Date", text);
}
