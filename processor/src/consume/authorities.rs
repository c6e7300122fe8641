//! When the authorities that this process trusts expire: those of the brokers and of PostgreSQL, as its connections have
//! read them. Whoever renews them (an operator, a person) may fail to, and from then on no connection can be made. A gauge
//! says when; nothing else depends on it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::NaiveDateTime;

use crate::metrics::Metrics;

/// A mounted Secret changes within a minute or two.
const EVERY: Duration = Duration::from_secs(60);
/// A bundle of authorities is small; a wrong path must not fill the memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Shows what the files say, without an end. That of Kafka is read once, as its clients have read it when they were made:
/// they go on with what it held then. PostgreSQL's is read for each connection, so here again and again.
pub async fn watch(kafka: Option<PathBuf>, postgresql: Option<PathBuf>, metrics: Arc<Metrics>) {
    let show = |server: &str, file: &Path| match expiration(file) {
        Some(at) => {
            metrics.processor_authority_expiration_timestamp_seconds.with_label_values(&[server]).set(at);
        }
        None => tracing::debug!(server, "the authority's file holds no certificate that can be read"),
    };
    if let Some(file) = kafka {
        show("kafka", &file);
    }
    loop {
        if let Some(file) = &postgresql {
            show("postgresql", file);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// When the last authority of a file ends, in seconds since 1970: while one is replaced, a bundle holds both.
fn expiration(file: &Path) -> Option<i64> {
    let text = service_kit::files::read(file, FILE_BYTES_MAX).ok()?;
    certificates(&text).filter_map(|der| not_after(&der)).max()
}

fn certificates(pem: &str) -> impl Iterator<Item = Vec<u8>> + '_ {
    pem.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|block| {
        let (body, _) = block.split_once("-----END")?;
        STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
    })
}

/// The end of a certificate's validity (RFC 5280 §4.1): `tbsCertificate` begins with version, which may be absent, serial
/// number, signature, issuer and validity.
fn not_after(der: &[u8]) -> Option<i64> {
    const VERSION: u8 = 0xa0;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    let (first, ..) = element(fields)?;
    let before = if first == VERSION { 4 } else { 3 };
    for _ in 0..before {
        (_, _, fields) = element(fields)?;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, end) = element(validity)?;
    let (kind, end, _) = element(end)?;
    let format = match kind {
        UTC_TIME => "%y%m%d%H%M%SZ",
        GENERALIZED_TIME => "%Y%m%d%H%M%SZ",
        _ => return None,
    };
    let end = NaiveDateTime::parse_from_str(std::str::from_utf8(end).ok()?, format).ok()?;
    Some(end.and_utc().timestamp())
}

/// The first element of DER: its tag, what it holds, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first & 0x7f {
        length if length == *first => (usize::from(length), rest),
        // That many digits, the highest first.
        digits @ 1..=4 => {
            let (digits, rest) = rest.split_at_checked(usize::from(digits))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// An authority that is valid until the beginning of a year.
    fn authority(year: i32) -> String {
        let mut params = CertificateParams::new(vec!["authority".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn ends(pem: &str) -> Vec<i64> {
        certificates(pem).filter_map(|der| not_after(&der)).collect()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_before_and_after_2050() {
        let bundle = format!("# the former, and the new\n{}\n{}", authority(2031), authority(2061));
        assert_eq!(ends(&bundle), [1_924_992_000, 2_871_763_200]);
    }

    #[tokio::test]
    async fn kafkas_file_is_read_once_as_its_clients_read_it() {
        let file = std::env::temp_dir().join(format!("telex-authority-{}.pem", std::process::id()));
        std::fs::write(&file, authority(2031)).unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let watching = watch(Some(file.clone()), None, Arc::clone(&metrics));
        let has_ended = tokio::time::timeout(Duration::from_millis(100), watching).await.is_ok();
        std::fs::remove_file(file).unwrap();
        assert!(!has_ended, "the process would end with it");
        let shown = metrics.processor_authority_expiration_timestamp_seconds.with_label_values(&["kafka"]);
        assert_eq!(shown.get(), 1_924_992_000);
    }

    #[test]
    fn what_is_no_certificate_says_nothing_however_it_ends() {
        let pem = authority(2031);
        let der = certificates(&pem).next().unwrap();
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA", "-----BEGIN CERTIFICATE-----\n????\n-----END"] {
            assert_eq!(ends(text), [0; 0], "{text}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
