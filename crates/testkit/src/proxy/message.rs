//! HTTP/1.1 messages as bytes: just enough to relay them unchanged, and to break them on purpose.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// Longer heads are none.
const MOST_HEAD_BYTES: usize = 1024 * 1024;

/// The first line and the headers. Text is Latin-1, one character per byte, so that nothing is lost.
#[derive(Debug, Clone)]
pub struct Head {
    start: String,
    headers: Vec<(String, String)>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(usize),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Head {
    /// The head of an answer that nobody gave.
    pub fn of_answer(status: u16, headers: &[(String, String)]) -> Self {
        Self {
            start: format!("HTTP/1.1 {status} Of The Test"),
            headers: headers.to_vec(),
        }
    }

    /// Method and target of a request.
    pub fn request(&self) -> io::Result<(&str, &str)> {
        let mut words = self.start.split(' ');
        words.next().zip(words.next()).ok_or_else(malformed)
    }

    /// Status of an answer.
    pub fn status(&self) -> io::Result<u16> {
        let word = self.start.split(' ').nth(1);
        word.and_then(|word| word.parse().ok())
            .ok_or_else(malformed)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Every value.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.headers.iter_mut().map(|(_, value)| value)
    }

    /// Sets a header, in its place if it is there.
    pub fn set(&mut self, name: &str, value: String) {
        let found = self
            .headers
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match found {
            Some((_, known)) => *known = value,
            None => self.headers.push((name.to_owned(), value)),
        }
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Whether the connection ends after this message.
    pub fn is_last(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.to_ascii_lowercase().contains("close"))
            || self.start.starts_with("HTTP/1.0 ")
            || self.start.ends_with(" HTTP/1.0")
    }

    /// Where the body of this request ends.
    pub fn request_framing(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::Length(0)))
    }

    /// Where the body of this answer ends.
    pub fn answer_framing(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || matches!(self.status()?, 100..=199 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        Ok(self.framing()?.unwrap_or(Framing::UntilClose))
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        if let Some(coding) = self.header("transfer-encoding") {
            let is_chunked = coding.eq_ignore_ascii_case("chunked");
            return is_chunked
                .then_some(Some(Framing::Chunked))
                .ok_or_else(malformed);
        }
        let length = self.header("content-length");
        length
            .map(|text| text.parse().map(Framing::Length))
            .transpose()
            .map_err(|_| malformed())
    }

    /// As it goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.chars()
            .map(|letter| u8::try_from(letter).unwrap_or(b'?'))
            .collect()
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP/1.1")
}

/// Reads a line without its end; nothing at the end of the connection.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut limited = stream.take(MOST_HEAD_BYTES as u64);
    limited.read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line.into_iter().map(char::from).collect()))
}

/// Reads a line that must be there.
async fn expect_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let line = read_line(stream).await?;
    line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Reads the head of a message; nothing when the connection ends before its first byte.
pub async fn read_head(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Head>> {
    let Some(start) = read_line(stream).await? else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    let mut size = start.len();
    loop {
        let line = expect_line(stream).await?;
        if line.is_empty() {
            return Ok(Some(Head { start, headers }));
        }
        size += line.len();
        if size > MOST_HEAD_BYTES {
            return Err(malformed());
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads a body, at most so many bytes of it.
pub async fn read_body(
    stream: &mut (impl AsyncBufRead + Unpin),
    framing: Framing,
    most: usize,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => {
            body.resize(length.min(most), 0);
            stream.read_exact(&mut body).await?;
        }
        Framing::UntilClose => {
            let mut limited = stream.take(most as u64);
            limited.read_to_end(&mut body).await?;
        }
        Framing::Chunked => read_chunks(stream, &mut body, most).await?,
    }
    Ok(body)
}

async fn read_chunks(
    stream: &mut (impl AsyncBufRead + Unpin),
    body: &mut Vec<u8>,
    most: usize,
) -> io::Result<()> {
    while body.len() < most {
        let line = expect_line(stream).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed())?;
        if size == 0 {
            // Trailers, of which nobody here makes use.
            while !expect_line(stream).await?.is_empty() {}
            return Ok(());
        }
        let wanted = size.min(most - body.len());
        let start = body.len();
        body.resize(start + wanted, 0);
        stream.read_exact(&mut body[start..]).await?;
        if wanted == size {
            expect_line(stream).await?;
        }
    }
    Ok(())
}

/// A body as it goes over the wire; without its end when it is to stay unfinished.
pub fn frame(body: Vec<u8>, framing: Framing, is_finished: bool) -> Vec<u8> {
    if framing != Framing::Chunked {
        return body;
    }
    let mut framed = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(64 * 1024) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    if is_finished {
        framed.extend_from_slice(b"0\r\n\r\n");
    }
    framed
}
