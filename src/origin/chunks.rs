//! The chunked coding of a response (RFC 9112 §7.1), taken apart without leniency.
//!
//! | state | waits for |
//! |---|---|
//! | `Size` | a line `1A2B` or `1A2B;extension`; extensions are ignored |
//! | `Data` | that many bytes |
//! | `DataEnd` | the line end after them |
//! | `Trailers` | field lines, up to an empty one |
//! | `Ended` | nothing: what follows is not of this message |

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Frame;

use super::head;

/// Most bytes that all lines with sizes may have beyond the sizes.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Most bytes of a trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// The content breaks the rules of the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunks are malformed: {0}")]
pub(super) struct Malformed(&'static str);

/// How far a response's chunks have been taken apart.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Ended,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { state: State::Size, extensions: 0 }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The next piece from the front of `buffer`; `None` if more is needed, or it has ended.
    pub(super) fn next(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<Frame<Bytes>>, Malformed> {
        loop {
            match self.state {
                State::Size => match self.size(buffer)? {
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                    None => return Ok(None),
                },
                State::Data(_) if buffer.is_empty() => return Ok(None),
                State::Data(left) => {
                    let piece = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - piece as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Some(Frame::data(buffer.split_to(piece).freeze())));
                }
                State::DataEnd => {
                    if !b"\r\n".starts_with(buffer.get(..2).unwrap_or(buffer)) {
                        return Err(Malformed("no line end after a chunk"));
                    }
                    if buffer.len() < 2 {
                        return Ok(None);
                    }
                    buffer.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => return self.trailers(buffer),
                State::Ended => return Ok(None),
            }
        }
    }

    fn size(&mut self, buffer: &mut BytesMut) -> Result<Option<u64>, Malformed> {
        let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
            // What is here may be of a size and of extensions; both have their limits.
            size_of(buffer.strip_suffix(b"\r").unwrap_or(buffer), true)?;
            self.count(buffer.len())?;
            return Ok(None);
        };
        let line = buffer.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        let line = line.ok_or(Malformed("a size's line ends without CR"))?;
        let size = size_of(line, false)?;
        self.extensions += self.count(line.len())?;
        buffer.advance(end + 1);
        Ok(Some(size))
    }

    /// How many of a line's bytes count as extensions.
    fn count(&self, length: usize) -> Result<usize, Malformed> {
        let beyond = length.saturating_sub(MAX_DIGITS);
        match self.extensions + beyond < MAX_EXTENSIONS {
            true => Ok(beyond),
            false => Err(Malformed("too many chunk extensions")),
        }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        if let Some(rest) = buffer.strip_prefix(b"\r\n") {
            let empty = buffer.len() - rest.len();
            buffer.advance(empty);
            self.state = State::Ended;
            return Ok(None);
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match buffer.len() < MAX_TRAILERS {
                true => Ok(None),
                false => Err(Malformed("its trailers are too large")),
            };
        };
        let section = buffer.split_to(end + 4);
        if section.len() > MAX_TRAILERS {
            return Err(Malformed("its trailers are too large"));
        }
        self.state = State::Ended;
        let trailers = head::trailers(&section).ok_or(Malformed("its trailers are no fields"))?;
        Ok(Some(Frame::trailers(trailers)))
    }
}

/// A size has at most so many digits: 64 bits.
const MAX_DIGITS: usize = 16;

/// What a line says of a chunk's size; `partial` ones may yet get their first digit.
fn size_of(line: &[u8], partial: bool) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    if digits.is_empty() && !(partial && rest.is_empty()) {
        return Err(Malformed("a chunk without a size"));
    }
    let mut size = 0_u64;
    for digit in digits {
        let digit = char::from(*digit).to_digit(16).unwrap_or_default();
        let larger = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
        size = larger.ok_or(Malformed("a chunk's size is too large"))?;
    }
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match rest.get(blanks) {
        None | Some(b';') if !rest.contains(&b'\r') => Ok(size),
        _ => Err(Malformed("something else behind a chunk's size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of `bytes` when they arrive in pieces of `step`: content, trailers, what is left.
    fn taken(bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, Vec<u8>), Malformed> {
        let (mut chunks, mut buffer) = (Chunks::new(), BytesMut::new());
        let (mut content, mut trailers) = (Vec::new(), 0);
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = chunks.next(&mut buffer)? {
                match frame.into_data() {
                    Ok(data) => content.extend_from_slice(&data),
                    Err(frame) => trailers += frame.into_trailers().unwrap().len(),
                }
            }
        }
        if !chunks.has_ended() {
            return Err(Malformed("incomplete"));
        }
        Ok((content, trailers, buffer.to_vec()))
    }

    #[test]
    fn content_is_the_same_however_it_arrives() {
        const WHOLE: &[u8] =
            b"5\r\nhello\r\n1;a=b\r\n \r\n00A \t\r\n0123456789\r\n0\r\nX: 1\r\nx: 2\r\n\r\n";
        for step in 1..WHOLE.len() {
            let (content, trailers, left) = taken(WHOLE, step).unwrap();
            assert_eq!((&*content, trailers, &*left), (&b"hello 0123456789"[..], 2, &b""[..]));
        }
    }

    #[test]
    fn what_follows_the_last_chunk_is_left() {
        assert_eq!(taken(b"0\r\n\r\nHTTP", 100).unwrap(), (Vec::new(), 0, b"HTTP".to_vec()));
    }

    #[test]
    fn what_two_recipients_could_read_differently_is_refused() {
        for bytes in [
            "\r\n",
            "x\r\n",
            ";a\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\rx0\r\n\r\n",
            "10000000000000000\r\n",
            "0\r\nno field\r\n\r\n",
            "0\r\nX : 1\r\n\r\n",
        ] {
            for step in [1, 2, 100] {
                let refused = taken(bytes.as_bytes(), step).unwrap_err();
                assert_ne!(refused, Malformed("incomplete"), "{bytes:?} by {step}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_have_their_limits() {
        let extensions = format!("1;{}\r\nx\r\n", "a".repeat(600)).repeat(40);
        let one = format!("1;{}", "a".repeat(MAX_EXTENSIONS + 100));
        let trailers = format!("0\r\nX: {}\r\n\r\n", "a".repeat(MAX_TRAILERS));
        let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(head::MAX_FIELDS + 1));
        let zeros = format!("{}5\r\nhello\r\n", "0".repeat(MAX_EXTENSIONS + 100));
        for bytes in [extensions, one, trailers, many, zeros] {
            for step in [7, 1 << 20] {
                let refused = taken(bytes.as_bytes(), step).unwrap_err();
                assert_ne!(refused, Malformed("incomplete"), "{}", bytes.len());
            }
        }
    }
}
