//! TLS towards producers: what is spoken, what is refused, and that new certificates come without a restart.

use std::{path::PathBuf, sync::Arc};

use clap::Parser as _;
use ingest_api::{
    config::Config,
    files::{Refresh as _, Reloaded},
    tls::Certificates,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rstest::rstest;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    harness::{Api, Fate},
    server::{Server, ask, good, rest, write_to_the_end},
};

/// Certificates in a directory of their own.
struct Files(PathBuf);

struct Identity {
    cert: String,
    key: String,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Authority) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["telex.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "telex.test");
    Identity { cert: params.signed_by(&key, authority).unwrap().pem(), key: key.serialize_pem() }
}

impl Files {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("telex-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, identity: &Identity) {
        std::fs::write(self.0.join("cert.pem"), &identity.cert).unwrap();
        std::fs::write(self.0.join("key.pem"), &identity.key).unwrap();
    }

    fn load(&self, client_ca: Option<&str>, api: &Api) -> Result<Arc<Certificates>, Vec<String>> {
        let file = |option: &str, name: &str| format!("--tls-{option}-file={}", self.0.join(name).display());
        let mut arguments = vec!["ingest-api".to_owned(), "--kafka-brokers=k".to_owned()];
        arguments.push("--partition-count=1".to_owned());
        arguments.extend([file("cert", "cert.pem"), file("key", "key.pem")]);
        if let Some(text) = client_ca {
            std::fs::write(self.0.join("client-ca.pem"), text).unwrap();
            arguments.push(file("client-ca", "client-ca.pem"));
        }
        let files = Config::parse_from(arguments).tls.files().unwrap();
        Reloaded::new(files, api.shared.metrics.ingest_tls_reloads_total.clone())
            .map(Arc::new)
            .map_err(|problems| problems.0)
    }
}

/// A server with a certificate of this authority.
async fn serve(files: &Files, authority: &Authority, client_ca: Option<&str>, api: Api) -> Server {
    files.write(&issue(authority));
    let certificates = files.load(client_ca, &api).unwrap();
    Server::over(api, Some(certificates)).await
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn connect(
    server: &Server,
    authority: &Authority,
    identity: Option<&Identity>,
    version: &'static SupportedProtocolVersion,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { cert, key }) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = server.connect().await;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("telex.test").unwrap(), stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_spoken_and_http_1_1_only() {
    let (files, authority) = (Files::new("versions"), authority());
    let server = serve(&files, &authority, None, Api::new()).await;
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(&server, &authority, None, version, &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(ask(&mut stream, &good("")).await, 202);
    }
    assert!(connect(&server, &authority, None, &TLS13, &[b"h2"]).await.is_err(), "HTTP/2 only");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_1_and_plain_http_are_refused_and_a_handshake_has_a_deadline() {
    let (files, authority) = (Files::new("old"), authority());
    let api = Api::with(&["--header-deadline-ms=500"], |_| Fate::Kept);
    let server = serve(&files, &authority, None, api).await;
    // ClientHello of TLS 1.1: random, no session, one cipher suite, no compression, no extensions.
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = server.connect().await;
    stream.write_all(&record).await.unwrap();
    let text = rest(&mut stream).await.0;
    assert!(text.starts_with('\u{15}'), "an alert: {text:?}");
    let plain = server.exchange(&good("")).await;
    assert!(plain.statuses().is_empty(), "{plain:?}");
    assert_eq!(rest(&mut server.connect().await).await.0, "", "silence");
    server.assert_ended("tls_handshake", 3).await;
    server.api.assert_nothing_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_client_ca_every_producer_must_show_a_certificate_of_it() {
    let (files, authority, stranger) = (Files::new("mutual"), authority(), authority());
    let server = serve(&files, &authority, Some(&authority.pem()), Api::new()).await;
    let own = issue(&authority);
    let mut stream = connect(&server, &authority, Some(&own), &TLS13, &[]).await.unwrap();
    assert_eq!(ask(&mut stream, &good("")).await, 202);
    let foreign = issue(&stranger);
    for identity in [None, Some(&foreign)] {
        // In TLS 1.2 the handshake tells the client; in 1.3 the first read does.
        assert!(connect(&server, &authority, identity, &TLS12, &[]).await.is_err());
        if let Ok(mut stream) = connect(&server, &authority, identity, &TLS13, &[]).await {
            let _refused = stream.write_all(&good("")).await.is_err();
            assert_eq!(rest(&mut stream).await.0, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_come_without_a_restart_and_broken_ones_keep_the_old() {
    let (files, old, new) = (Files::new("reload"), authority(), authority());
    files.write(&issue(&old));
    let api = Api::new();
    let certificates = files.load(None, &api).unwrap();
    let server = Server::over(api, Some(Arc::clone(&certificates))).await;
    let reloads = server.api.shared.metrics.ingest_tls_reloads_total.clone();
    let count = |result| reloads.with_label_values(&[result]).get();
    let mut before = connect(&server, &old, None, &TLS13, &[]).await.unwrap();

    let next = issue(&new);
    std::fs::write(files.0.join("cert.pem"), &next.cert).unwrap();
    certificates.refresh(false);
    assert_eq!((count("applied"), count("refused")), (0, 1), "a certificate without its key");
    assert!(connect(&server, &old, None, &TLS13, &[]).await.is_ok());
    std::fs::write(files.0.join("key.pem"), &next.key).unwrap();
    certificates.refresh(false);
    assert_eq!((count("applied"), count("refused")), (1, 1));
    assert!(connect(&server, &old, None, &TLS13, &[]).await.is_err());
    assert!(connect(&server, &new, None, &TLS13, &[]).await.is_ok());
    assert_eq!(ask(&mut before, &good("")).await, 202, "an open connection stays");
}

/// As without TLS: tests/http/wire.rs.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_writes_its_body_to_the_end_first(
    #[values(true, false)] is_declared: bool,
) {
    let (files, authority) = (Files::new(&format!("refusal-{is_declared}")), authority());
    let server = serve(&files, &authority, None, Api::new()).await;
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(&server, &authority, None, version, &[]).await.unwrap();
        let answer = write_to_the_end(&mut stream, "", is_declared).await;
        assert_eq!(answer.statuses(), [413], "{answer:?}");
    }
    server.assert_ended("closed", 2).await;
    server.api.assert_nothing_kept();
}

#[test]
fn files_that_are_no_certificates_are_refused_by_name() {
    let files = Files::new("broken");
    let identity = issue(&authority());
    for (cert, key, name) in [
        ("", identity.key.as_str(), "cert.pem"),
        (identity.cert.as_str(), "", "key.pem"),
        (identity.cert.as_str(), issue(&authority()).key.as_str(), "cert.pem"),
    ] {
        files.write(&Identity { cert: cert.to_owned(), key: key.to_owned() });
        let problems = files.load(None, &Api::new()).map(drop).unwrap_err();
        assert!(problems.iter().all(|problem| problem.contains(name)), "{problems:?}");
    }
    assert!(!files.load(Some("x"), &Api::new()).map(drop).unwrap_err().is_empty());
}
