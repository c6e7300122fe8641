use rstest::rstest;
use tokio::net::TcpListener;

use super::*;

#[rstest]
#[case("http://127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080", "")]
#[case("http://localhost/", "localhost", 80, "localhost", "")]
#[case("http://[::1]:81/telex/", "::1", 81, "[::1]:81", "/telex")]
fn a_base_url_becomes_host_port_and_path(
    #[case] url: &str,
    #[case] host: &str,
    #[case] port: u16,
    #[case] authority: &str,
    #[case] base: &str,
) {
    let target = Target::parse(url).unwrap().with_hook("whatsapp").unwrap();
    assert_eq!((target.host.as_str(), target.port), (host, port));
    for (Head(head), path) in
        [(target.single, "messages"), (target.batch, "messages/batch"), (target.hook, "hooks/whatsapp")]
    {
        let begins = format!("POST {base}/v1/{path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: ");
        assert!(head.starts_with(&begins), "{head}");
    }
}

#[rstest]
#[case("https://127.0.0.1")]
#[case("127.0.0.1:8080")]
#[case("/v1/messages")]
#[case("http://host/?a=b")]
#[case("")]
fn what_cannot_be_a_target_is_refused(#[case] base: &str) {
    assert!(Target::parse(base).is_err());
}

#[rstest]
#[case("a b")]
#[case("a\r\nx: y")]
fn what_cannot_be_a_hook_is_refused(#[case] name: &str) {
    assert!(Target::parse("http://127.0.0.1").unwrap().with_hook(name).is_err());
}

#[test]
fn a_request_says_who_what_and_how_long_it_is() {
    let (target, mut headers) = (Target::parse("http://telex:8080").unwrap(), HeaderMap::new());
    headers.insert("webhook-id", HeaderValue::from_static("r-1"));
    let mut request = b"left over from another".to_vec();
    let mut post = Post { route: Route::Batch, request_id: "r-1", headers: Some(&headers), body: b"{}\n" };
    target.write(&post, &mut request).unwrap();
    let signed = "POST /v1/messages/batch HTTP/1.1\r\nhost: telex:8080\r\ncontent-type: application/x-ndjson\r\n\
                  webhook-id: r-1\r\nx-request-id: r-1\r\ncontent-length: 3\r\n\r\n{}\n";
    assert_eq!(String::from_utf8(request.clone()).unwrap(), signed);
    post = Post { route: Route::Single, headers: None, body: b"", ..post };
    target.write(&post, &mut request).unwrap();
    assert!(
        request
            .ends_with(b"content-type: application/json\r\nx-request-id: r-1\r\ncontent-length: 0\r\n\r\n")
    );
}

const KEPT: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";

/// A server that the test plays itself, and a connection to it.
async fn pair() -> (TcpListener, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, Connection::new(Target::parse(&url).unwrap()))
}

fn post(body: &[u8]) -> Post<'_> {
    Post { route: Route::Single, request_id: "r-1", headers: None, body }
}

/// Takes a request and writes these bytes, each part on its own.
async fn answer<'a>(socket: &mut TcpStream, parts: impl IntoIterator<Item = &'a [u8]>) {
    let mut request = Vec::new();
    while wire::request_length(&request).unwrap().is_none() {
        assert!(socket.read_buf(&mut request).await.unwrap() > 0, "the request broke off");
    }
    socket.set_nodelay(true).unwrap();
    for part in parts {
        socket.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn replies_that_come_byte_by_byte_are_read_over_one_connection() {
    let (listener, mut connection) = pair().await;
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        answer(&mut socket, KEPT.chunks(1)).await;
        answer(&mut socket, [KEPT]).await;
        socket
    };
    let client = async {
        for _ in 0..2 {
            let reply = connection.exchange(&post(b"{}")).await.unwrap();
            assert_eq!((reply.status, reply.body), (202, &b"{}"[..]));
        }
    };
    let (_socket, ()) = tokio::join!(server, client);
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_none_and_the_next_request_has_another_connection() {
    let (listener, mut connection) = pair().await;
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        answer(&mut socket, [&KEPT[..KEPT.len() - 1]]).await;
        drop(socket);
        let (mut socket, _) = listener.accept().await.unwrap();
        answer(&mut socket, [KEPT]).await;
    };
    let client = async {
        let broken = connection.exchange(&post(b"{}")).await;
        assert!(matches!(broken, Err(ExchangeError::Closed)), "{broken:?}");
        assert_eq!(connection.exchange(&post(b"{}")).await.unwrap().status, 202);
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_end_the_connection_and_answer_nothing() {
    let (listener, mut connection) = pair().await;
    let server = async {
        let (mut first, _) = listener.accept().await.unwrap();
        answer(&mut first, [&KEPT.repeat(2)[..]]).await;
        let (mut second, _) = listener.accept().await.unwrap();
        answer(&mut second, [KEPT]).await;
        (first, second)
    };
    let client = async {
        for _ in 0..2 {
            assert_eq!(connection.exchange(&post(b"{}")).await.unwrap().status, 202);
        }
    };
    let (_sockets, ()) = tokio::join!(server, client);
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let (listener, mut connection) = pair().await;
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        answer(&mut socket, [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..]]).await;
        socket
    };
    let client = async { connection.exchange(&post(b"{}")).await.unwrap_err().to_string() };
    let (_socket, error) = tokio::join!(server, client);
    assert_eq!(error, "the reply cannot be read: it comes in chunks, which are not read here");
}

#[tokio::test]
async fn a_long_request_may_be_refused_before_all_of_it_is_there() {
    let (listener, mut connection) = pair().await;
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let (mut next, _) = listener.accept().await.unwrap();
        answer(&mut next, [KEPT]).await;
        (socket, next)
    };
    let client = async {
        let long = vec![b'x'; 32 * 1024 * 1024];
        assert_eq!(connection.exchange(&post(&long)).await.unwrap().status, 413);
        assert_eq!(connection.exchange(&post(b"{}")).await.unwrap().status, 202);
    };
    let (_sockets, ()) = tokio::join!(server, client);
}

#[tokio::test]
async fn an_end_that_comes_while_idle_is_noticed() {
    let (listener, mut connection) = pair().await;
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        answer(&mut socket, [KEPT]).await;
    };
    let client = async {
        assert_eq!(connection.exchange(&post(b"{}")).await.unwrap().status, 202);
        assert!(connection.socket.is_some());
        connection.idle_until(Instant::now() + Duration::from_millis(200)).await;
        assert!(connection.socket.is_none());
    };
    tokio::join!(server, client);
}
