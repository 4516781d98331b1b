//! The cheapest HTTP/1.1 client that is still one: requests are bytes made beforehand, of responses
//! the status and the framing are read, and contents are counted and thrown away.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection, with what was read and not yet taken.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    framing: Framing,
    close: bool,
}

/// What is left of the content under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunk(u64),
    NextChunk,
    UntilClose,
    Done,
}

/// One exchange, over.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Bytes of content that came.
    pub bytes: u64,
    /// Whether the server closes the connection after this.
    pub close: bool,
}

impl Connection {
    /// A new connection.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let buffer = vec![0; 16 << 10];
        Ok(Self { stream, buffer, start: 0, end: 0, framing: Framing::Done, close: false })
    }

    /// Takes contents in larger pieces.
    pub fn widen(&mut self, bytes: usize) {
        self.buffer.resize(bytes, 0);
    }

    /// Sends a request and takes the whole answer.
    pub async fn ask(&mut self, request: &[u8], bodiless: bool) -> Result<Answer> {
        self.send(request).await?;
        self.answer(bodiless).await
    }

    /// Takes the whole answer to a request that was sent.
    pub async fn answer(&mut self, bodiless: bool) -> Result<Answer> {
        let status = self.head(bodiless).await?;
        let mut bytes = 0;
        while let Some(piece) = self.piece().await? {
            bytes += piece as u64;
        }
        Ok(Answer { status, bytes, close: self.close })
    }

    /// Sends a request.
    pub async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await
    }

    /// Reads up to the end of a final response's head; its status.
    pub async fn head(&mut self, bodiless: bool) -> Result<u16> {
        loop {
            let length = self.head_length().await?;
            let head = self.buffer.get(self.start..self.start + length).unwrap_or_default();
            let (status, framing, close) = read(head)?;
            self.start += length;
            if status < 200 {
                continue;
            }
            self.close = close;
            self.framing =
                if bodiless || matches!(status, 204 | 304) { Framing::Done } else { framing };
            if self.framing == Framing::UntilClose {
                self.close = true;
            }
            return Ok(status);
        }
    }

    /// Reads a piece of the content and throws it away; its size, or nothing at the end.
    pub async fn piece(&mut self) -> Result<Option<usize>> {
        loop {
            match self.framing {
                Framing::Done | Framing::Length(0) => {
                    self.framing = Framing::Done;
                    return Ok(None);
                }
                Framing::Chunk(0) => {
                    self.line().await?;
                    self.framing = Framing::NextChunk;
                }
                Framing::NextChunk => self.next_chunk().await?,
                Framing::Length(left) => {
                    let piece = self.take(left).await?;
                    self.framing = Framing::Length(left - piece as u64);
                    return Ok(Some(piece));
                }
                Framing::Chunk(left) => {
                    let piece = self.take(left).await?;
                    self.framing = Framing::Chunk(left - piece as u64);
                    return Ok(Some(piece));
                }
                Framing::UntilClose => {
                    return match self.take(u64::MAX).await {
                        Ok(piece) => Ok(Some(piece)),
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
                        Err(error) => Err(error),
                    };
                }
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<()> {
        let line = self.line().await?;
        let digits =
            line.split(|byte| matches!(byte, b';' | b'\r' | b' ')).next().unwrap_or_default();
        let size =
            std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        self.framing = Framing::Chunk(size.ok_or(ErrorKind::InvalidData)?);
        if size == Some(0) {
            while self.line().await?.len() > 2 {}
            self.framing = Framing::Done;
        }
        Ok(())
    }

    async fn take(&mut self, most: u64) -> Result<usize> {
        if self.start == self.end {
            self.fill().await?;
        }
        let piece = (self.end - self.start).min(usize::try_from(most).unwrap_or(usize::MAX));
        self.start += piece;
        Ok(piece)
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread.iter().position(|byte| *byte == b'\n') {
                let line = unread[..=at].to_vec();
                self.start += at + 1;
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    async fn head_length(&mut self) -> Result<usize> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(at + 4);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            return Err(ErrorKind::OutOfMemory.into());
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

/// Status, framing, and whether the connection closes.
fn read(head: &[u8]) -> Result<(u16, Framing, bool)> {
    let bad = || Error::from(ErrorKind::InvalidData);
    let text = std::str::from_utf8(head).map_err(|_| bad())?;
    let status = text.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
    let (mut framing, mut close) = (Framing::UntilClose, false);
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(|_| bad())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::NextChunk;
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.eq_ignore_ascii_case("close");
        }
    }
    Ok((status, framing, close))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(answer: &'static [u8]) -> Result<Answer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        Connection::open(address).await?.ask(b"GET / HTTP/1.1\r\n\r\n", false).await
    }

    #[tokio::test]
    async fn contents_of_every_framing_are_counted() {
        let cases: [(&[u8], u16, u64); 5] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, 3),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n", 200, 13),
            (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, 0),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", 304, 0),
            (b"HTTP/1.0 200 OK\r\n\r\nabcd", 200, 4),
        ];
        for (answer, status, bytes) in cases {
            let got = asked(answer).await.unwrap();
            assert_eq!((got.status, got.bytes), (status, bytes));
        }
    }
}
