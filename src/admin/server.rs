//! The HTTP server: one thread, bounded in connections and in what a slow peer may take.

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::routes;
use super::view::View;

/// Probes, a scraper and a few people. One more waits until another is gone.
const CONNECTIONS_MAX: usize = 128;
/// For a request's head, and so also for the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Out of descriptors, say: it passes, or it does not.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves for as long as the process lives. The result is the exit code of one that can't.
pub fn serve(listener: OwnedFd, view: Arc<View>) -> i32 {
    match run(listener, view) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "health, metrics and the status page can't be served");
            1
        }
    }
}

fn run(listener: OwnedFd, view: Arc<View>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = StdListener::from(listener);
        listener.set_nonblocking(true)?;
        accept_all(TcpListener::from_std(listener)?, routes::router(view)).await
    })
}

async fn accept_all(listener: TcpListener, router: Router) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, router.clone(), place))),
            Err(error) => {
                tracing::debug!(%error, "no connection for the admin process");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, router: Router, _place: OwnedSemaphorePermit) {
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = conversation.await {
        tracing::trace!(%error, "a conversation with the admin process ended early");
    }
}
