//! The routes. axum wants handlers and their futures to be `Send`, though all run on one thread; reveille's timers are,
//! and what is not would be hidden in a task that answers through a channel.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::{get, post};

pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(async || "hello\n"))
        .route("/wait/{milliseconds}", get(wait))
        .route(
            "/length",
            post(async |body: Bytes| format!("{}\n", body.len())),
        )
        // What has come goes back, while more comes.
        .route("/echo", post(async |body: Body| body))
        // `upload` has a limit of its own, for all that reads a body, and for what does not.
        .layer(DefaultBodyLimit::disable())
}

async fn wait(Path(milliseconds): Path<u64>) -> &'static str {
    reveille::time::sleep(Duration::from_millis(milliseconds.min(10_000))).await;
    "waited\n"
}
