//! TLS by tokio-rustls over reveille's `TcpStream`, server and client, with nothing between them.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use interop_tls::{Identity, identity};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::JoinHandle;
use reveille::time::timeout;
use reveille::{Builder, block_on, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, AlertDescription, ClientConfig, RootCertStore};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

/// A client that trusts this certificate only.
fn connector(
    certificate: CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

type ServerStream = server::TlsStream<TcpStream>;
type ClientStream = client::TlsStream<TcpStream>;

/// Both results of a handshake with a server of that identity.
async fn handshake(
    identity: &Identity,
    connector: TlsConnector,
) -> (io::Result<ServerStream>, io::Result<ClientStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
    let server = spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await
    });
    let stream = TcpStream::connect(at).await.unwrap();
    let client = connector.connect(name(), stream).await;
    (server.await.unwrap(), client)
}

fn echo(server: ServerStream) -> JoinHandle<io::Result<u64>> {
    spawn(async move {
        let (mut reader, mut writer) = split(server);
        let copied = copy(&mut reader, &mut writer).await?;
        writer.shutdown().await?;
        Ok(copied)
    })
}

async fn bytes_come_back(version: &'static rustls::SupportedProtocolVersion, size: usize) {
    let identity = identity(&[]);
    let connector = connector(identity.certificate.clone(), version);
    let (server, client) = handshake(&identity, connector).await;
    let server = echo(server.unwrap());
    let client = client.unwrap();
    assert_eq!(client.get_ref().1.protocol_version(), Some(version.version));

    let sent: Arc<[u8]> = (0..size).map(|i| (i % 251) as u8).collect();
    let (mut reader, mut writer) = split(client);
    let bytes = Arc::clone(&sent);
    let writing = spawn(async move {
        writer.write_all(&bytes).await?;
        writer.shutdown().await
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).await.unwrap();
    writing.await.unwrap().unwrap();
    assert!(got == *sent, "{} of {size} bytes", got.len());
    assert_eq!(server.await.unwrap().unwrap(), size as u64);
}

/// Catches: a half of the stream whose waker takes the place of the other half's; an end that is not told by either.
#[test]
fn four_megabytes_come_back_while_both_directions_are_full() {
    let _limit = limit(120);
    block_on(async {
        for version in [&TLS12, &TLS13] {
            for size in [0, 1, 4 << 20] {
                bytes_come_back(version, size).await;
            }
        }
    });
}

/// Catches: a wait that relies on the order of tasks, or on a write that is taken whole.
#[test]
fn under_shuffled_choices_the_same_bytes_come_back() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        Builder::new().chaos(seed).block_on(async {
            for version in [&TLS12, &TLS13] {
                bytes_come_back(version, 100_000).await;
            }
        });
    });
}

/// Catches: an alert that is lost because the stream closes at once; a server that waits for the rest.
#[test]
fn a_certificate_that_is_not_trusted_is_an_error_on_both_sides() {
    let _limit = limit(60);
    block_on(async {
        let stranger = identity(&[]).certificate;
        let (server, client) = handshake(&identity(&[]), connector(stranger, &TLS13)).await;
        let client = client.err().unwrap();
        assert_eq!(client.kind(), ErrorKind::InvalidData, "{client}");
        let server = server.err().unwrap();
        let Some(rustls::Error::AlertReceived(alert)) =
            server.get_ref().and_then(|error| error.downcast_ref())
        else {
            panic!("{server}");
        };
        // Not UnknownCA: the one that is trusted has the same name, and did not sign.
        assert_eq!(*alert, AlertDescription::DecryptError);
    });
}

/// Catches: an attack by a cut that looks like the end.
#[test]
fn an_end_without_a_farewell_is_an_error() {
    let _limit = limit(60);
    block_on(async {
        let identity = identity(&[]);
        let connector = connector(identity.certificate.clone(), &TLS13);
        let (server, client) = handshake(&identity, connector).await;
        let mut client = client.unwrap();
        let mut server = server.unwrap();
        server.write_all(b"not all of ").await.unwrap();
        server.flush().await.unwrap();
        drop(server);
        let mut got = Vec::new();
        let error = client.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(got, b"not all of ");
    });
}

/// Catches: a handshake that holds the stream after it was given up.
#[test]
fn a_handshake_with_a_silent_client_can_be_given_up() {
    let _limit = limit(60);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(identity(&[]).config);
        let handshake = acceptor.accept(stream);
        assert!(timeout(Duration::from_millis(20), handshake).await.is_err());
        // Closed: the client is told.
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0);
    });
}
