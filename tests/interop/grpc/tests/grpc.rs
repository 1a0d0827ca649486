//! gRPC by tonic's codecs on hyper over reveille, server and client, against gRPC's own library for Python.
//!
//! tonic's `transport` is tokio's; without it, hyper serves and asks. What stands between them is tower's `service_fn`, and
//! what tonic-build would have written for the service.
//!
//! `tests/interop/run grpc` says in `REVEILLE_GRPC` which Python has that library.

use std::convert::Infallible;
use std::env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use hyper::body::Incoming;
use hyper::client::conn::http2::Builder as ClientBuilder;
use hyper::server::conn::http2::Builder as ServerBuilder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use reveille::hyper::{Executor, Timer};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::{spawn_blocking, yield_now};
use reveille::time::sleep;
use reveille::{Builder, block_on, spawn};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text { text: text.into() }
    }
}

fn codec() -> ProstCodec<Text, Text> {
    ProstCodec::default()
}

async fn shout(request: tonic::Request<Text>) -> Result<tonic::Response<Text>, Status> {
    let Text { text } = request.into_inner();
    if text.is_empty() {
        return Err(Status::invalid_argument("nothing to shout: é"));
    }
    yield_now().await;
    Ok(tonic::Response::new(Text::from(&*text.to_uppercase())))
}

/// As many numbers, or endlessly many. `alive` is held as long as the stream is.
async fn count(
    request: tonic::Request<Text>,
    alive: Arc<()>,
) -> Result<tonic::Response<impl Stream<Item = Result<Text, Status>>>, Status> {
    let text = request.into_inner().text;
    let end = text.parse().unwrap_or(u32::MAX);
    let numbers = stream::iter(0..end).then(move |n| {
        let _held = &alive;
        async move {
            if n % 100 == 99 {
                sleep(Duration::from_millis(1)).await;
            }
            Ok(Text::from(&*n.to_string()))
        }
    });
    Ok(tonic::Response::new(numbers))
}

async fn sum(request: tonic::Request<Streaming<Text>>) -> Result<tonic::Response<Text>, Status> {
    let mut numbers = request.into_inner();
    let mut sum = 0;
    while let Some(Text { text }) = numbers.message().await? {
        sum += text.parse::<u32>().unwrap();
    }
    Ok(tonic::Response::new(Text::from(&*sum.to_string())))
}

async fn chat(
    request: tonic::Request<Streaming<Text>>,
) -> Result<tonic::Response<impl Stream<Item = Result<Text, Status>>>, Status> {
    let questions = request.into_inner();
    let answers = questions.map_ok(|Text { text }| Text::from(&*text.to_uppercase()));
    Ok(tonic::Response::new(answers))
}

async fn route(request: Request<Incoming>, alive: Arc<()>) -> Result<Response<Body>, Infallible> {
    use tower::service_fn;
    let mut grpc = tonic::server::Grpc::new(codec());
    Ok(match request.uri().path() {
        "/test.Echo/Shout" => grpc.unary(service_fn(shout), request).await,
        "/test.Echo/Count" => {
            let count = service_fn(|request| count(request, Arc::clone(&alive)));
            grpc.server_streaming(count, request).await
        }
        "/test.Echo/Sum" => grpc.client_streaming(service_fn(sum), request).await,
        "/test.Echo/Chat" => grpc.streaming(service_fn(chat), request).await,
        _ => Status::unimplemented("not here").into_http(),
    })
}

/// Serves until it is dropped with its runtime; `alive` has one owner more for each stream of numbers.
async fn serve(alive: Arc<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let alive = Arc::clone(&alive);
            let service = service_fn(move |request| route(request, Arc::clone(&alive)));
            let mut builder = ServerBuilder::new(Executor);
            let connection = builder.timer(Timer).serve_connection(stream, service);
            spawn(connection).detach();
        }
    })
    .detach();
    at
}

/// Asks for everything that the service has.
async fn ask(at: SocketAddr) {
    let stream = TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let handshake = ClientBuilder::new(Executor).timer(Timer).handshake(stream);
    let (sender, connection) = handshake.await.unwrap();
    let connection = spawn(connection);
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let origin = format!("http://{at}").parse().unwrap();
    ask_service(Grpc::with_origin(service, origin)).await;
    // The service was the last that had the sender.
    connection.await.unwrap().unwrap();
}

async fn ask_service<S>(mut grpc: Grpc<S>)
where
    S: GrpcService<Body> + Clone,
    S::ResponseBody: hyper::body::Body<Data = hyper::body::Bytes> + Send + 'static,
    <S::ResponseBody as hyper::body::Body>::Error: Into<tonic::codegen::StdError>,
    S::Error: std::fmt::Debug,
{
    let path = |name: &'static str| PathAndQuery::from_static(name);
    let one = |text: &str| tonic::Request::new(Text::from(text));

    let mut shout = async |text: &str| {
        grpc.ready().await.unwrap();
        let answer = grpc.unary(one(text), path("/test.Echo/Shout"), codec());
        answer.await.map(|answer| answer.into_inner().text)
    };
    assert_eq!(shout("hello").await.unwrap(), "HELLO");
    let long = "a".repeat(1_000_000);
    assert!(shout(&long).await.unwrap() == long.to_uppercase());
    let error = shout("").await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "nothing to shout: é")
    );

    grpc.ready().await.unwrap();
    let error = grpc
        .unary(one(""), path("/test.Echo/Missing"), codec())
        .await;
    assert_eq!(error.unwrap_err().code(), Code::Unimplemented);

    let count = grpc.server_streaming(one("1000"), path("/test.Echo/Count"), codec());
    let numbers: Vec<Text> = count
        .await
        .unwrap()
        .into_inner()
        .try_collect()
        .await
        .unwrap();
    let expected = (0..1000).map(|n| Text::from(&*n.to_string()));
    assert!(numbers.into_iter().eq(expected));

    let numbers = stream::iter(0..1000u32).map(|n| Text::from(&*n.to_string()));
    let numbers = tonic::Request::new(numbers);
    let sum = grpc.client_streaming(numbers, path("/test.Echo/Sum"), codec());
    assert_eq!(sum.await.unwrap().into_inner().text, "499500");

    // Each question waits for the answer to the one before.
    let (asked, mut questions) = mpsc::unbounded_channel();
    asked.send(Text::from("q0")).unwrap();
    let questions = stream::poll_fn(move |cx| questions.poll_recv(cx));
    let chat = grpc.streaming(
        tonic::Request::new(questions),
        path("/test.Echo/Chat"),
        codec(),
    );
    let mut answers = chat.await.unwrap().into_inner();
    for n in 1..=100 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.text, format!("Q{}", n - 1));
        asked.send(Text::from(&*format!("q{n}"))).unwrap();
    }
    drop(asked);
    assert_eq!(answers.message().await.unwrap().unwrap().text, "Q100");
    assert!(answers.message().await.unwrap().is_none());

    // Given up amid the stream, which is then dropped by the server.
    let endless = grpc.server_streaming(one("endless"), path("/test.Echo/Count"), codec());
    let mut numbers = endless.await.unwrap().into_inner();
    for n in 0..10 {
        let number = numbers.message().await.unwrap().unwrap();
        assert_eq!(number.text, n.to_string());
    }
}

/// Waits until no stream of numbers is left.
async fn until_given_up(alive: &Arc<()>, others: usize) {
    while Arc::strong_count(alive) > others {
        yield_now().await;
    }
}

async fn serve_and_ask() {
    let alive = Arc::new(());
    let at = serve(Arc::clone(&alive)).await;
    // The listener has one, too.
    ask(at).await;
    until_given_up(&alive, 2).await;
}

/// Catches: a stream, a sleep or a body that is not `Send`, as tonic wants it; a stream that goes on when nobody reads.
#[test]
fn our_client_asks_our_server() {
    let _limit = limit(60);
    block_on(serve_and_ask());
}

/// Catches: a wait that relies on the order of tasks, or on a write that is taken whole.
#[test]
fn under_shuffled_choices_our_client_asks_our_server() {
    under_seeds("REVEILLE_CHAOS", 2, |seed| {
        let _limit = limit(60);
        Builder::new().chaos(seed).block_on(serve_and_ask());
    });
}

fn python(script: &str) -> Command {
    let python = env::var("REVEILLE_GRPC")
        .expect("REVEILLE_GRPC is not set: these tests are run by tests/interop/run grpc");
    let mut command = Command::new(python);
    command.arg(format!("{}/{script}", env!("CARGO_MANIFEST_DIR")));
    command
}

/// Catches: HTTP/2 that only hyper's own client understands; a stream that goes on when the client has canceled it.
#[test]
fn pythons_client_asks_our_server() {
    let _limit = limit(60);
    block_on(async {
        let alive = Arc::new(());
        let at = serve(Arc::clone(&alive)).await;
        let client = spawn_blocking(move || python("client.py").arg(at.to_string()).status());
        assert!(client.await.unwrap().unwrap().success());
        until_given_up(&alive, 2).await;
    });
}

/// Catches: HTTP/2 that only hyper's own server understands.
#[test]
fn our_client_asks_pythons_server() {
    let _limit = limit(60);
    let mut command = python("server.py");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    block_on(ask(said.next().unwrap().unwrap().parse().unwrap()));
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
}
