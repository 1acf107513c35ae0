//! Which requests go wrong, and how.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Calls, Random};

/// An answer that the server never gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers besides the length.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body of this type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self.header("Content-Type", content_type)
        }
    }

    /// 429 with a `Retry-After`.
    pub fn too_many_requests(retry_after_seconds: u32) -> Self {
        Self::new(429).header("Retry-After", &retry_after_seconds.to_string())
    }

    /// 200 with a page of HTML, as a captive portal or a wrong address gives.
    pub fn captive_portal() -> Self {
        let page = "<!DOCTYPE html><html><body><h1>Welcome</h1><p>Please log in.</p></body></html>";
        Self::new(200).body("text/html; charset=utf-8", page)
    }
}

/// What happens to a request that a fault applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It waits first, and then goes its way.
    Delay(Duration),
    /// It is read whole; the connection closes without an answer. The server sees nothing.
    Close,
    /// It is read whole; the connection is reset. The server sees nothing.
    Reset,
    /// It is read whole and never answered. The server sees nothing.
    Hang,
    /// The server gets so many bytes of the body, at most all but the last, and then a closed connection, as the
    /// client gets a reset one. A request without a body does not reach the server.
    CutRequest(usize),
    /// So many bytes of the body are read, and then no more, for ever. The server sees nothing.
    StallRequest(usize),
    /// This is answered. The server sees nothing.
    Answer(Answer),
    /// The server acts and answers; the connection closes before the client sees any of it.
    LoseAcknowledgement,
    /// The server acts; the client gets so many bytes of status line and headers, at most all but the last, then
    /// the connection closes.
    CutHead(usize),
    /// The server acts; the client gets the headers and so many bytes of the body, at most all but the last, then
    /// the connection closes. An answer without a body loses the last byte of its headers.
    CutBody(usize),
    /// As `CutBody`, but nothing closes and nothing more comes.
    StallBody(usize),
    /// The promised length is so much larger than the body, after which the connection closes.
    PromiseMore(usize),
    /// The promised length is so much smaller than the body, which comes whole, after which the connection closes.
    PromiseLess(usize),
    /// So many bytes at the end of the body are gone, and the promised length agrees.
    Shorten(usize),
    /// The body is followed by so many bytes more, and the promised length agrees.
    Lengthen(usize),
    /// The byte at this place of the body (modulo its length) is inverted.
    FlipByte(usize),
    /// The `Date` of the answer is later by so many seconds.
    ShiftDate(i64),
    /// The answer comes byte by byte, with such a pause between two.
    Drip(Duration),
}

/// A fault: which requests, and what happens to them.
#[derive(Debug, Clone)]
pub struct Fault {
    effect: Effect,
    method: Option<String>,
    path: Option<String>,
    calls: Calls,
    probability: Option<(f64, u64)>,
}

impl Fault {
    /// A fault of every request; narrow it with the other methods.
    pub fn new(effect: Effect) -> Self {
        Self {
            effect,
            method: None,
            path: None,
            calls: Calls::All,
            probability: None,
        }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path with query is like the pattern, where `*` stands for any text: `*/data/*`.
    #[must_use]
    pub fn path(mut self, pattern: &str) -> Self {
        self.path = Some(pattern.to_owned());
        self
    }

    /// Only these among the matching requests.
    #[must_use]
    pub fn at(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// Only this part (0 to 1) of the matching requests; the seed and the request's number decide which.
    #[must_use]
    pub fn probability(mut self, part: f64, seed: u64) -> Self {
        self.probability = Some((part, seed));
        self
    }

    fn is_about(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|own| own == method)
            && self.path.as_deref().is_none_or(|own| is_like(own, target))
    }

    fn strikes(&self, number: usize) -> bool {
        self.calls.include(number)
            && self.probability.is_none_or(|(part, seed)| {
                let mut random = Random::new(seed.wrapping_add(number as u64));
                let drawn = u32::try_from(random.next_u64() >> 32).unwrap_or(0);
                f64::from(drawn) < part * (f64::from(u32::MAX) + 1.0)
            })
    }
}

/// Whether the text is what the pattern says, where `*` stands for any text.
pub fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts: Vec<&str> = pattern.split('*').collect();
    let Some(mut rest) = text.strip_prefix(parts.remove(0)) else {
        return false;
    };
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Counts how often a fault struck.
#[derive(Debug, Clone, Default)]
pub struct Injected(Arc<AtomicUsize>);

impl Injected {
    /// How many requests it happened to so far.
    pub fn hits(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// All faults of a proxy.
#[derive(Debug, Default)]
pub struct Script(Mutex<Vec<(Fault, usize, Injected)>>);

impl Script {
    pub fn inject(&self, fault: Fault) -> Injected {
        let injected = Injected::default();
        self.0.lock().push((fault, 0, injected.clone()));
        injected
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// How long this request waits and what else happens to it: of several effects, the first one injected.
    pub fn apply(&self, method: &str, target: &str) -> (Duration, Option<Effect>) {
        let mut wait = Duration::ZERO;
        let mut effect = None;
        for (fault, seen, injected) in &mut *self.0.lock() {
            if !fault.is_about(method, target) {
                continue;
            }
            *seen += 1;
            if !fault.strikes(*seen) {
                continue;
            }
            match &fault.effect {
                Effect::Delay(time) => wait += *time,
                _ if effect.is_some() => continue,
                other => effect = Some(other.clone()),
            }
            injected.0.fetch_add(1, Ordering::SeqCst);
        }
        (wait, effect)
    }
}
