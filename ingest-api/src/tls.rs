//! TLS towards producers: rustls with ring, TLS 1.2 or newer, HTTP/1.1 only. With a client CA every
//! producer must show a certificate of it (mutual TLS). Certificates are read again when they change; a
//! connection keeps the ones it began with.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use service_kit::Problems;
use tokio_rustls::TlsAcceptor;

use crate::files::{Files, Load, Reloaded};

/// Where certificates are. Without them plain HTTP is spoken.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TlsConfig {
    /// The server's certificate and its chain, in PEM. If it is set, the server speaks TLS.
    #[arg(long = "tls-cert-file", env = "INGEST_TLS_CERT_FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long = "tls-key-file", env = "INGEST_TLS_KEY_FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Certificate authorities, in PEM. Every producer must present a certificate from one of them.
    #[arg(long = "tls-client-ca-file", env = "INGEST_TLS_CLIENT_CA_FILE", requires = "cert_file")]
    pub client_ca_file: Option<PathBuf>,
}

impl TlsConfig {
    /// The files, if TLS is to be spoken.
    pub fn files(&self) -> Option<CertificateFiles> {
        Some(CertificateFiles {
            cert: self.cert_file.clone()?,
            key: self.key_file.clone()?,
            client_ca: self.client_ca_file.clone(),
        })
    }
}

/// The files of one server.
#[derive(Debug)]
pub struct CertificateFiles {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The server's certificates, as new as their files.
pub type Certificates = Reloaded<CertificateFiles>;

impl Certificates {
    /// Speaks TLS with the certificates as they are now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&*self.current()))
    }
}

impl Load for CertificateFiles {
    type Value = Arc<ServerConfig>;

    const WHAT: &'static str = "certificates";

    fn load(&self, files: &mut Files, _previous: Option<&Self::Value>) -> Result<Self::Value, Problems> {
        // All three are read, so that a change of any of them is noticed after a failure, too.
        let (cert, key) = (files.read(&self.cert), files.read(&self.key));
        let client_ca = self.client_ca.as_ref().map(|path| files.read(path)).transpose();
        Ok(self.config(&cert?, &key?, client_ca?.as_deref())?)
    }
}

impl CertificateFiles {
    fn config(&self, cert: &str, key: &str, client_ca: Option<&str>) -> Result<Arc<ServerConfig>, String> {
        let chain = certificates(cert).map_err(|problem| format!("{}: {problem}", self.cert.display()))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| format!("{}: no private key in PEM", self.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?;
        let builder = match (client_ca, &self.client_ca) {
            (Some(text), Some(path)) => {
                let at_path = |problem: String| format!("{}: {problem}", path.display());
                let mut roots = RootCertStore::empty();
                for authority in certificates(text).map_err(at_path)? {
                    roots.add(authority).map_err(|error| at_path(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder
                    .with_client_cert_verifier(verifier.build().map_err(|error| at_path(error.to_string()))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("{}: {error}", self.cert.display()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| "no certificate in PEM".to_owned())
}
