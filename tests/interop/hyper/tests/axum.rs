//! axum's router on hyper over reveille: without axum's feature `tokio`, whose `serve` is tokio's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn as client;
use hyper::{Request, Response, StatusCode};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use reveille::hyper::{Executor, Timer};
use reveille::net::{TcpListener, TcpStream};
use reveille::time::sleep;
use reveille::{block_on, spawn};
use serde_json::{Value, json};

#[path = "../../../support/limit.rs"]
mod limit;

use limit::limit;

/// Handlers of axum have to be `Send`: a sleep and the handle of a task may be held in them.
fn router() -> Router {
    let visits = Arc::new(AtomicU64::new(0));
    Router::new()
        .route("/visits", get(count))
        .route("/sum", post(sum))
        .route("/hello/{name}", get(hello))
        .fallback(|| async { (StatusCode::NOT_FOUND, "nothing is here") })
        .with_state(visits)
}

async fn count(State(visits): State<Arc<AtomicU64>>) -> String {
    let before = visits.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(1)).await;
    (before + 1).to_string()
}

async fn sum(Json(numbers): Json<Vec<i64>>) -> Json<Value> {
    let sum = spawn(async move { numbers.iter().sum::<i64>() });
    Json(json!({ "sum": sum.await.unwrap() }))
}

async fn hello(Path(name): Path<String>) -> String {
    format!("hello {name}")
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn request(method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://test{path}"))
        .header("host", "test")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

/// Asks for everything that the router has, by one kind of HTTP.
macro_rules! ask {
    ($sender:expr) => {{
        let mut sender = $sender;
        let mut ask = async |method: &str, path: &str, body: &str| {
            let response = sender.send_request(request(method, path, body)).await;
            let response = response.unwrap();
            (response.status().as_u16(), text(response).await)
        };
        assert_eq!(
            ask("GET", "/hello/you", "").await,
            (200, "hello you".into())
        );
        let sum = ask("POST", "/sum", "[1, 2, 39]").await;
        assert_eq!(sum, (200, r#"{"sum":42}"#.into()));
        let (status, error) = ask("POST", "/sum", "[1, 2, ").await;
        assert_eq!(status, 400);
        assert!(error.contains("EOF while parsing"), "{error}");
        assert_eq!(ask("GET", "/sum", "").await, (405, String::new()));
        let missing = ask("GET", "/missing", "").await;
        assert_eq!(missing, (404, "nothing is here".into()));
        ask("GET", "/visits", "").await.1
    }};
}

/// Catches: a sleep or a handle that is not `Send`, and so cannot be held in a handler; a state that each
/// connection has for itself.
#[test]
fn a_router_answers_by_http_1_and_by_http_2() {
    let _limit = limit(60);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let service = TowerToHyperService::new(router());
        let _server = spawn(async move {
            let mut builder = auto::Builder::new(Executor);
            builder.http1().timer(Timer);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let served = builder
                    .serve_connection(stream, service.clone())
                    .into_owned();
                spawn(served).detach();
            }
        });
        let stream = TcpStream::connect(at).await.unwrap();
        let (sender, connection) = client::http1::handshake(stream).await.unwrap();
        spawn(connection).detach();
        assert_eq!(ask!(sender), "1");

        let stream = TcpStream::connect(at).await.unwrap();
        let handshake = client::http2::Builder::new(Executor).handshake(stream);
        let (sender, connection) = handshake.await.unwrap();
        spawn(connection).detach();
        assert_eq!(ask!(sender), "2");
    });
}
