//! HTTP/1.1 in bytes: where an answer begins and ends, and what its head says. Knows no socket.
//!
//! Takes what an ingest API sends: a head that says how long the body is. Everything else is refused in words,
//! and nothing is guessed: an answer that is cut in the wrong place would settle the wrong message.

use std::time::Duration;

/// A reply is a few hundred bytes for each message; one without an end must not fill the memory.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The same for all that comes before a body.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Where an answer lies in what was received, and what its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub status: u16,
    /// The header of that name, if it holds seconds.
    pub retry_after: Option<Duration>,
    /// The server takes no further request on this connection.
    pub closes: bool,
    body_from: usize,
    end: usize,
}

/// Something else than an answer that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("not HTTP/1.1")]
    Version,
    /// A line of the head has no end, no name or no colon.
    #[error("its head cannot be read")]
    Head,
    #[error("its head has more than {HEAD_BYTES_MAX} bytes")]
    HeadTooLong,
    /// None, one that is no number, or two.
    #[error("its head does not say how long it is")]
    Length,
    #[error("it comes in chunks, which are not read here")]
    Chunked,
    #[error("it has more than {BODY_BYTES_MAX} bytes")]
    TooLong,
    #[error("it goes on in another protocol")]
    Upgrade,
}

impl Frame {
    /// The body, in what the frame was found in.
    pub fn body<'a>(&self, received: &'a [u8]) -> &'a [u8] {
        received.get(self.body_from..self.end).unwrap_or_default()
    }

    /// What follows belongs to no answer, or to the next.
    pub const fn end(&self) -> usize {
        self.end
    }
}

/// The answer at the beginning, once all of it is there. Interim ones (1xx) in front of it are passed over.
///
/// # Errors
/// It is none that can be read, whatever else is received.
pub fn frame(received: &[u8]) -> Result<Option<Frame>, Malformed> {
    let mut at = 0;
    loop {
        let Some((status, fields)) = head(received, &mut at)? else {
            return if received.len() > HEAD_BYTES_MAX { Err(Malformed::HeadTooLong) } else { Ok(None) };
        };
        if at > HEAD_BYTES_MAX {
            return Err(Malformed::HeadTooLong);
        }
        let length = match (status, fields.length) {
            (101, _) => return Err(Malformed::Upgrade),
            (100..=199, _) => continue,
            (204 | 304, _) => 0,
            (_, length) => length.ok_or(Malformed::Length)?,
        };
        let Fields { retry_after, closes, .. } = fields;
        let frame = Frame { status, retry_after, closes, body_from: at, end: end(at, length)? };
        return Ok((frame.end <= received.len()).then_some(frame));
    }
}

/// How long the request at the beginning is, once all of it is there.
///
/// # Errors
/// It is none that says how long it is.
pub fn request_length(received: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut at = 0;
    let Some(_request_line) = line(received, &mut at)? else { return Ok(None) };
    let Some(fields) = fields(received, &mut at)? else { return Ok(None) };
    let end = end(at, fields.length.ok_or(Malformed::Length)?)?;
    Ok((end <= received.len()).then_some(end))
}

fn end(body_from: usize, length: usize) -> Result<usize, Malformed> {
    if length > BODY_BYTES_MAX { Err(Malformed::TooLong) } else { Ok(body_from + length) }
}

/// What a head says, as far as it matters here.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    length: Option<usize>,
    retry_after: Option<Duration>,
    closes: bool,
}

fn head(bytes: &[u8], at: &mut usize) -> Result<Option<(u16, Fields)>, Malformed> {
    let Some(first) = line(bytes, at)? else { return Ok(None) };
    let status = status(first).ok_or(Malformed::Version)?;
    Ok(fields(bytes, at)?.map(|fields| (status, fields)))
}

fn status(line: &[u8]) -> Option<u16> {
    let (digits, reason) = line.strip_prefix(b"HTTP/1.1 ")?.split_at_checked(3)?;
    let status = u16::try_from(number(digits)?).ok()?;
    (matches!(reason.first(), None | Some(b' ')) && (100..=599).contains(&status)).then_some(status)
}

/// All lines up to the blank one; `None` while it is not there.
fn fields(bytes: &[u8], at: &mut usize) -> Result<Option<Fields>, Malformed> {
    let mut fields = Fields::default();
    while let Some(line) = line(bytes, at)? {
        if line.is_empty() {
            return Ok(Some(fields));
        }
        fields.read(line)?;
    }
    Ok(None)
}

/// The line at `at` without its end, which `at` moves behind; `None` while it is not all there.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, Malformed> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some(length) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    *at += length + 1;
    let line = rest.get(..length).and_then(|line| line.strip_suffix(b"\r"));
    line.map(Some).ok_or(Malformed::Head)
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return Err(Malformed::Head) };
        // Neither a space in front of the colon nor a line that goes on the one before it.
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err(Malformed::Head);
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value).and_then(|length| usize::try_from(length).ok());
            if length.is_none() || self.length.is_some() {
                return Err(Malformed::Length);
            }
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(Malformed::Chunked);
        } else if name.eq_ignore_ascii_case(b"retry-after") {
            self.retry_after = number(value).map(Duration::from_secs);
        } else if name.eq_ignore_ascii_case(b"connection") {
            let mut options = value.split(|byte| *byte == b',');
            self.closes |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        Ok(())
    }
}

/// Digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KEPT: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nContent-Length: 13\r\n\r\n{\"record\":{}}";
    const AWAY: &[u8] =
        b"HTTP/1.1 503 \r\nRetry-After: 7\r\nconnection: keep-alive, Close\r\ncontent-length:0\r\n\r\n";

    #[test]
    fn an_answer_is_whole_with_its_last_byte_wherever_it_was_split() {
        for cut in 0..KEPT.len() {
            assert_eq!(frame(&KEPT[..cut]), Ok(None), "{cut}");
        }
        let whole = frame(KEPT).unwrap().unwrap();
        assert_eq!((whole.status, whole.body(KEPT), whole.end()), (202, &b"{\"record\":{}}"[..], KEPT.len()));
        assert_eq!((whole.closes, whole.retry_after), (false, None));
    }

    #[test]
    fn of_several_answers_the_first_ends_where_the_next_begins() {
        let received = [KEPT, AWAY, KEPT].concat();
        let first = frame(&received).unwrap().unwrap();
        assert_eq!((first.status, first.end()), (202, KEPT.len()));
        let second = frame(&received[first.end()..]).unwrap().unwrap();
        assert_eq!((second.status, second.end(), second.closes), (503, AWAY.len(), true));
        assert_eq!(second.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
        assert_eq!(frame(interim), Ok(None));
        let received = [&interim[..], KEPT].concat();
        let frame = frame(&received).unwrap().unwrap();
        assert_eq!((frame.status, frame.body(&received)), (202, &b"{\"record\":{}}"[..]));
        assert_eq!(super::frame(&interim.repeat(400)), Err(Malformed::HeadTooLong));
    }

    #[test]
    fn an_answer_that_has_no_body_needs_no_length() {
        let frame = frame(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap();
        assert_eq!((frame.status, frame.end()), (204, 27));
    }

    #[rstest]
    #[case::older("HTTP/1.0 200 OK\r\n", Malformed::Version)]
    #[case::another_protocol("220 mail.example ESMTP\r\n", Malformed::Version)]
    #[case::no_status("HTTP/1.1 2x2 OK\r\n", Malformed::Version)]
    #[case::long_status("HTTP/1.1 2020 OK\r\n", Malformed::Version)]
    #[case::bare_newline("HTTP/1.1 200 OK\n", Malformed::Head)]
    #[case::no_colon("HTTP/1.1 200 OK\r\nserver\r\n", Malformed::Head)]
    #[case::folded("HTTP/1.1 200 OK\r\nserver: a\r\n b: c\r\n", Malformed::Head)]
    #[case::space_before_the_colon("HTTP/1.1 200 OK\r\ncontent-length : 3\r\n", Malformed::Head)]
    #[case::chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", Malformed::Chunked)]
    #[case::until_the_end("HTTP/1.1 200 OK\r\n\r\nabc", Malformed::Length)]
    #[case::no_number("HTTP/1.1 200 OK\r\ncontent-length: +3\r\n", Malformed::Length)]
    #[case::empty("HTTP/1.1 200 OK\r\ncontent-length:\r\n", Malformed::Length)]
    #[case::beyond_numbers("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n", Malformed::Length)]
    #[case::two("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n", Malformed::Length)]
    #[case::without_an_end("HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n", Malformed::TooLong)]
    #[case::upgrade("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Malformed::Upgrade)]
    fn what_cannot_be_read_is_refused(#[case] received: &str, #[case] why: Malformed) {
        assert_eq!(frame(received.as_bytes()), Err(why));
    }

    #[test]
    fn a_head_without_an_end_is_refused() {
        let mut received = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        received.resize(HEAD_BYTES_MAX + 1, b'x');
        assert_eq!(frame(&received), Err(Malformed::HeadTooLong));
    }

    #[test]
    fn a_request_ends_where_its_length_says() {
        let request = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
        for cut in 0..request.len() {
            assert_eq!(request_length(&request[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(request_length(&request.repeat(2)), Ok(Some(request.len())));
        assert_eq!(request_length(b"GET / HTTP/1.1\r\n\r\n"), Err(Malformed::Length));
    }
}
