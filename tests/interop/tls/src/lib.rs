//! A server's certificate for `localhost`, made anew for each process.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub struct Identity {
    pub config: Arc<ServerConfig>,
    pub certificate: CertificateDer<'static>,
    pub pem: String,
}

/// A server that offers these protocols by ALPN.
pub fn identity(protocols: &[&str]) -> Identity {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    Identity {
        config: Arc::new(config),
        certificate: cert.der().clone(),
        pem: cert.pem(),
    }
}
