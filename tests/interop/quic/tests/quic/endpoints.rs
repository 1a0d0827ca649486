//! Endpoints of quinn's, and what they have to know of each other.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use interop_quic::Reveille;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::rustls::{self, RootCertStore};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reveille::spawn;

/// What both sides speak, by ALPN.
const PROTOCOL: &str = "echo";

/// A certificate for `localhost`, made anew each time.
pub struct Identity(CertifiedKey<KeyPair>);

impl Identity {
    pub fn new() -> Identity {
        Identity(generate_simple_self_signed(["localhost".to_owned()]).unwrap())
    }

    /// The certificate and the key.
    pub fn pem(&self) -> (String, String) {
        (self.0.cert.pem(), self.0.signing_key.serialize_pem())
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.cert.der().clone()
    }

    /// An endpoint that has this certificate.
    pub fn server(&self, socket: UdpSocket) -> Endpoint {
        let key = PrivateKeyDer::try_from(self.0.signing_key.serialize_der()).unwrap();
        let mut crypto = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate()], key)
            .unwrap();
        crypto.alpn_protocols = vec![PROTOCOL.into()];
        let crypto = QuicServerConfig::try_from(crypto).unwrap();
        endpoint(Some(ServerConfig::with_crypto(Arc::new(crypto))), socket)
    }

    /// An endpoint that trusts this certificate only.
    pub fn client(&self, socket: UdpSocket) -> Endpoint {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let mut crypto = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        crypto.alpn_protocols = vec![PROTOCOL.into()];
        let crypto = QuicClientConfig::try_from(crypto).unwrap();
        let mut endpoint = endpoint(None, socket);
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
        endpoint
    }
}

fn endpoint(server: Option<ServerConfig>, socket: UdpSocket) -> Endpoint {
    let config = EndpointConfig::default();
    Endpoint::new(config, server, socket, Arc::new(Reveille)).unwrap()
}

/// A socket at this address; one at `[::]` is of both families.
pub fn socket(address: &str) -> UdpSocket {
    UdpSocket::bind(address).unwrap()
}

/// Both ends of a connection. They last as long as their endpoints.
pub struct Pair {
    pub client: Connection,
    pub server: Connection,
    pub endpoints: (Endpoint, Endpoint),
}

/// Connects a socket at `client` to the address `asked` of a socket at `server`.
pub async fn connected(server: &str, client: &str, asked: &str) -> Pair {
    connected_by(socket(server), socket(client), asked).await
}

pub async fn connected_by(server: UdpSocket, client: UdpSocket, asked: &str) -> Pair {
    let identity = Identity::new();
    let server = identity.server(server);
    let client = identity.client(client);
    let at = SocketAddr::new(asked.parse().unwrap(), server.local_addr().unwrap().port());
    let connecting = client.connect(at, "localhost").unwrap();
    let accepting = spawn({
        let server = server.clone();
        async move { server.accept().await.unwrap().await.unwrap() }
    });
    Pair {
        client: connecting.await.unwrap(),
        server: accepting.await.unwrap(),
        endpoints: (client, server),
    }
}

/// Sends back what comes, on streams and in datagrams, until the connection ends.
pub async fn echo(connection: Connection) {
    let datagrams = connection.clone();
    spawn(async move {
        while let Ok(bytes) = datagrams.read_datagram().await {
            let _unsent = datagrams.send_datagram(bytes);
        }
    })
    .detach();
    while let Ok((mut sender, mut receiver)) = connection.accept_bi().await {
        spawn(async move {
            // The other end may have given up at any time.
            while let Ok(Some(chunk)) = receiver.read_chunk(usize::MAX, true).await {
                if sender.write_chunk(chunk.bytes).await.is_err() {
                    return;
                }
            }
            let _stopped = sender.finish();
        })
        .detach();
    }
}
