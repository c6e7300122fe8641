//! One connection, from its first byte to its last. A client that is slow, silent or hostile costs a
//! descriptor and some kilobytes until its deadline, and then nothing.
//! HTTP/1.1 only: no upgrade, no HTTP/2.

use std::{
    convert::Infallible,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{
    body::Incoming,
    header::{CONNECTION, HeaderValue, TRANSFER_ENCODING},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::Sleep,
};
use tower::ServiceExt as _;

use crate::{
    activity::{Activity, Deadlines, End},
    heads::{FirstFlaw, Flaw, HEAD_BYTES_MAX, HEADERS_MAX, Heads},
    shards,
};

/// Serves one connection to its end. `opened`: when it was accepted, a TLS handshake counts. The stream comes back
/// if its client may still be writing: it has to be closed by [`Lingering`](crate::lingering::Lingering).
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    opened: Instant,
    router: Router,
    deadlines: Deadlines,
    stopped: watch::Receiver<bool>,
) -> (End, Option<S>) {
    let (activity, flaw) = (Arc::new(Activity::new(opened)), Arc::new(FirstFlaw::default()));
    let mut stream = TokioIo::new(Heads::new(stream, Arc::clone(&flaw), Arc::clone(&activity)));
    let seen = Arc::clone(&activity);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        shards::request_came();
        let (number, in_flight) = seen.begin();
        let answer = answer(router.clone(), request, flaw.of(number));
        let seen = Arc::clone(&seen);
        async move {
            let mut response = answer.await?;
            if seen.answered(number, response.status()) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(in_flight);
            Ok::<_, Infallible>(response)
        }
    });
    let end = requests(&mut stream, service, deadlines, &activity, stopped).await;
    let is_writing = match end {
        End::Closed => activity.is_cut_short(),
        End::NotHttp => true,
        End::Idle | End::HeadTimeout | End::Handshake | End::Broken => false,
    };
    (end, is_writing.then(|| stream.into_inner().into_inner()))
}

/// Serves requests until one side or a deadline ends the connection.
async fn requests<S, H>(
    stream: &mut TokioIo<Heads<S>>,
    service: H,
    deadlines: Deadlines,
    activity: &Activity,
    mut stopped: watch::Receiver<bool>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            // Also runs while a connection is idle: `poll_overdue` instead.
            .header_read_timeout(None)
            // The limits themselves are kept by `heads`, which can say so in an answer.
            .max_headers(2 * HEADERS_MAX)
            .max_buf_size(2 * HEAD_BYTES_MAX)
            .serve_connection(stream, service)
    );
    let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
    let mut stopping = false;
    loop {
        let overdue = poll_fn(|context| poll_overdue(timer.as_mut(), activity, deadlines, context));
        tokio::select! {
            biased;
            ended = connection.as_mut() => return end(ended),
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            // After the connection: what it has just read may have moved the deadline.
            end = overdue => return end,
        }
    }
}

/// Completes when the connection has to be closed. The timer is moved only forward in time, or back when
/// a deadline has come nearer: a busy connection does not touch it.
fn poll_overdue(
    mut timer: Pin<&mut Sleep>,
    activity: &Activity,
    deadlines: Deadlines,
    context: &mut Context<'_>,
) -> Poll<End> {
    loop {
        let now = Instant::now();
        let due = activity.due(deadlines);
        match due {
            Some((at, end)) if at <= now => return Poll::Ready(end),
            Some((at, _)) if timer.deadline().into_std() > at => timer.as_mut().reset(at.into()),
            Some(_) | None => {}
        }
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let next = due.map_or(now + deadlines.head.min(deadlines.idle), |(at, _)| at);
        timer.as_mut().reset(next.into());
    }
}

async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
    flaw: Option<Flaw>,
) -> Result<Response, Infallible> {
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut request = Request::from(request.map(Body::new));
    if let Some(flaw) = flaw {
        request.extensions_mut().insert(flaw);
    }
    let mut response = router.oneshot(request).await?;
    if is_chunked {
        // Heads behind a body in chunks are not looked at: there will be none.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// An error here is the client's; hyper has answered it where it could.
fn end(ended: Result<(), hyper::Error>) -> End {
    match ended {
        Ok(()) => End::Closed,
        Err(error) if error.is_parse() => End::NotHttp,
        Err(_) => End::Broken,
    }
}
