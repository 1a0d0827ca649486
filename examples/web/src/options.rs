//! The command line, and the certificate that it names.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Error;

pub(crate) struct Options {
    pub(crate) address: String,
    /// How long a client may take for the head of a request, and for the handshake of TLS.
    pub(crate) head_timeout: Duration,
    pub(crate) tls: Option<TlsAcceptor>,
}

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, Error> {
    let usage =
        "usage: web [ADDRESS:PORT] [--head-timeout SECONDS] [--tls CERTIFICATE.pem KEY.pem]";
    let mut options = Options {
        address: "127.0.0.1:7080".to_owned(),
        head_timeout: Duration::from_secs(5),
        tls: None,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--head-timeout" => {
                let seconds: f64 = args.next().ok_or(usage)?.parse()?;
                // A day at most, which no clock overflows by.
                options.head_timeout = Duration::try_from_secs_f64(seconds.min(86_400.0))?;
            }
            "--tls" => {
                let (certificate, key) = args.next().zip(args.next()).ok_or(usage)?;
                options.tls = Some(acceptor(&certificate, &key)?);
            }
            _ if arg.starts_with('-') => return Err(usage.into()),
            _ => options.address = arg,
        }
    }
    Ok(options)
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, Error> {
    let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
