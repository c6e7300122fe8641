//! Heads as they come over the wire. hyper reads them; this looks on, for what hyper does not tell: when a
//! head began (hyper's own deadline also runs while a kept connection is idle), and a framing that two
//! readers could understand in two ways. Of `content-length` beside `transfer-encoding` hyper silently
//! takes the latter, and such a request is how one is smuggled past a proxy (S16).
//!
//! Nothing is held back or changed. A request's number on its connection ties what was seen here to the
//! request that hyper hands on. After a body in chunks nothing is looked at any more: the answer closes the
//! connection.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;

/// Header lines of one request.
pub const HEADERS_MAX: usize = 100;
/// Bytes of one request's head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes that a connection keeps ready for its next head.
const HEAD_BYTES_KEPT: usize = 1024;

/// What is wrong with a head that hyper would accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Where its body ends can be understood in two ways.
    AmbiguousLength,
    /// Too many bytes or too many header lines.
    TooLarge,
}

/// The first flaw on a connection, and in which request; there is no second, for the answer closes it.
#[derive(Debug, Default)]
pub struct FirstFlaw(OnceLock<(u64, Flaw)>);

impl FirstFlaw {
    /// What is wrong with the request of this number.
    pub fn of(&self, request: u64) -> Option<Flaw> {
        self.0.get().filter(|(number, _)| *number == request).map(|(_, flaw)| *flaw)
    }
}

/// Where the next byte belongs.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Head,
    /// To a body, of which so much is to come.
    Body(u64),
    /// To something of which no end is known.
    Unwatched,
}

#[derive(Debug)]
struct Walker {
    place: Place,
    /// As much of the head as is there; empty elsewhere.
    head: Vec<u8>,
    /// Requests whose heads are complete.
    requests: u64,
    flaw: Arc<FirstFlaw>,
}

/// How a head says where its body ends.
enum Length {
    Known(u64),
    Chunked,
}

impl Walker {
    const fn new(flaw: Arc<FirstFlaw>) -> Self {
        Self { place: Place::Head, head: Vec::new(), requests: 0, flaw }
    }

    fn walk(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (next, rest) = match &mut self.place {
                Place::Unwatched => return,
                Place::Body(left) => {
                    let passed = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= passed as u64;
                    let next = if *left == 0 { Some(Place::Head) } else { None };
                    (next, bytes.get(passed..))
                }
                Place::Head => match push_until_end(&mut self.head, bytes) {
                    Some(rest) => {
                        let read = read(&self.head);
                        (Some(self.head_ended(read)), Some(rest))
                    }
                    None if self.head.len() > HEAD_BYTES_MAX => {
                        (Some(self.head_ended(Err(Flaw::TooLarge))), None)
                    }
                    None => (None, None),
                },
            };
            if let Some(next) = next {
                self.place = next;
            }
            bytes = rest.unwrap_or_default();
        }
    }

    fn head_ended(&mut self, read: Result<Length, Flaw>) -> Place {
        self.requests += 1;
        self.head.clear();
        // A long head is not paid for by the idle hours after it.
        self.head.shrink_to(HEAD_BYTES_KEPT);
        match read {
            Ok(Length::Known(0)) => Place::Head,
            Ok(Length::Known(length)) => Place::Body(length),
            Ok(Length::Chunked) => Place::Unwatched,
            Err(flaw) => {
                let _first = self.flaw.0.set((self.requests, flaw)).is_ok();
                Place::Unwatched
            }
        }
    }

    const fn is_within_head(&self) -> bool {
        !self.head.is_empty()
    }

    /// The number of the request of whose body more is to come, or may be; 0 if nothing is.
    const fn unread(&self) -> u64 {
        match self.place {
            Place::Head => 0,
            Place::Body(_) | Place::Unwatched => self.requests,
        }
    }
}

/// Moves bytes into the head up to the empty line that ends it; what follows, if it has come.
fn push_until_end<'a>(head: &mut Vec<u8>, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = bytes.split_at(end + 1);
        bytes = rest;
        head.extend_from_slice(line);
        if is_only_line_end(head) {
            // Empty lines before a request are passed over, as hyper does.
            head.clear();
        } else if head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n") {
            return Some(bytes);
        }
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    head.extend_from_slice(bytes);
    None
}

fn is_only_line_end(head: &[u8]) -> bool {
    matches!(head, b"\n" | b"\r\n")
}

/// Reads of a complete head only what tells where its body ends. What is wrong in itself, hyper refuses.
fn read(head: &[u8]) -> Result<Length, Flaw> {
    let (mut length, mut encoding) = (None, None);
    let mut lines = 0;
    // The first line is the request's, the last one is empty.
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        lines += 1;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let said = if name.eq_ignore_ascii_case(b"content-length") {
            length.replace(value)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encoding.replace(value)
        } else {
            None
        };
        if said.is_some() {
            return Err(Flaw::AmbiguousLength);
        }
    }
    if lines > HEADERS_MAX || head.len() > HEAD_BYTES_MAX {
        return Err(Flaw::TooLarge);
    }
    match (length, encoding) {
        (None, None) => Ok(Length::Known(0)),
        (Some(length), None) => {
            let length = str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            length.map(Length::Known).ok_or(Flaw::AmbiguousLength)
        }
        (None, Some(encoding)) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
        _ => Err(Flaw::AmbiguousLength),
    }
}

/// A stream whose heads are looked at as they are read.
#[derive(Debug)]
pub struct Heads<S> {
    stream: S,
    walker: Walker,
    activity: Arc<Activity>,
}

impl<S> Heads<S> {
    /// `activity` is told when a head begins and ends, and whether a body does.
    pub const fn new(stream: S, flaw: Arc<FirstFlaw>, activity: Arc<Activity>) -> Self {
        Self { stream, walker: Walker::new(flaw), activity }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let Self { walker, activity, .. } = &mut *self;
        let (was_within, requests) = (walker.is_within_head(), walker.requests);
        walker.walk(buffer.filled().get(before..).unwrap_or_default());
        activity.body_is_unread(walker.unread());
        let is_new = !was_within || walker.requests > requests;
        match (walker.is_within_head(), is_new) {
            (true, true) => activity.head_begins(Some(Instant::now())),
            (false, _) => activity.head_begins(None),
            (true, false) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const POST: &str = "POST /v1/messages HTTP/1.1\r\nhost: a\r\n";

    /// The flaws of the requests 1, 2 and 3, and what follows them.
    fn walk(parts: &[&[u8]]) -> ([Option<Flaw>; 3], Place) {
        let flaw = Arc::new(FirstFlaw::default());
        let mut walker = Walker::new(Arc::clone(&flaw));
        for part in parts {
            walker.walk(part);
        }
        ([flaw.of(1), flaw.of(2), flaw.of(3)], walker.place)
    }

    #[rstest]
    #[case::both("content-length: 5\r\ntransfer-encoding: chunked\r\n")]
    #[case::both_reversed("transfer-encoding: chunked\r\ncontent-length: 5\r\n")]
    #[case::in_capitals("TRANSFER-ENCODING: chunked\r\nCONTENT-LENGTH:5\r\n")]
    #[case::twice_the_same("content-length: 5\r\ncontent-length: 5\r\n")]
    #[case::twice("content-length: 5\r\ncontent-length: 6\r\n")]
    #[case::list("content-length: 5, 5\r\n")]
    #[case::negative("content-length: -5\r\n")]
    #[case::not_chunked_last("transfer-encoding: chunked, identity\r\n")]
    #[case::more_than_chunked("transfer-encoding: gzip, chunked\r\n")]
    #[case::chunked_twice("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")]
    fn a_length_that_can_be_understood_in_two_ways_is_a_flaw(#[case] headers: &str) {
        let request = format!("{POST}{headers}\r\nhello");
        assert_eq!(walk(&[request.as_bytes()]).0[0], Some(Flaw::AmbiguousLength));
    }

    #[rstest]
    #[case::body("content-length: 5\r\n\r\nhello", Place::Head)]
    #[case::half_a_body("content-length: 5\r\n\r\nhe", Place::Body(3))]
    #[case::no_body("\r\n", Place::Head)]
    #[case::chunks("transfer-encoding: chunked\r\n\r\n5\r\nhello", Place::Unwatched)]
    fn plain_requests_have_no_flaw(#[case] rest: &str, #[case] place: Place) {
        assert_eq!(walk(&[format!("{POST}{rest}").as_bytes()]), ([None; 3], place));
    }

    #[test]
    fn a_pipelined_request_is_looked_at_like_the_first() {
        let good = format!("{POST}content-length: 5\r\n\r\nhello");
        let bad = format!("\r\n{POST}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n");
        let (flaws, place) = walk(&[format!("{good}{bad}{good}").as_bytes()]);
        assert_eq!((flaws, place), ([None, Some(Flaw::AmbiguousLength), None], Place::Unwatched));
    }

    #[test]
    fn a_head_has_at_most_100_lines_and_16_kib() {
        let lines = |count: usize| format!("{POST}{}\r\n", "a: b\r\n".repeat(count - 1));
        assert_eq!(walk(&[lines(100).as_bytes()]).0[0], None);
        assert_eq!(walk(&[lines(101).as_bytes()]).0[0], Some(Flaw::TooLarge));
        let long = format!("{POST}a: {}\r\n\r\n", "b".repeat(HEAD_BYTES_MAX));
        assert_eq!(walk(&[long.as_bytes()]).0[0], Some(Flaw::TooLarge));
        let endless = "a: b\r\n".repeat(HEAD_BYTES_MAX);
        assert_eq!(
            walk(&[POST.as_bytes(), endless.as_bytes()]),
            ([Some(Flaw::TooLarge), None, None], Place::Unwatched)
        );
    }

    proptest! {
        /// What is seen does not depend on how the bytes are cut into reads.
        #[test]
        fn cuts_make_no_difference(
            bytes in proptest::collection::vec(
                prop_oneof![
                    Just(POST), Just("\r\n"), Just("\n"), Just("\r"), Just("content-length: 3\r\n"), Just("abc"),
                    Just("transfer-encoding: chunked\r\n"), Just("content-length: 3\r\n\r\nabc"),
                ], 0..12),
            cut in 0usize..400,
        ) {
            let bytes = bytes.concat();
            let (first, second) = bytes.as_bytes().split_at(cut.min(bytes.len()));
            let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
            prop_assert_eq!(walk(&[bytes.as_bytes()]), walk(&[first, second]));
            prop_assert_eq!(walk(&[bytes.as_bytes()]), walk(&single));
        }
    }
}
