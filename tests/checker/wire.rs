//! The smallest client that speaks HTTP/1.1 over a connection that it keeps: thousands of requests
//! per second should cost the processes under test more than us.

use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection, to whichever port is asked for.
#[derive(Default)]
pub(crate) struct Wire {
    open: Option<(u16, TcpStream)>,
    buffer: Vec<u8>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) content: String,
}

impl Answer {
    /// A field's value; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    /// The number after `"name":` in the content.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        let (_, rest) = self.content.split_once(&format!("\"{name}\":"))?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

impl Wire {
    /// Asks, and waits for the whole answer, but no longer than this. After a failure the
    /// connection is given up.
    pub(crate) async fn ask(
        &mut self,
        port: u16,
        request: &str,
        limit: Duration,
    ) -> Result<Answer> {
        let mut only = None;
        self.ask_all(port, request, 1, limit, |answer| only = Some(answer)).await?;
        only.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Asks so many questions at once; `take` gets the answers as they come.
    pub(crate) async fn ask_all(
        &mut self,
        port: u16,
        requests: &str,
        count: usize,
        limit: Duration,
        mut take: impl FnMut(Answer),
    ) -> Result<()> {
        let open = self.open.take().filter(|(to, _)| *to == port);
        self.buffer.clear();
        let exchange = async {
            let mut stream = match open {
                Some((_, stream)) => stream,
                None => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?,
            };
            let _ = stream.set_nodelay(true);
            stream.write_all(requests.as_bytes()).await?;
            let mut closes = false;
            for _ in 0..count {
                let answer = read(&mut stream, &mut self.buffer).await?;
                closes |= answer.field("connection").eq_ignore_ascii_case("close");
                take(answer);
            }
            Ok::<_, Error>(Some(stream).filter(|_| !closes))
        };
        let stream =
            tokio::time::timeout(limit, exchange).await.map_err(|_| ErrorKind::TimedOut)??;
        self.open = stream.map(|stream| (port, stream));
        Ok(())
    }
}

/// One answer; what comes after it stays in the buffer.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Answer> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer { status: status.unwrap_or(0), head, content: String::new() };
    let length: usize = match answer.field("content-length").parse() {
        Ok(length) => length,
        Err(_) if answer.status == 204 || answer.status == 304 => 0,
        Err(_) => return Err(Error::new(ErrorKind::InvalidData, "content of unknown length")),
    };
    let start = end + 4;
    while buffer.len() < start + length {
        more(stream, buffer).await?;
    }
    answer.content = String::from_utf8_lossy(&buffer[start..start + length]).into_owned();
    buffer.drain(..start + length);
    Ok(answer)
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A request without content.
pub(crate) fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n")
}

/// A request with content.
pub(crate) fn send(method: &str, path: &str, fields: &str, content: &str) -> String {
    let length = content.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}content-length: {length}\r\n\r\n{content}"
    )
}
